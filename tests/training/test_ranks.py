"""Two processes that train together agree, average and share; one alone is left as it is."""

import os
import socket
from pathlib import Path

import torch
from torch import nn

from filmgate.training.ranks import Ranks


def _member(rank: int, port: int, folder: str) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2"
    )
    torch.set_num_threads(1)
    ranks = Ranks.join()
    layer = nn.Conv2d(2, 3, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, float(rank))
        parameter.grad = torch.full_like(parameter, 1.0 + 2.0 * rank)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    ranks.share(layer.state_dict())
    ranks.average_gradients(layer.parameters())
    result = {
        "agreed": ranks.agree(10.0 + rank),
        "weights": [p.unique().tolist() for p in layer.parameters()],
        "gradients": [p.grad.unique().tolist() for p in layer.parameters() if p.grad is not None],
        "first": ranks.first,
    }
    ranks.leave()
    torch.save(result, Path(folder) / f"{rank}.pt")


def test_two_processes(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_member, (port, str(tmp_path)), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for rank, result in enumerate(results):
        assert result["agreed"] == 10.0
        assert result["weights"] == [[0.0], [0.0]]
        assert result["gradients"] == [[2.0], [2.0]]
        assert result["first"] == (rank == 0)


def test_one_process_alone() -> None:
    ranks = Ranks()
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()  # type: ignore[union-attr]
    ranks.average_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, before)  # type: ignore[arg-type]
    assert ranks.agree(3.0) == 3.0
    assert ranks.first
