"""A roadmap for other programs: a calendar (RFC 5545) and a table (RFC 4180)."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from filmgate.economics.roadmap import Gate, Phase, Roadmap, Task
from filmgate.spec.errors import FilmgateError

_DOMAIN = "roadmap.filmgate"
_COLUMNS = ("id", "phase", "kind", "what", "target", "role", "begins", "ends", "days", "after", "because", "done")


def calendar_of(roadmap: Roadmap) -> bytes:
    """Phases and gates as all-day events, tasks as to-dos, which keep their ids: a calendar that is imported again is
    updated, not doubled.

    Raises:
        FilmgateError: the package ``icalendar`` is not installed.
    """
    try:
        from icalendar import Calendar
    except ImportError:
        raise FilmgateError("a calendar needs icalendar", allowed="pip install 'filmgate[roadmap]'") from None
    calendar = Calendar()
    calendar.add("prodid", "-//Filmgate//roadmap//EN")
    calendar.add("version", "2.0")
    calendar.add("name", "From Wan 2.1 to Wan 2.2")
    calendar.add("x-wr-calname", "From Wan 2.1 to Wan 2.2")
    stamp = datetime.combine(roadmap.made, time(), UTC)
    for phase in roadmap.phases:
        calendar.add_component(_event(f"phase.{phase.id}", phase.title, phase.begins, phase.ends, _about(phase), stamp))
        for task in phase.tasks:
            calendar.add_component(_todo(task, stamp))
        for gate in phase.gates:
            title = f"Gate: {gate.measure}: {gate.target}"
            calendar.add_component(_event(gate.id, title, gate.due, gate.due, f"How: {gate.how}", stamp))
    text: bytes = calendar.to_ical()
    return text


def table_of(roadmap: Roadmap) -> str:
    """Tasks and gates as comma-separated values, one a line. A cell that a spreadsheet would take for a formula begins
    with an apostrophe."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for phase in roadmap.phases:
        for task in phase.tasks:
            writer.writerow(_cells(_task_row(task)))
        for gate in phase.gates:
            writer.writerow(_cells(_gate_row(gate)))
    return stream.getvalue()


def _task_row(task: Task) -> tuple[object, ...]:
    done = "yes" if task.done else "no"
    when = (task.begins, task.ends, f"{task.days:g}", " ".join(task.after))
    return (task.id, task.phase, "task", task.words, "", task.role, *when, task.because, done)


def _gate_row(gate: Gate) -> tuple[object, ...]:
    done = "yes" if gate.passed else "no"
    when = (gate.due, gate.due, "", "")
    return (gate.id, gate.phase, f"{gate.when} gate", gate.measure, gate.target, "", *when, gate.how, done)


def _cells(row: tuple[object, ...]) -> list[str]:
    texts = map(str, row)
    return [f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text for text in texts]


def _about(phase: Phase) -> str:
    return f"{len(phase.tasks)} tasks, {len(phase.gates)} gates. The way back: {phase.rollback}"


def _event(name: str, title: str, begins: date, ends: date, about: str, stamp: datetime) -> Any:
    from icalendar import Event

    event = Event()
    event.add("uid", f"{name}@{_DOMAIN}")
    event.add("dtstamp", stamp)
    event.add("summary", title)
    event.add("dtstart", begins)
    event.add("dtend", ends + timedelta(days=1))  # the day after: RFC 5545, 3.6.1
    event.add("description", about)
    event.add("transp", "TRANSPARENT")
    return event


def _todo(task: Task, stamp: datetime) -> Any:
    from icalendar import Todo

    todo = Todo()
    todo.add("uid", f"{task.id}@{_DOMAIN}")
    todo.add("dtstamp", stamp)
    todo.add("summary", task.words)
    todo.add("dtstart", task.begins)
    # A to-do that begins and is due on one day may not say so with two dates (RFC 5545, 3.6.2): the day after.
    todo.add("due", task.ends + timedelta(days=1))
    todo.add("categories", [task.role])
    todo.add("description", f"Owner: {task.role}. {task.days:g} working days ({task.because}).")
    todo.add("status", "COMPLETED" if task.done else "NEEDS-ACTION")
    for name in task.after:
        todo.add("related-to", f"{name}@{_DOMAIN}")
    return todo
