"""Questions about the rich world, and readers with a head for everything in it."""

from __future__ import annotations

import pytest
import torch

from filmgate.training.latents import token_cover
from filmgate.training.readers import (
    IGNORED,
    ReaderConfig,
    Reading,
    WorldReader,
    accuracies,
    heads_of,
    load_reader,
    reading_loss,
    reading_targets,
)
from filmgate.training.records import save_tensors
from filmgate.training.truth import HELD_OUT_SEED, question_scenes, questions, score
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import FIRST, RICH, held_out

COUNT = 400
HEADS = heads_of(RICH)


@pytest.fixture(scope="module")
def perfect() -> tuple[Reading, dict[str, torch.Tensor]]:
    targets = reading_targets(question_scenes(COUNT, world=RICH))
    answers = {name: value.clamp_min(0) for name, value in targets.items()}
    return Reading({n: answers[n] for n in HEADS.objects}, {n: answers[n] for n in HEADS.scene}), targets


def test_truth_scores_one(perfect: tuple[Reading, dict[str, torch.Tensor]]) -> None:
    reading, targets = perfect
    scores = score(reading, questions(COUNT, world=RICH))
    wrong = {name: float(values.mean()) for name, values in scores.items() if values.mean() < 1}
    assert not wrong
    assert set(scores) >= {
        "shot", "composition", "lens", "angle", "tone", "light_angle", "interaction", "hat", "pace", "weather",
        "relation",
    }  # fmt: skip
    assert set(accuracies(reading, targets).values()) == {1.0}


def test_a_wrong_lens_costs_where_it_is_stated(perfect: tuple[Reading, dict[str, torch.Tensor]]) -> None:
    reading, _ = perfect
    asked = questions(COUNT, world=RICH)
    scene = {**reading.scene, "lens": (reading.scene["lens"] + 1) % 3}
    scores = score(Reading(reading.objects, scene), asked)
    assert scores["lens"].mean() == 0
    assert len(scores["lens"]) == sum("lens" in dict(question.facts.aesthetics) for question in asked)
    assert scores["camera"].mean() == 1


def test_targets_are_answers_of_their_heads(perfect: tuple[Reading, dict[str, torch.Tensor]]) -> None:
    _, targets = perfect
    for name, size in {**HEADS.objects, **HEADS.scene}.items():
        stated = targets[name][targets[name] != IGNORED]
        assert len(stated), name
        assert 0 <= int(stated.min()) <= int(stated.max()) < size, name


@pytest.mark.parametrize("triples", ["seen", "held out"])
def test_questions_can_ask_for_triples_that_training_drew_or_never_drew(triples: str) -> None:
    asked = questions(80, world=RICH, triples=triples)  # type: ignore[arg-type]
    things = [question.facts.things[0] for question in asked if question.facts.things]
    assert len(things) > 70
    assert all(held_out(t.colour, t.shape, t.motion) == (triples == "held out") for t in things)


def test_a_reader_learns_and_comes_back_with_its_heads(tmp_path) -> None:
    torch.manual_seed(0)
    config = ReaderConfig(dim=48, layers=2, heads=6, frames=2, height=32, width=32)
    reader = WorldReader(config, HEADS)
    targets = reading_targets(question_scenes(8, seed=3, world=RICH))
    video = torch.randn(8, 3, 2, 32, 32)
    optimiser = torch.optim.Adam(reader.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = reading_loss(reader(video), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    save_tensors(tmp_path / "reader.safetensors", reader.state_dict())
    found = load_reader(tmp_path / "reader.safetensors", a.ClipFormat(5, 32, 32))
    assert found.heads == HEADS
    old = WorldReader(config)
    save_tensors(tmp_path / "old.safetensors", old.state_dict())
    assert load_reader(tmp_path / "old.safetensors", a.ClipFormat(5, 32, 32)).heads == heads_of(FIRST)


def test_nothing_to_answer_is_no_loss() -> None:
    reader = WorldReader(ReaderConfig(dim=48, layers=1, heads=6, frames=2, height=32, width=32), HEADS)
    targets = reading_targets(question_scenes(2, seed=HELD_OUT_SEED, world=RICH))
    targets = {name: torch.full_like(value, IGNORED) for name, value in targets.items()}
    assert reading_loss(reader(torch.randn(2, 3, 2, 32, 32)), targets) == 0


def test_cover_counts_figures_as_one_object() -> None:
    number = torch.zeros(1, 5, 32, 32, dtype=torch.int8)
    number[:, :, :16, :16] = 1
    assert token_cover(number)[0, :, 0].sum() == 2
