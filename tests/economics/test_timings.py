"""Seconds: what others timed, scaled and completed by the planner."""

import pytest

from filmgate.direction.architectures import DESCRIBED
from filmgate.direction.devices import PROFILES
from filmgate.economics.timings import (
    AGREED,
    Duration,
    duration_known,
    duration_of,
    frames_of,
    load_seconds,
    plan_of,
    power_of,
    power_rows,
    timed,
    timed_rows,
)
from filmgate.spec.errors import InvalidRequest, UnknownName


def test_rows_name_models_and_devices_that_the_planner_knows():
    devices = {profile.name for profile in PROFILES}
    assert {row.device for row in timed_rows()} | {row.device for row in power_rows()} <= devices
    assert {row.model for row in timed_rows()} <= set(DESCRIBED)
    keys = [(row.model, row.setup, row.device, row.gpus, row.resolution) for row in timed_rows()]
    assert len(set(keys)) == len(keys) >= 30
    assert all(row.seconds > 0 and row.source and row.evidence for row in timed_rows())


def test_published_times():
    assert timed("wan2.2-ti2v-5b", "rtx4090", 1, "720p").seconds == 534.7
    assert timed("wan2.2-t2v-a14b", "h100", 8, "720p").seconds == 155.1
    assert timed("wan2.1-t2v-14b", "h100", 1, "720p").seconds == 1837.9
    assert timed("wan2.1-i2v-14b-720p", "h200", 1, "720p", "4-step").seconds == 44
    assert timed("wan2.1-t2v-14b", "rtx3060", 1, "720p") is None


def test_five_seconds_are_what_each_model_makes_of_them():
    assert frames_of("wan2.2-t2v-a14b", 5) == 81
    assert frames_of("wan2.2-ti2v-5b", 5) == 121
    assert frames_of("wan2.1-t2v-14b", 2) == 33


def test_what_was_timed_counts():
    found = duration_of("wan2.2-t2v-a14b", "h100", 8, "720p", 5)
    assert (found.seconds, found.load) == (155.1, 0)
    assert "Wan2.2@" in found.basis


def test_another_length_is_scaled_by_the_planner():
    found = duration_of("wan2.2-t2v-a14b", "h100", 1, "720p", 2.5)
    ratio = 1041.5 / found.seconds
    assert 21 / 11 < ratio < (21 / 11) ** 2  # latent frames: between linear and quadratic
    assert "scaled to 41 by the planner" in found.basis


def test_what_nobody_timed_is_planned():
    found = duration_of("wan2.2-i2v-a14b", "h100", 1, "720p", 5)
    planned = plan_of("wan2.2-i2v-a14b", "h100", "720p", 81, None)
    assert found.seconds + found.load == pytest.approx(planned.seconds)
    assert "not measured" in found.basis
    assert load_seconds("wan2.2-i2v-a14b", "h100", "720p") == found.load > 10


def test_few_steps_are_another_setup():
    few = duration_of("wan2.2-t2v-a14b", "h100", 1, "720p", 5, "lightning").seconds
    assert few < 0.2 * duration_of("wan2.2-t2v-a14b", "h100", 1, "720p", 5).seconds
    with pytest.raises(UnknownName, match="lightning"):
        duration_of("wan2.2-t2v-a14b", "h100", 1, "720p", 5, "lightening")


def test_what_cannot_be_said_is_not_guessed():
    with pytest.raises(InvalidRequest, match=r"nobody timed .* on 8 rtx4090"):
        duration_of("wan2.2-t2v-a14b", "rtx4090", 8, "720p", 5)
    with pytest.raises(UnknownName, match="Allowed: 720p"):
        duration_of("wan2.2-ti2v-5b", "rtx4090", 1, "480p", 5)
    with pytest.raises(UnknownName, match=r"wan2\.2-t2v-a14b"):
        frames_of("wan2.2-t2v-14b", 5)
    with pytest.raises(InvalidRequest, match="GiB"):
        duration_of("wan2.2-t2v-a14b", "t4", 1, "720p", 10)
    with pytest.raises(UnknownName, match="known power"):
        power_of("m4-max")
    assert load_seconds("wan2.2-ti2v-5b", "rtx4090", "480p") == 0


def test_power():
    assert power_of("rtx4090").watts == 450
    assert power_of("rtx4090").low == 235


def test_an_observation_tells_where_the_planner_disagrees():
    found = duration_of("wan2.2-t2v-a14b", "h100", 1, "720p", 5)
    counted = plan_of("wan2.2-t2v-a14b", "h100", "720p", 81, None)
    assert found.planned == pytest.approx(counted.seconds - counted.times.load)
    off = found.planned / found.seconds - 1
    assert bool(found.disagreement) == (abs(off) > AGREED)
    assert found.basis.endswith(found.disagreement)
    assert Duration(100, 0, "", found.row, 119).disagreement == ""
    assert Duration(100, 0, "", found.row, 150).disagreement == "the planner counts 150 s, 50% more"
    assert Duration(100, 0, "", found.row, 60).disagreement == "the planner counts 60 s, 40% less"


def test_what_this_machine_has_shown_counts_before_what_others_timed():
    planned = plan_of("wan2.2-t2v-a14b", "h100", "720p", 81, None)
    shown = planned.model_copy(update={"times": planned.times.model_copy(update={"basis": "measured"})})
    own = duration_known("wan2.2-t2v-a14b", "h100", 1, "720p", 81, "", shown)
    assert own.seconds == planned.seconds - planned.times.load
    assert own.row is None
    assert duration_known("wan2.2-t2v-a14b", "h100", 1, "720p", 81, "", planned).seconds == 1041.5
