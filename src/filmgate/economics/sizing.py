"""How large the work of a migration is: attempts, clips, hours, days. What is not known is assumed, and said so."""

from __future__ import annotations

import math

from filmgate.economics.needs import ASSUMED_USABLE
from filmgate.economics.roadmap_inputs import Inputs
from filmgate.economics.samples import attempts_for_cost, attempts_for_share, pairs_for_no_worse
from filmgate.economics.throughput import DAYS
from filmgate.spec.shape import Frozen

SHARE_OFF, COST_OFF, MARGIN = 0.08, 0.15, 0.05
"""The usable share is measured to 8 points, the cost of a usable video to 15 %, and 5 points may be lost at most."""
GAIN, DIFFERING = 0.05, 0.35
"""Assumed for the comparison: 5 points more usable, and of 35 % of pairs only one video usable (of 67 % against 80 %,
24 % and 11 %, as in a published example)."""
PROMPTS, SEEDS, RATERS, ARMS = 60, 2, 3, 3
"""Comparison: prompts at least, seeds each, people who judge each pair; the arms are old prompts on Wan 2.1, old ones
on 2.2, and new ones on 2.2."""
REVIEW_MINUTES, VOTE_SECONDS = 5.0, 45.0
"""A person's time for a prompt that the program could not finish, and for a vote."""
_GLANCE_MINUTES, _JUDGE_MINUTES = 0.5, 1.0
_DAY_HOURS = 6.0
"""Of a working day in which such work is done."""
_FIRST_WEEK = 30
"""Attempts that the first step of a roll-out should show in a week."""
_STEPS = (0.10, 0.25, 0.50)


class Sizes(Frozen):
    """The work, as :func:`sizes_of` finds it.

    ``usable`` is the share of attempts that is used now. ``baseline`` attempts of Wan 2.1 are judged. ``pairs`` are
    rendered in three arms, which takes ``machine_hours`` on ``devices``; ``vote_hours`` are of all raters together.
    ``first_share`` of the work goes to Wan 2.2 first, which shows ``first_week`` attempts a week. ``assumed`` lists
    what was not known.
    """

    usable: float
    baseline: int
    baseline_days: float
    prompts: int | None
    review_days: float
    pairs: int
    machine_hours: float | None
    machine_days: float
    devices: int
    vote_hours: float
    vote_days: float
    first_share: float
    first_week: float | None
    assumed: tuple[str, ...]


def sizes_of(inputs: Inputs) -> Sizes:
    """Sizes of the work for what is known."""
    assumed: list[str] = []
    usable = _usable(inputs, assumed)
    baseline = attempts_for_share(usable, SHARE_OFF)
    pairs = max(PROMPTS * SEEDS, pairs_for_no_worse(DIFFERING, GAIN, MARGIN), attempts_for_cost(usable, COST_OFF))
    hours, days, devices = _machine(inputs, pairs, assumed)
    vote_hours = pairs * (ARMS - 1) * RATERS * VOTE_SECONDS / 3600
    share, week = _first_step(inputs, assumed)
    prompts, review = _review(inputs, assumed)
    assumed.append(
        f"comparison: Wan 2.2 has {100 * GAIN:.0f} points more usable attempts, and of {DIFFERING:.0%} of pairs only"
        " one is usable; with less gain more pairs are needed"
    )
    return Sizes(
        usable=usable, baseline=baseline, baseline_days=baseline * _JUDGE_MINUTES / 60 / _DAY_HOURS, prompts=prompts,
        review_days=review, pairs=pairs, machine_hours=hours, machine_days=days, devices=devices,
        vote_hours=vote_hours, vote_days=vote_hours / RATERS / _DAY_HOURS, first_share=share, first_week=week,
        assumed=tuple(assumed),
    )  # fmt: skip


def _usable(inputs: Inputs, assumed: list[str]) -> float:
    if inputs.assessment is None:
        assumed.append(f"no assessment was given: volume, cards and times are not known, and {ASSUMED_USABLE:.0%} of"
                       " attempts are taken to be usable")  # fmt: skip
        return ASSUMED_USABLE
    needs = inputs.assessment.needs
    if needs.usable_rate is None:
        assumed.append(f"the usable share of attempts was not measured and is taken to be {needs.usable:.0%}")
    return needs.usable


def _review(inputs: Inputs, assumed: list[str]) -> tuple[int | None, float]:
    facts = inputs.prompts
    if facts is None:
        said = "no migrated prompts were given: how many there are and how many need a person is not known"
        assumed.append(f"{said}; three days are set aside")
        return None, 3.0
    minutes = facts.for_people * REVIEW_MINUTES + (facts.count - facts.for_people) * _GLANCE_MINUTES
    return facts.count, minutes / 60 / _DAY_HOURS


def _machine(inputs: Inputs, pairs: int, assumed: list[str]) -> tuple[float | None, float, int]:
    """Hours of the comparison's clips on the recommended devices, and working days."""
    made = inputs.assessment
    best = None if made is None else made.recommended
    if made is None or best is None:
        if made is not None:
            assumed.append("the assessment recommends nothing: the time of the comparison's clips is not known")
        assumed.append("five working days are set aside for rendering the comparison")
        return None, 5.0, 1
    new = best.setup.seconds
    if made.today is None:
        assumed.append(
            "what a clip takes today is not known; it is taken to take as long as with the recommended model"
        )
    old = new if made.today is None else made.today.setup.seconds
    hours = pairs * (old + (ARMS - 1) * new) / 3600
    days = hours / (made.needs.hours_per_day * best.work.devices)
    return hours, days * 5 / 7, best.work.devices  # machines work on weekends, and the schedule counts working days


def _first_step(inputs: Inputs, assumed: list[str]) -> tuple[float, float | None]:
    """The first share of the work that goes to Wan 2.2: the smallest that shows something within a week."""
    made = inputs.assessment
    if made is None or made.recommended is None:
        assumed.append("the roll-out begins with 10 % of the work; whether a week shows anything depends on the volume")
        return _STEPS[0], None
    weekly = made.recommended.work.attempts * 7 / DAYS
    share = next((step for step in _STEPS if weekly * step >= _FIRST_WEEK), _STEPS[-1])
    return share, weekly * share


def days_text(days: float) -> str:
    """Working days, whole."""
    count = max(1, math.ceil(days))
    return "1 day" if count == 1 else f"{count} days"
