"""Segments are the steps of the preset, the walk is the sampler's, and a student learns it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from filmgate.engine.checkpoints.lora import cover, read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_shapes import tensor_shapes
from filmgate.engine.runtime.lora import apply_lora
from filmgate.engine.sampling.guidance import Guidance
from filmgate.engine.sampling.schedules import TRAINING_STEPS, sigmas
from filmgate.engine.sampling.solvers import solve
from filmgate.training.distillation import Course, Examination, School, answered, noised, segments, taught
from filmgate.training.latents import Batch
from filmgate.training.lora.export import write_lora
from filmgate.training.world.scenes import sample_scenes

CONFIG = DitConfig(dim=32, ffn_dim=48, num_heads=2, num_layers=2, text_len=6, text_dim=8, freq_dim=16)
COURSE = Course(rank=8, substeps=3, guidance=Guidance(high=3.0, low=2.0), batch=4, judged=4)


def teacher(seed: int) -> WanDiT:
    torch.manual_seed(seed)
    network = WanDiT(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return network.eval().requires_grad_(False)


def apart(x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of ``y`` by which they differ: some processors train with bf16 products."""
    return ((x - y).norm() / y.norm()).item()


@pytest.fixture(scope="module")
def teachers() -> dict:
    return {"high_noise": teacher(1), "low_noise": teacher(2)}


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 16, 2, 4, 6, generator=generator)
    labels = sample_scenes(4, torch.Generator().manual_seed(0)).labels
    return Batch(latents, torch.ones(4, 6).long(), torch.zeros(4, 12, 3), labels)


@pytest.fixture(scope="module")
def text() -> torch.Tensor:
    return torch.randn(8, 6, 8, generator=torch.Generator().manual_seed(5))


def test_each_expert_makes_two_of_four_steps() -> None:
    high, low = segments(COURSE, "high_noise"), segments(COURSE, "low_noise")
    levels = [segment.level(0) * 1000 for segment in (*high, *low)]
    assert levels == pytest.approx([1000, 937.5, 833.333, 625], abs=0.01)
    assert [segment.level(1) * 1000 for segment in (*high, *low)] == pytest.approx([*levels[1:], 0])
    assert len(high) == len(low) == 2


@torch.no_grad()
def test_all_segments_together_are_the_samplers_walk(teachers: dict, batch: Batch, text: torch.Tensor) -> None:
    x = noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(3))
    for segment in (*segments(COURSE, "high_noise"), *segments(COURSE, "low_noise")):
        velocity = taught(teachers, COURSE, segment, x, batch, text)
        x = x + (segment.level(1) - segment.level(0)) * velocity

    def denoise(x: torch.Tensor, index: int) -> torch.Tensor:
        level = walk[index]
        name, scale = ("high_noise", 3.0) if level >= 0.875 else ("low_noise", 2.0)
        both = teachers[name](torch.cat([x, x]), torch.full((8,), level * TRAINING_STEPS), text)
        positive, negative = both.chunk(2)
        return negative + scale * (positive - negative)

    walk = sigmas("euler", 4 * COURSE.substeps, 5.0)
    *_, last = solve("euler", denoise, noise, walk)
    assert apart(x, last) < 0.02


def test_a_student_learns_the_walk_and_its_file_carries_it(
    teachers: dict, batch: Batch, text: torch.Tensor, tmp_path: Path
) -> None:
    school = School("low_noise", teachers, COURSE)
    examination = Examination(school, batch, text)
    before = examination.marks()
    assert before == pytest.approx(examination.marks(enabled=False))
    optimiser = torch.optim.AdamW(school.adapter.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(11)  # the noise of the questions: it is to overfit
    noise = torch.randn(batch.latents.shape, generator=generator)
    for step in range(60):
        optimiser.zero_grad()
        school.loss(school.segments[step % 2], batch, noise, text).backward()
        optimiser.step()
    after = examination.marks()
    assert sum(after) < 0.5 * sum(before), (before, after)

    path = tmp_path / "low.safetensors"
    write_lora(
        path,
        school.adapter.factors(),
        rank=COURSE.rank,
        alpha=COURSE.rank,
        dialect="comfyui",
        dtype=torch.float32,
        metadata={},
    )
    loaded, lora = teacher(2), read_lora(path)
    deltas = load_deltas(lora, cover(lora.changes, tensor_shapes(CONFIG)).matched, 1.0)
    apply_lora(loaded, deltas)
    segment = school.segments[0]
    x = noised(batch, segment, noise)
    with torch.no_grad():
        expected = answered(school.student, segment, x, batch, text)
        assert apart(answered(loaded, segment, x, batch, text), expected) < 0.02
        assert apart(answered(teacher(2), segment, x, batch, text), expected) > 0.1


def test_teachers_are_left_as_they_are(teachers: dict, batch: Batch, text: torch.Tensor) -> None:
    school = School("high_noise", teachers, replace(COURSE, rank=2))
    segment = school.segments[0]
    x = noised(batch, segment, torch.randn(batch.latents.shape))
    before = taught(teachers, COURSE, segment, x, batch, text)
    school.loss(segment, batch, torch.randn(x.shape), text).backward()
    assert all(parameter.grad is None for network in teachers.values() for parameter in network.parameters())
    assert torch.equal(taught(teachers, COURSE, segment, x, batch, text), before)
