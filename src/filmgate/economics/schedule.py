"""When tasks begin and end: working days, one task of a person after the other, after what they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

_WEEKEND = 5
WEEK = 5
"""Working days."""


class Piece(NamedTuple):
    """A task as far as its time depends on it.

    Attributes:
        id: Its name.
        role: Who does it; their tasks do not overlap.
        days: Working days, more than 0; a part of a day is a whole one.
        after: What must be done before.
        earliest: Working day, from 0, before which it does not begin.
        unattended: A machine does it: the role has time for other tasks.
    """

    id: str
    role: str
    days: float
    after: tuple[str, ...] = ()
    earliest: int = 0
    unattended: bool = False


def scheduled(pieces: Sequence[Piece]) -> Mapping[str, tuple[int, int]]:
    """First and last working day of every task, from 0. Tasks of one role are done in the order given.

    Raises:
        ValueError: a task comes before one that it needs, or needs one that is not there.
    """
    found: dict[str, tuple[int, int]] = {}
    free: dict[str, int] = {}
    for piece in pieces:
        missing = [name for name in piece.after if name not in found]
        if missing or piece.id in found:
            raise ValueError(f"{piece.id} needs {', '.join(missing) or 'a name of its own'}")
        ready = [piece.earliest, *(found[name][1] + 1 for name in piece.after)]
        if not piece.unattended:
            ready.append(free.get(piece.role, 0))
        first = max(ready)
        last = first + max(1, -int(-piece.days // 1)) - 1
        found[piece.id] = first, last
        if not piece.unattended:
            free[piece.role] = last + 1
    return found


def working_day(start: date, number: int) -> date:
    """The date of a working day, 0 being ``start`` or the Monday after it. Public holidays are not known here."""
    first = start
    while first.weekday() >= _WEEKEND:
        first += timedelta(days=1)
    weeks, rest = divmod(first.weekday() + number, WEEK)
    return first + timedelta(days=7 * weeks + rest - first.weekday())


def mondays(first: date, last: date) -> Iterator[date]:
    """Every Monday from the week of one date to the week of another."""
    day = first - timedelta(days=first.weekday())
    while day <= last:
        yield day
        day += timedelta(days=7)
