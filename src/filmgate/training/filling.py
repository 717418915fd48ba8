"""Fills the buffer that trainings of a sitting share, and says how fast that went.

Every clip has what any member may be told: some their known frames, all the camera's path. Trainings take of it what
they need.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from filmgate.training.compiled import carry, fetch
from filmgate.training.latents import LatentBuffer, clips_in
from filmgate.training.members import MEMBERS, smoke_clip
from filmgate.training.ranks import Ranks
from filmgate.training.schedule import until
from filmgate.training.trainee import Recipe
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import add_world_option
from filmgate.training.world.render import chunk_of

FURTHER = 500_009
"""Between the seed of a kept buffer's clips and of those that join them: they would be the same again."""


def filled_buffer(
    vae: Path, store: Path | None, recipe: Recipe, clip: ClipFormat, salt: int, ranks: Ranks, *, compiled: bool,
    end: float = math.inf, ready: Callable[[], None] | None = None,
) -> LatentBuffer:  # fmt: skip
    """A full buffer of this process's own clips: from ``store`` if they were kept there, else rendered.

    As many processes as rendered them, or fewer, share what was kept: one that trains alone takes all of it.

    Args:
        end: When to stop rendering, by ``time.monotonic``; there are fewer clips then.
        ready: Called after the first chunk, for which everything was compiled.
    """
    seed = recipe.seed * 1_000_003 + salt + ranks.rank
    device = ranks.device()
    chunk = chunk_of(clip, device, compiled=compiled)
    kept = kept_files(store, ranks) if store else []
    there = sum(map(clips_in, kept))
    buffer = LatentBuffer(
        vae, device, max(there, recipe.buffer), clip=clip, seed=seed + (FURTHER if there else 0), chunk=chunk,
        compiled=compiled, world=recipe.world, member=recipe.member,
    )  # fmt: skip
    if there:
        buffer.load(kept)
        return buffer
    while buffer.filled < recipe.buffer and (time.monotonic() < end or not buffer.filled):
        buffer.add_chunk()
        if ready is not None and buffer.filled == buffer.chunk:
            ready()
    buffer.settle()
    if store:
        buffer.save(_part(store, ranks.rank))
    return buffer


def kept_files(store: Path, ranks: Ranks) -> list[Path]:
    """The files of a kept buffer that this process takes, by their numbers: every so many-th."""
    files = sorted(
        (int(number), path)
        for path in store.parent.glob(f"{store.stem}.*{store.suffix}")
        if (number := path.name[len(store.stem) + 1 : -len(store.suffix)]).isdigit()
    )
    return [path for number, path in files if number % ranks.count == ranks.rank]


def _part(store: Path, number: int) -> Path:
    return store.with_suffix(f".{number}{store.suffix}")


def main() -> None:
    """Command line: ``python -m filmgate.training.filling --member toybox-camera --vae FILE --clips N ...``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", choices=sorted(MEMBERS), required=True, help="whose clips, told all that it may be")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, help="render no longer than so long after the start of the process")
    parser.add_argument("--compiled", type=Path, help="compiled kernels of an earlier sitting, and where they are kept")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    add_world_option(parser)
    args, began = parser.parse_args(), time.monotonic()
    member, ranks = MEMBERS[args.member], Ranks.join()
    fetch(args.compiled)
    recipe = Recipe(buffer=args.clips, seed=args.seed, world=args.world, member=member)
    clip = smoke_clip(member) if args.smoke else member.clip
    if args.smoke:
        recipe = replace(recipe, buffer=16)
    moments = [time.monotonic()]

    def ready() -> None:
        moments.append(_now())
        carry(args.compiled)
        moments.append(_now())

    buffer = filled_buffer(
        args.vae, args.store, recipe, clip, 0, ranks, compiled=not args.smoke, ready=ready,
        end=until(began, args.deadline),
    )  # fmt: skip
    if len(moments) == 3 and buffer.filled > buffer.chunk:
        rate = (buffer.filled - buffer.chunk) / (_now() - moments[2])
        facts = {"clips_per_second": round(rate, 1), "compile_seconds": round(moments[1] - moments[0], 1)}
        print(json.dumps({"clips": buffer.filled, **facts}), flush=True)
    ranks.leave()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


if __name__ == "__main__":
    main()
