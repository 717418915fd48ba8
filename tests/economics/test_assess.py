"""From needs to a recommendation: each rule decides somewhere, and what is told of a recommendation holds."""

import json
import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.economics.cases import TODAY, assessed, machine, needs

from filmgate.economics.assess import Assessment, assess
from filmgate.economics.assessment_document import assessment_document
from filmgate.economics.decision import Rate
from filmgate.economics.document import html_of, markdown_of, text_of
from filmgate.economics.feasibility import able_variants, feasible, places_of
from filmgate.economics.rules import RULES
from filmgate.economics.throughput import BUSIEST

H100 = {"cards": ("h100",)}


def rate(usd, as_of=TODAY):
    return Rate(usd, "a price list", as_of)


def best(*answers, **options):
    return assessed(*answers, **options).recommended


def test_social_clips_on_a_consumer_card_that_is_here_are_for_the_small_model():
    made = assessed(needs(200), machine())
    assert (made.recommended.setup.model, made.recommended.deployment) == ("wan2.2-ti2v-5b", "here")
    assert made.recommended.setup.form == "stock"
    assert made.recommended.work.utilisation == pytest.approx(
        200 / 0.67 * made.recommended.setup.seconds / 3600 / 730.5
    )


@pytest.mark.parametrize("answers", [{"quality": "commercial"}, {"quality": "broadcast"}, {"motion": "complex"}])
def test_what_the_guide_says_of_the_large_model_leads_to_it(answers):
    assert best(needs(**answers, **H100)).setup.model == "wan2.2-t2v-a14b"


def test_that_a_cloud_could_be_used_says_nothing_alone():
    made = assessed(needs(quality="draft", **H100))
    assert made.recommended.setup.model == "wan2.2-ti2v-5b"
    assert next(vote for vote in made.votes if vote.condition.startswith("cloud")).holds


def test_the_guides_eight_conditions_are_all_shown_with_the_answer_that_decides_them():
    made = assessed(needs(motion="complex", quality="commercial", privacy="own"), machine())
    held = {vote.condition: vote.holds for vote in made.votes}
    assert len(held) == 8
    assert held == {
        "running on consumer hardware": True, "generating social media content": False,
        "rapid prototyping needed": False, "budget constraints exist": False, "maximum quality required": False,
        "commercial or broadcast use": True, "complex motion or cinematics": True,
        "cloud infrastructure available": False,
    }  # fmt: skip


def test_every_rule_is_logged_in_order():
    assert [reason.rule for reason in assessed(needs(**H100)).reasons] == list(RULES)


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        ({"quality": "draft"}, "few_steps"), ({"quality": "social"}, "stock"),
        ({"quality": "social", "resolution": "480p"}, "few_steps"),
        ({"quality": "commercial", "few_steps_accepted": True}, "few_steps"),
        ({"quality": "broadcast", "few_steps_accepted": True}, "stock"),
    ],
)  # fmt: skip
def test_few_steps_only_where_they_may_be_used(answers, form):
    assert best(needs(**answers, **H100)).setup.form == form


@pytest.mark.parametrize(
    ("answers", "way"),
    [
        ({"videos": 299}, "pay_per_use"), ({"videos": 300}, "rented"), ({"videos": 2000}, "rented"),
        ({"videos": 2001}, "reserved"), ({"videos": 2001, "peak": 3}, "pay_per_use"),
        ({"videos": 299, "privacy": "own"}, "own"), ({"videos": 5000, "privacy": "rented"}, "reserved"),
        ({"videos": 100, "privacy": "rented"}, "serverless"),
    ],
)  # fmt: skip
def test_in_whose_hands_a_machine_is_that_is_not_here(answers, way):
    assert best(needs(**answers, **H100)).deployment == way


def test_more_than_a_card_can_do_is_shared_with_others():
    made = best(needs(6000, **H100), machine())
    assert made.deployment == "hybrid"
    assert made.overflow.place == "h100"
    assert made.work.utilisation == pytest.approx(BUSIEST, rel=1e-3)
    rest = 6000 - made.work.capacity
    assert made.overflow_hours == pytest.approx(rest / 0.67 * made.overflow.seconds / 3600, rel=0.01)


def test_what_must_stay_here_is_not_shared():
    made = best(needs(6000, privacy="own", **H100), machine())
    assert (made.deployment, made.setup.place) == ("own", "h100")


