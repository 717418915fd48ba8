"""Where the inputs of a roadmap speak of different things. What contradicts is named, and gives no amount."""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.economics.decision import DEPLOYMENTS, Choice
from filmgate.economics.needs import Needs
from filmgate.economics.roadmap_inputs import HANDS, CostFacts, Inputs, OptionCost

_SHARE = 0.005
"""Shares that differ by less were only rounded."""
_AGAIN = "reckon again with `filmgate cost`"


def contradictions(inputs: Inputs) -> tuple[str, ...]:
    """Every contradiction, in words: what the one says, what the other says, and how it is resolved."""
    found = (*_of_settings(inputs), *_of_workload(inputs), *_of_today(inputs), *_of_plan(inputs))
    return tuple(dict.fromkeys(found))


def planned_amount(inputs: Inputs) -> OptionCost | None:
    """The option that the recommended one was reckoned as; None: none was, or it is of something else."""
    contradicted = (*_of_workload(inputs), *_of_plan(inputs))
    return None if contradicted else inputs.planned_cost


def today_amount(inputs: Inputs) -> OptionCost | None:
    """The option that is used today; None: it was not reckoned, or it is of something else."""
    contradicted = (*_of_workload(inputs), *_of_today(inputs))
    return None if contradicted or inputs.costs is None else inputs.costs.today


def _best(inputs: Inputs) -> Choice | None:
    return None if inputs.assessment is None else inputs.assessment.recommended


def _of_settings(inputs: Inputs) -> Iterator[str]:
    made, best = inputs.upgrade, _best(inputs)
    if made is None or inputs.assessment is None:
        return
    if best is not None and best.setup.model != made.target:
        yield (
            f"model: the assessment recommends {best.setup.model}, and the migrated settings are for {made.target};"
            f" migrate them again with `filmgate migrate config --to {best.setup.model}`, or assess again"
        )
    now = inputs.assessment.needs.now_model
    if now is not None and now != made.source:
        yield f"today: the assessment says {now}, and the migrated settings are of {made.source}; correct one of them"


def _of_workload(inputs: Inputs) -> Iterator[str]:
    costs = inputs.costs
    if costs is None or inputs.assessment is None:
        return
    needs = inputs.assessment.needs
    yield from _differing(needs, costs)


def _differing(needs: Needs, costs: CostFacts) -> Iterator[str]:
    if costs.usable is not None and round(costs.usable) != needs.videos:
        yield (
            f"volume: the assessment is of {needs.videos} usable videos a month, and the costs of {costs.usable:g};"
            f" {_AGAIN} --usable {needs.videos}"
        )
    if costs.growth is not None and abs(100 * costs.growth - needs.growth) > _SHARE:
        yield (
            f"growth: the assessment is of {needs.growth:g} % a month, and the costs of {100 * costs.growth:g} %;"
            f" {_AGAIN} --set workload.growth={needs.growth / 100:g}"
        )
    if costs.seconds is not None and abs(costs.seconds - needs.seconds) > _SHARE:
        yield (
            f"length: the assessment is of {needs.seconds:g} s, and the costs of {costs.seconds:g} s; {_AGAIN}"
            f" --seconds {needs.seconds:g}"
        )
    if costs.resolution is not None and needs.resolution not in (costs.resolution, "1080p"):
        yield (
            f"resolution: the assessment is of {needs.resolution}, and the costs of {costs.resolution}; {_AGAIN}"
            f" --resolution {needs.resolution}"
        )


def _of_today(inputs: Inputs) -> Iterator[str]:
    today = None if inputs.costs is None else inputs.costs.today
    now = None if inputs.assessment is None else inputs.assessment.needs.now_model
    if now is None and inputs.upgrade is not None:
        now = inputs.upgrade.source
    if today is None or now is None:
        return
    if today.published != now:
        yield f"today: {now} is said to be used, and the costs reckon {today.published} ({today.name}); {_AGAIN}"
    card = None if inputs.assessment is None else inputs.assessment.needs.now_card
    if card is not None and today.device and today.device != card:
        yield f"today: {card} is said to be used, and the costs reckon {today.device} ({today.name}); {_AGAIN}"
    yield from _share(inputs, today)


def _of_plan(inputs: Inputs) -> Iterator[str]:
    best, option = _best(inputs), inputs.planned_cost
    if best is None or option is None:
        return
    setup = best.setup
    if option.kind not in HANDS.get(best.deployment, ()):
        yield (
            f"deployment: the assessment recommends {setup.model} {DEPLOYMENTS[best.deployment]}, and the costs reckon"
            f" it as {option.kind} ({option.name}); {_AGAIN} --option then=KIND:{setup.model}@{setup.place}"
        )
    if option.device and setup.place not in ("here", option.device):
        yield (
            f"device: the assessment recommends {setup.place}, and the costs reckon {option.device} ({option.name});"
            f" {_AGAIN} --option then=KIND:{setup.model}@{setup.place}"
        )
    form = option.model.partition("+")[2]
    if form != (setup.distilled or ""):
        yield (
            f"form: the assessment recommends {setup.distilled or 'the published weights'}, and the costs reckon"
            f" {form or 'the published weights'} ({option.name}); {_AGAIN}"
        )
    yield from _share(inputs, option)


def _share(inputs: Inputs, option: OptionCost) -> Iterator[str]:
    """A share that was measured against the one that was reckoned with."""
    needs = None if inputs.assessment is None else inputs.assessment.needs
    if needs is None or needs.usable_rate is None or option.usable is None:
        return
    if abs(option.usable - needs.usable_rate) > _SHARE:
        yield (
            f"usable share: the assessment is of {needs.usable_rate:.0%}, and the costs reckon {option.usable:.0%}"
            f" ({option.name}); {_AGAIN} --set {option.name}.quality.review={needs.usable_rate:g}"
        )
