"""What is packed of the whole family: little where members share weights, and about 50 MB in all.

``bench/family_size.py`` counts it with the true depth; here blocks are fewer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from family_size import BUDGET_MB, packed_family
from filmgate.engine.checkpoints.packed import materialise
from filmgate.engine.models.dit import WanDiT
from filmgate.training.members import CAMERA, I2V, T2V
from filmgate.training.records import load_tensors


def test_members_that_share_weights_take_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filmgate.training.export.colour_factors", lambda *_: ([[0.1] * 3] * 16, [0.0] * 3))
    layers = 3  # the camera's model has the first two for itself
    sizes, parameters = packed_family(tmp_path, layers=layers)
    assert sizes[I2V.name] < 0.3e6  # two patch embeddings, and what is said of the tensors
    # Shared, the family takes its share of parameters: far less than five models would.
    assert sum(sizes.values()) < 1.15 * parameters
    whole = sum(p.numel() for p in WanDiT(T2V.dit).parameters())
    one = sum(p.numel() for p in WanDiT(replace(T2V.dit, num_layers=layers)).parameters())
    assert sum(sizes.values()) / 1e6 + 1.1 * 3 * (whole - one) / 1e6 < BUDGET_MB
    for name in (T2V.name, I2V.name, CAMERA.name):
        found = materialise(tmp_path / "ship" / name, tmp_path / "cache") / "high_noise_model"
        tensors = load_tensors(found / "diffusion_pytorch_model.safetensors")
        own = load_tensors(tmp_path / "high_noise.safetensors")
        if name == CAMERA.name:
            own |= load_tensors(tmp_path / "rays-high_noise.safetensors")
        for key in own:
            expected = own[key] if name != T2V.name or key != "patch_embedding.weight" else own[key][:, :16]
            assert (tensors[key] - expected).abs().max() <= 2**-5 * expected.abs().max()
        assert (name == CAMERA.name) == ("control_adapter.conv.weight" in tensors)
