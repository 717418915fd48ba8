"""Architectures read off tensor shapes, and the errors of checkpoints that are something else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from filmgate.engine.models.config import DitConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.spec.errors import CheckpointError, InvalidRequest, MissingTensor, WrongShape

TINY = DitConfig(dim=64, ffn_dim=96, num_heads=4, num_layers=3, text_len=64, text_dim=48, freq_dim=32)
TINY_TEXT = TextEncoderConfig(vocab=50, dim=24, dim_attn=32, dim_ffn=40, heads=4, layers=12, buckets=16, text_len=64)


def shapes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.fixture
def shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(WanDiT(TINY))


def test_a_tiny_transformer_is_recovered(shapes: dict[str, tuple[int, ...]]) -> None:
    assert DitConfig.from_tensors(shapes, num_heads=4, text_len=64) == TINY


def test_a_tiny_text_encoder_is_recovered() -> None:
    with torch.device("meta"):
        shapes = shapes_of(Umt5Encoder(TINY_TEXT))
    assert TextEncoderConfig.from_tensors(shapes, text_len=64) == TINY_TEXT


def test_a_missing_tensor_is_named_with_its_file(shapes: dict[str, tuple[int, ...]]) -> None:
    del shapes["head.head.weight"]
    with pytest.raises(MissingTensor, match=r"some/file.*head\.head\.weight"):
        DitConfig.from_tensors(shapes, num_heads=4, source="some/file")


def test_patches_of_another_size_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    shapes["patch_embedding.weight"] = (64, 16, 2, 2, 2)
    with pytest.raises(WrongShape, match="patch_embedding"):
        DitConfig.from_tensors(shapes, num_heads=4)


def test_a_tensor_with_another_number_of_axes_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    shapes["patch_embedding.weight"] = (64, 64)
    with pytest.raises(WrongShape, match="axes"):
        DitConfig.from_tensors(shapes, num_heads=4)


def test_the_number_of_heads_is_never_guessed(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(CheckpointError, match="heads"):
        DitConfig.from_tensors(shapes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dim": 66}, "dim"),
        ({"num_layers": 0}, "num_layers"),
        ({"freq_dim": 33}, "freq_dim"),
        ({"image_positions": 514}, "image_positions"),
    ],
)
def test_impossible_transformers_are_refused(changes: dict[str, Any], field: str) -> None:
    settings = {"dim": 64, "ffn_dim": 96, "num_heads": 4, "num_layers": 1, **changes}
    with pytest.raises(InvalidRequest) as caught:
        DitConfig(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(("changes", "field"), [({"dim_attn": 30}, "dim_attn"), ({"buckets": 10}, "buckets")])
def test_impossible_text_encoders_are_refused(changes: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TextEncoderConfig(**{"heads": 4, "dim_attn": 32, **changes})
    assert caught.value.field == field


def test_configurations_need_no_torch() -> None:
    program = "import sys, filmgate.engine.models.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