def test_a_deadline_takes_a_faster_card_or_rules_all_out():
    slow = best(needs(quality="commercial", cards=("rtx4090", "h200")))
    fast = best(needs(quality="commercial", cards=("rtx4090", "h200"), deadline_minutes=90))
    assert (slow.setup.place, fast.setup.place) == ("rtx4090", "h200")
    made = assessed(needs(quality="broadcast", cards=("h200",), deadline_minutes=5))
    assert made.recommended is None
    assert made.deciding.startswith(RULES["deadline"].text)
    assert any(words.startswith("no deadline: wan2.2-t2v-a14b") for words in made.would_do)


def test_broadcast_is_never_for_the_small_model():
    made = assessed(needs(quality="broadcast"))
    assert {choice.setup.model for choice in (made.recommended, made.runner_up)} == {"wan2.2-t2v-a14b"}


def test_prices_decide_between_cards_and_count_in_the_rent():
    rates = {("h100", "pod"): rate(2.0), ("rtx4090", "pod"): rate(1.0)}
    wanted = needs(500, quality="commercial", cards=("rtx4090", "h100"))
    made = best(wanted, rates=rates)
    assert made.setup.place == "h100"  # less than half the hours at twice the price
    assert made.usd == pytest.approx(2.0 * made.work.gpu_hours)
    assert best(wanted, rates={**rates, ("rtx4090", "pod"): rate(0.1)}).setup.place == "rtx4090"


def test_without_prices_gigabyte_hours_decide_and_gigabytes_where_machines_are_bought():
    wanted = needs(30, quality="commercial", cards=("t4", "rtx4090"))
    assert best(wanted).setup.place == "rtx4090"  # a fifth of the hours on a card of twice the size
    assert best(wanted.model_copy(update={"privacy": "own"})).setup.place == "t4"


def test_serverless_is_paid_for_as_serverless():
    rates = {("h100", "pod"): rate(2.0), ("h100", "serverless"): rate(4.0)}
    made = best(needs(100, **H100), rates=rates)
    assert made.usd == pytest.approx(4.0 * made.work.gpu_hours)
    del rates["h100", "serverless"]
    assert best(needs(100, **H100), rates=rates).usd is None  # hours of a pod cost something else


def test_a_budget_speaks_for_the_small_model_and_rules_out_what_is_above_it():
    rates = {("h100", "pod"): rate(3.0)}
    wanted = needs(500, quality="social", motion="complex", **H100)
    assert best(wanted, rates=rates).setup.model == "wan2.2-t2v-a14b"
    made = assessed(wanted.model_copy(update={"budget": 300.0}), rates=rates)
    assert made.recommended.setup.model == "wan2.2-ti2v-5b"
    assert next(vote for vote in made.votes if vote.condition.startswith("budget")).holds
    nothing = assessed(wanted.model_copy(update={"budget": 1.0}), rates=rates)
    assert nothing.recommended is None
    assert nothing.deciding.startswith(RULES["budget"].text)


def test_a_budget_without_prices_rules_nothing_out_and_says_so():
    made = assessed(needs(budget=0.01, **H100))
    assert made.recommended is not None
    assert any("no prices" in note for note in made.notes)


def test_nothing_fits_and_what_would_do():
    made = assessed(needs(cards=("t4",), quality="commercial", resolution="1080p", deadline_minutes=1))
    assert made.recommended is None
    assert made.confidence is None
    assert "Nothing meets these needs." in text_of(assessment_document(made))


@pytest.mark.parametrize(
    "answers",
    [
        {}, {"quality": "commercial", "motion": "complex"}, {"videos": 3000, "privacy": "rented"},
        {"quality": "draft", "kind": "i2v"}, {"videos": 40, "deadline_minutes": 120.0, "quality": "commercial"},
    ],
)  # fmt: skip
def test_at_a_flip_point_it_is_something_else_and_just_before_it_is_not(answers):
    wanted = needs(**{"cards": ("h100",)} | answers)
    here = machine()
    made = assessed(wanted, here)
    assert made.flips
    for flip in made.flips:
        if flip.field == "videos" and flip.condition.endswith("more"):
            at, before = int(flip.condition.split()[0]), int(flip.condition.split()[0]) - 1
        elif flip.field == "videos":
            at, before = int(flip.condition.split()[0]), int(flip.condition.split()[0]) + 1
        else:
            continue
        changed = best(wanted.model_copy(update={"videos": at}), here)
        assert (None if changed is None else changed.name) == flip.becomes
        assert best(wanted.model_copy(update={"videos": before}), here).kind == made.recommended.kind


