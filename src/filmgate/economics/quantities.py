"""Numbers with a unit, bounds and a sentence each; records of them, read from tables and changed by path.

A record is a frozen dataclass whose numbers are declared with :func:`quantity` and whose other fields are texts or
records. A path names a number through records, as ``machine.price``. Where many draws are reckoned at once, a number is
an array with one row per draw, [draws, 1]: the arithmetic is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from filmgate.spec.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Number = float | NDArray[np.float64]
    """A number, or one per draw."""

Record = TypeVar("Record")
_KEY = "quantity"


@dataclass(frozen=True)
class Quantity:
    """What a number may be.

    Attributes:
        about: What it is, in a few words.
        unit: ``share`` of 1, ``USD``, ``s``, ``months``, ...
        low, high: Bounds, included unless ``open_low``.
        open_low: Whether ``low`` itself is not allowed.
        whole: Whether it counts things.
    """

    about: str
    unit: str
    low: float = 0.0
    high: float = math.inf
    open_low: bool = False
    whole: bool = False

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        first = f"above {self.low:g}" if self.open_low else f"{self.low:g}"
        if self.high == math.inf:
            return first if self.open_low else f"{first} or more"
        return f"{first} to {self.high:g}"

    def check(self, path: str, value: object) -> float:
        """``value`` as a number within the bounds.

        Raises:
            InvalidRequest: it is not one. ``path`` says of what.
        """
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidRequest(path, f"{value!r} is not {kind} ({self.about}, {self.unit})", allowed=self.allowed)
        if self.whole and value != int(value):
            raise InvalidRequest(path, f"{value:g} is not whole", allowed=self.allowed, nearest=str(round(value)))
        if not self.low <= value <= self.high or (self.open_low and value == self.low):
            inside = min(max(value, self.low), self.high)
            nearest = None if self.open_low and inside == self.low else f"{inside:g}"
            said = f"{value:g} is out of range ({self.about}, {self.unit})"
            raise InvalidRequest(path, said, allowed=self.allowed, nearest=nearest)
        return float(value)


def quantity(
    default: float | None,
    unit: str,
    about: str,
    *,
    low: float = 0.0,
    high: float = math.inf,
    open_low: bool = False,
    whole: bool = False,
) -> Any:
    """A dataclass field that holds a :class:`Quantity`; ``default`` None: it must be given."""
    kind = Quantity(about, unit, low, high, open_low, whole)
    return field(default=MISSING if default is None else default, metadata={_KEY: kind})


def share(default: float | None, about: str, *, open_low: bool = False, high: float = 1.0) -> Any:
    """A field that holds a part of a whole."""
    return quantity(default, "share", about, high=high, open_low=open_low)


def quantities(record: object, prefix: str = "") -> Iterator[tuple[str, Quantity, Any]]:
    """Path, kind and value of every number of a record, in order; records within it included."""
    for one in fields(record):  # type: ignore[arg-type]  # a dataclass instance, or its class
        value = getattr(record, one.name, None)
        path = f"{prefix}{one.name}"
        if _KEY in one.metadata:
            yield path, one.metadata[_KEY], value
        elif is_dataclass(value):
            yield from quantities(value, f"{path}.")


def kind_of(record: object, path: str, whole_path: str | None = None) -> Quantity:
    """The kind of the number at ``path``.

    Raises:
        UnknownName: there is none. ``whole_path`` is the path as the caller wrote it.
    """
    known = {name: kind for name, kind, _ in quantities(record)}
    if path not in known:
        raise UnknownName(whole_path or path, path, known, noun="quantity")
    return known[path]


def value_at(record: object, path: str) -> Any:
    """The number at ``path``.

    Raises:
        UnknownName: there is none.
    """
    kind_of(record, path)
    for name in path.split("."):
        record = getattr(record, name)
    return record


def replaced(record: Record, path: str, value: Any) -> Record:
    """The same record with another number (or an array of them) at ``path``, unchecked."""
    first, _, rest = path.partition(".")
    inner = replaced(getattr(record, first), rest, value) if rest else value
    return replace(record, **{first: inner})  # type: ignore[type-var]


def checked(record: Record, path: str, value: object, where: str = "") -> Record:
    """The same record with another number at ``path``.

    Raises:
        UnknownName: there is no such number.
        InvalidRequest: it is out of range.
    """
    whole_path = f"{where}{path}"
    return replaced(record, path, kind_of(record, path, whole_path).check(whole_path, value))


def read(kind: type[Record], table: Mapping[str, Any], where: str, start: Record | None = None) -> Record:
    """A record from a table, as TOML and JSON give it.

    Args:
        kind: The class.
        table: Its fields; records within it are tables within.
        where: Path of the table, for messages.
        start: What holds for the fields that the table leaves out; None: the class's defaults.

    Raises:
        InvalidRequest: a field is missing or wrong (UnknownName: does not exist).
    """
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        path = f"{where}.{name}" if where else name
        if name not in known:
            raise UnknownName(path, name, known, noun="field")
        values[name] = _field(known[name], hints[name], value, path, getattr(start, name, None))
    if start is not None:
        return replace(start, **values)  # type: ignore[type-var]
    missing = [name for name, one in known.items()
               if name not in values and one.default is MISSING and one.default_factory is MISSING]  # fmt: skip
    if missing:
        raise InvalidRequest(where or missing[0], f"{missing[0]} is missing", allowed=", ".join(known))
    return kind(**values)


def _field(one: Any, hint: Any, value: Any, path: str, start: Any) -> Any:
    if _KEY in one.metadata:
        return one.metadata[_KEY].check(path, value)
    inner = next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)
    if inner is not None:
        if not isinstance(value, Mapping):
            raise InvalidRequest(path, f"{value!r} is not a table", allowed=", ".join(f.name for f in fields(inner)))
        return read(inner, value, path, start)  # type: ignore[arg-type]
    choices = get_args(hint)
    if choices and all(isinstance(choice, str) for choice in choices):
        if value not in choices:
            raise UnknownName(path, str(value), choices, noun="choice")
        return value
    wanted = bool if hint is bool else str
    if not isinstance(value, wanted):
        raise InvalidRequest(path, f"{value!r} is not a {'truth value' if wanted is bool else 'text'}")
    return value
