"""The tasks of a migration, sized by what is known. The guide's own lists are all in it; the days are our estimates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from filmgate.direction.published import PUBLISHED
from filmgate.economics.decision import Choice, Deployment
from filmgate.economics.feasibility import Setup
from filmgate.economics.roadmap_contradictions import today_amount
from filmgate.economics.roadmap_inputs import Inputs
from filmgate.economics.sizing import ARMS, PROMPTS, RATERS, SEEDS, Sizes
from filmgate.spec.units import duration_text

PhaseId = Literal["assessment", "prompts", "integration", "validation", "month_1", "quarter_1"]


class PhasePlan(NamedTuple):
    """Title of a phase, the working day from the start before which it does not begin, and the working days that it
    takes at least."""

    title: str
    earliest: int
    least: int


PHASES: Mapping[PhaseId, PhasePlan] = MappingProxyType(
    {
        "assessment": PhasePlan("Assessment", 0, 5),
        "prompts": PhasePlan("Prompts", 5, 5),
        "integration": PhasePlan("Integration", 10, 10),
        "validation": PhasePlan("Validation", 15, 5),
        "month_1": PhasePlan("Month 1 in production", 20, 20),
        "quarter_1": PhasePlan("Quarter 1 in production", 40, 40),
    }
)
PRODUCER, WRITER, ENGINEER = "producer", "prompt writer", "pipeline engineer"
OPERATIONS, EVALUATION, FINANCE = "operations", "evaluation lead", "finance"
ROLES = (PRODUCER, WRITER, ENGINEER, OPERATIONS, EVALUATION, FINANCE)
OURS = "estimate"
GUIDE = "guide 'WAN 2.2 vs WAN 2.1'"
SAMPLE, TRIAL = 10, 20
"""Videos that are made first to measure, and those that a new setup must make in a row without a failure."""
_MACHINES: Mapping[Deployment | None, tuple[str, float]] = MappingProxyType(
    {
        None: ("Set up the machine that Wan 2.2 will run on", 3.0),
        "here": ("Install on this machine, and keep what Wan 2.1 needs beside it", 1.0),
        "hybrid": ("Install on this machine, and set up serverless GPUs for what it cannot take", 3.0),
        "own": ("Buy and install the machine", 8.0),
        "pay_per_use": ("Open an account for serverless GPUs or a hosted service, and set a spending limit", 2.0),
        "serverless": ("Open an account for serverless GPUs, and set a spending limit", 2.0),
        "rented": ("Choose whom to rent from, and script start, batch and stop of a machine", 3.0),
        "reserved": ("Reserve or buy the machines, and script what happens if one fails", 5.0),
    }
)


class Draft(NamedTuple):
    """A task before it has dates. Without ``after`` it waits for the whole phase before its own. ``same`` is what makes
    it the same task when a roadmap is made again; empty: its words."""

    id: str
    phase: PhaseId
    words: str
    role: str
    days: float
    because: str = OURS
    after: tuple[str, ...] = ()
    unattended: bool = False
    same: str = ""


def scope_of(phase: PhaseId, inputs: Inputs) -> str:
    """What all tasks and gates of a phase are about: with another one they are to be done again."""
    best = _best(inputs)
    if phase in ("assessment", "prompts"):
        return ""
    if best is None:
        return _target(inputs) or "Wan 2.2"
    model = f"{best.setup.model} {best.setup.form}"
    return f"{model} {best.setup.place} {best.deployment}" if phase == "integration" else model


def drafts_of(inputs: Inputs, sizes: Sizes) -> tuple[Draft, ...]:
    """All tasks, each after those that it needs."""
    return (
        *_assessment(inputs, sizes),
        *_prompts(inputs, sizes),
        *_integration(inputs),
        *_validation(sizes),
        *_month(sizes),
        *_quarter(inputs),
    )


def _best(inputs: Inputs) -> Choice | None:
    return None if inputs.assessment is None else inputs.assessment.recommended


def _target(inputs: Inputs) -> str | None:
    best = _best(inputs)
    if best is not None:
        return best.setup.model
    return None if inputs.upgrade is None else inputs.upgrade.target


def _assessment(inputs: Inputs, sizes: Sizes) -> Iterator[Draft]:
    phase: PhaseId = "assessment"
    target, best = _target(inputs), _best(inputs)
    if target is not None:
        published = PUBLISHED[target]
        words = f"Fetch {published.repository}: {published.gigabytes} GB, `filmgate fetch {target}`"
    else:
        words = "Choose a model (`filmgate assess`) and fetch it"
    yield Draft("assessment.fetch", phase, words, ENGINEER, 1, "published size", unattended=True)
    words = "List workflows with their prompts, LoRAs and settings, the most important first"
    yield Draft("assessment.list", phase, words, PRODUCER, 2, GUIDE)
    words = f"Judge the last {sizes.baseline} attempts of Wan 2.1: usable or not, and why"
    yield Draft(
        "assessment.baseline", phase, words, EVALUATION, sizes.baseline_days, "sample size for the usable share"
    )
    words, because = "Work out what a usable video costs today", GUIDE
    today = today_amount(inputs)
    if inputs.costs is not None and today is not None:
        words = f"Compare with invoices: a usable video costs {today.amount:.2f} {inputs.costs.currency} ({today.name})"
        because = "costs"
    same = "" if today is None else f"{today.name} {today.model}"
    yield Draft("assessment.cost", phase, words, FINANCE, 1, because, same=same)
    words = "Reckon whether it pays, with what this way itself costs in it: `filmgate roi`"
    yield Draft("assessment.pays", phase, words, FINANCE, 0.5, OURS, ("assessment.cost",))
    words = f"Render {SAMPLE} prompts of your own, and measure: `filmgate plan --measure`"
    because = GUIDE
    if best is not None:
        words += f"; a clip should take {duration_text(best.setup.seconds)}"
        because = "assessment"
    same = "" if best is None else f"{best.setup.model} {best.setup.form} {best.setup.place}"
    yield Draft("assessment.sample", phase, words, ENGINEER, 1, because, ("assessment.fetch",), same=same)
    needed = ("assessment.list", "assessment.baseline", "assessment.pays", "assessment.sample")
    words = "Assess again with measured numbers, and decide on model and deployment"
    same = "" if best is None else " ".join(best.kind)
    yield Draft("assessment.decide", phase, words, PRODUCER, 0.5, OURS, needed, same=same)


def _prompts(inputs: Inputs, sizes: Sizes) -> Iterator[Draft]:
    phase: PhaseId = "prompts"
    facts = inputs.prompts
    count = "all" if sizes.prompts is None else str(sizes.prompts)
    words = f"Migrate {count} prompts: `filmgate migrate prompt --batch FILE`"
    yield Draft("prompts.migrate", phase, words, WRITER, 0.5)
    if facts is None:
        words, because = "Finish what the program could not, and read the others", "set aside"
    else:
        words = (
            f"Finish what needs a person ({facts.incomplete} incomplete, {facts.conflict} contradictory, {facts.error}"
            f" unreadable, of {facts.count}), and read the other {facts.count - facts.for_people}"
        )
        because = "migrated prompts"
    # That fewer need a person later is its success, and no other task.
    yield Draft(
        "prompts.review", phase, words, WRITER, sizes.review_days, because, ("prompts.migrate",),
        same=f"{count} prompts",
    )  # fmt: skip
    words = "Compare negative prompts with the new model's default"
    yield Draft("prompts.negatives", phase, words, WRITER, 0.5, "published defaults", ("prompts.migrate",))
    words = "Store the final text with every job; nothing expands it again"
    yield Draft("prompts.freeze", phase, words, ENGINEER, 0.5, OURS, ("prompts.review", "prompts.negatives"))
    words = "Show the team how Wan 2.2 is prompted, on their own examples"
    yield Draft("prompts.train", phase, words, WRITER, 1, GUIDE, ("prompts.review",))


def _integration(inputs: Inputs) -> Iterator[Draft]:
    phase: PhaseId = "integration"
    made, best = inputs.upgrade, _best(inputs)
    if made is None:
        yield Draft("integration.config", phase, "Bring the settings over: `filmgate migrate config`", ENGINEER, 2)
    else:
        words = f"Bring the settings over: {len(made.changed)} change, {len(made.to_check)} must be looked at"
        yield Draft("integration.config", phase, words, ENGINEER, 1 + 0.1 * len(made.to_check), "migrated settings")
    words, days = _MACHINES[None if best is None else best.deployment]
    yield Draft("integration.machine", phase, words, OPERATIONS, days, OURS if best is None else "assessment")
    yield from _loras(inputs)
    words = "Keep Wan 2.1 runnable: pin its environment, and note the hashes of its weights"
    yield Draft("integration.pin", phase, words, OPERATIONS, 1)
    words = "Watch queue, failures, seconds of a clip and usable share, with an alarm for each"
    yield Draft("integration.watch", phase, words, OPERATIONS, 2, OURS, ("integration.machine",))
    ready = ("integration.config", "integration.machine")
    words = f"Make {TRIAL} videos from order to file, and repeat one: `filmgate rerun` must find the same frames"
    yield Draft("integration.trial", phase, words, ENGINEER, 1, OURS, ready)
    words = "Rehearse the way back: one workflow to Wan 2.2 and back"
    yield Draft("integration.rehearse", phase, words, OPERATIONS, 0.5, OURS, ("integration.pin", "integration.trial"))


def _loras(inputs: Inputs) -> Iterator[Draft]:
    entries = () if inputs.upgrade is None else tuple(e for e in inputs.upgrade.entries if e.field == "lora")
    dropped = sum(entry.fate == "dropped" for entry in entries)
    carried = len(entries) - dropped
    if dropped:
        words = f"Replace or train again {_count(dropped, 'LoRA')} that Wan 2.2 cannot take"
        yield Draft("integration.train", "integration", words, ENGINEER, 3.0 * dropped, "migrated settings",
                    unattended=True)  # fmt: skip
    if carried:
        words = f"Compare {_count(carried, 'LoRA')} on the low-noise expert alone and on both"
        yield Draft("integration.lora", "integration", words, ENGINEER, 1.0 * carried, "migrated settings")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _validation(sizes: Sizes) -> Iterator[Draft]:
    phase: PhaseId = "validation"
    share = sizes.machine_days / ARMS
    hours = "" if sizes.machine_hours is None else f", {sizes.machine_hours:.0f} GPU-hours for all arms"
    words = (
        f"Write down before: {PROMPTS} prompts or more, {SEEDS} seeds or more each, {sizes.pairs} pairs, the measures,"
        " and what will be decided by them"
    )
    yield Draft("validation.plan", phase, words, EVALUATION, 1, "sample size", ("prompts.freeze",))
    words = f"Render {sizes.pairs} clips on Wan 2.1 with the old prompts{hours}"
    yield Draft(
        "validation.old", phase, words, ENGINEER, share, "seconds of a clip", ("validation.plan",), unattended=True,
        same=f"{sizes.pairs} pairs",
    )  # fmt: skip
    words = f"Render {(ARMS - 1) * sizes.pairs} clips on Wan 2.2: old prompts and migrated ones, same seeds"
    painting = ("validation.plan", "integration.rehearse")
    yield Draft(
        "validation.new", phase, words, ENGINEER, (ARMS - 1) * share, "seconds of a clip", painting, unattended=True
    )
    arms = ("validation.old", "validation.new")
    words = f"Judge every clip: usable or not, without knowing the model ({ARMS * sizes.pairs} clips)"
    yield Draft("validation.usable", phase, words, EVALUATION, ARMS * sizes.pairs / 360, "one minute a clip", arms)
    words = f"Vote in pairs, blind, {RATERS} people ({sizes.vote_hours:.0f} hours together)"
    yield Draft("validation.vote", phase, words, PRODUCER, sizes.vote_days, "45 s a vote", arms)
    words = "Show team and clients the random and the worst clips, and write down what they say"
    yield Draft("validation.clients", phase, words, PRODUCER, 2, GUIDE, arms)
    needed = ("validation.usable", "validation.vote", "validation.clients")
    words = "Reckon: intervals, cost of a usable video, and decide by what was written down"
    yield Draft("validation.decide", phase, words, EVALUATION, 1, OURS, needed)


def _month(sizes: Sizes) -> Iterator[Draft]:
    phase: PhaseId = "month_1"
    shown = "" if sizes.first_week is None else f" (about {sizes.first_week:.0f} attempts a week)"
    words = f"{sizes.first_share:.0%} of the work on Wan 2.2 for a week{shown}"
    because = OURS if sizes.first_week is None else "volume of the assessment"
    same = f"{sizes.first_share:.0%}"
    yield Draft("month_1.first", phase, words, OPERATIONS, 5, because, unattended=True, same=same)
    before = ("month_1.first",)
    if sizes.first_share < 0.5:
        yield Draft("month_1.half", phase, "50 % of the work for a week", OPERATIONS, 5, OURS, before, unattended=True)
        before = ("month_1.half",)
    yield Draft(
        "month_1.all", phase, "All of the work; Wan 2.1 stands by", OPERATIONS, 5, OURS, before, unattended=True
    )
    yield Draft("month_1.priority", phase, "Migrate the most important workflows of the list", ENGINEER, 5, GUIDE)
    yield Draft("month_1.train", phase, "Train the team on what the comparison has shown", WRITER, 2, GUIDE)
    words = "Report every week: usable share, cost of a usable video, time to ready, how busy devices are"
    yield Draft("month_1.report", phase, words, EVALUATION, 2, GUIDE)
    words = "Complete the assessment of the infrastructure with the first weeks' numbers"
    yield Draft("month_1.assess", phase, words, OPERATIONS, 1, GUIDE, before)


def _quarter(inputs: Inputs) -> Iterator[Draft]:
    phase: PhaseId = "quarter_1"
    yield Draft("quarter_1.rest", phase, "Migrate all other workflows", ENGINEER, 10, GUIDE)
    yield from _few_steps(inputs)
    yield Draft("quarter_1.custom", phase, "Develop your own workflows and LoRAs", ENGINEER, 10, GUIDE)
    words, because = "Lower the cost: fresh prices, other cards, other forms", GUIDE
    if inputs.costs is not None and inputs.costs.prices:
        words += f" ({inputs.costs.stale} of {inputs.costs.prices} prices are old)"
        because = "costs"
    yield Draft("quarter_1.cost", phase, words, FINANCE, 3, because, same="cost")
    full = None if inputs.assessment is None else inputs.assessment.full_in
    words = "Scale by what was measured"
    if full is not None:
        words += f": with the growth that was given, devices are full in month {full}"
    yield Draft("quarter_1.scale", phase, words, OPERATIONS, 2, GUIDE if full is None else "assessment", same="scale")
    words = "Wan 2.1 stands by and is not used"
    yield Draft("quarter_1.standby", phase, words, OPERATIONS, 22, "gate of 30 days", unattended=True)
    needed = ("quarter_1.rest", "quarter_1.scale", "quarter_1.cost", "quarter_1.standby")
    words = "Retire Wan 2.1: archive weights, hashes and environment"
    yield Draft("quarter_1.retire", phase, words, OPERATIONS, 1, OURS, needed)


def _few_steps(inputs: Inputs) -> Iterator[Draft]:
    """Comparing 4-step weights, where that has not been done, with what they would save."""
    made, best = inputs.assessment, _best(inputs)
    if made is None or best is None or best.setup.form == "few_steps" or made.needs.quality == "broadcast":
        return
    few = _few_of(made.setups, best.setup)
    if few is not None:
        words = (
            f"Compare {few.distilled} ({few.steps} steps) with the published weights: a clip would take"
            f" {duration_text(few.seconds)} in place of {duration_text(best.setup.seconds)}"
        )
        yield Draft("quarter_1.few_steps", "quarter_1", words, EVALUATION, 5, "assessment", same=str(few.distilled))


def _few_of(setups: tuple[Setup, ...], best: Setup) -> Setup | None:
    same = (one for one in setups if (one.model, one.place) == (best.model, best.place))
    return next((one for one in same if one.form == "few_steps" and one.fits), None)
