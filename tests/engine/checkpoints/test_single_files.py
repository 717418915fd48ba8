"""Models made of single files: what belongs together is found, named, or refused with the reason; never guessed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT, DIT_I2V
from tests.engine.wan_directory import SIDECAR, byte_tokenizer, network

from filmgate import Filmgate
from filmgate.engine.checkpoints.describe import describe, inspect
from filmgate.engine.checkpoints.evidence import evidence_of, expert_in
from filmgate.engine.checkpoints.hashed_weights import weight_records
from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.engine.checkpoints.layout import model_directories
from filmgate.engine.checkpoints.locations import find_layout
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.checkpoints.wan import load_dit, load_text_encoder, load_vae
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.spec import CheckpointError, DamagedFile, InvalidRequest, MissingFile, Request, WrongVariant

CPU = torch.device("cpu")
NEWER_VAE = VaeConfig(
    dim=4, decoder_dim=8, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=48, latents_mean=(0.0,) * 48,
    latents_std=(1.0,) * 48, patch=2, level_shortcuts=True,
)  # fmt: skip
HIGH, LOW = "wan2.2_t2v_high_noise_14B.safetensors", "wan2.2_t2v_low_noise_14B.safetensors"


def save_parts(root, *, vae="wan_2.1_vae.safetensors"):
    published.save_single(root / vae, published.vae().state_dict())
    published.save_single(root / "umt5.safetensors", published.text_encoder().state_dict())
    byte_tokenizer().save(str(root / "tokenizer.json"))


def save_pair(root, *, config=DIT, names=(HIGH, LOW)):
    for seed, name in enumerate(names, 1):
        state = published.transformer(config, seed).state_dict()
        published.save_single(root / name, state, prefix="model.diffusion_model.")


@pytest.fixture
def folder(tmp_path):
    """A pair and its parts, in one folder."""
    save_pair(tmp_path / "model")
    save_parts(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def tree(tmp_path):
    """The same in ComfyUI's tree, with a second, unrelated transformer, a LoRA and a damaged file."""
    root = tmp_path / "models"
    save_pair(root / "diffusion_models")
    published.save_single(
        root / "diffusion_models" / "wan2.1_t2v.safetensors", published.transformer(DIT, 9).state_dict()
    )
    (root / "diffusion_models" / "broken.safetensors").write_bytes(b"x" * 20)
    published.save_single(root / "vae" / "wan_2.1_vae.safetensors", published.vae().state_dict())
    published.save_single(root / "vae" / "wan2.2_vae.safetensors", network(WanVae, NEWER_VAE, 3).state_dict())
    published.save_single(root / "text_encoders" / "umt5.safetensors", published.text_encoder().state_dict())
    byte_tokenizer().save(str(root / "text_encoders" / "tokenizer.json"))
    published.save_single(root / "loras" / "x.safetensors", {"blocks.0.ffn.0.lora_down.weight": torch.ones(2, 2)})
    return root


def experts(path):
    return {name: file.name for name, file in find_layout(path).experts.items()}


PAIR = {"high_noise": HIGH, "low_noise": LOW}


def test_a_folder_is_a_model(folder):
    model = describe(folder)
    assert (model.variant, model.family, model.task) == ("wan2.2-t2v-a2.3m", "wan2.2", "t2v")
    assert [(expert.name, expert.path) for expert in model.experts] == [("high_noise", HIGH), ("low_noise", LOW)]
    assert inspect(folder).complete
    assert model_directories(folder) == (folder,)


@pytest.mark.parametrize("name", [HIGH, LOW])
def test_either_file_of_a_pair_is_the_model(folder, name):
    assert experts(folder / name) == PAIR
    model = describe(folder / name)
    for expert, seed in (("high_noise", 1), ("low_noise", 2)):
        loaded = load_dit(model, expert, device=CPU, precision="fp32")
        expected = published.velocity(published.transformer(DIT, seed))
        assert torch.equal(published.velocity(loaded), expected)
    assert torch.equal(
        load_vae(model, device=CPU).state_dict()["conv2.weight"], published.vae().state_dict()["conv2.weight"]
    )
    assert load_text_encoder(model, device=CPU, precision="fp32").config.dim == 256
    assert load_tokenizer(model).count("a red ball") > 1
    assert {record.path for record in weight_records(model)} == {
        HIGH,
        LOW,
        "wan_2.1_vae.safetensors",
        "umt5.safetensors",
    }


