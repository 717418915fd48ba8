"""Branches of VACE in files of their own: with a transformer for videos of text they are the whole model, number for
number; alone, or with the wrong one, they are refused with the reason."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT_VACE as VACE
from tests.engine.checkpoints.test_single_files import save_parts

from filmgate.engine.checkpoints.describe import describe, inspect
from filmgate.engine.checkpoints.hashed_weights import weight_records
from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.models.dit import WanDiT
from filmgate.spec.errors import CheckpointError, DamagedFile, MissingTensor, WrongShape, WrongVariant

CPU = torch.device("cpu")
State = dict[str, torch.Tensor]
HIGH, LOW = "t2v_high_noise_14B.safetensors", "t2v_low_noise_14B.safetensors"
VACE_HIGH, VACE_LOW = "Fun_VACE_module_A14B_HIGH.safetensors", "Fun_VACE_module_A14B_LOW.safetensors"
PAIR = {"high_noise": HIGH, "low_noise": LOW, "vace_high_noise": VACE_HIGH, "vace_low_noise": VACE_LOW}
DENSE = {"transformer": "wan2.1_t2v.safetensors", "vace": "VACE_module.safetensors"}


def divided(seed: int) -> tuple[State, State]:
    """A transformer with its branch, as the two files that it is published in."""
    state = published.transformer(VACE, seed).state_dict()
    branch = {name: value for name, value in state.items() if name.startswith("vace_")}
    return {name: value for name, value in state.items() if name not in branch}, branch


def velocity(model: WanDiT) -> torch.Tensor:
    model = copy.deepcopy(model)  # sums may depend on where in a file a tensor begins
    generator = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 16, 2, 4, 6, generator=generator), torch.randn(1, 5, 256, generator=generator)
    control = torch.randn(1, VACE.vace_in_dim, 2, 4, 6, generator=generator)
    result: torch.Tensor = model(x, torch.tensor([500.0]), text, control=control)
    return result


def write(folder: Path, name: str, **parts: str) -> Path:
    path = folder / name
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in parts.items()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for seed, names in enumerate([(HIGH, VACE_HIGH), (LOW, VACE_LOW), tuple(DENSE.values())], 1):
        for name, state in zip(names, divided(seed), strict=True):
            published.save_single(root / name, state, prefix="model.diffusion_model." if seed == 1 else "")
    save_parts(root)
    return root


@torch.inference_mode()
def test_a_pair_with_branches_is_the_whole_model(folder: Path) -> None:
    path = write(folder, "fun.toml", **PAIR)
    model = describe(path)
    assert (model.task, len(model.experts), model.dit.branch_layers) == ("vace", 2, len(VACE.vace_layers))
    for seed, expert in enumerate(("high_noise", "low_noise"), 1):
        loaded = load_dit(model, expert, device=CPU, precision="fp32")
        made = published.transformer(VACE, seed)
        assert loaded.config == made.config
        assert torch.equal(velocity(loaded), velocity(made))
    hashed = {Path(record.path).name for record in weight_records(model)}
    assert {*PAIR.values()} <= hashed, "a manifest names every file that a video was made with"
    report = inspect(path)
    assert report.complete
    assert report.run is not None
    branches = [network for network in report.networks if network.kind == "VACE branch"]
    assert [branch.expert for branch in branches] == [
        "high-noise expert, by its file name",
        "low-noise expert, by its file name",
    ]


@torch.inference_mode()
@pytest.mark.parametrize("convention", ["scale_weight", "comfy_quant"])
def test_a_branch_in_scaled_fp8_beside_a_transformer_in_full(folder: Path, convention: str) -> None:
    base, branch = divided(3)
    published.save_scaled(folder / DENSE["vace"], branch, convention=convention)
    loaded = load_dit(describe(write(folder, "dense.toml", **DENSE)), "dense", device=CPU, precision="fp32")
    whole = published.transformer(VACE, 3).state_dict()
    state = loaded.state_dict()
    assert all(torch.equal(state[name], whole[name]) for name in base)
    narrow = "vace_blocks.0.ffn.0.weight"
    assert not torch.equal(state[narrow], whole[narrow])
    assert (state[narrow] - whole[narrow]).abs().max() < 0.07 * whole[narrow].abs().max()


def test_a_branch_alone_says_what_to_do(folder: Path) -> None:
    path = folder / DENSE["vace"]
    report = inspect(path)
    (facts,) = report.networks
    assert (facts.kind, facts.guess) == ("VACE branch", f"without its transformer, width {VACE.dim}")
    assert facts.belongs == ("a transformer for videos of text, of the same width; a TOML file names both",)
    assert report.run is None
    with pytest.raises(
        WrongVariant, match=r"branch of VACE without its transformer.*model\.toml that names both.*as vace"
    ):
        describe(path)


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ({**DENSE, "vace": DENSE["transformer"]}, WrongVariant, "not a Wan VACE branch"),
        ({"vace": DENSE["vace"]}, DamagedFile, "not the transformers of a model"),
        (
            {**DENSE, "vace_low_noise": VACE_LOW},
            DamagedFile,
            "for other transformers than it names; expected vace, found",
        ),
        (
            {"high_noise": HIGH, "low_noise": LOW, "vace": DENSE["vace"]},
            DamagedFile,
            "vace_high_noise and vace_low_noise",
        ),
        ({"high_noise": HIGH, "low_noise": LOW, "vace_high_noise": VACE_HIGH}, DamagedFile, "found vace_high_noise"),
        (
            {**PAIR, "vace_high_noise": VACE_LOW, "vace_low_noise": VACE_HIGH},
            WrongVariant,
            "exchanged.*low-noise expert by",
        ),
        ({**PAIR, "vace_high_noise": VACE_LOW}, WrongVariant, "same branch of VACE for both"),
    ],
)
def test_descriptions_that_are_wrong(
    folder: Path, parts: dict[str, str], error: type[CheckpointError], words: str
) -> None:
    with pytest.raises(error, match=words):
        describe(write(folder, "wrong.toml", **parts))


def test_a_transformer_that_has_a_branch_takes_no_other(folder: Path) -> None:
    published.save_single(folder / DENSE["transformer"], published.transformer(VACE, 3).state_dict())
    with pytest.raises(WrongVariant, match="for a transformer that has one"):
        describe(write(folder, "double.toml", **DENSE))


def test_a_branch_of_another_width_or_with_a_hole(folder: Path) -> None:
    path = write(folder, "dense.toml", **DENSE)
    other = published.transformer(replace(VACE, dim=128, num_heads=1), 5).state_dict()
    branch = {name: value for name, value in other.items() if name.startswith("vace_")}
    published.save_single(folder / DENSE["vace"], branch)
    with pytest.raises(WrongShape, match="VACE_module"):
        describe(path)
    branch = divided(3)[1]
    del branch["vace_blocks.1.after_proj.bias"]
    published.save_single(folder / DENSE["vace"], branch)
    with pytest.raises(MissingTensor, match=r"vace_blocks\.1\.after_proj\.bias"):
        load_dit(describe(path), "dense", device=CPU, precision="fp32")


def test_a_branch_in_a_pickle(folder: Path) -> None:
    torch.save(divided(3)[1], folder / "VACE_module.pth")
    with pytest.raises(WrongVariant, match=r"in a pickle; expected \.safetensors or \.gguf"):
        describe(write(folder, "dense.toml", **{**DENSE, "vace": "VACE_module.pth"}))
