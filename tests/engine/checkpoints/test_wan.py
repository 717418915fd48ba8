"""Networks of a directory: what does not fit is named with its file and key, and nothing is guessed."""

import json
import pickle
import re
import shutil
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.wan_directory import DIT, PRESET, SIDECAR, network, save, transformer_config

from filmgate.engine.checkpoints.describe import describe, inspect
from filmgate.engine.checkpoints.hashed_weights import weight_records
from filmgate.engine.checkpoints.layout import model_directories
from filmgate.engine.checkpoints.wan import load_dit, load_text_encoder, load_vae
from filmgate.engine.models.dit import WanDiT
from filmgate.spec import (
    CheckpointError,
    DamagedFile,
    MissingFile,
    MissingTensor,
    UnexpectedTensor,
    UnsafeCheckpoint,
    WrongDtype,
    WrongShape,
    WrongVariant,
)

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def root(make_wan):
    return make_wan(sidecar=SIDECAR)


def rewrite(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_directory_is_described_from_its_files(root):
    model = describe(root)
    assert (model.id, model.variant, model.task, model.preset.frames) == ("tiny", "wan2.2-t2v-a14b", "t2v", 5)
    assert [expert.path for expert in model.experts] == ["high_noise_model", "low_noise_model"]
    assert model.experts[0].parameters == sum(t.numel() for t in load_file(root / "low_noise_model" / WEIGHTS).values())
    assert model.vae_bytes == 4 * model.vae_parameters > 0
    assert model.text_encoder_bytes == 4 * model.text_encoder_parameters > 0


def test_weights_arrive_as_they_lie_there(root):
    model = describe(root)
    for loaded, path in (
        (load_dit(model, "high_noise", device=CPU, precision="fp32"), root / "high_noise_model" / WEIGHTS),
        (load_vae(model, device=CPU), root / "Wan2.1_VAE.safetensors"),
        (load_text_encoder(model, device=CPU, precision="fp32"), root / "models_t5_umt5-xxl-enc-bf16.safetensors"),
    ):
        stored, state = load_file(path), loaded.state_dict()
        assert stored.keys() == state.keys()
        assert all(torch.equal(stored[name], state[name]) for name in stored)


def test_shards_and_pickles_are_the_same_model(root, make_wan):
    whole = load_dit(describe(root), "low_noise", device=CPU, precision="fp32").state_dict()
    for folder in ("high_noise_model", "low_noise_model"):
        tensors = load_file(root / folder / WEIGHTS)
        parts = {
            name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)
        }
        for part in set(parts.values()):
            save_file({name: tensors[name] for name in tensors if parts[name] == part}, root / folder / part)
        (root / folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": parts}))
        (root / folder / WEIGHTS).unlink()
    sharded = load_dit(describe(root), "low_noise", device=CPU, precision="fp32").state_dict()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)
    assert len(weight_records(describe(root))) == 6
    (root / "low_noise_model" / sorted(set(parts.values()))[1]).unlink()
    with pytest.raises(MissingFile, match="00002-of-00002"):
        describe(root)
    pickled = make_wan("pickled", suffix=".pth", sidecar=SIDECAR)
    assert torch.equal(
        load_vae(describe(pickled), device=CPU).state_dict()["conv2.weight"],
        load_file(root / "Wan2.1_VAE.safetensors")["conv2.weight"],
    )


HEAD = "head.head.weight"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda t: t.pop("blocks.1.norm3.weight"), MissingTensor, r"blocks\.1\.norm3\.weight"),
        (lambda t: t.update(extra=torch.zeros(2)), UnexpectedTensor, "extra"),
        (lambda t: t.update({"blocks.0.ffn.0.bias": torch.zeros(7)}), WrongShape, r"blocks\.0\.ffn\.0\.bias.*48.*7"),
        (lambda t: t.update({"blocks.0.ffn.0.bias": torch.zeros(48, dtype=torch.int32)}), WrongDtype, "int32"),
    ],
)
def test_tensors_that_are_not_the_architectures(make_wan, change, error, words):
    root = make_wan(folders={".": 1}, sidecar={**SIDECAR, "preset": {**PRESET, "boundary": None}})
    rewrite(root / WEIGHTS, change)
    with pytest.raises(error, match=words) as caught:
        load_dit(describe(root), "dense", device=CPU, precision="fp32")
    assert WEIGHTS in caught.value.path


