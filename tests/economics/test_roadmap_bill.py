"""What a move takes: clips at what an attempt costs, people at what a day costs, and nothing made up."""

import json
from datetime import date

import pytest
from tests.economics.cases import assessed, needs

from filmgate.economics.document import text_of
from filmgate.economics.gantt import svg_of
from filmgate.economics.roadmap import roadmap
from filmgate.economics.roadmap_document import roadmap_document
from filmgate.economics.roadmap_inputs import Inputs, read_costs
from filmgate.economics.sizing import ARMS

DAY = date(2026, 12, 1)
ASSESSED = assessed(needs(now_model="wan2.1-t2v-14b", now_card="h100", cards=("h100",)))
BEST = ASSESSED.recommended
OPTIONS = [
    {"name": "today", "kind": "pod", "model": "wan2.1-t2v-14b", "device": "h100", "amortised": 3.0, "marginal": 3.0,
     "attempts_per_usable": 1.5},
    {"name": "then", "kind": "serverless", "model": BEST.setup.model, "device": "h100", "amortised": 1.2,
     "marginal": 1.0, "attempts_per_usable": 1.25},
]  # fmt: skip


def costs(**more):
    known = {"currency": "USD", "options": OPTIONS, "baseline": "today", "candidate": "then"}
    return read_costs(json.dumps({**known, **more}))


def made(given=None, **options):
    return roadmap(Inputs(assessment=ASSESSED, costs=given), DAY, DAY, **options)


def told(found):
    return " ".join(text_of(roadmap_document(found, svg_of(found))).split())


def test_clips_cost_what_an_attempt_costs():
    found = made(costs(), day_rate=400)
    old, new, before, after, better = found.bill.parts
    assert (old.count, new.count) == (found.sizes.pairs, (ARMS - 1) * found.sizes.pairs)
    assert old.amount == pytest.approx(old.count * 2.0)
    assert new.amount == pytest.approx(new.count * 0.8)
    assert found.bill.setup == pytest.approx(old.amount + new.amount)
    days = sum(task.days for task in found.tasks if not task.unattended)
    assert before.count + after.count + better.count == pytest.approx(days, abs=0.1)
    assert min(before.count, after.count, better.count) > 0
    assert found.bill.labour == pytest.approx(400 * (before.count + after.count))
    settings = f"--set then.move.setup={found.bill.setup:.0f} --set then.move.labour={found.bill.labour:.0f}"
    assert found.bill.settings == settings
    assert settings in told(found)


def test_what_has_no_price_is_not_priced():
    without_rate = made(costs())
    assert without_rate.bill.labour is None
    assert without_rate.bill.settings == f"--set then.move.setup={without_rate.bill.setup:.0f}"
    bare = made()
    assert all(part.amount is None for part in bare.bill.parts)
    assert (bare.bill.settings, bare.bill.currency) == ("", "")
    assert "Nothing of it has a price" in told(bare)


def test_costs_that_contradict_the_assessment_price_nothing():
    other = costs(workload={"usable": 9999, "seconds": 5, "resolution": "720p"})
    found = made(other, day_rate=400)
    assert found.contradictions
    assert found.bill.parts[0].amount is None
    assert found.bill.settings == ""


@pytest.mark.parametrize("phase", ["assessment", "validation"])
def test_a_gate_asks_whether_it_pays(phase):
    def gate(given):
        return next(one for one in made(given).gates if one.id == f"{phase}.exit.pays")

    assert gate(None).target == "above 0, or a reason in writing that is not money"
    reckoned = {"comparison": {"npv": -538.2}, "simulation": {"chance_of_positive_npv": 0.42},
                "finance": {"horizon": 24}}  # fmt: skip
    assert gate(costs(**reckoned)).target.endswith(
        "; now -538 USD over 24 months (the move not counted), above 0 in 42% of draws"
    )
    moved = gate(costs(**reckoned, given={"then.move.setup": 1400, "then.move.labour": 600.0, "workload.usable": 3}))
    assert "(2,000 of it for the move)" in moved.target
    assert moved.plan == gate(None).plan
