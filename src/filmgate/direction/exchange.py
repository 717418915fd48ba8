"""What devices tell one another while they make one video, and how long that takes. Estimates from data sheets.

Legend: N tokens of the video, n of one device, D L width and blocks of the transformer, b bytes of a number, R devices
that divide the tokens, h of them (gcd of heads and R) by heads and r = R/h in a ring.

In a pass of the transformer a device sends, in bytes:

    heads       4·L·n·D·b·(h-1)/h    q, k and v before attention and its result after it
    ring        2·L·n·D·b·(r-1)      keys and values, while it computes: only what attention does not hide counts
    at the end  its patches to all others; with two texts, its velocity too

Heads are put in order before they are sent and after they came: 10·b·L·n·D bytes go through the device's own memory.
Every exchange waits for the slowest device and costs some microseconds besides.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from filmgate.direction.devices import Speed
from filmgate.direction.memory import BYTES
from filmgate.direction.workload import Workload

_LATENCY = 30e-6
"""Seconds that an exchange takes whatever its size. Not measured here."""
_REORDERED = 10
"""How often a number of a token goes through memory so that heads lie as they are sent and read."""
_PATCH_NUMBERS = 4
"""Latent positions of a token."""
_WIDE = 4


class Exchange(NamedTuple):
    """Of one pass: bytes that a device sends, those of them that go while it computes, how often it waits for others,
    and bytes that go through its own memory for it."""

    sent: float = 0.0
    hidden: float = 0.0
    times: int = 0
    reordered: float = 0.0


def exchange_of(load: Workload) -> Exchange:
    """What a device exchanges in a pass of the transformer."""
    layout, dit = load.layout, load.model.dit
    if layout.ranks == 1:
        return Exchange()
    size, own, blocks = BYTES[load.precision], load.own_tokens, dit.layers + dit.branch_layers
    texts = 2 if load.paired else 1
    heads = gcd(dit.heads, layout.sequence)
    turns = layout.sequence // heads - 1
    per_block = own * dit.dim * size
    by_heads = 4 * blocks * per_block * (heads - 1) / heads
    around = 2.0 * blocks * per_block * turns
    patches = dit.out_channels * _PATCH_NUMBERS
    last = own * patches * size * (layout.sequence - 1) + (layout.cfg - 1) * load.tokens * patches * _WIDE / texts
    return Exchange(
        sent=by_heads + around + last,
        hidden=around,
        times=blocks * (2 * (heads > 1) + turns) + (layout.sequence > 1) + (layout.cfg > 1),
        reordered=_REORDERED * blocks * per_block if heads > 1 else 0.0,
    )


def exchange_seconds(load: Workload, speed: Speed, attending: float) -> float:
    """Seconds of a pass for one text that a device spends on the others.

    Args:
        load: What is done.
        speed: Of the device and of what connects it to the others.
        attending: Seconds that it attends, behind which a ring hides.
    """
    work = exchange_of(load)
    if not work.sent or not speed.link:
        return 0.0
    ring = max(0.0, work.hidden / speed.link - attending)
    through = work.reordered / speed.traffic if speed.traffic else 0.0
    waits = work.times * _LATENCY / (2 if load.paired else 1)
    return (work.sent - work.hidden) / speed.link + ring + through + waits