def test_parts_are_found_in_comfyuis_tree(tree):
    layout = find_layout(tree / "diffusion_models" / HIGH)
    assert experts(tree / "diffusion_models" / HIGH) == PAIR
    assert [path.name for path in layout.vaes] == ["wan_2.1_vae.safetensors"]
    assert layout.text_encoder.name == "umt5.safetensors"
    assert describe(tree / "diffusion_models" / "wan2.1_t2v.safetensors").variant == "wan2.1-t2v-2.3m"


def test_experts_in_folders_of_their_own(tmp_path):
    for folder, seed in (("HighNoise", 1), ("LowNoise", 2)):
        state = published.transformer(DIT, seed).state_dict()
        published.save_gguf(tmp_path / folder / f"wan-{folder}-Q8_0.gguf", state, "Q8_0")
        published.save_gguf(tmp_path / folder / f"wan-{folder}-Q4_0.gguf", state, "Q4_0")
    save_parts(tmp_path)
    path = tmp_path / "LowNoise" / "wan-LowNoise-Q4_0.gguf"
    assert experts(path) == {"high_noise": "wan-HighNoise-Q4_0.gguf", "low_noise": "wan-LowNoise-Q4_0.gguf"}
    assert describe(path).family == "wan2.2"


def test_the_directory_of_comfyuis_tree_is_a_model(tree):
    with pytest.raises(CheckpointError, match=r"which transformers make a model.*name one of the files") as caught:
        describe(tree)
    assert "wan2.1_t2v.safetensors (expert unknown)" in str(caught.value)
    told = {Path(facts.path).name for facts in inspect(tree).networks}
    assert told == {HIGH, LOW, "wan2.1_t2v.safetensors", "wan_2.1_vae.safetensors", "wan2.2_vae.safetensors",
                    "umt5.safetensors"}  # fmt: skip
    (tree / "diffusion_models" / "wan2.1_t2v.safetensors").unlink()
    assert experts(tree) == PAIR
    report = inspect(tree)
    assert report.complete, str(report)
    assert report.run == f'filmgate generate "..." --model {tree}'
    assert model_directories(tree) == (tree,)


def test_a_directory_with_a_folder_for_each_expert_is_a_model(tmp_path):
    for folder, seed in (("HighNoise", 1), ("LowNoise", 2)):
        state = published.transformer(DIT, seed).state_dict()
        published.save_gguf(tmp_path / folder / f"wan-{folder}-Q8_0.gguf", state, "Q8_0")
    assert not inspect(tmp_path).complete
    save_parts(tmp_path)
    assert experts(tmp_path) == {"high_noise": "wan-HighNoise-Q8_0.gguf", "low_noise": "wan-LowNoise-Q8_0.gguf"}
    assert inspect(tmp_path).complete
    assert model_directories(tmp_path) == (tmp_path,)
    for index in range(9):
        (tmp_path / "LowNoise" / f"wan-LowNoise-{index}.gguf").write_bytes(
            (tmp_path / "LowNoise" / "wan-LowNoise-Q8_0.gguf").read_bytes()
        )
    with pytest.raises(CheckpointError, match=r"which transformers make a model.*and 3 more"):
        describe(tmp_path)


def test_what_only_the_description_tells_is_said_to_be_so(folder):
    for old, new in ((HIGH, "a.safetensors"), (LOW, "b.safetensors")):
        (folder / old).rename(folder / new)
    report = inspect(describe_in(folder, high_noise="a.safetensors", low_noise="b.safetensors"))
    assert report.complete
    told = [(facts.guess, facts.expert) for facts in report.networks if facts.kind == "transformer"]
    assert told == [
        ("Wan 2.2 T2V, 2.3M, one expert of a pair",
         f"{half} expert, by its place in the description alone: nothing else tells")
        for half in ("high-noise", "low-noise")
    ]  # fmt: skip


@pytest.fixture
def renamed(folder, tmp_path, monkeypatch):
    """The folder after a run, with nothing left in the names; and where hashes are remembered."""
    monkeypatch.setattr("filmgate.engine.checkpoints.hashes._SETTLED_NS", -1)
    weight_records(describe(folder), tmp_path / "cache")
    for old, new in ((HIGH, "a.safetensors"), (LOW, "b.safetensors")):
        (folder / old).rename(folder / new)
        sha256_of(folder / new, tmp_path / "cache")
    return folder, tmp_path / "cache"


