"""Classifier-free guidance (arXiv 2207.12598). Without torch: it is arithmetic on whatever has arithmetic.

The scales have names because their order is a trap. The original configuration lists (low, high), LightX2V lists
[high, low], and Diffusers calls the high-noise scale ``guidance_scale`` and the low-noise one ``guidance_scale_2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from filmgate.spec.adapters import GuidanceRule
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import ExpertName

PAIRED_TOKENS = 8192
"""Up to this many tokens the two passes of a step run as one batch: small models are bound by overhead, large videos by
memory. A guess; ``python bench/forward.py --only guidance`` measures around it."""


class Linear(Protocol):
    """Tensors, arrays and numbers."""

    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...


Velocity = TypeVar("Velocity", bound=Linear)


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Scale per expert, 0 or more; 1 switches guidance off and saves the second pass. A dense model uses ``low``.

    Raises:
        InvalidRequest: a scale is negative or not a number.
    """

    high: float
    low: float

    def __post_init__(self) -> None:
        for name in ("high", "low"):
            check_guidance(f"guidance_{name}", getattr(self, name))

    def scale(self, expert: ExpertName) -> float:
        """The scale while ``expert`` paints."""
        return self.high if expert == "high_noise" else self.low


def guided(conditional: Velocity, unconditional: Velocity, scale: float) -> Velocity:
    """Away from the negative prompt and beyond the prompt: unconditional + scale·(conditional - unconditional).

    Args:
        conditional: Velocity with the prompt.
        unconditional: Velocity with the negative prompt; all else is the same.
        scale: 0 gives ``unconditional``, 1 ``conditional``.
    """
    result: Velocity = unconditional + (conditional - unconditional) * scale
    return result


def stands_still(rule: GuidanceRule, index: int) -> bool:
    """Whether the velocity of step ``index`` is zero by the rule, so that no network is asked."""
    return rule.method == "cfg_zero_star" and index < rule.zero_steps


def check_guidance(field: str, scale: float) -> None:
    """Raise InvalidRequest unless ``scale`` is a number from 0."""
    if not (math.isfinite(scale) and scale >= 0):
        raise InvalidRequest(field, f"{scale:g} is not a scale", allowed="0 or more; 1 switches guidance off")