@pytest.mark.parametrize("folder", ["high_noise_model", "low_noise_model"])
@pytest.mark.parametrize(
    ("key", "shape"),
    [("blocks.0.ffn.0.bias", (7,)), ("blocks.1.ffn.0.weight", (12, 32)), ("head.modulation", (1, 3, 32))],
)
def test_a_shape_is_said_to_be_wrong_of_the_expert_that_has_it(root, folder, key, shape):
    rewrite(root / folder / WEIGHTS, lambda t: t.update({key: torch.zeros(shape)}))
    with pytest.raises(WrongShape, match=re.escape(key)) as caught:
        describe(root)
    assert caught.value.path == str(root / folder / WEIGHTS)
    assert str(caught.value.found) == str(shape)


def test_experts_of_different_sizes(root):
    """Each is whole, and as its own config.json says."""
    wide = replace(DIT, ffn_dim=64)
    save(root / "low_noise_model" / WEIGHTS, network(WanDiT, wide, 2))
    (root / "low_noise_model" / "config.json").write_text(json.dumps(transformer_config(wide)))
    with pytest.raises(WrongShape, match=r"experts differ.*ffn") as caught:
        describe(root)
    assert caught.value.path == str(root / "low_noise_model" / WEIGHTS)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file(root, kept):
    path = root / "high_noise_model" / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFile, match="high_noise_model"):
        describe(root)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("low_noise_model", "an expert is missing"),
        ("Wan2.1_VAE.safetensors", "autoencoder is missing"),
        ("models_t5_umt5-xxl-enc-bf16.safetensors", "text encoder is missing"),
        ("google", "tokenizer is missing"),
    ],
)
def test_a_part_that_is_missing(root, missing, words):
    shutil.rmtree(root / missing) if (root / missing).is_dir() else (root / missing).unlink()
    with pytest.raises(MissingFile, match=words):
        describe(root)
    assert any(words in problem for problem in inspect(root).problems)


def test_configurations_that_lie(root):
    for path, key, value in (
        (root / "high_noise_model" / "config.json", "ffn_dim", 64),
        (root / "high_noise_model" / "config.json", "model_type", "i2v"),
        (root / "generation.json", "task", "i2v"),
        (root / "generation.json", "text_len", 13),
        (root / "generation.json", "vae", {"dim": 5}),
        (root / "generation.json", "surprise", 1),
    ):
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), key: value}))
        with pytest.raises(CheckpointError) as caught:
            describe(root)
        assert path.name in str(caught.value), key
        path.write_text(before)
    describe(root)


def test_the_autoencoder_of_another_model(root, make_wan):
    from filmgate.engine.models.vae_config import VaeConfig

    other = VaeConfig(
        dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=8, latents_mean=(0.0,) * 8, latents_std=(1.0,) * 8
    )
    foreign = make_wan(
        "foreign", vae=other, sidecar={**SIDECAR, "vae": {"latents_mean": [0] * 8, "latents_std": [1] * 8}}
    )
    with pytest.raises(WrongVariant, match=r"16 latent channels.*8"):
        describe(foreign)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_would_run_code_is_not_run(make_wan, capsys):
    root = make_wan(suffix=".pth", sidecar=SIDECAR)
    path = root / "Wan2.1_VAE.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"decoder.conv1.weight": Evil()}))
        archive.writestr("archive/byteorder", "little")
    for look in (describe, lambda _: inspect(path)):
        with pytest.raises(UnsafeCheckpoint, match="VAE"):
            look(root)
    assert "executed" not in capsys.readouterr().out


def test_directories_of_models(root, tmp_path):
    (tmp_path / "notes").mkdir()
    assert model_directories(root) == model_directories(root.parent) == (root,)
    assert model_directories(tmp_path / "notes") == model_directories(tmp_path / "missing") == ()


def test_inspection_of_a_directory_names_its_files_once(root):
    report = str(inspect(root))
    assert report.startswith(f"{root}: a model directory, complete")
    assert "\nhigh_noise_model/diffusion_pytorch_model.safetensors\n" in report
    assert report.split("To run it", maxsplit=1)[0].count(str(root)) == 1
    single = root / "Wan2.1_VAE.safetensors"
    assert str(inspect(single)).startswith(f"{single}: one network, sound\n\n{single}\n")