def test_another_answer_is_told_of_exactly_if_it_changes_the_recommendation():
    wanted = needs(**H100)
    made = assessed(wanted)
    told = {flip.condition: flip.becomes for flip in made.flips}
    for quality in ("draft", "commercial", "broadcast"):
        other = best(wanted.model_copy(update={"quality": quality}))
        assert told.get(f"quality {quality}") == (None if other.kind == made.recommended.kind else other.name)


def test_the_runner_up_is_another_model_form_or_way_and_the_deciding_rule_tells_them_apart():
    made = assessed(needs(quality="commercial"))
    one, two = made.recommended, made.runner_up
    assert (one.setup.model, one.setup.form, one.deployment) != (two.setup.model, two.setup.form, two.deployment)
    assert made.deciding.startswith(RULES["size"].text)


def test_confidence_is_that_of_the_weakest_and_rises_where_nothing_changes():
    old = assessed(needs(usable_rate=0.6, cards=("rtx4090",)))  # published in July 2025
    assert {one.level for one in old.confidence.evidence} == {"low", "high"}
    assert (old.confidence.robust, old.confidence.level) == (True, "medium")
    new = assessed(needs(usable_rate=0.6, **H100))
    assert (new.confidence.robust, new.confidence.level) == (True, "high")
    assert new.confidence.evidence[0].days == 0
    edge = assessed(needs(1600, usable_rate=0.6, privacy="own", cards=()), machine())
    assert not edge.confidence.robust


def test_old_prices_are_not_trusted():
    levels = [
        assessed(needs(**H100), rates={("h100", "serverless"): rate(2.0, as_of)}).confidence.evidence[-1].level
        for as_of in (date(2026, 11, 1), date(2026, 3, 1))
    ]
    assert levels == ["medium", "low"]


def test_what_is_used_today_is_counted_by_the_same_planner():
    made = assessed(needs(now_model="wan2.1-t2v-14b", now_card="h100", **H100))
    setups = feasible(needs(**H100), places_of(None, needs(**H100)), variants=["wan2.1-t2v-14b"])
    assert made.today.setup.seconds == setups[0].seconds
    assert made.today.work.gpu_hours == pytest.approx(150 / 0.67 * setups[0].seconds / 3600)
    assert assessed(needs(now_model="wan2.1-t2v-14b"), None).today is None


def test_growth_says_when_the_devices_are_full():
    made = assessed(needs(1000, growth=10.0, privacy="own", cards=()), machine())
    grown = 1000 * 1.1**made.full_in
    assert grown > made.recommended.work.capacity >= grown / 1.1


def test_hints_of_the_machine_are_told():
    cards = {"throttled": ("heat (hardware)",), "pcie": (4, 16), "pcie_now": (1, 4), "mig": True}
    notes = " ".join(assessed(needs(), machine(**cards)).notes)
    assert "held back at the moment: heat (hardware)" in notes
    assert "4 of 16 PCIe lanes" in notes
    assert "MIG" in notes
    assert "held by other programs" not in notes
    assert "3.5 GiB of NVIDIA GeForce RTX 4090 are held" in " ".join(assessed(needs(), machine(free=20)).notes)


def test_a_card_that_does_not_say_what_it_holds_is_left_out():
    made = assessed(needs(**H100), machine(gib=0))
    assert [place.name for place in made.places] == ["h100"]
    assert any("does not say how much memory" in note for note in made.notes)


def test_an_assessment_survives_json():
    made = assessed(needs(now_model="wan2.1-t2v-14b", now_card="h100"), machine(), rates={("h100", "pod"): rate(2.0)})
    assert Assessment.model_validate_json(json.dumps(made.model_dump(mode="json"))) == made


def test_the_report_says_what_the_value_says():
    made = assessed(needs(now_model="wan2.1-t2v-14b", now_card="h100", growth=5.0), machine())
    document = assessment_document(made)
    for form in (text_of, markdown_of, html_of):
        page = form(document)
        assert made.recommended.setup.model in page
        assert "runner-up" in page
        assert all(flip.condition.replace("_", "\\_") in page or flip.condition in page for flip in made.flips)
    shorter = text_of(assessment_document(made, whole=False))
    assert len(shorter) < len(text_of(document))
    assert "wan2.2-vace-a14b" not in shorter


