"""An assessment as a report."""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.economics.assess import Assessment
from filmgate.economics.confidence import Evidence
from filmgate.economics.decision import DEPLOYMENTS, Choice, budget_unknown
from filmgate.economics.document import Block, Bullets, Document, Heading, Table, Verdict, Words
from filmgate.economics.feasibility import Setup
from filmgate.economics.machine import MachineFacts
from filmgate.economics.needs import QUESTIONS, Needs
from filmgate.economics.ways import WAYS, Way
from filmgate.spec.units import duration_text, size_text

_LEGEND = (
    "Time of a clip and memory of the device; *: blocks come from the machine's memory while they are needed. A size is"
    " named where it is smaller than what is needed."
)
_UNITS = {"seconds": " s", "deadline_minutes": " min", "budget": " USD a month", "growth": " % a month"}


def assessment_document(assessment: Assessment, *, whole: bool = True) -> Document:
    """The report; not ``whole``: without the models that are not asked for and without the answers."""
    blocks: list[Block] = [_verdict(assessment)]
    best = assessment.recommended
    if best is not None:
        blocks += [Table(("", "recommended", "runner-up"), tuple(_compared(assessment, best)))]
        blocks += [Words(f"What decides between them: {assessment.deciding}.")]
        blocks += _trust(assessment)
    if assessment.would_do:
        blocks += [Heading("What would do"), Bullets(assessment.would_do)]
    if assessment.flips:
        blocks += [Heading("When it becomes something else"), Table(("if", "then"), tuple(_flips(assessment)))]
    blocks += _ways(assessment)
    blocks += _today(assessment)
    blocks += [Heading("Which model fits where"), _feasibility(assessment, whole=whole), Words(_LEGEND)]
    blocks += [Heading("Rules as they were applied"), _votes(assessment), _rules(assessment, whole=whole)]
    if assessment.machine is not None:
        blocks += [Heading("This machine"), Table(("", ""), tuple(_machine(assessment.machine)))]
    if whole:
        blocks += [Heading("What was answered"), Table(("question", "answer"), tuple(_answers(assessment.needs)))]
    if assessment.notes:
        blocks += [Heading("To know"), Bullets(assessment.notes)]
    needs = assessment.needs
    subtitle = f"{needs.videos} usable videos a month of {needs.seconds:g} s at {needs.resolution}, {needs.quality}"
    return Document("Assessment for Wan 2.2", f"{subtitle}. As of {assessment.as_of}.", tuple(blocks))


def _verdict(assessment: Assessment) -> Verdict:
    best = assessment.recommended
    if best is None:
        return Verdict("Nothing meets these needs.", f"What rules it out: {assessment.deciding}.")
    work = best.work
    because = (
        f"{work.attempts:.0f} attempts a month take {work.gpu_hours:.0f} GPU-hours: {work.utilisation:.0%} of the hours"
        f" of {_devices(work.devices)}."
    )
    if budget_unknown(assessment.needs, best):
        because += f" It is not known whether that is within {assessment.needs.budget:g} USD a month: see what to know."
    return Verdict(f"Run {best.name}.", because)


def _devices(count: int) -> str:
    return "one device" if count == 1 else f"{count} devices"


def _compared(assessment: Assessment, best: Choice) -> Iterator[tuple[str, str, str]]:
    other = assessment.runner_up
    rights = [text for _, text in _facts(other)] if other else None
    for place, (name, left) in enumerate(_facts(best)):
        right = rights[place] if rights else "-"
        if (left, right) != ("-", "-"):
            yield name, left, right


def _facts(choice: Choice) -> list[tuple[str, str]]:
    setup, work = choice.setup, choice.work
    overflow = "-"
    if choice.overflow is not None:
        overflow = f"{choice.overflow_hours:.0f} GPU-hours a month on {choice.overflow.place}"
    return [
        ("model", setup.model),
        ("form", _form(setup)),
        ("video", f"{setup.size}, {setup.frames} frames at {setup.fps} fps"),
        ("precision", _precision(setup)),
        ("residency", setup.memory_mode),
        ("runs", DEPLOYMENTS[choice.deployment]),
        ("on", f"{work.devices} x {setup.place}"),
        ("the rest", overflow),
        ("a clip takes", f"{duration_text(setup.seconds)}, {duration_text(setup.load_seconds)} of it reading weights"),
        ("memory", f"{size_text(setup.device_bytes)} of the device, {size_text(setup.host_bytes)} of the machine"),
        ("disk", f"{setup.disk_gigabytes} GB as published"),
        ("a month takes", f"{work.gpu_hours:.1f} GPU-hours"),
        ("busy", f"{work.utilisation:.1%}, {work.busiest_day:.1%} on the busiest day"),
        ("could make", f"{work.capacity:.0f} usable videos a month"),
        ("ready within", "-" if work.ready_seconds is None else f"{duration_text(work.ready_seconds)} (19 of 20)"),
        ("rent", "-" if choice.usd is None else f"{choice.usd:.2f} USD a month, compute alone"),
    ]


def _form(setup: Setup) -> str:
    return f"{setup.distilled}, {setup.steps} steps" if setup.distilled else f"as published, {setup.steps} steps"


def _precision(setup: Setup) -> str:
    kept = "" if setup.weights == "as_computed" else f", weights in {setup.weights}"
    return f"{setup.precision}{kept}"


