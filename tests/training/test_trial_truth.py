"""A gate's prompts are of the world that its reader reads, and a clip is scored by what its prompt says."""

from pathlib import Path

import pytest
import torch

from filmgate.spec.errors import CheckpointError
from filmgate.spec.shape import VideoShape
from filmgate.training.records import load_tensors, save_tensors
from filmgate.training.trial_truth import TruthReader
from filmgate.training.truth import question_scenes, questions
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue
from filmgate.training.world.render import Renderer

READERS = Path(__file__).parents[2] / "bench/readers"
VIDEO = VideoShape(width=160, height=96, frames=33)


@pytest.mark.parametrize(("name", "world"), [("first", FIRST), ("rich", RICH)])
def test_prompts_are_of_the_readers_world(name: str, world: Catalogue) -> None:
    reader = TruthReader(READERS / f"{name}.planes", VIDEO, 3)
    assert reader.prompts == [(question.prompt, question.seed) for question in questions(3, world=world)]


def test_a_render_shows_more_of_its_own_prompt_than_of_another() -> None:
    reader = TruthReader(READERS / "rich.planes", VIDEO, 2)
    clips = Renderer()(question_scenes(2, world=RICH)).rgb.permute(0, 2, 3, 4, 1).numpy()
    own, other = (sum(reader.share(i, clips[j]) for i, j in pairs) for pairs in (((0, 0), (1, 1)), ((0, 1), (1, 0))))
    assert own > 1.5 > other + 0.5


def test_a_reader_of_no_world_is_refused(tmp_path: Path) -> None:
    tensors = load_tensors(READERS / "rich.planes")
    for part in ("weight", "bias"):
        name = f"scene_heads.light.{part}"
        tensors[name] = torch.cat([tensors[name], tensors[name]])
    save_tensors(tmp_path / "reader.safetensors", tensors)
    with pytest.raises(CheckpointError, match="neither"):
        TruthReader(tmp_path / "reader.safetensors", VIDEO, 1)