def test_a_renamed_file_is_known_by_its_hash(renamed):
    folder, cache = renamed
    right = describe_in(folder, high_noise="a.safetensors", low_noise="b.safetensors")
    weight_records(describe(right), cache)
    report = inspect(right, cache)
    assert report.complete, str(report)
    assert [facts.expert for facts in report.networks if facts.kind == "transformer"] == [
        f"high-noise expert, by its hash, which {folder / HIGH} had too",
        f"low-noise expert, by its hash, which {folder / LOW} had too",
    ]
    assert "one expert of a pair" in inspect(folder / "b.safetensors", cache).networks[0].guess
    assert inspect(folder / "b.safetensors").networks[0].expert is None


def test_experts_that_their_hashes_know_as_exchanged_are_refused(renamed):
    folder, cache = renamed
    wrong = describe_in(folder, high_noise="b.safetensors", low_noise="a.safetensors")
    words = "the experts are exchanged; expected high-noise expert, found low-noise expert by its hash, which "
    with pytest.raises(WrongVariant, match=words):
        weight_records(describe(wrong), cache)
    report = inspect(wrong, cache)
    assert not report.complete
    assert words in report.problems[0]
    weight_records(describe(wrong))  # without anything remembered nobody can know


def test_a_name_counts_before_a_hash_and_a_hash_of_two_minds_not_at_all(renamed):
    folder, cache = renamed
    (folder / "a.safetensors").rename(folder / f"other_{LOW}")
    (folder / "b.safetensors").rename(folder / f"other_{HIGH}")
    weight_records(describe(folder), cache)
    assert inspect(folder, cache).complete
    (folder / f"other_{LOW}").rename(folder / "c.safetensors")
    sha256_of(folder / "c.safetensors", cache)
    assert inspect(folder / "c.safetensors", cache).networks[0].expert is None


def describe_in(folder, **parts):
    path = folder / "my.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in parts.items()))
    return path


def test_a_description_names_what_is_not_clear(folder):
    published.save_single(folder / "other_vae.safetensors", published.vae(8).state_dict())
    with pytest.raises(CheckpointError, match=r"more than one VAE.*model\.toml"):
        describe(folder)
    path = describe_in(folder, high_noise=HIGH, low_noise=LOW, vae="other_vae.safetensors")
    assert experts(path) == PAIR
    model = describe(path)
    stored = published.vae(8).state_dict()["conv2.weight"]
    assert torch.equal(load_vae(model, device=CPU).state_dict()["conv2.weight"], stored)
    report = inspect(path)
    assert report.complete
    assert report.run == f'filmgate generate "..." --model {path}'
    path.rename(folder / "model.toml")
    assert describe(folder).path == str(folder)


def test_a_sidecar_counts_beside_single_files_too(folder):
    (folder / "generation.json").write_text(json.dumps({**SIDECAR, "text_len": 512, "id": "mine"}))
    assert describe(folder / HIGH).id == describe(folder).id == "mine"


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ({"high_noise": HIGH}, DamagedFile, "transformer, or high_noise and low_noise"),
        ({"transformer": HIGH, "low_noise": LOW}, DamagedFile, "transformer, or high_noise and low_noise"),
        ({"high": HIGH}, DamagedFile, "key 'high'"),
        ({"high_noise": 3}, DamagedFile, "key 'high_noise'"),
        ({"high_noise": "nothing.safetensors", "low_noise": LOW}, MissingFile, "nothing"),
        (
            {"high_noise": LOW, "low_noise": HIGH},
            WrongVariant,
            "exchanged.*high-noise expert.*low-noise expert by its file",
        ),
        ({"high_noise": HIGH, "low_noise": HIGH}, WrongVariant, "same file as both"),
        ({"transformer": "umt5.safetensors"}, WrongVariant, "not a Wan transformer"),
        ({"high_noise": HIGH, "low_noise": LOW, "vae": "umt5.safetensors"}, WrongVariant, "not a Wan VAE"),
        (
            {"high_noise": HIGH, "low_noise": LOW, "vae": "."},
            DamagedFile,
            r"names a directory \(key 'vae'\); expected a file, such as one of .*wan_2\.1_vae\.safetensors.*found \.",
        ),
        ({}, DamagedFile, "names no part"),
    ],
)
def test_descriptions_that_are_wrong(folder, parts, error, words):
    with pytest.raises(error, match=words):
        describe(describe_in(folder, **parts))


