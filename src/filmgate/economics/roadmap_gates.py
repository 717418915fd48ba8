"""What must be true before a phase is left, or entered: measures with numbers.

Numbers of the comparison: the interval of the difference in usable share excludes a loss of 5 points, the cost of a
usable video is known to 15 %, and votes do not prefer the old by more than 55 to 45.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from filmgate.economics.roadmap_contradictions import contradictions, planned_amount, today_amount
from filmgate.economics.roadmap_inputs import Inputs, OptionCost
from filmgate.economics.roadmap_tasks import TRIAL, PhaseId
from filmgate.economics.samples import half_width
from filmgate.economics.sizing import COST_OFF, MARGIN, SHARE_OFF, Sizes
from filmgate.economics.throughput import BUSIEST
from filmgate.spec.units import duration_text, size_text

_FAILED, _LATER, _PLANNED = 0.02, 1.2, 0.20
_TEXT_TOKENS = 512
_LIKELY = 0.50


class GateDraft(NamedTuple):
    """A gate before it has a date. What stands behind a semicolon in ``target`` says how things are, and may change."""

    name: str
    when: Literal["entry", "exit"]
    measure: str
    target: str
    how: str
    amount: str = ""

    @property
    def same(self) -> str:
        """What makes it the same gate when a roadmap is made again."""
        return f"{self.measure}: {self.target.partition('; ')[0]}{self.amount}"


def gates_of(phase: PhaseId, inputs: Inputs, sizes: Sizes) -> Iterator[GateDraft]:
    """The gates of a phase."""
    match phase:
        case "assessment":
            yield from _assessment(inputs, sizes)
        case "prompts":
            yield from _prompts(inputs)
        case "integration":
            yield from _integration(inputs)
        case "validation":
            yield from _validation(inputs, sizes)
        case "month_1":
            yield from _month(inputs, sizes)
        case "quarter_1":
            yield from _quarter(inputs)


def _assessment(inputs: Inputs, sizes: Sizes) -> Iterator[GateDraft]:
    points = 100 * SHARE_OFF
    target = f"known to {points:.0f} points: {sizes.baseline} attempts"
    yield GateDraft("usable", "exit", "usable share of Wan 2.1", target, "Wilson's interval, 95 %")
    best = None if inputs.assessment is None else inputs.assessment.recommended
    if best is not None:
        planned = duration_text(best.setup.seconds)
        yield GateDraft("seconds", "exit", "seconds of a clip", f"within {_PLANNED:.0%} of the planned {planned}",
                        "`filmgate plan --measure`")  # fmt: skip
    yield GateDraft("confidence", "exit", "confidence of the assessment", "medium or high", "`filmgate assess`")
    today = today_amount(inputs)
    target = f"known to {COST_OFF:.0%}{_reckoned(inputs, today)}"
    yield GateDraft("cost", "exit", "cost of a usable video today", target, "invoices / usable videos")
    yield _pays(inputs)


def _pays(inputs: Inputs) -> GateDraft:
    """Whether the move earns what it costs; numbers only where they are of this plan."""
    costs = inputs.costs
    target = f"above 0, in more than {_LIKELY:.0%} of draws"
    if costs is not None and costs.present_value is not None and not contradictions(inputs):
        target += f"; now {costs.present_value:,.0f} {costs.currency} as planned"
        if costs.median_value is not None and costs.chance_positive is not None:
            target += f", {costs.median_value:,.0f} in the middle, above 0 in {costs.chance_positive:.0%}"
        if not costs.move_counted:
            target += ", without what this way costs"
    measure = "does it pay: present value of the move, with what this way costs"
    return GateDraft("pays", "exit", measure, target, "`filmgate roi`")


def _prompts(inputs: Inputs) -> Iterator[GateDraft]:
    yield GateDraft("listed", "entry", "workflows on the list", "all, with an owner each", "the list")
    facts = inputs.prompts
    coverage, opened = "", ""
    if facts is not None:
        coverage = f"; lowest now {facts.lowest_coverage:.0%}, mean {facts.mean_coverage:.1%}"
        opened = f"; now {facts.incomplete} and {facts.conflict + facts.error}"
    yield GateDraft("coverage", "exit", "required parts of every prompt that came through", f"100 %{coverage}",
                    "ledger of `filmgate migrate prompt`")  # fmt: skip
    yield GateDraft(
        "open", "exit", "prompts that are incomplete, or contradictory", f"0 and 0{opened}", "status of each"
    )
    yield GateDraft("tokens", "exit", "tokens of the longest prompt", f"{_TEXT_TOKENS} at most", "`filmgate plan`")


def _integration(inputs: Inputs) -> Iterator[GateDraft]:
    yield GateDraft("frozen", "entry", "prompts whose final text is stored", "all", "`prompts.freeze` is done")
    yield GateDraft("row", "exit", "videos in a row without a failure", f"{TRIAL}", "trial run")
    made = inputs.assessment
    best = None if made is None else made.recommended
    if made is not None and best is not None:
        ready = _ready(inputs)
        yield GateDraft("ready", "exit", "time from order to file, 19 of 20", f"{ready} at most", "trial run")
        memory = next(place.device.memory_bytes for place in made.places if place.name == best.setup.place)
        target = f"{size_text(memory)} at most; planned {size_text(best.setup.device_bytes)}"
        yield GateDraft("memory", "exit", "peak memory of the device", target, "manifest of every video")
    yield GateDraft("same", "exit", "frames of a repeated video", "identical", "`filmgate rerun`")
    yield GateDraft("back", "exit", "time to go back to Wan 2.1", "1 working day at most", "rehearsal")


def _ready(inputs: Inputs) -> str:
    """The deadline where there is one, else a fifth more than was planned."""
    made = inputs.assessment
    if made is None or made.recommended is None or made.recommended.work.ready_seconds is None:
        return "the deadline"
    if made.needs.deadline_minutes is not None:
        return duration_text(60 * made.needs.deadline_minutes)
    return duration_text(_LATER * made.recommended.work.ready_seconds)


def _validation(inputs: Inputs, sizes: Sizes) -> Iterator[GateDraft]:
    points = 100 * MARGIN
    yield GateDraft(
        "written", "entry", "measures and decision rule", "written down before the first clip", "a dated file"
    )
    target = f"95 % interval above -{points:.0f} points ({sizes.pairs} pairs)"
    measure = "usable share, Wan 2.2 with migrated prompts less Wan 2.1"
    yield GateDraft("usable", "exit", measure, target, "paired by prompt and seed")
    target = f"known to {COST_OFF:.0%}{_reckoned(inputs, planned_amount(inputs))}"
    yield GateDraft("cost", "exit", "cost of a usable video on Wan 2.2", target, "all attempts counted")
    yield _pays(inputs)
    yield GateDraft("votes", "exit", "votes for Wan 2.2, ties half", "lower bound of 95 % above 45 %",
                    "bootstrap over prompts")  # fmt: skip
    yield GateDraft("critical", "exit", "any single dimension (people, text, camera, flicker)",
                    f"no worse by more than {points:.0f} points", "reasons of unusable clips")  # fmt: skip


def _month(inputs: Inputs, sizes: Sizes) -> Iterator[GateDraft]:
    yield GateDraft("accepted", "entry", "decision of the comparison", "accepted, in writing", "`validation.decide`")
    least = sizes.usable - MARGIN
    shown = ""
    if sizes.first_week is not None and sizes.first_week >= 1:
        off = 100 * half_width(sizes.usable, max(1, round(sizes.first_week)))
        shown = f"; the first week alone is only good to {off:.0f} points"
    yield GateDraft(
        "usable", "exit", "usable share in production", f"{least:.0%} or more{shown}", "every attempt judged"
    )
    yield GateDraft("failed", "exit", "jobs that fail", f"{_FAILED:.0%} at most", "queue")
    yield GateDraft("ready", "exit", "time from order to file, 19 of 20", f"{_ready(inputs)} at most", "queue")
    yield GateDraft("all", "exit", "working days with all of the work on Wan 2.2", "5 without going back", "queue")


def _reckoned(inputs: Inputs, option: OptionCost | None) -> str:
    """An amount that was reckoned, for the end of a target."""
    if inputs.costs is None or option is None:
        return ""
    return f"; reckoned {option.amount:.2f} {inputs.costs.currency} ({option.name})"


def _quarter(inputs: Inputs) -> Iterator[GateDraft]:
    yield GateDraft("month", "entry", "gates of month 1", "all passed", "this roadmap")
    amount = _reckoned(inputs, planned_amount(inputs))
    target = f"within {COST_OFF:.0%} of the plan{amount}"
    yield GateDraft("cost", "exit", "cost of a usable video over a month", target, "invoices", amount)
    yield GateDraft("busy", "exit", "how busy devices are", f"{BUSIEST:.0%} of their hours at most", "queue")
    yield GateDraft("unused", "exit", "days since Wan 2.1 was last used", "30 or more", "queue")
