"""Files that a caller names for stages: what is wrong with them is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from filmgate.spec.errors import (
    DamagedFile,
    InvalidRequest,
    MissingFile,
    MissingTensor,
    UnknownName,
    WrongShape,
)
from filmgate.training.named import finished_files, named_files, named_seconds
from filmgate.training.records import load_tensors, save_tensors

ROOT = Path(__file__).parents[2]
VAE = ROOT / "src/filmgate/toybox/toybox-t2v/Wan2.1_VAE.safetensors.planes"
TEXT, MIXED = (ROOT / f"bench/family/kept/{name}.planes" for name in ("text", "mixed"))
DENSE = ROOT / "bench/dense/dense.planes"


def test_weights_of_their_stage_are_taken() -> None:
    named = [f"vae={VAE}", f"text={TEXT}", f"mixed={MIXED}", f"plain={DENSE}"]
    assert finished_files(named, "have") == {"vae": VAE, "text": TEXT, "mixed": MIXED, "plain": DENSE}


@pytest.mark.parametrize("stage", ["vae", "text", "base"])
def test_weights_of_another_network_are_refused(stage: str) -> None:
    other = TEXT if stage == "base" else DENSE
    with pytest.raises(MissingTensor, match=f"not the weights of {stage}"):
        finished_files([f"{stage}={other}"], "have")


def test_weights_of_another_member_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongShape, match="not the weights of mixed"):
        finished_files([f"mixed={DENSE}"], "have")
    named_files([f"mixed={DENSE}"], "begin")  # it grows
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
