"""Numbers in words: the published thresholds, on both sides of each, and nothing said where nothing is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.migration import rules
from filmgate.direction.migration.form import Amount
from filmgate.direction.migration.vocabulary import SPEEDS, vocabulary

AMOUNTS = st.builds(
    Amount,
    value=st.floats(),
    unit=st.sampled_from(["", "deg", "deg/s", "deg/frame", "m", "m/s", "percent", "px/frame", "x/frame", "fraction"]),
    full=st.sampled_from([None, 10.0, -10.0, 0.5]),
)


@pytest.mark.parametrize(
    ("value", "speed"),
    [
        (0.49, "very_slow"),
        (0.5, "slow"),
        (0.89, "slow"),
        (0.9, "moderate"),
        (1.49, "moderate"),
        (1.5, "fast"),
        (2.5, "fast"),
        (3.0, "very_fast"),
        (-2.5, "fast"),
    ],
)
def test_a_speed_without_a_scale_is_taken_as_a_multiple_of_normal_and_says_so(value, speed):
    said = rules.say_speed(Amount(value=value))
    assert said.speed == speed
    assert "assumed scale" in said.reason


@pytest.mark.parametrize(
    ("value", "speed"), [(1, "very_slow"), (3, "slow"), (-5, "moderate"), (7, "fast"), (10, "very_fast")]
)
def test_a_speed_with_a_scale_is_a_share_of_it(value, speed):
    said = rules.say_speed(Amount(value=value, full=10))
    assert said.speed == speed
    assert "of 10" in said.reason
    assert "assumed" not in said.reason


def test_a_factor_per_frame_counts_from_one():
    assert rules.say_speed(Amount(value=1.002, unit="x/frame")).speed == "very_slow"
    assert rules.say_speed(Amount(value=0.998, unit="x/frame")).speed == "very_slow"
    assert rules.say_speed(Amount(value=1.5, unit="x/frame")).speed == "very_fast"


def test_words_of_speed_are_kept_and_other_words_are_none():
    assert rules.say_speed(Amount(unit="word", word="gently")).speed == "slow"
    assert rules.say_speed(Amount(unit="word", word="like a cat")) is None
    assert rules.say_speed(Amount(value=50, unit="mm")) is None


@pytest.mark.parametrize(
    ("degrees", "term"),
    [
        (0, "front"),
        (19, "front"),
        (20, "side"),
        (45, "side"),
        (-45, "side"),
        (110, "side"),
        (111, "edge"),
        (160, "edge"),
        (161, "back"),
        (180, "back"),
        (270, "side"),
        (350, "front"),
    ],
)
def test_azimuth(degrees, term):
    assert rules.say_azimuth(Amount(value=degrees, unit="deg")).term == term


@pytest.mark.parametrize(("degrees", "term"), [(61, "top"), (60, ""), (-15, ""), (-16, "under")])
def test_elevation(degrees, term):
    assert rules.say_elevation(Amount(value=degrees, unit="deg")).term == term


@pytest.mark.parametrize(("kelvin", "term"), [(3999, "warm"), (4000, ""), (5500, ""), (5501, "cool")])
def test_colour_temperature(kelvin, term):
    assert rules.say_kelvin(Amount(value=kelvin, unit="kelvin")).term == term


@pytest.mark.parametrize(
    ("millimetres", "term"),
    [
        (8, "fisheye"),
        (16, "fisheye"),
        (17, "wide_angle"),
        (35, "wide_angle"),
        (36, "medium"),
        (70, "medium"),
        (85, "long"),
    ],
)
def test_focal_length(millimetres, term):
    assert rules.say_lens(Amount(value=millimetres, unit="mm")).term == term


def test_aperture_and_contrast():
    assert rules.say_aperture(Amount(value=2.8, unit="f")).term == "shallow"
    assert rules.say_aperture(Amount(value=4, unit="f")).term == ""
    assert rules.say_aperture(Amount(value=11, unit="f")).term == "deep"
    assert rules.say_ratio(Amount(value=4, unit="ratio")).term == "high"
    assert rules.say_ratio(Amount(value=3, unit="ratio")).term == ""


@given(AMOUNTS)
def test_every_amount_is_said_or_refused_and_always_with_a_reason(amount):
    said = rules.say_speed(amount)
    assert said is None or (said.speed in SPEEDS and said.reason)
    words, reason = rules.say_magnitude(amount)
    assert isinstance(words, str)
    assert reason
    for say in (
        rules.say_azimuth,
        rules.say_elevation,
        rules.say_kelvin,
        rules.say_ratio,
        rules.say_lens,
        rules.say_aperture,
    ):
        found = say(amount)
        assert found.reason
        assert not found.term or found.term in vocabulary().terms[found.slot]


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0, max_value=1e6))
def test_more_is_never_said_as_slower(one, other):
    slow, fast = sorted((one, other))
    order = [rules.say_speed(Amount(value=value)).speed for value in (slow, fast)]
    assert SPEEDS.index(order[0]) <= SPEEDS.index(order[1])


def test_no_number_is_no_speed():
    assert rules.say_speed(Amount(value=math.nan)) is None
    assert rules.say_speed(Amount(value=math.inf)) is None


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (2, "ball", "two balls"),
        (3, "red box", "three red boxes"),
        (2, "person", "two people"),
        (12, "child", "twelve children"),
        (13, "city", "13 cities"),
        (1, "ball", "one ball"),
        (2, "balls", "two balls"),
        (2, "球", "two 球"),
        (4, "toy", "four toys"),
    ],
)
def test_counts(count, noun, words):
    assert f"{rules.say_count(count)} {rules.plural(noun, count)}" == words


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        ("no people", "people"),
        ("without any text", "text"),
        ("No people.", "people"),
        ("no extra fingers", "extra fingers"),
        ("没有人", "人"),
        ("没有任何文字", "文字"),
        ("无水印", "水印"),
    ],
)
def test_negations_of_a_noun_are_found(words, unwanted):
    assert rules.negation_of(words) == unwanted


@pytest.mark.parametrize(
    "words",
    [
        "nobody",
        "a street with no people in it",
        "northern lights",
        "no one comes",
        "no longer young",
        "never ending stairs",
        "no man's land at dawn",
        "without a word",
        "no end in sight",
        "没有人的海滩",
        "没有云的天空",
        "无人机飞过",
        "无限",
    ],
)
def test_what_only_begins_like_a_negation_is_none(words):
    assert rules.negation_of(words) is None


def test_a_negation_at_the_end_is_found_where_it_can_be_restated():
    assert rules.trailing_negation("a street without people") == ("a street", "people")
    assert rules.trailing_negation("a man without fear") is None


def test_a_negation_is_restated_only_with_a_safe_antonym():
    assert rules.restate("People") == "nobody is around"
    assert rules.restate("people", "zh") == "空无一人"
    assert rules.restate("watermark") == ""
