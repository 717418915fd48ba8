"""A questionnaire as a value: how many videos of which kind, by when, and where they may be made."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from filmgate.direction.architectures import DESCRIBED
from filmgate.direction.devices import PROFILES, profile_named
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.shape import Frozen

Kind = Literal["t2v", "i2v", "flf2v"]
"""From text, from a first picture, from a first and a last one."""
Resolution = Literal["480p", "720p", "1080p"]
Quality = Literal["draft", "social", "commercial", "broadcast"]
Motion = Literal["simple", "complex"]
Privacy = Literal["open", "rented", "own"]
"""Prompts and pictures may go to anybody's service; to machines that are rented; to nobody."""

CARDS = ("rtx4090", "rtx5090", "l40s", "a100-80", "h100", "h200")
"""Cards that are compared where none are named: two that people buy, four that are rented most."""
ASSUMED_USABLE = 0.67
"""Usable share of attempts where it is not given: a third is thrown away, as a guide to Wan 2.2 says of Wan 2.1."""
USABLE_SOURCE = "assumed: one in three attempts is thrown away (said of Wan 2.1 in 2025, measured by nobody)"
_LONGEST = 600


class Needs(Frozen):
    """A month's work.

    ``videos`` are usable ones per month, ``seconds`` the length of one. ``deadline_minutes`` is how long somebody may
    wait for one video, ``budget`` is in USD per month, ``growth`` in per cent per month. ``usable_rate`` is the share
    of attempts that are used, None: assumed. ``few_steps_accepted``: those who decide compared 4-step distilled weights
    and found them good enough. ``hours_per_day`` are those in which machines may work, ``peak`` is how many times the
    work of an average day comes on the busiest one. ``desktop``: cards show a screen too. ``cards`` are profiles that
    are compared beside this machine, ``now_model`` and ``now_card`` what is used today.
    """

    videos: int = Field(gt=0, le=10_000_000)
    kind: Kind = "t2v"
    resolution: Resolution = "720p"
    seconds: float = Field(default=5.0, gt=0, le=_LONGEST)
    quality: Quality = "social"
    motion: Motion = "simple"
    deadline_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    privacy: Privacy = "open"
    region: str | None = None
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    growth: float = Field(default=0.0, gt=-100, le=100)
    usable_rate: float | None = Field(default=None, gt=0, le=1)
    few_steps_accepted: bool = False
    hours_per_day: float = Field(default=24.0, gt=0, le=24)
    peak: float = Field(default=1.0, ge=1, le=31)
    desktop: bool = False
    cards: tuple[str, ...] = CARDS
    now_model: str | None = None
    now_card: str | None = None

    @property
    def usable(self) -> float:
        """The share of attempts that are used."""
        return ASSUMED_USABLE if self.usable_rate is None else self.usable_rate


class Question(Frozen):
    """One question: the field that it fills, its words, and what may be answered."""

    field: str
    words: str
    choices: tuple[str, ...] = ()


QUESTIONS: tuple[Question, ...] = (
    Question(field="videos", words="How many usable videos a month?"),
    Question(field="kind", words="Made from text, from a first picture, or from a first and a last one?",
             choices=get_args(Kind)),
    Question(field="resolution", words="At which resolution?", choices=get_args(Resolution)),
    Question(field="seconds", words="How many seconds is one video?"),
    Question(field="quality", words="How good must it be?", choices=get_args(Quality)),
    Question(field="motion", words="How does it move? complex: several subjects, or a camera on its way",
             choices=get_args(Motion)),
    Question(field="usable_rate", words="Which share of attempts do you use, 0 to 1? Empty: not measured"),
    Question(field="few_steps_accepted", words="Have you compared 4-step weights and found them good enough?"),
    Question(field="deadline_minutes", words="How many minutes may one video take, from order to file? Empty: any"),
    Question(field="privacy", words="Where may prompts and pictures go? open: any service; rented: rented machines;"
             " own: nowhere", choices=get_args(Privacy)),
    Question(field="region", words="Must machines stand in a region? Empty: no"),
    Question(field="budget", words="How many USD a month may it cost? Empty: not decided"),
    Question(field="growth", words="By how many per cent does it grow a month?"),
    Question(field="peak", words="How many times an average day's work comes on the busiest day?"),
    Question(field="hours_per_day", words="How many hours a day may machines work?"),
    Question(field="now_model", words="Which model is used today? Empty: none"),
    Question(field="now_card", words="On which card? Empty: this machine's"),
)  # fmt: skip
"""In the order in which they are asked."""


