"""A dated way from Wan 2.1 to Wan 2.2: phases with tasks, owners, gates with numbers, risks and a way back.

Phases are those of a guide to Wan 2.2 for teams (2025): assessment in week 1, prompts in week 2, integration in weeks 3
and 4, validation from week 4 on, then the first month and the first quarter in production. Tasks have ids that stay the
same, so that a roadmap can be made again from newer inputs without losing what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple

from filmgate.economics.roadmap_contradictions import contradictions
from filmgate.economics.roadmap_effort import Effort, effort_of
from filmgate.economics.roadmap_gates import GateDraft, gates_of
from filmgate.economics.roadmap_inputs import Inputs, PromptFacts
from filmgate.economics.roadmap_risks import ROLLBACKS, Risk, risks_of
from filmgate.economics.roadmap_tasks import PHASES, Draft, PhaseId, drafts_of, scope_of
from filmgate.economics.schedule import Piece, scheduled, working_day
from filmgate.economics.sizing import Sizes, sizes_of
from filmgate.economics.ticks import Done, plan_mark
from filmgate.spec.shape import Frozen

VERSION = 1


class Task(Frozen):
    """Something to do. ``days`` are working days, ``because`` says where its size comes from, ``role`` who owns it.
    ``unattended``: a machine does it. Dates are the first and the last day. ``plan`` differs where the task is another
    one of the same id: of another model, size or machine."""

    id: str
    phase: PhaseId
    words: str
    role: str
    days: float
    after: tuple[str, ...]
    because: str
    begins: date
    ends: date
    unattended: bool = False
    done: bool = False
    plan: str = ""


class Gate(Frozen):
    """What must be true before a phase is entered or left: a measure, and the number that it must reach."""

    id: str
    phase: PhaseId
    when: Literal["entry", "exit"]
    measure: str
    target: str
    how: str
    due: date
    passed: bool = False
    plan: str = ""


class Phase(Frozen):
    """A stretch of the way; ``rollback`` says how it is undone, and when that is called for."""

    id: PhaseId
    title: str
    begins: date
    ends: date
    tasks: tuple[Task, ...]
    gates: tuple[Gate, ...]
    rollback: str

    @property
    def done(self) -> int:
        """How many of its tasks are done."""
        return sum(task.done for task in self.tasks)


class Roadmap(Frozen):
    """The whole way.

    ``goal`` is what is migrated to, as far as it is known, ``effort`` what the way itself takes and costs.
    ``assumptions`` lists what no input said, ``contradictions`` what two of them say differently: no amount is taken
    from those. ``late`` are phases that should be over on the day ``made`` and are not, ``no_longer`` tasks and gates
    that were done and are not in the plan any more, ``other_plan`` those that were done as they stood in another plan
    and are to be done again.
    """

    version: int = VERSION
    made: date
    start: date
    goal: str
    phases: tuple[Phase, ...]
    risks: tuple[Risk, ...]
    assumptions: tuple[str, ...]
    sizes: Sizes
    effort: Effort
    prompts: PromptFacts | None = None
    contradictions: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    no_longer: tuple[Done, ...] = ()
    other_plan: tuple[Done, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in order."""
        return tuple(task for phase in self.phases for task in phase.tasks)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """All gates, in order."""
        return tuple(gate for phase in self.phases for gate in phase.gates)


def roadmap(
    inputs: Inputs, start: date, made: date, ticked: Sequence[Done] = (), hourly: float | None = None
) -> Roadmap:
    """Make a roadmap.

    Args:
        inputs: What is known.
        start: Its first day; a Saturday or Sunday counts as the Monday after it.
        made: The day on which it is made.
        ticked: Tasks and gates that are done. A tick counts for the same task of the same plan only.
        hourly: What an hour of people's work costs; None: not known.
    """
    sizes = sizes_of(inputs)
    drafts = drafts_of(inputs, sizes)
    times, over = _times(drafts)
    first = working_day(start, 0)
    scopes = {name: scope_of(name, inputs) for name in PHASES}
    tasks = [_task(draft, times[draft.id], first, scopes[draft.phase], ticked) for draft in drafts]
    phases = tuple(
        _phase(name, [task for task in tasks if task.phase == name], working_day(first, over[name]),
               _gates(name, tuple(gates_of(name, inputs, sizes)), scopes[name], ticked))
        for name in PHASES
    )  # fmt: skip
    plans = {task.id: task.plan for task in tasks} | {gate.id: gate.plan for phase in phases for gate in phase.gates}
    return Roadmap(
        made=made, start=first, goal=goal_of(inputs), phases=phases, risks=risks_of(inputs, sizes),
        assumptions=sizes.assumed + _assumptions(inputs), sizes=sizes, prompts=inputs.prompts,
        contradictions=contradictions(inputs), late=late_of(phases, made),
        effort=effort_of(inputs, sizes, drafts, hourly),
        no_longer=tuple(one for one in ticked if one.id not in plans),
        other_plan=tuple(one for one in ticked if one.id in plans and one.plan not in ("", plans[one.id])),
    )  # fmt: skip


