"""Where devices that share a plan have nothing to do, or do what others do: whoever pays for them should know it.

The engine takes such numbers of devices, so that none of this is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.direction.estimate import tile_count
from filmgate.direction.memory import row_parts
from filmgate.direction.workload import Workload, workload_of
from filmgate.spec.plan import Plan


def idle_warnings(plan: Plan) -> Iterator[str]:
    """Of a plan whose networks are placed."""
    if plan.layout.ranks == 1:
        return
    load = workload_of(plan)
    yield from _unguided(plan)
    yield from _remainder(load)
    yield from _coding(plan, load)


def _unguided(plan: Plan) -> Iterator[str]:
    """Steps with one text, which devices that divide texts all read."""
    alone = sum(plan.passes_of(index) == 1 for index in range(len(plan.steps)))
    if plan.layout.cfg > 1 and alone:
        yield (
            f"{alone} of {len(plan.steps)} steps read one text: in them half of the {plan.layout.ranks} devices do what"
            f" the others do"
        )


def _remainder(load: Workload) -> Iterator[str]:
    """Tokens go to devices whole. All wait for those that have most of them."""
    count = load.layout.sequence
    enough = -(-load.tokens // load.own_tokens)
    if enough < count:
        yield (
            f"{load.tokens} tokens in {count} parts: the largest has {load.own_tokens}, as in {enough} parts, so that"
            f" {enough * load.layout.cfg} devices would be through as soon as {load.layout.ranks}"
        )


def _coding(plan: Plan, load: Workload) -> Iterator[str]:
    """The VAE's rows or tiles, where there are fewer than devices."""
    ranks, tile = plan.layout.ranks, plan.residency.vae_tile
    tiles = tile_count(load, plan.residency)
    if tile is not None and tiles < ranks:
        yield f"the VAE works in {_counted(tiles, 'tile')}: {ranks - tiles} of {ranks} devices have none and wait"
    elif tile is None and row_parts(load, plan.residency) == 1:
        rows = _counted(load.latent.height, "row")
        yield f"the latent has {rows}, less than one for each of {ranks} devices: each does all of the VAE's work"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
