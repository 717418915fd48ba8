"""Every noun of the room, and values of any of them for hypothesis."""

import types
from typing import Annotated, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from filmgate import spec
from filmgate.spec import Frozen

NOUNS = tuple(
    sorted(
        (
            thing
            for thing in vars(spec).values()
            if isinstance(thing, type) and issubclass(thing, Frozen) and thing is not Frozen
        ),
        key=lambda noun: noun.__name__,
    )
)
_PLAIN = {
    bool: st.booleans(),
    int: st.integers(1, 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=12),
    bytes: st.binary(max_size=24),
    type(None): st.none(),
}


def values(kind):
    """A strategy for values of a noun, or of the type of a field."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, Frozen):
        return st.builds(kind, **{name: _field_values(field) for name, field in kind.model_fields.items()})
    return _composed(kind, get_origin(kind), get_args(kind))


def _field_values(field):
    """A strategy for a field, within its bounds."""
    bounds = {name: getattr(part, name) for part in field.metadata for name in ("ge", "le") if hasattr(part, name)}
    if not bounds or field.annotation not in (int, float):
        return values(field.annotation)
    low, high = bounds.get("ge"), bounds.get("le")
    if field.annotation is int:
        return st.integers(low, high)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def _composed(kind, origin, arguments):
    if origin is Annotated:
        return values(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, arguments))
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    raise TypeError(kind)
