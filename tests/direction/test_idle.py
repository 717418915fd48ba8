"""Devices of a plan that have nothing to do, or do what others do, are told of."""

import pytest
from tests.direction.models import H200, model_of, words
from tests.takes import make_plan

from filmgate.direction.idle import idle_warnings
from filmgate.direction.planner import plan
from filmgate.spec import Layout, Request, ResidencyPlan, VideoShape

LARGE = VideoShape(frames=5, height=256, width=256)
"""32 rows of the latent, 512 tokens."""


def told(layout, video=LARGE, **changes):
    return list(idle_warnings(make_plan(video=video, layout=layout, **changes)))


def test_nobody_is_idle_where_all_have_as_much():
    for layout in (Layout(), Layout(sequence=2), Layout(cfg=2), Layout(cfg=2, sequence=16), Layout(sequence=32)):
        assert told(layout) == []


def test_half_of_them_repeat_a_step_without_guidance():
    (warning,) = told(Layout(cfg=2, sequence=2), guidance=(1.0, 3.0))
    assert warning == "2 of 4 steps read one text: in them half of the 4 devices do what the others do"
    assert told(Layout(sequence=4), guidance=(1.0, 3.0)) == []


def test_fewer_would_be_as_fast():
    (warning,) = told(Layout(sequence=31), VideoShape(frames=1, height=256, width=256))
    assert "256 tokens in 31 parts: the largest has 9, as in 29 parts, so that 29 devices" in warning
    (warning,) = told(Layout(cfg=2, sequence=31), VideoShape(frames=1, height=512, width=128))
    assert warning.endswith("so that 58 devices would be through as soon as 62")
    assert told(Layout(cfg=2, sequence=15), VideoShape(frames=1, height=512, width=64)) == [], "not even, none too many"


def test_the_vae_has_not_a_row_for_each():
    (warning,) = told(Layout(sequence=64))
    assert warning == "the latent has 32 rows, less than one for each of 64 devices: each does all of the VAE's work"


@pytest.mark.parametrize(("tile", "ranks", "idle"), [(128, 16, 7), (128, 8, None), (256, 2, 1)])
def test_the_vae_has_not_a_tile_for_each(tile, ranks, idle):
    warnings = told(Layout(sequence=ranks), residency=ResidencyPlan(vae_tile=tile))
    assert len(warnings) == (idle is not None)
    assert all(warning.endswith(f": {idle} of {ranks} devices have none and wait") for warning in warnings)


def test_a_plan_says_it():
    made = plan(
        Request(prompt="a red ball", gpus=1000, guidance_interval=(0.0, 0.99)),
        model_of("wan2.2-t2v-a14b"), H200, words,
    )  # fmt: skip
    assert made.layout == Layout(cfg=2, sequence=500)
    said = " ".join(made.warnings)
    assert "996 devices would be through as soon as 1000" in said
    assert "the latent has 90 rows" in said
    assert "steps read one text" in said
