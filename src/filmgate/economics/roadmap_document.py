"""A roadmap as a report. Its Markdown is what people tick in, so that ids travel along."""

from __future__ import annotations

from filmgate.economics.document import Block, Bullets, Document, Drawing, Heading, Table, Ticks, Verdict, Words
from filmgate.economics.roadmap import Gate, Phase, Roadmap, Task
from filmgate.economics.roadmap_bill import Bill
from filmgate.economics.roadmap_tasks import ROLES
from filmgate.economics.ticks import Done


def roadmap_document(roadmap: Roadmap, svg: str, picture: str | None = None) -> Document:
    """The report.

    Args:
        roadmap: The roadmap.
        svg: Its picture.
        picture: Where that lies beside the Markdown, if it does.
    """
    last = max(phase.ends for phase in roadmap.phases)
    done, count = sum(task.done for task in roadmap.tasks), len(roadmap.tasks)
    blocks: list[Block] = [
        Verdict(f"To {roadmap.goal}: from {roadmap.start} to {last}.", f"{done} of {count} tasks are done."),
        *_contradictions(roadmap),
        Drawing(svg, f"Tasks by week, {roadmap.start} to {last}; a diamond is a gate", picture),
        Heading("Phases"),
        Table(("phase", "from", "to", "tasks", "done"), tuple(map(_phase_row, roadmap.phases)), frozenset({3, 4})),
    ]
    for phase in roadmap.phases:
        blocks += _phase(phase)
    risks = tuple((r.words, r.likely, r.harm, r.sign, r.answer, r.because) for r in roadmap.risks)
    head = ("what can go wrong", "likely", "harm", "noticed by", "then", "from")
    blocks += [Heading("Risks"), Table(head, risks)]
    blocks += [Heading("Who does what"), Table(("role", "tasks", "working days"), _roles(roadmap), frozenset({1, 2}))]
    blocks += _bill(roadmap.bill)
    blocks += [Heading("Assumed, because it was not given"), Bullets(roadmap.assumptions)]
    if roadmap.no_longer:
        blocks += [Heading("Done, and no longer in the plan"), Ticks(tuple(map(_past, roadmap.no_longer)))]
    if roadmap.other_plan:
        again = "It counts again if the plan becomes that one again."
        blocks += [Heading("Was done for another plan, and is to be done for this one"), Words(again)]
        blocks += [Ticks(tuple(map(_past, roadmap.other_plan)))]
    return Document("Roadmap from Wan 2.1 to Wan 2.2", f"Made on {roadmap.made}.", tuple(blocks))


def _contradictions(roadmap: Roadmap) -> list[Block]:
    if not roadmap.contradictions:
        return []
    said = "The inputs do not speak of the same. Amounts are left out of gates until they do."
    return [Heading("Contradictions"), Words(said), Bullets(roadmap.contradictions)]


def _bill(bill: Bill | None) -> list[Block]:
    """What the move takes, and how to count it."""
    if bill is None:
        return []
    rows = tuple(
        (part.words, f"{part.count:,.0f} {part.unit}",
         "not priced" if part.amount is None else f"{part.amount:,.0f} {bill.currency}", part.because)
        for part in bill.parts
    )  # fmt: skip
    table = Table(("what", "how much", "amount", "from"), rows, frozenset({1, 2}))
    said = f"Count it: `filmgate roi` with `{bill.settings}`." if bill.settings else (
        "Nothing of it has a price: `--costs` tells what a clip costs, and `--day-rate` what a day does."
    )  # fmt: skip
    return [Heading("What the move takes"), table, Words(said)]


def _phase_row(phase: Phase) -> tuple[str, ...]:
    return phase.title, str(phase.begins), str(phase.ends), str(len(phase.tasks)), str(phase.done)


def _phase(phase: Phase) -> list[Block]:
    blocks: list[Block] = [Heading(f"{phase.title}, {phase.begins} to {phase.ends}")]
    entry = tuple(_gate(gate) for gate in phase.gates if gate.when == "entry")
    leave = tuple(_gate(gate) for gate in phase.gates if gate.when == "exit")
    if entry:
        blocks += [Words("Before it begins:"), Ticks(entry)]
    blocks += [Words("Tasks:"), Ticks(tuple(map(_task, phase.tasks)))]
    blocks += [Words("Before it ends:"), Ticks(leave), Words(f"The way back: {phase.rollback}")]
    return blocks


def _task(task: Task) -> tuple[str, str, bool]:
    when = str(task.begins) if task.begins == task.ends else f"{task.begins} to {task.ends}"
    return f"{task.id} {task.plan}", f"{task.words} ({task.role}, {when})", task.done


def _gate(gate: Gate) -> tuple[str, str, bool]:
    return (
        f"{gate.id} {gate.plan}",
        f"{gate.measure[0].upper()}{gate.measure[1:]}: {gate.target} ({gate.how})",
        gate.passed,
    )


def _past(done: Done) -> tuple[str, str, bool]:
    return f"{done.id} {done.plan}".strip(), done.words, True


def _roles(roadmap: Roadmap) -> tuple[tuple[str, str, str], ...]:
    """Tasks and days of every role; what machines do alone takes nobody's days."""
    rows = []
    for role in ROLES:
        own = [task for task in roadmap.tasks if task.role == role]
        days = sum(task.days for task in own if not task.unattended)
        rows.append((role, str(len(own)), f"{days:.1f}"))
    return tuple(rows)
