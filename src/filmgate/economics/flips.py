"""At which answers a recommendation becomes another one: found by asking again, never by a formula beside the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

from filmgate.economics.decision import Choice
from filmgate.economics.needs import Kind, Motion, Needs, Privacy, Quality, Resolution
from filmgate.spec.shape import Frozen

Recommend = Callable[[Needs], Choice | None]
_LARGEST = 1_000_000
_TRIES = 40
_CHOICES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("quality", get_args(Quality)),
    ("motion", get_args(Motion)),
    ("privacy", get_args(Privacy)),
    ("few_steps_accepted", (False, True)),
    ("resolution", get_args(Resolution)),
    ("kind", get_args(Kind)),
)


class Flip(Frozen):
    """An answer with which something else is recommended; None in place of it: nothing can be."""

    field: str
    condition: str
    becomes: str | None


def flips_of(needs: Needs, best: Choice, recommend: Recommend) -> tuple[Flip, ...]:
    """Where a recommendation changes: volume up and down, usable share down, and every other answer of a list.

    Args:
        needs: What the recommendation was made for.
        best: The recommendation.
        recommend: What is recommended for other needs.
    """
    numbers = (search(needs, best, recommend) for search in (_more_videos, _fewer_videos, _less_usable))
    return (*(flip for flip in numbers if flip is not None), *_other_answers(needs, best, recommend))


def _other_answers(needs: Needs, best: Choice, recommend: Recommend) -> Iterator[Flip]:
    for field, values in _CHOICES:
        for value in values:
            if value == getattr(needs, field) or _contradictory(needs, field, value):
                continue
            other = recommend(needs.model_copy(update={field: value}))
            if _differs(best, other):
                yield Flip(field=field, condition=f"{field} {_said(value)}", becomes=_named(other))


def _contradictory(needs: Needs, field: str, value: Any) -> bool:
    other = needs.model_copy(update={field: value})
    broadcast = other.quality == "broadcast" and other.resolution == "480p"
    return broadcast or (other.privacy == "own" and other.region is not None)


def _more_videos(needs: Needs, best: Choice, recommend: Recommend) -> Flip | None:
    def at(videos: int) -> Choice | None:
        return recommend(needs.model_copy(update={"videos": videos}))

    low, high = needs.videos, needs.videos
    while not _differs(best, at(high)):
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _differs(best, at(middle)) else (middle, high)
    return Flip(field="videos", condition=f"{high} videos a month or more", becomes=_named(at(high)))


def _fewer_videos(needs: Needs, best: Choice, recommend: Recommend) -> Flip | None:
    def at(videos: int) -> Choice | None:
        return recommend(needs.model_copy(update={"videos": videos}))

    if needs.videos == 1 or not _differs(best, at(1)):
        return None
    low, high = 1, needs.videos
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _differs(best, at(middle)) else (low, middle)
    return Flip(field="videos", condition=f"{low} videos a month or fewer", becomes=_named(at(low)))


def _less_usable(needs: Needs, best: Choice, recommend: Recommend) -> Flip | None:
    def at(share: float) -> Choice | None:
        return recommend(needs.model_copy(update={"usable_rate": share}))

    low, high = 0.01, needs.usable
    if high <= low or not _differs(best, at(low)):
        return None
    for _ in range(_TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if _differs(best, at(middle)) else (low, middle)
    return Flip(field="usable_rate", condition=f"{low:.0%} of attempts usable or fewer", becomes=_named(at(low)))


def _differs(best: Choice, other: Choice | None) -> bool:
    return other is None or other.kind != best.kind


def _named(choice: Choice | None) -> str | None:
    return None if choice is None else choice.name


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value))