answers = st.fixed_dictionaries(
    {
        "videos": st.integers(1, 20_000), "kind": st.sampled_from(("t2v", "i2v", "flf2v")),
        "resolution": st.sampled_from(("480p", "720p", "1080p")), "seconds": st.sampled_from((2.0, 5.0, 14.0)),
        "quality": st.sampled_from(("draft", "social", "commercial")),
        "motion": st.sampled_from(("simple", "complex")), "privacy": st.sampled_from(("open", "rented", "own")),
        "deadline_minutes": st.sampled_from((None, 5.0, 60.0, 600.0)), "few_steps_accepted": st.booleans(),
        "usable_rate": st.sampled_from((None, 0.2, 0.9)), "peak": st.sampled_from((1.0, 4.0)),
        "hours_per_day": st.sampled_from((8.0, 24.0)), "cards": st.sampled_from((("rtx3060", "h100"), ())),
    }
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(answers, st.booleans())
def test_whatever_is_recommended_meets_the_needs(given_answers, has_card):
    wanted = needs(**given_answers)
    made = assessed(wanted, machine() if has_card else None)
    choice = made.recommended
    if choice is None:
        assert made.deciding
        return
    assert choice.setup.fits
    assert choice.setup.model in able_variants(wanted)
    assert choice.work.utilisation <= BUSIEST * (1 + 1e-9)
    if wanted.deadline_minutes is not None:
        assert choice.work.ready_seconds <= 60 * wanted.deadline_minutes
    if wanted.privacy == "own":
        assert choice.deployment in ("here", "own")
    if choice.deployment != "hybrid":
        assert choice.work.capacity >= wanted.videos * (1 - 1e-9)
    assert (choice.setup.place == "here") == (choice.deployment in ("here", "hybrid"))


def test_what_has_no_price_is_not_known_to_be_within_a_budget():
    wanted = needs(150, budget=200.0, cards=("rtx5090", "h100"))
    priced = {("h100", "serverless"): rate(2.0)}
    made = assessed(wanted, rates=priced)
    assert made.recommended.setup.place == "h100"
    poor = assessed(needs(150, budget=1.0, cards=("rtx5090", "h100")), rates=priced)
    assert (poor.recommended.setup.place, poor.recommended.usd) == ("rtx5090", None)
    assert poor.confidence.level == "low"
    assert any("not known to be within 1 USD a month" in note for note in poor.notes)
    assert any("the least is" in note and "h100" in note for note in poor.notes)
    assert "It is not known whether that is within 1 USD" in " ".join(text_of(assessment_document(poor)).split())


def test_a_budget_says_nothing_of_machines_of_ones_own_and_that_is_said():
    made = assessed(needs(150, budget=5.0, privacy="own", **H100), rates={("h100", "pod"): rate(2.0)})
    assert made.confidence.level == "low"
    assert any("machines of your own have no rent" in note for note in made.notes)
    here = assessed(needs(150, budget=5.0, privacy="own"), machine(), rates={("h100", "pod"): rate(2.0)})
    assert here.recommended.deployment == "here"
    assert not any("not known to be within" in note for note in here.notes)


def test_a_cloud_alone_is_told_of_only_where_it_is_alone():
    (alone,) = (one for one in assessed(needs(quality="social", **H100)).reasons if one.rule == "size")
    (not_alone,) = (one for one in assessed(needs(quality="commercial", **H100)).reasons if one.rule == "size")
    assert "a cloud alone" in alone.found
    assert "a cloud alone" not in not_alone.found


def test_what_is_newer_than_the_day_is_not_trusted_and_has_no_negative_age():
    wanted = needs(500, usable_rate=0.6, cards=("h100",))
    early = assess(wanted, places_of(None, wanted), date(2020, 1, 1), rates={("h100", "pod"): rate(2.0)})
    assert [one.level for one in early.confidence.evidence if one.as_of is not None] == ["low", "low"]
    text = text_of(assessment_document(early))
    assert re.search(r"\d days later", text)
    assert not re.search(r"-\d+ days", text)
