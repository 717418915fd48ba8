"""Estimates against operation counts and times that others published, and against common sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direction.models import CPU, H200, model_of, tiny_pair, words

from filmgate.direction.estimate import _GPUS, decode_operations, forward_operations, speed_of, tokens_of
from filmgate.direction.planner import plan
from filmgate.spec import DeviceDescription, Request, VideoShape

A14B, SMALL, TI2V = "wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"


def gpu(name):
    return DeviceDescription(kind="cuda", name=name, memory_bytes=80 << 30)


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
    ("device", "wishes", "seconds"),
    [
        (gpu("NVIDIA H100 80GB HBM3"), {"width": 1280, "height": 720}, 1041.5),
        (gpu("NVIDIA H100 80GB HBM3"), {"width": 832, "height": 480}, 326.9),
        (gpu("NVIDIA A100-SXM4-80GB"), {"width": 1280, "height": 720}, 2735.7),
    ],
)
def test_published_times_of_the_original_code_are_met_within_a_third(device, wishes, seconds):
    assert planned(model_of(A14B), device, **wishes).seconds == pytest.approx(seconds, rel=0.34)


def test_the_small_model_takes_seconds_on_two_cores():
    made = planned(tiny_pair(), CPU)
    assert 4 < made.seconds < 12
    assert made.memory.peak < 300e6


def test_memory_of_the_large_model_is_one_expert_and_its_work():
    memory = planned(model_of(A14B), H200).memory
    assert memory.weights == 2 * 14_288_491_584
    assert memory.peak == memory.weights + memory.activations
    assert 8e9 < memory.activations < 20e9
    assert 15e9 < memory.vae < 30e9


def test_the_text_encoder_may_be_the_largest():
    memory = planned(model_of(SMALL), H200, frames=1).memory
    assert memory.weights == memory.peak == 2 * 5_680_910_336


def test_precision_decides_the_weights():
    assert planned(model_of(A14B), H200, precision="fp32").memory.weights == 4 * 14_288_491_584


def test_guidance_costs_a_second_pass():
    model = model_of(A14B)
    with_it, without = (planned(model, H200, **wishes) for wishes in ({}, {"guidance_high": 1.0, "guidance_low": 1.0}))
    assert sum(step.passes for step in with_it.steps) == 2 * sum(step.passes for step in without.steps)
    assert with_it.seconds > 1.7 * without.seconds


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H20", "H20"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
    ],
)
def test_gpus_are_known_by_their_names(name, same_as):
    (entry,) = (gpu for gpu in _GPUS if gpu.name == same_as)
    assert speed_of(gpu(name), "bf16").transformer == pytest.approx(entry.half * 0.5e12)
    assert speed_of(gpu(name), "fp32").transformer == pytest.approx(entry.single * 0.6e12)


def test_no_name_hides_a_longer_one():
    names = [gpu.name for gpu in _GPUS]
    assert all(later not in names[:index] and not any(early in later for early in names[:index])
               for index, later in enumerate(names))  # fmt: skip


def test_an_unknown_gpu_and_other_kinds_have_a_speed_too():
    assert speed_of(gpu("A GPU of tomorrow"), "bf16").transformer > 0
    apple = DeviceDescription(kind="mps", name="Apple M4 GPU", memory_bytes=16 << 30)
    assert speed_of(apple, "bf16").transformer > speed_of(apple, "fp32").transformer > 0
    four = CPU.model_copy(update={"cores": 4})
    assert speed_of(four, "fp32").transformer == 2 * speed_of(CPU, "fp32").transformer


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
