"""The questionnaire as a value."""

import tomllib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.needs import (
    ASSUMED_USABLE,
    QUESTIONS,
    Kind,
    Motion,
    Needs,
    Privacy,
    Quality,
    Resolution,
    needs_from,
    needs_of_toml,
    toml_of_needs,
)
from filmgate.spec import InvalidRequest, UnknownName


def test_only_the_number_of_videos_must_be_said():
    needs = needs_from({"videos": 150, "budget": None})
    assert (needs.resolution, needs.quality, needs.usable) == ("720p", "social", ASSUMED_USABLE)
    with pytest.raises(InvalidRequest, match="--videos 150"):
        needs_from({})


def test_every_question_fills_a_field_and_every_field_but_two_is_asked_for():
    assert set(Needs.model_fields) - {question.field for question in QUESTIONS} == {"desktop", "cards"}
    asked = {question.field: question.choices for question in QUESTIONS}
    assert asked["quality"] == get_args(Quality)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"videos": 0}, "videos: 0 will not do.*greater than 0"),
        ({"videos": "many"}, "videos: 'many' will not do"),
        ({"videos": 5, "usable_rate": 1.2}, "usable_rate: 1.2 will not do.*less than or equal to 1"),
        ({"videos": 5, "seconds": 1e9}, "seconds: "),
        ({"videos": 5, "hours_per_day": 25}, "hours_per_day: 25 will not do"),
        ({"videos": 5, "few_steps_accepted": "maybe"}, "few_steps_accepted: 'maybe' will not do. Allowed: true or"),
        ({"videos": 5, "budget": float("inf")}, "budget: inf will not do. Allowed: a number"),
        ({"videos": 5, "seconds": float("nan")}, "seconds: nan will not do"),
        ({"videos": 5, "deadline_minutes": "soon"}, "deadline_minutes: 'soon' will not do. Allowed: a number"),
        ({"videos": 5, "quality": "broadcast", "resolution": "480p"}, "resolution: 480p contradicts quality broadcast"),
        ({"videos": 5, "privacy": "own", "region": "EU"}, "region: contradicts privacy own"),
        ({"videos": 5, "now_card": "h100"}, "now_card: .*together with now_model"),
    ],
)
def test_what_cannot_be_is_refused_by_name(answers, message):
    with pytest.raises(InvalidRequest, match=message):
        needs_from(answers)


@pytest.mark.parametrize(
    ("answers", "nearest"),
    [
        ({"cards": ("rtx409",)}, "rtx4090"),
        ({"quality": "comercial"}, "commercial"),
        ({"now_model": "wan2.1-t2v"}, "wan2.1-t2v-14b"),
        ({"now_model": "wan2.1-t2v-14b", "now_card": "h1000"}, "h100"),
        ({"vidoes": 5}, "videos"),
    ],
)
def test_an_unknown_name_brings_the_nearest(answers, nearest):
    with pytest.raises(UnknownName, match=f"Nearest valid: .*{nearest}"):
        needs_from({"videos": 5, **answers})


def test_a_file_may_have_a_table_or_none():
    assert needs_of_toml("videos = 5") == needs_of_toml("[needs]\nvideos = 5") == {"videos": 5}
    for wrong in ("videos =", "a = 1\n[needs]\nvideos = 5", "needs = 4"):
        with pytest.raises(InvalidRequest, match="needs"):
            needs_of_toml(wrong)


needs_made = st.builds(
    Needs,
    videos=st.integers(1, 10**6),
    kind=st.sampled_from(get_args(Kind)),
    resolution=st.sampled_from(get_args(Resolution)),
    seconds=st.floats(0.1, 600),
    quality=st.sampled_from(("draft", "social", "commercial")),
    motion=st.sampled_from(get_args(Motion)),
    deadline_minutes=st.none() | st.floats(0.01, 1e5),
    privacy=st.sampled_from([one for one in get_args(Privacy) if one != "own"]),
    region=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
    budget=st.none() | st.floats(1, 1e7),
    growth=st.floats(-50, 100),
    usable_rate=st.none() | st.floats(0.01, 1),
    few_steps_accepted=st.booleans(),
    hours_per_day=st.floats(0.5, 24),
    peak=st.floats(1, 31),
    desktop=st.booleans(),
    cards=st.lists(st.sampled_from(["h100", "rtx4090"]), unique=True).map(tuple),
    now_model=st.none() | st.just("wan2.1-t2v-14b"),
)


@given(needs_made)
def test_answers_survive_a_file(needs):
    text = toml_of_needs(needs)
    assert needs_from(needs_of_toml(text)) == needs
    assert tomllib.loads(text)


def test_cards_may_be_written_as_people_write_them_and_count_once():
    found = needs_from({"videos": 1, "cards": ["NVIDIA GeForce RTX 4090", "rtx4090", "H100"], "now_model":
                        "wan2.1-t2v-14b", "now_card": "RTX 4090"})  # fmt: skip
    assert (found.cards, found.now_card) == (("rtx4090", "h100"), "rtx4090")
    with pytest.raises(UnknownName, match="card"):
        needs_from({"videos": 1, "cards": ["H100", "RTX 4091"]})
