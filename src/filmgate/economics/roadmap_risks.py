"""What can go wrong on the way, by what it is noticed, and how each phase is undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from filmgate.economics.roadmap_inputs import Inputs
from filmgate.economics.roadmap_tasks import PhaseId
from filmgate.economics.sizing import MARGIN, Sizes
from filmgate.spec.shape import Frozen

Degree = Literal["low", "medium", "high"]

ROLLBACKS: Mapping[PhaseId, str] = MappingProxyType(
    {
        "assessment": "Nothing was changed: stop here.",
        "prompts": "Old prompts stay as they are beside the new ones; go on with the old.",
        "integration": "Wan 2.1 still does all of the work; switch the new setup off.",
        "validation": "Wan 2.1 still does all of the work; keep the clips for the comparison of the next attempt.",
        "month_1": (
            "Send all of the work back to Wan 2.1 within a working day: if the usable share's upper bound falls below"
            " the gate, if more than 2 % of a day's jobs fail, or if videos are late on two days running."
        ),
        "quarter_1": "As in month 1, as long as Wan 2.1's weights and environment are kept: until the last gate.",
    }
)
"""How each phase is undone."""


class Risk(Frozen):
    """``sign`` is how it is noticed, ``answer`` what is done about it; ``because`` says where it comes from."""

    id: str
    words: str
    likely: Degree
    harm: Degree
    sign: str
    answer: str
    because: str


def risks_of(inputs: Inputs, sizes: Sizes) -> tuple[Risk, ...]:
    """Risks, those of the inputs first."""
    found = (*_of_assessment(inputs), *_of_prompts(inputs), *_of_settings(inputs), *_of_costs(inputs))
    return (*found, *_always(sizes))


def _of_assessment(inputs: Inputs) -> Iterator[Risk]:
    made = inputs.assessment
    if made is None:
        return
    if made.needs.usable_rate is None:
        yield Risk(
            id="usable", words="Fewer attempts are usable than was assumed", likely="medium", harm="high",
            sign=f"the baseline shows less than {made.needs.usable:.0%}",
            answer="Assess again with the measured share before anything is bought", because="assessment",
        )  # fmt: skip
    trust = made.confidence
    if trust is not None:
        held = "stays the same" if trust.robust else "changes"
        yield Risk(
            id="speed", words=f"Clips take longer than planned; the recommendation {held} at half as long again",
            likely="medium" if trust.level == "low" else "low", harm="medium" if trust.robust else "high",
            sign="the first ten videos", answer="`filmgate plan --measure`, then assess again", because="assessment",
        )  # fmt: skip
    for flip in made.flips:
        if flip.field in ("videos", "usable_rate"):
            then = flip.becomes or "nothing that was compared"
            yield Risk(
                id=f"flip-{flip.field}-{'more' if flip.condition.endswith('more') else 'less'}",
                words=f"The recommendation turns at {flip.condition}", likely="low", harm="medium",
                sign="the weekly report", answer=f"Then: {then}", because="assessment",
            )  # fmt: skip


def _of_prompts(inputs: Inputs) -> Iterator[Risk]:
    facts = inputs.prompts
    if facts is None or not facts.for_people:
        return
    yield Risk(
        id="prompts", words=f"{facts.for_people} of {facts.count} prompts cannot be migrated without a person",
        likely="high", harm="low", sign="their status",
        answer="A person completes them; none goes into the comparison before", because="migrated prompts",
    )  # fmt: skip


def _of_settings(inputs: Inputs) -> Iterator[Risk]:
    made = inputs.upgrade
    if made is None:
        return
    loras = [entry for entry in made.entries if entry.field == "lora"]
    if loras:
        lost = sum(entry.fate == "dropped" for entry in loras)
        yield Risk(
            id="lora", words=f"LoRAs do not carry over: {lost} of {len(loras)} are dropped, the others fit in part",
            likely="high" if lost else "medium", harm="medium", sign="clips of a known client look like nobody's",
            answer="Train them again before that client's workflow moves", because="migrated settings",
        )  # fmt: skip
    if made.gigabytes and made.gigabytes_before and made.gigabytes > made.gigabytes_before:
        words = f"Weights take {made.gigabytes} GB in place of {made.gigabytes_before} GB, both for a while"
        yield Risk(
            id="disk", words=words, likely="medium", harm="low", sign="`filmgate assess` and `filmgate doctor`",
            answer=f"Make room for {made.gigabytes + made.gigabytes_before} GB first", because="published sizes",
        )  # fmt: skip


def _of_costs(inputs: Inputs) -> Iterator[Risk]:
    costs = inputs.costs
    if costs is None:
        return
    if costs.stale:
        yield Risk(
            id="prices", words=f"{costs.stale} of {costs.prices} prices are older than 90 days", likely="high",
            harm="medium", sign="the first invoice", answer="Ask for offers, and reckon again with them",
            because="costs",
        )  # fmt: skip
    if costs.break_even is not None:
        chances = ", ".join(f"{share:.0%} by month {month}" for month, share in costs.chance_by_month)
        yield Risk(
            id="payback", words=f"{costs.candidate} against {costs.baseline} pays off: {costs.break_even}",
            likely="medium", harm="high", sign=f"chances: {chances}" if chances else "the monthly saving",
            answer="Rent before buying, until the saving was seen for a month", because="costs",
        )  # fmt: skip


def _always(sizes: Sizes) -> Iterator[Risk]:
    words = f"The comparison cannot tell: the gain is smaller than assumed, and {sizes.pairs} pairs are too few"
    yield Risk(
        id="gain", words=words, likely="medium", harm="medium",
        sign=f"the interval is wider than {200 * MARGIN:.0f} points",
        answer="Add prompts, not raters; or accept that it is no worse", because="sample size",
    )  # fmt: skip
    yield Risk(
        id="service", words="A hosted model is withdrawn, or its price changes", likely="medium", harm="medium",
        sign="the seller's notice; a price older than 90 days",
        answer="Weights are open: keep them, and know what your own way costs",
        because="hosted models have been retired",
    )  # fmt: skip
    yield Risk(
        id="drift", words="Another tool's defaults differ from the published settings", likely="medium", harm="medium",
        sign="other steps per expert than planned", answer="`filmgate export` writes every setting out",
        because="Diffusers' shift of 3 in place of 12",
    )  # fmt: skip
