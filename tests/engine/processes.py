"""Processes of this machine that work together as the ranks of a run do."""

import tempfile
from pathlib import Path

import torch

from filmgate.engine.runtime.parallel import Team
from filmgate.spec import Layout


def _member(rank, work, layout, heads, folder):
    torch.set_num_threads(1)
    meeting = (Path(folder) / "meeting").as_uri()
    team = Team.join(layout, heads, meeting, rank, device=torch.device("cpu"))
    result = work(team)
    team.leave()
    torch.save(result, Path(folder) / f"{rank}.pt")


def on_ranks(work, layout: Layout, heads: int = 4):
    """What ``work(team)`` returns on every rank; a function of a module's top level."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_member, (work, layout, heads, folder), nprocs=layout.ranks)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(layout.ranks)]
