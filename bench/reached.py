"""How near claims of passes and of decoding are to their floors: the kinds of kernels that bench/floors.py counts.

Seconds are those of ``gpu.*.profile.*``; what has no claim yet is left out. Passes in eight bits, and sparse ones, have
the roof of e4m3 over what they compute in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from floors import Part, convolutions_of, parts_of
from forward_claims import CLAIMED
from forward_measure import ROWS, latent_of, row_of
from forward_vae import PROFILED, VAES
from light_forward import product_rule


class Point(NamedTuple):
    """A kind of kernel: whose, operations per byte, operations and bytes per second, and the share of its roof."""

    name: str
    way: str
    kind: str
    intensity: float
    speed: float
    bandwidth: float
    share: float


def counted() -> Iterator[tuple[str, str, str, Part]]:
    """Every kind of kernel that has a floor: whose, in which way of its pass, its claim, and what was counted."""
    rule = product_rule(small=False)
    for name in ROWS:
        row = row_of(name, small=False)
        config, tokens, stem = row.sizes.dit, row.tokens, CLAIMED[name]
        ways = {
            "": parts_of(config, tokens),
            "8bit": parts_of(config, tokens, eight_bit=True, rule=replace(rule, choice=None)),
            "sparse": parts_of(config, tokens, eight_bit=True, rule=rule),
        }
        for way, parts in ways.items():
            for kind, part in parts.items():
                yield name, way, f"{stem}{way and '.'}{way}.profile.{kind}", part
    for name, video in VAES.items():
        row = row_of(video, small=False)
        part = convolutions_of(row.sizes.vae, latent_of(row), PROFILED)
        yield name, "", f"{CLAIMED[name]}.profile.convolution", part


def points(found: Mapping[str, float]) -> list[Point]:
    """What there are claims of, by their milliseconds."""
    made = []
    for name, way, claim, part in counted():
        if claim in found:
            taken = found[claim] / 1000
            kind = claim.rpartition(".")[2]
            intensity, share = part.operations / part.bytes, part.floor / taken
            made.append(Point(name, way, kind, intensity, part.operations / taken, part.bytes / taken, share))
    return made
