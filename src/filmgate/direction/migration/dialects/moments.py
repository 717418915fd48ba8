"""Points and stretches of time in a clip."""

from __future__ import annotations

import re

from filmgate.direction.migration.dialects.amounts import read_amount
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.form import Amount, Dialect, Leaf

_RANGE = re.compile(r"\s*\[?\s*(.+?)\s*(?:-|–|—|~|to|到|至)\s*(.+?)\s*\]?\s*")
_CLOCK = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{2}(?:\.\d+)?)")


def moment(text: str) -> Amount | None:
    """A point of time: seconds where no unit is given, ``01:30`` is a minute and a half."""
    if clock := _CLOCK.fullmatch(text.strip()):
        hours, minutes, seconds = int(clock[1] or 0), int(clock[2]), float(clock[3])
        return Amount(value=hours * 3600 + minutes * 60 + seconds, unit="s")
    amount = read_amount(text)
    if amount is not None and amount.unit == "":
        return amount.model_copy(update={"unit": "s"})
    return amount if amount is not None and amount.unit in ("s", "frame", "percent", "fraction") else None


def span_of_time(excerpt: Excerpt, dialect: Dialect) -> tuple[Leaf[Amount] | None, Leaf[Amount] | None]:
    """Beginning and end that "0-2s" or "[00:00-00:02]" name, or a beginning alone."""
    trimmed = excerpt.strip("[]()")
    single = moment(trimmed.words)
    if single is not None:
        return excerpt.leaf(single, dialect), None
    match = _RANGE.fullmatch(trimmed.words)
    if match is None:
        return None, None
    first, last = moment(match[1]), moment(match[2])
    if first is None or last is None:
        return None, None
    if read_amount(match[1]) is not None and read_amount(match[1]) == first.model_copy(update={"unit": ""}):
        first = first.model_copy(update={"unit": last.unit})
    return excerpt.leaf(first, dialect), excerpt.leaf(last, dialect)
