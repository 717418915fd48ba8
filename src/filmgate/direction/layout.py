"""How devices share a plan, and what they lose at least by that.

Guidance is divided first: two devices that read a text each exchange one latent per pass and are otherwise alone. What
is left divides the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.direction.workload import workload_of
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.layout import Layout
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request

EFFICIENCY = {1: 1.0, 2: 0.97, 4: 0.93, 8: 0.84}
"""Part of a device's speed that is left where so many divide tokens. Not measured on our engine: what others report of
Ulysses with Wan 2.1 and 2.2 14B at 720p on H100 (97 % at 2 in Wan 2.1's report, 90 to 96 % at 4, 84 % at 8)."""
DECODING_EFFICIENCY = 0.85
"""The same for decoding and encoding by rows. The goal, not a measurement."""


def asked_layout(request: Request, plan: Plan) -> Layout:
    """How as many devices as a request asks for share a plan.

    What bounds their number is the tokens, of which each must have one: any number of devices divides them, by heads as
    far as these go and then in a ring.

    Raises:
        InvalidRequest: they cannot.
    """
    count = 1 if request.gpus is None else request.gpus
    if count < 1:
        raise InvalidRequest("gpus", f"{count} is too few", allowed="1 or more", nearest="1")
    if count == 1:
        return Layout()
    if plan.device.kind == "mps":
        raise InvalidRequest("gpus", "Apple's GPU is one", allowed="1", nearest="1")
    if plan.device.kind == "cpu" and request.device != "cpu":
        raise InvalidRequest(
            "gpus", f"there are no {count} GPUs here", nearest="1",
            allowed="1, or a device profile to plan for another machine, or --device cpu for as many processes",
        )  # fmt: skip
    guided = sum(step.passes == 2 for step in plan.steps)
    texts = 2 if 2 * guided > len(plan.steps) and plan.guidance_rule.method != "nag" else 1
    cfg = texts if count % 2 == 0 else 1
    tokens = workload_of(plan).tokens
    if count // cfg > tokens:
        what = f"{count} {_noun(plan)} cannot divide {tokens} tokens of {plan.video} among themselves: each needs one"
        even = f"1 to {tokens}, or an even number up to {2 * tokens}, of which half read the negative prompt"
        nearest = min(count // texts * texts, texts * tokens)
        raise InvalidRequest("gpus", what, allowed=even if texts == 2 else f"1 to {tokens}", nearest=str(nearest))
    return Layout(cfg=cfg, sequence=count // cfg)


def _noun(plan: Plan) -> str:
    return "processes" if plan.device.kind == "cpu" else "GPUs"


def layout_warnings(plan: Plan) -> Iterator[str]:
    """What makes several devices slower than they could be, and what is not known of so many."""
    if plan.layout.ranks > 1 and plan.device.kind == "cpu":
        yield f"{plan.layout.ranks} processes share one CPU: that is for tests, one process is as fast"
    heads, count = plan.model.dit.heads, plan.layout.sequence
    if heads % count:
        yield f"{heads} heads do not divide by {count} devices: keys and values go round in a ring, which takes longer"
    known = max(EFFICIENCY)
    if count > known and plan.device.kind != "cpu":
        yield f"the time of {count} GPUs that divide tokens is a guess: others report up to {known} in one machine"


def efficiency(count: int) -> float:
    """Part of a device's speed that is left where so many divide tokens: that of as many as are known, or of the next
    larger number that is."""
    return next((part for known, part in EFFICIENCY.items() if known >= count), min(EFFICIENCY.values()))