def late_of(phases: Sequence[Phase], today: date) -> tuple[str, ...]:
    """Phases that are over by their dates and not by their ticks, in words."""
    found = []
    for phase in phases:
        tasks, gates = len(phase.tasks) - phase.done, sum(not gate.passed for gate in phase.gates)
        if phase.ends < today and (tasks or gates):
            found.append(
                f"{phase.title} should have ended on {phase.ends}, {(today - phase.ends).days} days ago: {tasks} of"
                f" {len(phase.tasks)} tasks and {gates} of {len(phase.gates)} gates are open"
            )
    return tuple(found)


def goal_of(inputs: Inputs) -> str:
    """What is migrated to, in a few words."""
    if inputs.assessment is not None and inputs.assessment.recommended is not None:
        return inputs.assessment.recommended.name
    return "Wan 2.2" if inputs.upgrade is None else inputs.upgrade.target


def _times(drafts: Sequence[Draft]) -> tuple[Mapping[str, tuple[int, int]], Mapping[PhaseId, int]]:
    """First and last working day of every task, and the last one of every phase.

    A task that names none before it waits until the phase before its own is over.
    """
    pieces: list[Piece] = []
    times: Mapping[str, tuple[int, int]] = {}
    over: dict[PhaseId, int] = {}
    before = -1
    for phase, plan in PHASES.items():
        own = [draft for draft in drafts if draft.phase == phase]
        for draft in own:
            earliest = plan.earliest if draft.after else max(plan.earliest, before + 1)
            pieces.append(Piece(draft.id, draft.role, draft.days, draft.after, earliest, draft.unattended))
        times = scheduled(pieces)
        first, last = min(times[draft.id][0] for draft in own), max(times[draft.id][1] for draft in own)
        over[phase] = before = max(last, first + plan.least - 1)
    return times, over


def _task(draft: Draft, when: tuple[int, int], first: date, scope: str, ticked: Sequence[Done]) -> Task:
    plan = plan_mark(draft.same or draft.words, scope)
    return Task(
        id=draft.id, phase=draft.phase, words=draft.words, role=draft.role, days=round(draft.days, 2),
        after=draft.after, because=draft.because, begins=working_day(first, when[0]), ends=working_day(first, when[1]),
        unattended=draft.unattended, done=_is_done(draft.id, plan, ticked), plan=plan,
    )  # fmt: skip


def _is_done(name: str, plan: str, ticked: Sequence[Done]) -> bool:
    return any(one.id == name and one.plan in ("", plan) for one in ticked)


class _Marked(NamedTuple):
    """A gate with its id and its ticks."""

    draft: GateDraft
    id: str
    plan: str
    passed: bool


def _gates(name: PhaseId, drafts: Sequence[GateDraft], scope: str, ticked: Sequence[Done]) -> tuple[_Marked, ...]:
    found = []
    for draft in drafts:
        key, plan = f"{name}.{draft.when}.{draft.name}", plan_mark(draft.same, scope)
        found.append(_Marked(draft, key, plan, _is_done(key, plan, ticked)))
    return tuple(found)


def _phase(name: PhaseId, tasks: Sequence[Task], ends: date, drafts: Sequence[_Marked]) -> Phase:
    begins = min(task.begins for task in tasks)
    gates = []
    for draft, key, plan, passed in drafts:
        due = begins if draft.when == "entry" else ends
        gates.append(
            Gate(id=key, phase=name, when=draft.when, measure=draft.measure, target=draft.target, how=draft.how,
                 due=due, passed=passed, plan=plan)
        )  # fmt: skip
    return Phase(
        id=name, title=PHASES[name].title, begins=begins, ends=ends, tasks=tuple(tasks), gates=tuple(gates),
        rollback=ROLLBACKS[name],
    )  # fmt: skip


def _assumptions(inputs: Inputs) -> tuple[str, ...]:
    found = []
    if inputs.costs is None:
        found.append("no costs were given: gates name no amounts, and nothing is said of when it pays off")
    elif inputs.planned_cost is None:
        found.append("no option that was reckoned is of the recommended model: gates name no planned amount")
    if inputs.upgrade is None:
        found.append("no setup of Wan 2.1 was given: what changes in it is not known")
    found.append("public holidays and absences are not known; working days are Monday to Friday")
    return tuple(found)
