"""What a measured video says of the next."""

import pytest
from tests.direction.models import H200, model_of, words

from filmgate.direction.calibration import NOTHING_MEASURED, Machine, Measured, Setting, correction_for
from filmgate.direction.fit import setting_of
from filmgate.direction.planner import plan
from filmgate.direction.workload import workload_of
from filmgate.spec import Request, ResidencyPlan, VideoShape

STREAMED = ResidencyPlan(mode="streamed")
VIDEO = VideoShape(frames=81, width=832, height=480)
SETTING = Setting(
    device="NVIDIA H200", versions="torch 2", model="t2v", coder="small", video=VIDEO, precision="bf16",
    residency=ResidencyPlan(),
)  # fmt: skip


def measured(factor=1.5, expected=2.0, decode=2.0, **changes):
    return Measured(
        setting=SETTING.model_copy(update=changes), forward=factor * expected, expected_forward=expected,
        decode=decode * 4.0, expected_decode=4.0,
    )  # fmt: skip


def test_without_a_measurement_nothing_changes():
    assert correction_for(SETTING, 2.0, ()) == NOTHING_MEASURED
    assert NOTHING_MEASURED == (1.0, 1.0, 1.0, "analytic")


@pytest.mark.parametrize("order", [1, -1])
def test_the_same_setting_counts_and_the_fastest_of_them(order):
    seen = [measured(9.0), measured(1.5, decode=5.0), measured(7.0, model="other")]
    assert correction_for(SETTING, 2.0, seen[::order]) == (1.5, 1.0, 2.0, "measured")


def test_of_the_nearest_setting_too_the_fastest_counts():
    seen = [measured(factor, video=VideoShape(frames=9, height=32, width=64)) for factor in (4.0, 1.2, 30.0)]
    assert correction_for(SETTING, 2.0, seen)[::3] == (1.2, "calibrated")


def test_else_the_nearest_video_of_the_same_model():
    larger = VideoShape(frames=81, width=1280, height=720)
    near, far = measured(1.2, 8.0, video=larger), measured(3.0, 100.0, video=larger)
    other = measured(5.0, 2.0, video=larger, model="other")
    assert correction_for(SETTING, 2.0, [far, near, other]) == (1.2, 1.0, 2.0, "calibrated")
    assert correction_for(SETTING, 2.0, [other]).forward == 5.0


@pytest.mark.parametrize(
    "change", [{"device": "NVIDIA H100"}, {"versions": "torch 3"}, {"precision": "fp32"}, {"residency": STREAMED}]
)
def test_another_device_version_precision_or_streaming_says_nothing(change):
    assert correction_for(SETTING, 2.0, [measured(**change)]) == NOTHING_MEASURED


def test_streaming_is_corrected_by_streaming_first_and_its_work_by_other_modes():
    streamed = SETTING.model_copy(update={"residency": STREAMED})
    assert correction_for(streamed, 2.0, [measured(1.5)]) == (1.5, 1.0, 2.0, "calibrated")
    assert correction_for(streamed, 2.0, [measured(1.5), measured(3.0, residency=STREAMED)])[:2] == (3.0, 3.0)
    mapped = STREAMED.model_copy(update={"host": "mapped"})
    assert correction_for(streamed, 2.0, [measured(3.0, residency=mapped)]) == NOTHING_MEASURED
    tiled = STREAMED.model_copy(update={"vae_tile": 256})
    assert correction_for(streamed, 2.0, [measured(3.0, residency=tiled)]).basis == "calibrated"


def test_weights_in_few_bits_say_nothing_of_others():
    narrow, eight = ResidencyPlan(weights="int4"), ResidencyPlan(weights="int8")
    assert correction_for(SETTING, 2.0, [measured(4.0, residency=narrow)]) == NOTHING_MEASURED
    few = SETTING.model_copy(update={"residency": narrow})
    assert correction_for(few, 2.0, [measured(4.0, residency=eight)]) == NOTHING_MEASURED
    assert correction_for(few, 2.0, [measured(4.0, residency=eight), measured(1.2)])[::3] == (1.2, "calibrated")
    smaller = VideoShape(frames=9, height=32, width=64)
    seen = [measured(4.0, residency=narrow, video=smaller), measured(1.2)]
    assert correction_for(few, 2.0, seen)[::3] == (4.0, "calibrated")


def test_ways_that_keep_more_on_the_device_are_measured_as_one():
    model = model_of("wan2.2-t2v-a14b")
    load = workload_of(plan(Request(prompt="a red ball"), model, H200, words))
    ways = [
        ResidencyPlan(),
        ResidencyPlan(mode="resident", text_encoder="device"),
        ResidencyPlan(mode="resident", text_encoder="cpu"),
    ]
    assert len({setting_of(load, way, Machine()).model_dump_json() for way in ways}) == 1
    for way in (STREAMED, ResidencyPlan(vae_tile=256), ResidencyPlan(weights="fp8")):
        assert setting_of(load, way, Machine()).residency == way
    # One slow video in one mode sends no later plan to the other.
    seen = Measured(setting=setting_of(load, ways[0], Machine(versions="torch 2")), forward=99, expected_forward=9)
    machine = Machine(measured=(seen,), versions="torch 2")
    after = plan(Request(prompt="a red ball"), model, H200, words, machine=machine)
    assert after.residency.mode == "one_expert"
    assert len({option.seconds for option in after.options if option.residency.mode != "streamed"}) == 1


def test_a_vae_is_corrected_by_its_own_kind_alone():
    assert correction_for(SETTING, 2.0, [measured(coder="large")]) == (1.5, 1.0, 1.0, "calibrated")
    assert correction_for(SETTING, 2.0, [measured(decode=0.0)]).decode == 1.0


def test_a_plan_uses_what_was_measured():
    model = model_of("wan2.2-t2v-a14b")

    def made(machine):
        return plan(Request(prompt="a red ball"), model, H200, words, machine=machine)

    before = made(Machine())
    setting = setting_of(workload_of(before), ResidencyPlan(), Machine(versions="torch 2"))
    seen = Measured(setting=setting, forward=2 * before.times.forward, expected_forward=before.times.forward)
    after = made(Machine(measured=(seen,), versions="torch 2"))
    assert after.times.basis == "measured"
    assert after.times.forward == pytest.approx(2 * before.times.forward)
    assert after.times.decode == before.times.decode
    assert made(Machine(measured=(seen,), versions="torch 3")).times == before.times
    assert after.fingerprint == before.fingerprint
    assert after.residency == before.residency
