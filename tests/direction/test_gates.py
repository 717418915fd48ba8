"""Numbers become verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.gates import LEAST_PROMPTS, LIMITS, Numbers, checks, interval, licence, student, verdict


def numbers(error=0.03, cosine=0.999, latent=0.01, truth=0.0, flicker=1.0, warp=1.0, count=8):
    found = Numbers()
    for _ in range(count):
        found.add_steps([(error, 1.0), (error, cosine)], [0.0, latent])
        if truth is not None:
            found.add_clips((0.8 + truth / 100, 0.8), (flicker * 0.01, 0.01), (warp * 0.02, 0.02))
    return found


def test_what_keeps_all_limits_passes():
    passed, reason = verdict(checks(numbers(), "balanced"))
    assert passed
    assert reason == "forward, trajectory, truth within limits on 8 prompts"


def test_where_nobody_can_read_the_videos_it_says_so():
    passed, reason = verdict(checks(numbers(truth=None), "balanced"))
    assert passed
    assert reason == "forward, trajectory within limits on 8 prompts; what the videos show was not checked"


@pytest.mark.parametrize("profile", ["balanced", "fast"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("velocity_error", {"error": 0.4}), ("velocity_cosine", {"cosine": 0.5}), ("latent_error", {"latent": 0.2}),
        ("truth_points", {"truth": -9.0}), ("flicker_ratio", {"flicker": 1.3}), ("warp_error_ratio", {"warp": 1.3}),
    ],
)  # fmt: skip
def test_one_limit_that_is_not_kept_is_enough(profile, name, wrong):
    passed, reason = verdict(checks(numbers(**wrong), profile))
    assert not passed
    assert reason.startswith(f"{name} is ")
    assert f"{LIMITS[profile][name].value:g}" in reason


def test_fast_is_wider_everywhere():
    for name, limit in LIMITS["balanced"].items():
        wide = LIMITS["fast"][name]
        assert (wide.value > limit.value) == (limit.bound == "at most"), name
        assert wide[:2] == limit[:2]


def test_the_worse_end_of_the_interval_counts():
    """A mean within the limit does not pass if it could as well be beyond."""
    found = numbers(truth=None)
    for points in (-30, 30, -30, 30):
        found.add_clips((0.5 + points / 100, 0.5), (1, 1), (1, 1))
    [check] = [check for check in checks(found, "balanced") if check.name == "truth_points"]
    assert check.value == pytest.approx(0)
    assert check.low < LIMITS["balanced"]["truth_points"].value
    assert not check.passed


def test_nothing_measured_is_no_pass():
    assert verdict(()) == (False, "nothing was measured")


def test_clips_without_anything_still_have_no_flicker_to_compare():
    found = Numbers()
    found.add_clips((1, 1), (float("nan"), float("nan")), (0.02, 0.01))
    assert "flicker_ratio" not in found.values
    assert found.values["warp_error_ratio"] == [2.0]


def test_one_prompt_is_no_interval_and_passes_nothing():
    found = checks(numbers(count=1), "fast")
    assert {(check.low, check.high, check.passed) for check in found} == {(None, None, False)}
    passed, reason = verdict(found)
    assert not passed
    assert reason == "velocity_error is 0.03 on one prompt, which says nothing of others"


def test_two_prompts_that_differ_have_an_interval_wider_than_both():
    found = Numbers({"latent_error": [0.01, 0.03]})
    [check] = checks(found, "balanced")
    assert (check.low, check.high) == (pytest.approx(0.02 - 0.12706, abs=1e-4), pytest.approx(0.02 + 0.12706, abs=1e-4))
    assert not check.passed


@pytest.mark.parametrize(("truth", "count", "passed"), [
    (None, LEAST_PROMPTS, True), (None, LEAST_PROMPTS - 1, False), (0.0, LEAST_PROMPTS, True), (0.0, 2, False),
])  # fmt: skip
def test_few_prompts_license_nothing(truth, count, passed):
    found = checks(numbers(truth=truth, count=count), "balanced")
    assert verdict(found)[0], "the numbers are within limits"
    licensed, reason = licence(found)
    assert licensed == passed
    assert ("too few: 8 at least" in reason) != passed


def test_few_clips_license_nothing_though_many_prompts_were_walked():
    found = numbers(truth=None, count=20)
    for _ in range(2):
        found.add_clips((1, 1), (1, 1), (1, 1))
    passed, reason = licence(checks(found, "balanced"))
    assert not passed
    assert reason.endswith("but 2 prompts are too few: 8 at least")


def test_a_failure_stays_the_reason_where_prompts_are_few():
    assert licence(checks(numbers(error=0.9, count=2), "balanced"))[1].startswith("velocity_error is 0.9")


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_intervals_hold_their_mean_in_the_middle(values):
    mean, low, high = interval(values)
    assert low <= mean <= high
    assert mean - low == pytest.approx(high - mean, abs=1e-9)
    assert interval(values) == (mean, low, high), "the same whenever it is asked for"


@pytest.mark.parametrize(
    ("freedom", "known"), [(1, 12.7062), (7, 2.3646), (10, 2.2281), (11, 2.2010), (20, 2.0860), (60, 2.0003)]
)
def test_students_t_is_that_of_the_tables(freedom, known):
    assert student(freedom) == pytest.approx(known, rel=1e-4)
