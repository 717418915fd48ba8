"""What a roadmap is made from: the JSON that other commands print. Read with care, since people edit files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, cast

from pydantic import ValidationError

from filmgate.direction.upgrade import Upgrade
from filmgate.economics.assess import Assessment
from filmgate.economics.decision import Deployment
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.shape import Frozen

_STATES = ("unchanged", "complete", "incomplete", "conflict", "error")
_COVERED = ("kept_exact", "kept_synonym", "approximated", "moved_to_request", "moved_to_negative")
HANDS: Mapping[Deployment | None, tuple[str, ...]] = {
    "here": ("local", "cluster"), "hybrid": ("local", "cluster"), "own": ("local", "cluster"), "rented": ("pod",),
    "pay_per_use": ("serverless", "hosted"), "serverless": ("serverless",), "reserved": ("pod", "cluster"),
}  # fmt: skip
"""Kinds of options of a reckoning that are in such hands."""
_LARGEST = 256 * 1024 * 1024


class PromptFacts(Frozen):
    """What came of migrating prompts: how many of each state, and the lowest and mean share of required parts that came
    through, 0 ... 1."""

    unchanged: int = 0
    complete: int = 0
    incomplete: int = 0
    conflict: int = 0
    error: int = 0
    lowest_coverage: float = 1.0
    mean_coverage: float = 1.0

    @property
    def count(self) -> int:
        """All of them."""
        return self.unchanged + self.complete + self.incomplete + self.conflict + self.error

    @property
    def for_people(self) -> int:
        """Those that need a person."""
        return self.incomplete + self.conflict + self.error


class OptionCost(Frozen):
    """What a usable video costs by one option, its part of the machines included, in the currency of the reckoning.

    ``device`` is empty and ``usable``, the share of attempts, None where the reckoning does not say.
    """

    name: str
    kind: str
    model: str
    amount: float
    device: str = ""
    usable: float | None = None

    @property
    def published(self) -> str:
        """Its published model; a setup such as ``+lightning`` is not part of it."""
        return self.model.partition("+")[0]

    @property
    def old(self) -> bool:
        """Whether it is of Wan 2.1."""
        return self.model.startswith("wan2.1")


class CostFacts(Frozen):
    """What a reckoning found: every option, how many of its prices are old, and, where two options were compared,
    which, and when the one pays off against the other.

    ``usable`` videos a month of ``seconds`` at ``resolution``, with a ``growth`` (share a month), were reckoned with,
    None: it does not say. ``present_value`` is that of the move as planned, ``median_value`` that in the middle of the
    draws, of which ``chance_positive`` are above 0; ``move_counted``: what moving costs is in it.
    """

    currency: str
    options: tuple[OptionCost, ...]
    prices: int = 0
    stale: int = 0
    baseline: str | None = None
    candidate: str | None = None
    break_even: str | None = None
    chance_by_month: tuple[tuple[int, float], ...] = ()
    usable: float | None = None
    seconds: float | None = None
    resolution: str | None = None
    growth: float | None = None
    present_value: float | None = None
    median_value: float | None = None
    chance_positive: float | None = None
    move_counted: bool = False

    def named(self, name: str | None) -> OptionCost | None:
        """An option by its name."""
        return next((option for option in self.options if option.name == name), None)

    @property
    def today(self) -> OptionCost | None:
        """What is done today: the baseline, else the first option of Wan 2.1."""
        return self.named(self.baseline) or next((option for option in self.options if option.old), None)

    def planned(self, model: str | None, deployment: Deployment | None, card: str | None = None) -> OptionCost | None:
        """The option that is the recommended one: of the model; of those, in such hands, on such a card, the candidate,
        the cheapest, in this order; without a model the candidate."""
        if model is None:
            return self.named(self.candidate)
        kinds = HANDS.get(deployment, ())
        own = [option for option in self.options if option.published == model]
        return min(
            own, default=None, key=lambda one: (one.kind not in kinds, one.device != card, one.name != self.candidate,
                                                one.amount),
        )  # fmt: skip


class Inputs(Frozen):
    """Everything that is known; None: not given, and then assumed, and said so."""

    assessment: Assessment | None = None
    prompts: PromptFacts | None = None
    upgrade: Upgrade | None = None
    costs: CostFacts | None = None

    @property
    def planned_cost(self) -> OptionCost | None:
        """What a usable video is planned to cost, if that was reckoned."""
        best = None if self.assessment is None else self.assessment.recommended
        model = best.setup.model if best is not None else None if self.upgrade is None else self.upgrade.target
        if self.costs is None:
            return None
        if best is None:
            return self.costs.planned(model, None)
        return self.costs.planned(model, best.deployment, best.setup.place)


def read_assessment(text: str) -> Assessment:
    """What ``filmgate assess --json`` prints.

    Raises:
        InvalidRequest: it is something else, or of another version.
    """
    return cast(Assessment, _noun(Assessment, text, "assessment", "filmgate assess --json"))


def read_upgrade(text: str) -> Upgrade:
    """What ``filmgate migrate config --json`` prints.

    Raises:
        InvalidRequest: it is something else, or of another version.
    """
    return cast(Upgrade, _noun(Upgrade, text, "config", "filmgate migrate config --json"))


def read_prompts(text: str) -> PromptFacts:
    """What ``filmgate migrate prompt`` prints with ``--json``, of one prompt or of a batch, or a batch's ``.jsonl``.

    Raises:
        InvalidRequest: it is something else.
    """
    records = _records(text)
    states: Counter[str] = Counter()
    coverages = []
    for number, record in enumerate(records, 1):
        state = record.get("status")
        if state not in _STATES:
            raise _wrong("prompts", f"prompt {number} has the status {state!r:.40}", "filmgate migrate prompt --json")
        states[str(state)] += 1
        if state != "error":
            coverages.append(_coverage(record, number))
    if not records:
        raise _wrong("prompts", "there are none", "filmgate migrate prompt --json")
    return PromptFacts(
        **{state: states[state] for state in _STATES},
        lowest_coverage=min(coverages, default=1.0),
        mean_coverage=fmean(coverages) if coverages else 1.0,
    )


def read_costs(text: str) -> CostFacts:
    """What ``filmgate cost --json`` or ``filmgate roi --json`` prints.

    Raises:
        InvalidRequest: it is something else.
    """
    command = "filmgate cost --json"
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("costs", f"it is no JSON: {error}", command) from None
    if not isinstance(given, dict) or not isinstance(given.get("options"), list) or not given["options"]:
        raise _wrong("costs", "it holds no options", command)
    try:
        options = tuple(
            OptionCost(
                name=one["name"],
                kind=one["kind"],
                model=one["model"],
                amount=one["amortised"],
                device=one.get("device") or "",
                usable=one.get("usable_rate"),
            )
            for one in given["options"]
        )
        prices = given.get("prices") or []
        simulation, workload = given.get("simulation") or {}, given.get("workload") or {}
        chances = (simulation.get("chance_of_break_even_by_month") or {}).items()
        return CostFacts(
            currency=given["currency"], options=options, prices=len(prices),
            stale=sum(bool(price["stale"]) for price in prices), baseline=given.get("baseline"),
            candidate=given.get("candidate"),
            break_even=((given.get("comparison") or {}).get("break_even") or {}).get("text"),
            chance_by_month=tuple(sorted((int(month), share) for month, share in chances)),
            usable=workload.get("usable"), seconds=workload.get("seconds"),
            resolution=workload.get("resolution"), growth=workload.get("growth"),
            present_value=(given.get("comparison") or {}).get("npv"),
            median_value=(simulation.get("npv") or {}).get("p50"),
            chance_positive=simulation.get("chance_of_positive_npv"),
            move_counted=any(path.startswith(f"{given.get('candidate')}.move.") for path in given.get("given") or ()),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "a field is of the wrong kind"
        raise _wrong("costs", said, command) from None


def _noun(kind: Any, text: str, field: str, command: str) -> Any:
    if len(text) > _LARGEST:
        raise _wrong(field, f"it has {len(text)} characters", command)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise _wrong(field, what, command) from None


def _records(text: str) -> Sequence[Mapping[str, Any]]:
    """The prompts of a file: of a batch, of a batch written line by line, or the only one."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, dict) and "prompts" in given:
        found = given["prompts"]
    elif isinstance(given, dict):
        found = [given.get("migration", given)]
    else:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise _wrong("prompts", f"it is no JSON: {error}", "filmgate migrate prompt --json") from None
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise _wrong("prompts", "it holds no prompts", "filmgate migrate prompt --json")
    return found


def _coverage(record: Mapping[str, Any], number: int) -> float:
    """The share that a record states, or that its ledger's entries amount to."""
    stated = record.get("coverage")
    if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 <= stated <= 1:
        return float(stated)
    ledger = record.get("ledger")
    entries: Iterable[Any] = ledger.get("entries", ()) if isinstance(ledger, dict) else ()
    required = [entry for entry in entries if isinstance(entry, dict) and entry.get("required")]
    if not isinstance(ledger, dict):
        raise _wrong("prompts", f"prompt {number} says nothing of its coverage", "filmgate migrate prompt --json")
    return sum(entry.get("fate") in _COVERED for entry in required) / len(required) if required else 1.0


def _wrong(field: str, what: str, command: str) -> InvalidRequest:
    return InvalidRequest(field, what, allowed=f"the output of `{command}`, of this version of Filmgate")
