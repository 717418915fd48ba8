"""A roadmap as a report. Its Markdown is what people tick in, so that ids travel along."""

from __future__ import annotations

from filmgate.economics.document import Block, Bullets, Document, Drawing, Heading, Table, Ticks, Verdict, Words
from filmgate.economics.roadmap import Gate, Phase, Roadmap, Task
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
        *_late(roadmap),
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
    blocks += _effort(roadmap)
    blocks += [Heading("Assumed, because it was not given"), Bullets(roadmap.assumptions)]
    if roadmap.no_longer:
        blocks += [Heading("Done, and no longer in the plan"), Ticks(tuple(map(_past, roadmap.no_longer)))]
    if roadmap.other_plan:
        again = "It counts again if the plan becomes that one again."
        blocks += [Heading("Was done for another plan, and is to be done for this one"), Words(again)]
        blocks += [Ticks(tuple(map(_past, roadmap.other_plan)))]
    return Document("Roadmap from Wan 2.1 to Wan 2.2", f"Made on {roadmap.made}.", tuple(blocks))


def _late(roadmap: Roadmap) -> list[Block]:
    if not roadmap.late:
        return []
    said = "Tick what is done, or make the roadmap again with a later first day: `--start`."
    return [Heading("Late"), Bullets(roadmap.late), Words(said)]


def _contradictions(roadmap: Roadmap) -> list[Block]:
    if not roadmap.contradictions:
        return []
    said = "The inputs do not speak of the same. Amounts are left out of gates until they do."
    return [Heading("Contradictions"), Words(said), Bullets(roadmap.contradictions)]


def _effort(roadmap: Roadmap) -> list[Block]:
    """What the way takes and costs, and how `filmgate roi` is told."""
    made = roadmap.effort
    rows = (
        ("people", f"{made.person_days:.1f} days", _money(made.labour, made.currency)),
        ("sample, trial, comparison", "not known" if made.gpu_hours is None else f"{made.gpu_hours:.0f} GPU-hours",
         _money(made.compute, made.currency)),
    )  # fmt: skip
    blocks: list[Block] = [Heading("What the way itself costs"), Table(("what", "takes", "costs"), rows)]
    blocks += [Bullets(made.priced)]
    if made.settings:
        words = f"`filmgate roi` counts that with `{' '.join(made.settings)}`: it has to be earned back."
        blocks.append(Words(words))
    return blocks


def _money(amount: float | None, currency: str) -> str:
    return "no price" if amount is None else f"{amount:,.0f} {currency}"


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
