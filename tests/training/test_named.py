"""Files that a caller names for stages: what is wrong with them is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.spec.errors import (
    DamagedFile,
    InvalidRequest,
    MissingFile,
    MissingTensor,
    UnknownName,
    WrongShape,
)
from filmgate.training.averaging import Average
from filmgate.training.distillation import Course, School
from filmgate.training.members import MEMBERS
from filmgate.training.named import finished_files, first_files, named_files, named_seconds
from filmgate.training.readers import ReaderConfig, WorldReader, heads_of
from filmgate.training.records import load_tensors, save_tensors
from filmgate.training.text_encoder import text_config
from filmgate.training.trainee import Trainee
from filmgate.training.world.catalogue import FIRST, RICH, UNADORNED

ROOT = Path(__file__).parents[2]
VAE = ROOT / "src/filmgate/toybox/toybox-t2v/Wan2.1_VAE.safetensors.planes"
TEXT = ROOT / "bench/family/kept/text.planes"
MIXED = ROOT / "bench/dense/dense.planes"
"""It went on from ``mixed`` and reads the same."""
READER = ROOT / "bench/readers/first.planes"
"""Of the first world."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer that reads text alone."""
    file = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    save_tensors(file, Trainee(MEMBERS["toybox-2.1"].dit, 4, RICH).state_dict())
    return file


def test_weights_of_their_stage_are_taken(plain: Path) -> None:
    named = [f"vae={VAE}", f"text={TEXT}", f"mixed={MIXED}", f"plain={plain}"]
    assert finished_files(named, "have") == {"vae": VAE, "text": TEXT, "mixed": MIXED, "plain": plain}


def test_a_published_model_is_as_good_as_a_run(tmp_path: Path) -> None:
    file = tmp_path / "published.safetensors"
    save_tensors(file, WanDiT(MEMBERS["toybox-i2v"].dit).state_dict())
    assert finished_files([f"high_noise={file}"], "have") == {"high_noise": file}
    with pytest.raises(WrongShape, match="not the weights of plain"):
        finished_files([f"plain={file}"], "have")


@pytest.mark.parametrize("stage", ["vae", "text", "base"])
def test_weights_of_another_network_are_refused(stage: str) -> None:
    other = TEXT if stage == "base" else MIXED
    with pytest.raises(MissingTensor, match=f"not the weights of {stage}"):
        finished_files([f"{stage}={other}"], "have")


def test_a_text_encoder_knows_the_words_of_its_world(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "text.safetensors"
    for world in (FIRST, RICH, UNADORNED):
        save_tensors(file, Umt5Encoder(text_config(world)).state_dict())
        if world is FIRST:
            with pytest.raises(WrongShape, match="not the weights of text in the world rich") as caught:
                finished_files([f"text={file}"], "have")
            assert (caught.value.key, caught.value.found) == ("token_embedding.weight", (1031, 192))
        else:
            assert finished_files([f"text={file}"], "have") == {"text": file}
    tensors = Umt5Encoder(text_config(RICH)).state_dict()
    del tensors["blocks.3.attn.o.weight"]
    save_tensors(file, tensors)
    with pytest.raises(MissingTensor):
        finished_files([f"text={file}"], "have")


def test_a_reader_asks_what_its_world_has(tmp_path: Path) -> None:
    with pytest.raises((WrongShape, MissingTensor), match="not the weights of reader in the world rich"):
        finished_files([f"reader={READER}"], "have")
    file = tmp_path / "reader.safetensors"
    save_tensors(file, WorldReader(ReaderConfig(frames=33), heads_of(RICH)).state_dict())
    assert finished_files([f"reader={file}"], "have") == {"reader": file}


def test_adapters_are_told_from_transformers(tmp_path: Path) -> None:
    for stage in ("few_high", "camera_low"):
        with pytest.raises(MissingTensor, match=f"not the weights of {stage}"):
            finished_files([f"{stage}={MIXED}"], "have")
    school = School("high_noise", {"high_noise": WanDiT(MEMBERS["toybox-i2v"].dit)}, Course())
    few, camera = tmp_path / "few.safetensors", tmp_path / "camera.safetensors"
    save_tensors(few, Average(school.adapter, 0.9).state())
    save_tensors(camera, Trainee(MEMBERS["toybox-camera"].dit, 4, RICH).state_dict())
    named = {"few_high": few, "camera_low": camera}
    assert finished_files([f"{name}={file}" for name, file in named.items()], "have") == named


def test_what_always_begins_anew_starts_from_nothing(plain: Path) -> None:
    with pytest.raises(InvalidRequest, match="stage text starts from nothing") as caught:
        first_files([f"text={TEXT}"], "begin")
    assert "mixed" in str(caught.value.allowed)
    assert first_files([f"mixed={plain}"], "begin") == {"mixed": plain}


def test_weights_of_another_member_are_refused(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(WrongShape, match="not the weights of mixed"):
        finished_files([f"mixed={plain}"], "have")
    named_files([f"mixed={plain}"], "begin")  # it grows
    tensors = load_tensors(VAE)
    tensors["conv1.weight"] = torch.ones(3)
    save_tensors(tmp_path / "vae.safetensors", tensors)
    with pytest.raises(WrongShape, match="not the weights of vae"):
        finished_files([f"vae={tmp_path / 'vae.safetensors'}"], "have")


def test_what_is_no_file_of_weights_and_what_is_no_stage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="vea"):
        named_files([f"vea={VAE}"], "have")
    with pytest.raises(MissingFile):
        named_files([f"vae={tmp_path / 'nothing.planes'}"], "have")
    (tmp_path / "text.md").write_text("words, words, words")
    with pytest.raises(DamagedFile):
        named_files([f"vae={tmp_path / 'text.md'}"], "begin")
    with pytest.raises(InvalidRequest, match="names nothing"):
        named_files(["vae"], "have")


def test_seconds_are_numbers() -> None:
    assert named_seconds(["vae=3", "text=2.5"], "set") == {"vae": 3.0, "text": 2.5}
    for wrong in ("abc", "nan", "inf", ""):
        with pytest.raises(InvalidRequest, match=f"'{wrong}' is no number of seconds"):
            named_seconds([f"vae={wrong}"], "set")
