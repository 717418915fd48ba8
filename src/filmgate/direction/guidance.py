"""Which guidance a request asks for, beyond its scales."""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.spec.adapters import GuidanceRule
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request


def guidance_rule(request: Request) -> GuidanceRule:
    """The method, with the numbers of its authors."""
    return GuidanceRule() if request.guidance_method is None else GuidanceRule(method=request.guidance_method)


def check_method(request: Request, *, started: bool) -> None:
    """Normalised attention guidance takes the place of a scale.

    Args:
        request: The wish.
        started: The high-noise scale is for the first steps of a few-step preset.

    Raises:
        InvalidRequest: both are asked for, or the interval is not one.
    """
    # One scale for both experts, as --guidance asks for, means the steps that can have one.
    low = None if started and request.guidance_low == request.guidance_high else request.guidance_low
    scales = [low] if started else [request.guidance_high, low]
    if request.guidance_method == "nag" and any(scale not in (None, 1.0) for scale in scales):
        raise InvalidRequest("guidance_method", "nag is instead of a guidance scale", allowed="nag, or a scale")
    if started and low not in (None, 1.0):
        raise InvalidRequest(
            "guidance_low", f"{low:g} is for distilled steps, which take no guidance",
            allowed="1, and guidance_high for the first steps", nearest="1",
        )  # fmt: skip
    if request.guidance_interval is not None:
        first, last = request.guidance_interval
        if not 0 <= first < last <= 1:
            raise InvalidRequest(
                "guidance_interval", f"{first:g} to {last:g} is no range of noise levels",
                allowed="the lower one first, both from 0 to 1",
            )  # fmt: skip


def guidance_at(request: Request, sigma: float, scale: float) -> float:
    """The scale at a noise level: 1, which is a single pass, outside the interval (arXiv 2404.07724) and with nag."""
    low, high = request.guidance_interval or (0.0, 1.0)
    return scale if low <= sigma <= high and request.guidance_method != "nag" else 1.0


def guidance_warnings(request: Request, plan: Plan) -> Iterator[str]:
    """What has no effect."""
    if plan.guidance_rule.method in ("cfg_zero_star", "apg") and not any(step.passes == 2 for step in plan.steps):
        yield f"guidance is off, so that {plan.guidance_rule.method} has no effect"
    elif request.guidance_interval is not None and not any(step.passes == 2 for step in plan.steps):
        yield "no step lies in the guidance interval, or guidance is off"
