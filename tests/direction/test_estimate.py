"""Estimates of time against operation counts and times that others published, and against common sense."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direction.models import CPU, H200, model_of, tiny_pair, words
from tests.takes import make_plan

from filmgate.direction.calibration import Correction
from filmgate.direction.devices import profile_named, speed_of
from filmgate.direction.estimate import (
    compute_seconds,
    copy_seconds,
    decode_operations,
    estimate_seconds,
    forward_operations,
    tokens_of,
)
from filmgate.direction.planner import plan
from filmgate.direction.workload import encoded_frames, workload_of
from filmgate.engine.kernels.tiling import spans
from filmgate.spec import GuidanceRule, InputFile, Layout, Request, ResidencyPlan, VideoShape

A14B, SMALL, TI2V = "wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"


def planned(model, device, **wishes):
    return plan(Request(prompt="a red ball", **wishes), model, device, words)


@pytest.mark.parametrize(
    ("variant", "width", "height", "frames", "tokens", "peta"),
    [
        (A14B, 832, 480, 81, 32_760, 1.678),
        (A14B, 1280, 720, 81, 75_600, 6.523),
        (A14B, 1280, 720, 121, 111_600, 12.920),
        (TI2V, 1280, 704, 121, 27_280, 0.517),
        (SMALL, 832, 480, 81, 32_760, 0.283),
    ],
)
def test_operations_of_the_transformers(variant, width, height, frames, tokens, peta):
    model = model_of(variant)
    latent = model.compression.latent(VideoShape(width=width, height=height, frames=frames))
    assert tokens_of(model, latent) == tokens
    assert forward_operations(model, tokens) / 1e15 == pytest.approx(peta, rel=0.005)


def test_branches_cost_what_they_do():
    model = model_of(A14B)
    with_branch = model.model_copy(update={"dit": model.dit.model_copy(update={"branch_layers": 8})})
    more = forward_operations(with_branch, 32_760) / forward_operations(model, 32_760)
    assert 48 / 40 < more < 1.22
    camera = forward_operations(model.model_copy(update={"task": "camera"}), 32_760)
    assert 1.0 < camera / forward_operations(model, 32_760) < 1.03


@pytest.mark.parametrize(
    ("model", "width", "height", "frames", "tera"),
    [
        (model_of(A14B), 832, 480, 81, 275),
        (model_of(A14B), 1280, 720, 81, 639),
        (model_of(TI2V), 1280, 704, 121, 2011),
        (tiny_pair(), 160, 96, 33, 0.2),
    ],
)
def test_operations_of_the_decoders(model, width, height, frames, tera):
    video = VideoShape(width=width, height=height, frames=frames)
    assert decode_operations(model, video) / 1e12 == pytest.approx(tera, rel=0.02)


@pytest.mark.parametrize(
    ("profile", "variant", "wishes", "seconds"),
    [
        ("a100-80", A14B, {"width": 1280, "height": 720}, 2735.7),
        ("a100-80", A14B, {"width": 832, "height": 480}, 785.7),
        ("h20", A14B, {"width": 1280, "height": 720}, 4048.7),
        ("h20", A14B, {"width": 832, "height": 480}, 1133.9),
        ("rtx4090", TI2V, {}, 534.7),
    ],
)
def test_published_times_of_the_original_code_are_met_within_a_fifth(profile, variant, wishes, seconds):
    made = planned(model_of(variant), profile_named(profile).description, **wishes)
    assert made.seconds == pytest.approx(seconds, rel=0.2)


def test_the_small_model_takes_seconds_on_two_cores():
    assert 4 < planned(tiny_pair(), CPU).seconds < 12


def test_the_stages_add_up():
    made = planned(model_of(A14B), H200)
    times = made.times
    assert made.seconds == times.total == times.load + times.encode + times.denoise + times.decode
    assert times.denoise == pytest.approx(80 * times.forward)
    assert min(times.load, times.encode, times.decode) > 0
    assert times.basis == "analytic"


def test_guidance_costs_a_second_pass():
    model = model_of(A14B)
    with_it, without = (planned(model, H200, **wishes) for wishes in ({}, {"guidance_high": 1.0, "guidance_low": 1.0}))
    assert with_it.times.denoise == pytest.approx(2 * without.times.denoise)


def test_what_the_vae_reads_takes_time():
    load = workload_of(planned(model_of(A14B), H200))
    nothing, clip = (estimate_seconds(load._replace(encoded_frames=n), ResidencyPlan()).encode for n in (0, 81))
    assert clip - nothing == pytest.approx(0.596 * estimate_seconds(load, ResidencyPlan()).decode)


def test_tiles_that_overlap_are_worked_on_more_than_once():
    load = workload_of(planned(model_of(A14B), H200))
    whole, tiled = (estimate_seconds(load, ResidencyPlan(vae_tile=tile)).decode for tile in (None, 512))
    tiles = spans(90, 64, 16), spans(160, 64, 16)
    area = sum((bottom - top) * (right - left) for (top, bottom), (left, right) in product(*tiles))
    assert tiled / whole == pytest.approx(area / (90 * 160))
    assert estimate_seconds(load, ResidencyPlan(vae_tile=1280)).decode == whole


def test_copies_of_streamed_blocks_are_hidden_behind_work_or_take_as_long_as_they_take():
    streamed = ResidencyPlan(mode="streamed")
    load = workload_of(planned(model_of(A14B), H200))
    speed = speed_of(H200, "bf16")
    assert copy_seconds(load, ResidencyPlan(), speed) == 0
    hidden, plain = (estimate_seconds(load, way).forward for way in (streamed, ResidencyPlan()))
    assert hidden == plain == compute_seconds(load)
    short = load.resized(VideoShape(frames=1, width=832, height=480))
    longer = estimate_seconds(short, streamed).forward
    assert longer == copy_seconds(short, streamed, speed) > compute_seconds(short)
    # Some 28 GB over PCIe 5, for the two texts of a pair together.
    assert 0.2 < longer < 0.35
    kept = estimate_seconds(short, streamed.model_copy(update={"kept_blocks": 20})).forward
    assert kept == pytest.approx(longer / 2)
    mapped = estimate_seconds(short, streamed.model_copy(update={"host": "mapped"})).forward
    assert mapped == pytest.approx(longer * 52 / 1.5)


def test_a_correction_changes_what_was_measured_and_nothing_else():
    load = workload_of(planned(model_of(A14B), H200), 20)
    before = estimate_seconds(load, ResidencyPlan())
    after = estimate_seconds(load, ResidencyPlan(), Correction(forward=2.0, decode=3.0, basis="measured"))
    assert after.denoise == 2 * before.denoise
    assert after.decode == 3 * before.decode
    assert (after.load, after.encode, after.basis) == (before.load, before.encode, "measured")


@given(st.integers(1, 20), st.integers(2, 20), st.integers(2, 20), st.integers(1, 40))
def test_more_work_takes_longer(frames, width, height, steps):
    def seconds(**changes):
        size = {"frames": frames, "width": width, "height": height, "steps": steps, **changes}
        wishes = {
            "frames": 4 * size["frames"] + 1, "width": 16 * size["width"], "height": 16 * size["height"],
            "steps": size["steps"],
        }  # fmt: skip
        return planned(tiny_pair(), CPU, **wishes).seconds

    now = seconds()
    assert now < seconds(frames=frames + 1)
    assert now < seconds(width=width + 1)
    assert now < seconds(steps=steps + 1)


@pytest.mark.parametrize(("family", "channels", "frames"), [("2.1", 32, 1), ("2.2", 36, 81)])
def test_a_camera_model_without_a_mask_reads_its_picture_alone(family, channels, frames):
    """As VideoX-Fun has it: Wan 2.1's get the latent of the picture and then zeros, Wan 2.2's a clip grey behind it."""
    model = model_of(A14B)
    model = model.model_copy(
        update={"task": "camera", "dit": model.dit.model_copy(update={"in_channels": channels, "out_channels": 16})}
    )
    video = VideoShape(frames=81, width=832, height=480)
    picture = InputFile(role="image", path="first.png", sha256="0" * 64, width=832, height=480)
    assert encoded_frames("camera", model, video, [picture]) == frames, family
    assert encoded_frames("camera", model, video, []) == 0


def test_only_guidance_by_two_passes_is_a_batch_of_two():
    assert workload_of(make_plan()).paired
    assert not workload_of(make_plan(layout=Layout(cfg=2))).paired
    inside = make_plan(guidance=(1.0, 1.0), guidance_rule=GuidanceRule(method="nag"))
    assert inside.reads_negative
    assert not workload_of(inside).paired