def test_the_autoencoder_of_the_other_generation(folder):
    (folder / "wan_2.1_vae.safetensors").unlink()
    published.save_single(folder / "wan2.2_vae.safetensors", network(WanVae, NEWER_VAE, 3).state_dict())
    with pytest.raises(
        WrongVariant, match=r"16 latent channels \(the Wan 2\.1 VAE.*48 in .*the Wan 2\.2 VAE, which only TI2V-5B"
    ):
        describe(folder)
    assert any("another model" in problem for problem in inspect(folder).problems)


def test_the_same_weights_under_two_names(folder):
    published.save_single(folder / LOW, published.transformer(DIT, 1).state_dict())
    with pytest.raises(WrongVariant, match="the same weights as both experts"):
        describe(folder)


def test_experts_of_different_tasks(folder):
    published.save_single(folder / LOW, published.transformer(DIT_I2V, 2).state_dict())
    with pytest.raises(WrongVariant, match=r"different kinds.*t2v.*i2v"):
        describe(describe_in(folder, high_noise=HIGH, low_noise=LOW))


def test_half_of_a_pair_alone(folder):
    (folder / LOW).unlink()
    with pytest.raises(MissingFile, match="the low-noise expert is missing"):
        describe(folder / HIGH)
    report = inspect(folder / HIGH)
    assert "low-noise expert is missing" in report.missing[0]
    assert str(report).startswith(f"{folder / HIGH}: one network, sound\n")
    with pytest.raises(CheckpointError, match="which transformers make a model cannot be known"):
        describe(folder)


def refused(path, words):
    with pytest.raises(WrongVariant, match=words) as caught:
        describe(path)
    with pytest.raises(WrongVariant, match=words):
        Filmgate().plan(Request(prompt="a red ball", model=str(path)))
    report = inspect(path)
    assert not report.complete
    assert report.problems == (str(caught.value),)
    assert "both files, named as high_noise and low_noise" in report.problems[0]


@pytest.mark.parametrize(
    ("name", "metadata", "words"),
    [
        (HIGH, {}, "it is the high-noise expert of a pair by its file name"),
        ("LowNoise/wan22.safetensors", {}, "it is the low-noise expert of a pair by its folder"),
        ("wan22.safetensors", {"title": "Wan2.2 low noise"}, r"low-noise expert of a pair by its metadata \(title\)"),
    ],
)
def test_half_of_a_pair_named_as_a_whole(tmp_path, name, metadata, words):
    save_parts(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    save_file(published.transformer(DIT).state_dict(), path, metadata)
    refused(describe_in(tmp_path, transformer=name), words)


@pytest.mark.parametrize(
    ("name", "words"),
    [("wan22_i2v.safetensors", "one expert of a pair by its tensors, and nothing tells which"),
     ("wan22_i2v_low.safetensors", "the low-noise expert of a pair by its file name")],
)  # fmt: skip
def test_half_of_a_pair_for_pictures_named_as_a_whole(tmp_path, name, words):
    save_parts(tmp_path)
    published.save_single(tmp_path / name, published.transformer(DIT_I2V).state_dict())
    refused(describe_in(tmp_path, transformer=name), words)


def test_a_whole_model_named_as_one(tmp_path):
    save_parts(tmp_path)
    published.save_single(tmp_path / "wan2.1_t2v.safetensors", published.transformer(DIT).state_dict())
    path = describe_in(tmp_path, transformer="wan2.1_t2v.safetensors")
    assert describe(path).variant == "wan2.1-t2v-2.3m"
    assert str(inspect(path)).startswith(f"{path}: a description of a model, complete\n")


def test_a_model_that_only_comes_alone_is_no_half_of_a_pair(tmp_path):
    config = dataclasses.replace(DIT, in_dim=48, out_dim=48)
    published.save_single(tmp_path / "ti2v_low.safetensors", published.transformer(config).state_dict())
    save_parts(tmp_path)
    published.save_single(tmp_path / "wan2.2_vae.safetensors", network(WanVae, NEWER_VAE, 3).state_dict())
    model = describe(tmp_path / "ti2v_low.safetensors")
    assert (model.task, [expert.name for expert in model.experts]) == ("ti2v", ["dense"])
    assert inspect(tmp_path / "ti2v_low.safetensors").networks[0].expert is None


def test_half_of_a_pair_that_nothing_tells(tmp_path):
    save_parts(tmp_path)
    path = published.save_single(tmp_path / "wan22_i2v.safetensors", published.transformer(DIT_I2V).state_dict())
    unknown = "one expert of a pair, and whether the high-noise or the low-noise one cannot be known"
    for place in (path, tmp_path):
        with pytest.raises(CheckpointError, match=rf"{unknown}.*model\.toml that names both"):
            describe(place)
    (facts,) = inspect(path).networks
    assert facts.expert == "one expert of a pair, and nothing tells which"
    folder = inspect(tmp_path)
    assert (folder.complete, folder.run) == (False, None)
    assert unknown in folder.problems[0]


@pytest.mark.parametrize(
    ("missing", "words"),
    [("wan_2.1_vae.safetensors", "VAE is missing"), ("umt5.safetensors", "text encoder is missing"),
     ("tokenizer.json", "tokenizer is missing")],
)  # fmt: skip
def test_a_part_that_is_missing(folder, missing, words):
    (folder / missing).unlink()
    with pytest.raises(MissingFile, match=words):
        describe(folder / HIGH)
    assert words in inspect(folder / HIGH).missing[0]


def test_all_parts_that_are_missing_are_told_at_once(folder, tmp_path):
    for part in ("wan_2.1_vae.safetensors", "umt5.safetensors", "tokenizer.json"):
        (folder / part).unlink()
    with pytest.raises(MissingFile, match=r"the VAE, the text encoder and the tokenizer are missing; expected them"):
        describe(folder / HIGH)
    seeing = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=36, text_dim=256, image_dim=24)
    path = published.save_single(tmp_path / "wan2.1_i2v.safetensors", published.transformer(seeing).state_dict())
    (missing,) = inspect(path).missing
    assert "the VAE, the text encoder, the image encoder and the tokenizer are missing" in missing
    save_parts(tmp_path)
    (missing,) = inspect(path).missing
    assert "the image encoder is missing; expected it beside the transformer" in missing


