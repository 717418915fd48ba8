"""Models with a branch for VACE or a camera, from their files: known by their tensors, and loaded with every number."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine.wan_directory import DIT, PAIR, VAE, network, tiny_wan_directory

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.spec.errors import CheckpointError, MissingTensor, WrongShape

VACE = replace(DIT, num_layers=4, vace_layers=(0, 2))
CAMERA = replace(DIT, in_dim=36, camera_scale=8)
CPU = torch.device("cpu")
STATISTICS = {"latents_mean": (0.0,) * 48, "latents_std": (1.0,) * 48}
SMALL_VAE = replace(VAE, patch=2, level_shortcuts=True, z_dim=48, **STATISTICS)


def change(folder: Path, **entries: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


@torch.inference_mode()
def outputs(model: WanDiT, config: DitConfig) -> torch.Tensor:
    model = copy.deepcopy(model)  # sums may depend on where in a file a tensor begins
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, config.in_dim, 2, 4, 6, generator=generator)
    scale = config.camera_scale
    shape = (config.vace_in_dim, 2, 4, 6) if scale is None else (24, 2, 4 * scale, 6 * scale)
    control = torch.randn(1, *shape, generator=generator)
    result: torch.Tensor = model(x, torch.tensor([500.0]), torch.randn(1, 5, 24, generator=generator), control=control)
    return result


@pytest.mark.parametrize(
    ("config", "model_type", "variant"),
    [(VACE, "vace", "wan2.2-vace-a"), (VACE, "t2v", "wan2.2-vace-a"), (CAMERA, "i2v", "wan2.2-camera-a")],
)
def test_a_pair_is_described_and_loaded(tmp_path: Path, config: DitConfig, model_type: str, variant: str) -> None:
    root = tiny_wan_directory(tmp_path / "model", dit=config)
    for folder in PAIR:
        change(root / folder, model_type=model_type)
    description = describe(root)
    assert description.task == variant.split("-")[1]
    assert description.variant.startswith(variant)
    assert description.dit.branch_layers == len(config.vace_layers)
    for (_, seed), expert in zip(PAIR.items(), ("high_noise", "low_noise"), strict=True):
        model = load_dit(description, expert, device=CPU, precision="fp32")
        assert model.config == config
        made = network(WanDiT, config, seed)
        assert isinstance(made, WanDiT)
        assert torch.equal(outputs(model, config), outputs(made, config))


# Which family a dense model is of, and whether its first frame has a time of its own, decide what it is told.
@pytest.mark.parametrize(
    ("changes", "vae", "family", "per_token"),
    [
        ({"in_dim": 32, "image_dim": 40}, VAE, "wan2.1", False),
        ({"in_dim": 36}, VAE, "wan2.2", False),
        ({"in_dim": 100, "out_dim": 48, "camera_scale": 16}, SMALL_VAE, "wan2.2", True),
    ],
)
def test_dense_models_that_follow_a_camera(
    tmp_path: Path, changes: dict[str, Any], vae: VaeConfig, family: str, per_token: bool
) -> None:
    config = replace(CAMERA, **changes)
    sidecar = {"vae": STATISTICS} if per_token else None
    root = tiny_wan_directory(tmp_path / "model", folders={".": 1}, dit=config, vae=vae, sidecar=sidecar)
    change(root, model_type="i2v")
    description = describe(root)
    assert (description.task, description.family) == ("camera", family)
    model = load_dit(description, "dense", device=CPU, precision="fp32")
    assert model.config == replace(config, per_token_timestep=per_token)


def test_layers_that_are_not_evenly_spaced_come_from_the_configuration(tmp_path: Path) -> None:
    config = replace(VACE, num_layers=5, vace_layers=(0, 1, 4))
    root = tiny_wan_directory(tmp_path / "model", folders={".": 1}, dit=config)
    change(root, vace_layers=[0, 1, 4], vace_in_dim=96, model_type="vace")
    assert load_dit(describe(root), "dense", device=CPU, precision="fp32").config == config
    for layers in ([0, 2], [0, 1, 9], [1, 2, 3], [0, 4, 1], [0, 0, 1], []):
        change(root, vace_layers=layers)
        with pytest.raises(WrongShape, match="vace_layers"):
            describe(root)
    change(root, vace_layers=[0, 1, 4], vace_in_dim=32)
    with pytest.raises(WrongShape, match="vace_in_dim"):
        describe(root)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_branches_are_kept_in_half_precision_and_what_steers_them_is_not(tmp_path: Path, precision: Any) -> None:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    for name, config in (("vace", VACE), ("camera", CAMERA)):
        root = tiny_wan_directory(tmp_path / name, folders={".": 1}, dit=config)
        model = load_dit(describe(root), "dense", device=CPU, precision=precision)
        found = {key: tensor.dtype for key, tensor in model.state_dict().items() if key.startswith(("vace", "control"))}
        assert {key for key, kind in found.items() if kind == torch.float32} == {
            key for key in found if "norm" in key or key.endswith("modulation")
        }
        assert {kind for key, kind in found.items() if "proj" in key or "conv" in key} == {dtype}


@pytest.mark.parametrize(
    "missing", ["vace_blocks.1.after_proj.bias", "vace_blocks.0.before_proj.weight", "vace_patch_embedding.weight"]
)
def test_a_missing_tensor_of_the_branch_is_named(tmp_path: Path, missing: str) -> None:
    from safetensors.torch import load_file, save_file

    root = tiny_wan_directory(tmp_path / "model", folders={".": 1}, dit=VACE)
    file = root / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors[missing]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")) as caught:
        load_dit(describe(root), "dense", device=CPU, precision="fp32")
    assert isinstance(caught.value, MissingTensor)