def needs_from(answers: Mapping[str, Any]) -> Needs:
    """Needs from answers by field; None: not answered.

    Raises:
        InvalidRequest: an answer is missing, out of range, or contradicts another one (UnknownName: no such choice,
            card or model).
    """
    given = {name: value for name, value in answers.items() if value is not None}
    unknown = next((name for name in given if name not in Needs.model_fields), None)
    if unknown is not None:
        raise UnknownName("needs", unknown, Needs.model_fields, noun="question")
    if "videos" not in given:
        raise InvalidRequest("videos", "it is not said how many", allowed="usable videos per month, as --videos 150")
    for name, choices in _CHOICES.items():
        if name in given and given[name] not in choices:
            raise UnknownName(name, str(given[name]), choices)
    given |= _cards_called(given)
    try:
        needs = Needs.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise InvalidRequest(
            field, f"{first['input']!r:.60} will not do", allowed=_allowed(field, first["msg"])
        ) from None
    return _checked(needs)


def _cards_called(given: Mapping[str, Any]) -> dict[str, Any]:
    """Cards by the names of their profiles, each once, however they are written; what is none of them stays."""
    found: dict[str, Any] = {}
    cards = given.get("cards")
    if isinstance(cards, list | tuple) and all(isinstance(card, str) for card in cards):
        found["cards"] = tuple(dict.fromkeys(_card_called(card) for card in cards))
    if isinstance(given.get("now_card"), str):
        found["now_card"] = _card_called(given["now_card"])
    return found


def _card_called(name: str) -> str:
    try:
        return profile_named(name).name
    except UnknownName:
        return name


_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {question.field: question.choices for question in QUESTIONS if question.choices}
)


def _allowed(field: str, message: str) -> str:
    kinds = {"videos": "a whole number", "few_steps_accepted": "true or false", "desktop": "true or false",
             "cards": "a list of names", "region": "a name"}  # fmt: skip
    limit = re.search(r"(?:greater|less) than (?:or equal to )?[\d.]+", message)
    return kinds.get(field, "a number") + (f", {limit[0]}" if limit else "")


def _checked(needs: Needs) -> Needs:
    """Needs that do not contradict themselves."""
    known = [profile.name for profile in PROFILES]
    for field, cards in (("card", needs.cards), ("now_card", (needs.now_card,) if needs.now_card else ())):
        for card in cards:
            if card not in known:
                raise UnknownName(field, card, known, noun="card")
    if needs.now_card is not None and needs.now_model is None:
        raise InvalidRequest("now_card", "it is not said what runs there", allowed="together with now_model")
    if needs.now_model is not None and needs.now_model not in DESCRIBED:
        raise UnknownName("now_model", needs.now_model, DESCRIBED, noun="model")
    if needs.quality == "broadcast" and needs.resolution == "480p":
        raise InvalidRequest(
            "resolution", "480p contradicts quality broadcast", allowed="720p or 1080p, or another quality",
            nearest="720p",
        )  # fmt: skip
    if needs.privacy == "own" and needs.region is not None:
        raise InvalidRequest(
            "region", "contradicts privacy own: machines of your own stand where you put them",
            allowed="privacy open or rented, or no region",
        )  # fmt: skip
    return needs


def needs_of_toml(text: str) -> dict[str, Any]:
    """The answers in a TOML file: the fields of :class:`Needs`, at the top or in a table ``[needs]``.

    Raises:
        InvalidRequest: it is no TOML, or has other tables.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest("needs", f"they are no TOML: {error}", allowed="lines like videos = 150") from None
    inner = given.pop("needs", None)
    if inner is not None and (given or not isinstance(inner, dict)):
        raise InvalidRequest("needs", "something stands beside [needs]", allowed="one table, or none")
    return given if inner is None else inner


def toml_of_needs(needs: Needs) -> str:
    """Needs as a TOML file that :func:`needs_of_toml` reads, with the questions as comments."""
    asked = {question.field: question.words for question in QUESTIONS}
    lines = ["# Filmgate: what is needed. Read by `filmgate assess FILE`."]
    for name, value in needs.model_dump(mode="json").items():
        if name in asked:
            lines += ["", f"# {asked[name]}"]
        # A JSON string, number, truth value or list of strings is TOML as well, but for the code point DEL.
        lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