@pytest.mark.parametrize(
    ("text", "expert"),
    [
        ("wan2.2_t2v_high_noise_14B_fp16.safetensors", "high_noise"), ("HIGHnoise", "high_noise"),
        ("Wan2.2-I2V-A14B-LowNoise-Q2_K.gguf", "low_noise"),
        ("Wan2_2-T2V-A14B_HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "high_noise"), ("low_noise_model", "low_noise"),
        ("LOWNOISE", "low_noise"), ("wan22.low.gguf", "low_noise"), ("high_low_merged", None), ("highres", None),
        ("wan_high_res_fix", None), ("low_vram", None), ("slow", None), ("wan2.1_t2v_14B", None), ("flow_shift", None),
        ("high_quality_lowNoise", "low_noise"), ("", None),
    ],
)  # fmt: skip
def test_what_names_tell(text, expert):
    assert expert_in(text) == expert


def test_the_nearest_evidence_counts(tmp_path):
    assert evidence_of(tmp_path / "high_noise_model" / "x.safetensors").by == "folder"
    assert evidence_of(tmp_path / "high_noise_model" / "low.safetensors").expert == "low_noise"
    told = evidence_of(tmp_path / "m" / "x.gguf", {"general.name": "Wan2.2 LowNoise", "note": "high"})
    assert (told.expert, told.by) == ("low_noise", "metadata (general.name)")
    assert evidence_of(tmp_path / "m" / "x.gguf", {"note": "high noise"}) is None


def test_an_original_directory_with_its_experts_exchanged(make_wan):
    root = make_wan(sidecar=SIDECAR)
    path = root / "high_noise_model" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path), path, {"description": "Wan2.2 low noise"})
    describe(root)  # the folder counts more than what somebody wrote into the file
    folder = root / "high_noise_model"
    folder.rename(root / "kept")
    (root / "low_noise_model").rename(folder)
    (root / "kept").rename(root / "low_noise_model")
    describe(root)  # and nothing can tell that folders were exchanged


def test_the_library_takes_files_where_it_takes_directories(folder):
    filmgate = Filmgate(model_paths=[folder / HIGH])
    model = filmgate.model(str(folder / LOW))
    assert model.path == str(folder / LOW)
    assert filmgate.models()[0].id == model.id
    with pytest.raises(InvalidRequest, match="TOML"):
        filmgate.model(str(folder / "nothing.safetensors"))
