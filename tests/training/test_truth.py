"""Questions and their scoring: a perfect reader scores 1 everywhere, and every mistake costs where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from filmgate.training.readers import (
    IGNORED,
    OBJECT_HEADS,
    SCENE_HEADS,
    ReaderConfig,
    Reading,
    WorldReader,
    accuracies,
    degrade,
    load_reader,
    reading_loss,
    reading_targets,
)
from filmgate.training.records import save_tensors
from filmgate.training.truth import (
    HELD_OUT_SEED,
    TUNING_SEED,
    Question,
    bootstrap,
    interval,
    paired_difference,
    paired_ratio,
    question_scenes,
    questions,
    score,
)
from filmgate.training.world import attributes as a
from filmgate.training.world.captions import facts
from filmgate.training.world.scenes import sample_scenes

COUNT = 300


@pytest.fixture(scope="module")
def perfect() -> tuple[Reading, list[Question], dict[str, torch.Tensor]]:
    scenes = sample_scenes(COUNT, torch.Generator().manual_seed(HELD_OUT_SEED))
    targets = reading_targets(scenes)
    reading = Reading({n: targets[n].clamp_min(0) for n in OBJECT_HEADS}, {n: targets[n] for n in SCENE_HEADS})
    return reading, questions(COUNT), targets


def test_truth_scores_one(perfect: tuple[Reading, list[Question], dict[str, torch.Tensor]]) -> None:
    reading, asked, targets = perfect
    scores = score(reading, asked)
    assert {name: float(values.mean()) for name, values in scores.items()} == dict.fromkeys(scores, 1.0)
    assert set(scores) >= {
        "colour",
        "shape",
        "motion_direction",
        "camera",
        "light",
        "two_object_binding",
        "relation",
        "count",
    }
    assert set(accuracies(reading, targets).values()) == {1.0}


@pytest.mark.parametrize("wrong", ["colour", "shape"])
def test_a_wrong_attribute_breaks_binding(
    wrong: str, perfect: tuple[Reading, list[Question], dict[str, torch.Tensor]]
) -> None:
    reading, asked, _ = perfect
    objects = dict(reading.objects)
    objects[wrong] = (objects[wrong] + 1) % OBJECT_HEADS[wrong]
    scores = score(Reading(objects, reading.scene), asked)
    assert scores[wrong].mean() == 0
    assert scores["two_object_binding"].mean() == 0
    assert scores["camera"].mean() == 1


def test_swapped_objects_keep_binding_and_lose_the_relation(
    perfect: tuple[Reading, list[Question], dict[str, torch.Tensor]],
) -> None:
    reading, asked, _ = perfect
    two = (reading.scene["count"] == 2)[:, None]
    swapped = {n: torch.where(two, v[:, [1, 0, 2]], v) for n, v in reading.objects.items() if n != "depth"}
    scores = score(Reading({**swapped, "depth": reading.objects["depth"]}, reading.scene), asked)
    assert scores["two_object_binding"].mean() == 1
    assert scores["relation"].mean() < 0.1


def test_missing_object_is_a_wrong_relation(perfect: tuple[Reading, list[Question], dict[str, torch.Tensor]]) -> None:
    reading, asked, _ = perfect
    one = {**reading.scene, "count": torch.ones_like(reading.scene["count"])}
    scores = score(Reading(reading.objects, one), asked)
    assert scores["relation"].mean() == 0


def test_nothing_is_read_of_an_object_that_is_not_there(
    perfect: tuple[Reading, list[Question], dict[str, torch.Tensor]],
) -> None:
    reading, asked, _ = perfect
    none = {**reading.scene, "count": torch.zeros_like(reading.scene["count"])}
    scores = score(Reading(reading.objects, none), asked)
    assert [scores[name].sum() for name in ("colour", "shape", "motion", "motion_direction")] == [0, 0, 0, 0]
    assert scores["ground"].mean() == 1


def test_scenes_to_tune_by_are_others() -> None:
    assert facts(question_scenes(50).labels) == [q.facts for q in questions(50)]
    tuning = questions(50, seed=TUNING_SEED)
    assert not {q.prompt for q in questions(50)} & {q.prompt for q in tuning}


def test_targets_are_sorted_from_left_to_right() -> None:
    scenes = sample_scenes(500, torch.Generator().manual_seed(1))
    targets, labels = reading_targets(scenes), scenes.labels
    left = (labels.count == 2) & (labels.alike == 0) & (labels.relation == a.RELATIONS.index("left of"))
    assert torch.equal(targets["colour"][left, 0], labels.colour[left, 0])
    assert (targets["colour"][labels.count == 1, 1:] == IGNORED).all()


def test_interval_covers_the_mean() -> None:
    values = np.array([1.0] * 80 + [0.0] * 20)
    mean, low, high, count = interval(values)
    assert count == 100
    assert mean == pytest.approx(0.8)
    assert 0.70 < low < 0.75
    assert 0.85 < high < 0.90
    assert paired_difference(values, values) == (0.0, 0.0, 0.0, 100)
    assert interval(values).scaled(100, 1)[::3] == (80.0, 100)
    assert np.isnan(interval(values[:0]).mean)


def test_interval_of_a_ratio_keeps_pairs_together() -> None:
    noisy = np.random.default_rng(0).uniform(1, 100, 50)
    assert paired_ratio(3 * noisy, noisy) == pytest.approx((3.0, 3.0, 3.0, 50))
    worst = bootstrap(lambda index: float(noisy[index].max()), 50)
    assert worst.mean == worst.high == noisy.max() > worst.low


def test_reader_learns_a_batch() -> None:
    torch.manual_seed(0)
    config = ReaderConfig(dim=48, layers=2, heads=4, frames=2, height=32, width=32)
    reader = WorldReader(config)
    scenes = sample_scenes(8, torch.Generator().manual_seed(3))
    targets = reading_targets(scenes)
    video = torch.randn(8, 3, 2, 32, 32)
    optimiser = torch.optim.Adam(reader.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = reading_loss(reader(video), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_reader_comes_back_from_its_file(tmp_path: Path) -> None:
    clip = a.ClipFormat(5, 32, 32)
    torch.manual_seed(1)
    kept = WorldReader(ReaderConfig(dim=48, layers=3, frames=2, height=32, width=32)).eval()
    save_tensors(tmp_path / "reader.safetensors", {n: t.bfloat16() for n, t in kept.state_dict().items()})
    found = load_reader(tmp_path / "reader.safetensors", clip)
    rgb = torch.randint(0, 256, (3, 3, 5, 32, 32), dtype=torch.uint8)
    assert all(tensor.dtype == torch.float32 for tensor in found.state_dict().values())
    logits, expected = (reader(rgb[:, :, ::4].float() / 127.5 - 1) for reader in (found, kept.bfloat16().float()))
    for name, value in expected.items():
        torch.testing.assert_close(logits[name], value)


def test_degraded_clips_stay_in_range() -> None:
    video = torch.rand(4, 3, 3, 16, 16) * 2 - 1
    spoiled = degrade(video, torch.Generator().manual_seed(0))
    assert spoiled.shape == video.shape
    assert spoiled.abs().max() <= 1
    assert not torch.equal(spoiled, video)
