"""Contradictions are found, what goes together is left alone, and a policy never chooses in silence."""

import pytest
from tests.direction.migration.forms import amount, leaf, move, term

from filmgate.direction.migration.conflicts import decide, find_conflicts
from filmgate.direction.migration.form import Beat, Form, Leaf, Light, Parameter, Subject

CONTRADICTIONS = {
    "static and moving": Form(camera=(move("static"), move("pan", "left"))),
    "left and right at once": Form(camera=(move("pan", "left"), move("pan", "right"))),
    "day and night": Form(time=(term("day"), term("night"))),
    "two sizes": Form(shot=(term("wide"), term("close_up"))),
    "low and high": Form(angle=(term("low"), term("high"))),
    "two lenses, one as a number": Form(lens=(term("long"), amount(14, "mm"))),
    "soft and hard": Form(lights=(Light(quality=term("soft")), Light(quality=term("hard")))),
    "warm and cool": Form(tone=(term("warm"), term("cool"))),
    "shallow and deep": Form(focus=(term("shallow"), term("deep"))),
    "two seeds": Form(parameters=tuple(Leaf(value=Parameter(name="seed", value=seed)) for seed in (1, 2))),
    "a drawn photograph": Form(style=(term("anime"), term("photorealistic"))),
    "warm words and cold light": Form(tone=(term("warm"),), lights=(Light(kelvin=amount(6500, "kelvin")),)),
    "slow and fast": Form(
        camera=tuple(move("pan", "left", speed=word) for word in (amount(1, "m/s"), amount(3, "m/s")))
    ),
    "two cats, three of them": Form(subjects=(Subject(name=leaf("two cats"), count=leaf(3, "3")),)),
    "inside a stretch of time": Form(timeline=(Beat(content=Form(time=(term("day"), term("night")))),)),
}
AGREEMENTS = {
    "one after the other": Form(camera=(move("pan", "left"), move("pan", "right", group=1))),
    "at different times": Form(
        camera=(move("pan", "left", begin=amount(0, "s")), move("pan", "right", begin=amount(3, "s")))
    ),
    "handheld and moving": Form(camera=(move("handheld"), move("pan", "left"))),
    "slow and fast on two axes": Form(
        camera=(move("pan", "left", speed=amount(1, "m/s")), move("zoom", "in", speed=amount(3, "m/s")))
    ),
    "two axes": Form(camera=(move("pan", "left"), move("zoom", "in"))),
    "sunset and dusk": Form(time=(term("sunset"), term("dusk"))),
    "size and population": Form(shot=(term("medium"), term("two"))),
    "two cats, two of them": Form(subjects=(Subject(name=leaf("two cats"), count=leaf(2, "2")),)),
    "cold words and cold light": Form(tone=(term("cool"),), lights=(Light(kelvin=amount(6500, "kelvin")),)),
    "the same twice": Form(time=(term("night"), term("night"))),
    "lights with roles": Form(
        lights=(Light(role=leaf("key"), quality=term("hard")), Light(role=leaf("fill"), quality=term("soft")))
    ),
    "warm and saturated": Form(tone=(term("warm"), term("saturated"))),
    "an author's own words": Form(shot=(leaf("hero shot"), term("wide"))),
    "two styles": Form(style=(term("anime"), term("noir"))),
    "the same seed": Form(parameters=tuple(Leaf(value=Parameter(name="seed", value=1)) for _ in range(2))),
    "in different stretches": Form(timeline=tuple(Beat(content=Form(time=(term(name),))) for name in ("day", "night"))),
}


@pytest.mark.parametrize("form", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_found(form):
    (conflict,) = find_conflicts(form)
    assert len(conflict.paths) == 2
    assert decide([conflict], "error").open == [conflict]


@pytest.mark.parametrize("form", AGREEMENTS.values(), ids=AGREEMENTS)
def test_what_goes_together_is_left_alone(form):
    assert find_conflicts(form) == ()


def test_a_policy_says_who_lost_against_whom():
    (conflict,) = find_conflicts(CONTRADICTIONS["day and night"])
    assert decide([conflict], "first").lost == {"time[1]": "day"}
    assert decide([conflict], "last").lost == {"time[0]": "night"}
    assert decide([conflict], "sequence").then == {"time[1]"}


def test_first_means_first_in_the_text_not_in_the_form():
    form = Form(time=(term("day", at=9), term("night", at=2)))
    assert decide(find_conflicts(form), "first").lost == {"time[0]": "night"}


def test_settings_cannot_follow_one_another():
    conflicts = find_conflicts(CONTRADICTIONS["two seeds"])
    assert decide(conflicts, "sequence").open == list(conflicts)
