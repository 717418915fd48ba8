"""How long a run will still take."""

import pytest
from tests.takes import make_model, make_plan

from filmgate.engine.pipeline.eta import decoding_seconds, remaining_seconds
from filmgate.spec import TimeEstimate

TIMES = TimeEstimate(load=10.0, encode=2.0, denoise=80.0, decode=8.0, forward=10.0)


def plan_with(**changes):
    model = make_model(text_encoder_bytes=100, vae_bytes=20)
    return make_plan(model, seconds=100.0, **{"times": TIMES, **changes})


def test_before_anything_is_done_it_is_what_was_planned():
    assert remaining_seconds(plan_with(), (), 0, encoded=False) == pytest.approx(TIMES.total)
    assert remaining_seconds(plan_with(times=TimeEstimate()), (), 0, encoded=False) == 100.0


def test_what_was_encoded_need_not_be_waited_for():
    before, after = (remaining_seconds(plan_with(), (), 0, encoded=encoded) for encoded in (False, True))
    # 100 of the 200 bytes that are loaded are those of the text encoder.
    assert before - after == pytest.approx(2.0 + 10.0 * 100 / 200)


def test_after_the_first_step_measured_passes_count():
    plan = plan_with()
    # Two steps a expert, two passes a step; the low-noise expert (40 bytes) and the VAE (20) are still to be loaded.
    left = remaining_seconds(plan, [5.0, 5.0], 1, encoded=True)
    assert left == pytest.approx(6 * 5.0 + 8.0 / 2 + 10.0 * 60 / 200)
    last = remaining_seconds(plan, [5.0] * 8, 4, encoded=True)
    assert last == pytest.approx(8.0 / 2 + 10.0 * 20 / 200)


def test_one_slow_pass_does_not_decide():
    plan = plan_with()
    assert remaining_seconds(plan, [50.0, 5.0, 5.0], 2, encoded=True) == remaining_seconds(
        plan, [5.0, 5.0, 5.0], 2, encoded=True
    )


def test_decoding_is_as_far_off_as_the_passes_unless_it_was_measured():
    assert decoding_seconds(plan_with(), 20.0) == 16.0
    assert decoding_seconds(plan_with(), 1000.0) == 32.0
    assert decoding_seconds(plan_with(), 0.1) == 2.0
    calibrated = TIMES.model_copy(update={"basis": "calibrated"})
    assert decoding_seconds(plan_with(times=calibrated), 20.0) == 16.0
    measured = TIMES.model_copy(update={"basis": "measured"})
    assert decoding_seconds(plan_with(times=measured), 20.0) == 8.0


def test_a_plan_without_stages_gives_decoding_what_it_leaves():
    plan = plan_with(times=TimeEstimate())
    assert decoding_seconds(plan, 10.0) == 20.0
    assert decoding_seconds(plan, 20.0) == 0.0
    assert decoding_seconds(plan, 1.0) == 8.0
