"""The world that the shipped model was trained on stays as it was: same seeds, same scenes, captions and questions."""

from __future__ import annotations

import hashlib

import pytest
import torch

from filmgate.training.truth import questions
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.captions import Captioner, facts
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import Scenes, sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer, lexicon_words

DRAWN = (
    "count", "alike", "colour", "shape", "material", "size", "motion", "relation", "camera", "light", "ground",
)  # fmt: skip


def fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(400, torch.Generator().manual_seed(11))


def test_scenes_are_those_of_the_first_version(scenes: Scenes) -> None:
    labels = b"".join(getattr(scenes.labels, name).to(torch.int64).numpy().tobytes() for name in DRAWN)
    assert fingerprint(labels) == "f18d458214147e4c"
    assert fingerprint(scenes.uniforms.numpy().tobytes()) == "55ad4e4387ad724c"


def test_captions_are_those_of_the_first_version(scenes: Scenes) -> None:
    known = facts(scenes.labels)
    writers = (Captioner(3), Captioner(4, complete=True), Captioner(5, plain=True))
    text = "\n".join(writer(scene) for writer in writers for scene in known)
    assert fingerprint(text.encode()) == "a740f055e35e8896"


def test_questions_are_those_of_the_first_version() -> None:
    assert fingerprint("\n".join(q.prompt for q in questions(300)).encode()) == "e8edbd3534a1363a"


def test_words_are_those_of_the_first_version() -> None:
    assert fingerprint(" ".join(lexicon_words()).encode()) == "65e868a71ceee426"
    assert fingerprint(build_tokenizer().to_str().encode()) == "2df8285398190b99"


def test_pictures_are_those_of_the_first_version(scenes: Scenes) -> None:
    clip = Renderer(ClipFormat(3, 48, 80))(scenes.select(torch.arange(6)))
    means = torch.tensor([133.69, 188.11, 162.36, 95.95, 109.34, 142.02])
    torch.testing.assert_close(clip.rgb.float().mean((1, 2, 3, 4)), means, atol=0.05, rtol=0)