def _trust(assessment: Assessment) -> list[Block]:
    trust, least = assessment.confidence, assessment.least_memory
    if trust is None:
        return []
    held = "It stays the same in each of these cases" if trust.robust else "It changes in at least one of these cases"
    rows = tuple((one.what, one.basis, _age(one), one.level) for one in trust.evidence)
    words = [f"{held}: {trust.tried}."]
    if least is not None:
        words.append(f"The smallest card that the model fits in this form has {size_text(least)}.")
    if assessment.full_in is not None:
        words.append(f"With the growth that was given these devices are full in month {assessment.full_in}.")
    return [
        Heading(f"Confidence: {trust.level}"),
        Table(("what", "rests on", "as of", "trust"), rows),
        Words(" ".join(words)),
    ]


def _ways(assessment: Assessment) -> list[Block]:
    if not assessment.ways:
        return []
    rows = tuple(
        (WAYS[way.name], way.on, f"{way.usable:.2f}", f"{way.monthly:.2f}", f"{way.upfront:.0f}", _said(way))
        for way in assessment.ways
    )
    head = ("way", "on", "USD a usable video", "USD a month", "USD paid first", "")
    words = "As `filmgate cost` reckons it, with overhead, energy and a machine's part; the cheapest card of each way."
    return [Heading("What each way costs"), Table(head, rows, frozenset({2, 3, 4})), Words(words)]


def _said(way: Way) -> str:
    return "recommended" if way.chosen else "" if way.allowed else "prompts may not go there"


def _age(evidence: Evidence) -> str:
    if evidence.as_of is None or evidence.days is None:
        return "-"
    after = " later" if evidence.days < 0 else ""
    return f"{evidence.as_of}, {abs(evidence.days)} days{after}"


def _flips(assessment: Assessment) -> Iterator[tuple[str, str]]:
    for flip in assessment.flips:
        yield flip.condition, flip.becomes or "nothing that was compared will do"


def _today(assessment: Assessment) -> list[Block]:
    today, best = assessment.today, assessment.recommended
    if today is None:
        if assessment.needs.now_model is None:
            return []
        return [Heading("Today"), Words(f"{assessment.needs.now_model} does not fit where it is said to run.")]
    work, setup = today.work, today.setup
    said = (
        f"{setup.model} as published takes {duration_text(setup.seconds)} for a clip on {setup.place}"
        f" ({setup.seconds_from}), {work.gpu_hours:.0f} GPU-hours a month with the same share of usable attempts."
    )
    if best is not None:
        ratio = best.work.gpu_hours / work.gpu_hours
        said += f" The recommended takes {ratio:.2f} times that."
    return [Heading("Today"), Words(said)]


def _feasibility(assessment: Assessment, *, whole: bool) -> Table:
    """Models by form down, places across: seconds of a clip and memory, or no."""
    places = [place.name for place in assessment.places]
    shown = [one for one in assessment.setups if whole or one.able]
    forms = dict.fromkeys((one.model, one.form, one.distilled or "stock") for one in shown)
    known = {(one.model, one.form, one.place): one for one in shown}
    rows = tuple((model, name, *(_cell(known[model, form, place]) for place in places)) for model, form, name in forms)
    return Table(("model", "form", *places), rows)


def _cell(setup: Setup) -> str:
    if not setup.fits:
        return "no"
    mark = "*" if setup.offloaded else ""
    smaller = f" {setup.size}" if setup.native == "smaller" else ""
    return f"{duration_text(setup.seconds)}, {setup.device_bytes / 2**30:.0f} GiB{mark}{smaller}"


def _votes(assessment: Assessment) -> Table:
    names = {"small": "TI2V-5B", "large": "A14B"}
    rows = tuple((names[v.speaks_for], v.condition, "yes" if v.holds else "no", v.because) for v in assessment.votes)
    return Table(("choose", "when", "holds", "because"), rows)


def _rules(assessment: Assessment, *, whole: bool) -> Table:
    if not whole:
        short = tuple((r.rule.replace("_", " "), r.found, f"{r.before} -> {r.after}") for r in assessment.reasons)
        return Table(("rule", "found", "choices"), short)
    rows = tuple((r.says, r.found, f"{r.before} -> {r.after}", r.source) for r in assessment.reasons)
    return Table(("rule", "found", "choices", "source"), rows)


def _machine(facts: MachineFacts) -> Iterator[tuple[str, str]]:
    yield "system", facts.system
    yield "processor", f"{facts.processor}, {facts.cores} cores"
    free = f", {size_text(facts.available_bytes)} free" if facts.available_bytes else ""
    yield "memory", f"{size_text(facts.memory_bytes)}{free}"
    if facts.disk_bytes:
        yield "disk", f"{size_text(facts.disk_free_bytes)} of {size_text(facts.disk_bytes)} free in {facts.disk}"
    for gpu in facts.gpus:
        yield f"GPU {gpu.index}", ", ".join(_gpu(gpu.name, gpu.memory_bytes, gpu.free_bytes, gpu.capability,
                                                 gpu.power_limit))  # fmt: skip
    if facts.driver:
        yield "driver", f"{facts.driver}, CUDA {facts.cuda or 'of an unknown version'}"
    yield "ffmpeg", facts.ffmpeg or "none"
    yield "packages", ", ".join(f"{name} {number}" for name, number in facts.versions)
    for what in facts.missing:
        yield "not found", what


def _gpu(
    name: str, memory: int, free: int | None, capability: tuple[int, int] | None, power: float | None
) -> Iterator[str]:
    yield name
    yield size_text(memory) if free is None else f"{size_text(free)} of {size_text(memory)} free"
    if capability is not None:
        yield f"compute capability {capability[0]}.{capability[1]}"
    if power is not None:
        yield f"{power:.0f} W at most"


def _answers(needs: Needs) -> Iterator[tuple[str, str]]:
    for question in QUESTIONS:
        yield question.words, _answer(question.field, getattr(needs, question.field))
    yield "Cards that are compared", ", ".join(needs.cards)


def _answer(field: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text}{_UNITS.get(field, '')}"
