"""``filmgate models`` and ``filmgate inspect`` on what is really there."""

import json
import shutil

import pytest
from tests.engine.wan_directory import SIDECAR, tiny_wan_directory
from tests.takes import make_take
from typer.testing import CliRunner

from filmgate.cli.main import program
from filmgate.direction.published import PUBLISHED
from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.media.manifest import manifest_text


def filmgate(*arguments):
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path):
    return tiny_wan_directory(tmp_path / "model", sidecar=SIDECAR)


def test_it_says_what_else_there_is():
    listed = filmgate("models").stdout
    first, rest = listed.split("\n\n", 1)
    assert first.startswith("toybox-t2v ")
    for name, one in PUBLISHED.items():
        (line,) = (line for line in rest.splitlines() if line.split()[:1] == [name])
        assert line.split()[1:] == [str(one.gigabytes), "GB", one.repository]
    assert "filmgate fetch NAME" in rest
    assert "--model DIRECTORY" in rest
    assert "filmgate inspect" in rest
    shipped = ["toybox-t2v", "toybox-2.1", "toybox-camera", "toybox-i2v"]
    assert [found["id"] for found in json.loads(filmgate("models", "--json").stdout)] == shipped


def test_a_published_model_that_is_here_is_not_listed_as_missing(tmp_path, monkeypatch):
    tiny_wan_directory(tmp_path / "one", sidecar={**SIDECAR, "id": "wan2.2-t2v-a14b"})
    monkeypatch.setenv("FILMGATE_MODELS", str(tmp_path))
    here, rest = filmgate("models").stdout.split("\n\n", 1)
    assert "wan2.2-t2v-a14b " in here
    assert not any(line.split()[:1] == ["wan2.2-t2v-a14b"] for line in rest.splitlines())
    assert "Wan-AI/Wan2.2-TI2V-5B" in rest


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_generate_with_a_model_that_is_not_here_names_fetch(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = filmgate("generate", "a ball", "--model", "wan2.2-t2v-a14b", *options)
    assert result.exit_code == 2
    assert "Allowed: filmgate fetch wan2.2-t2v-a14b (127 GB)" in result.stderr
    (tmp_path / "wishes.txt").write_text("a ball\n")
    batch = filmgate("generate", "--batch", tmp_path / "wishes.txt", "--model", "wan2.2-t2v-a14b", *options)
    assert batch.exit_code != 0
    assert "filmgate fetch wan2.2-t2v-a14b" in batch.stdout + batch.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["wishes.txt"]


def test_what_can_run_ends_with_zero_and_what_cannot_with_one(model):
    whole = filmgate("inspect", model)
    assert whole.exit_code == 0, whole.stdout
    assert "complete\n" in whole.stdout
    alone = filmgate("inspect", model / "Wan2.1_VAE.safetensors")
    assert (alone.exit_code, "one network, sound\n" in alone.stdout) == (0, True)
    (model / "Wan2.1_VAE.safetensors").unlink()
    lacking = filmgate("inspect", model)
    assert lacking.exit_code == 1
    assert "the video autoencoder is missing" in lacking.stdout
    assert json.loads(filmgate("inspect", model, "--json").stdout)["complete"] is False


@pytest.fixture
def packed(model, tmp_path):
    pack_directory(model, tmp_path / "packed")
    return tmp_path / "packed"


def test_a_packed_directory_is_unpacked_and_described(packed):
    found = filmgate("inspect", packed)
    assert found.exit_code == 0, found.stdout
    first, second = found.stdout.splitlines()[:2]
    assert first.startswith(f"{packed}: packed by Filmgate")
    assert second.endswith("a model directory, complete")
    assert found.stdout.rstrip().endswith(f"--model {packed}")
    facts = json.loads(filmgate("inspect", packed, "--json").stdout)
    assert (facts["complete"], facts["packed"]) == (True, str(packed))
    assert {network["kind"] for network in facts["networks"]} == {"transformer", "VAE", "text encoder"}


def test_a_packed_file_is_described_by_its_header(packed, model):
    path = packed / "low_noise_model" / "diffusion_pytorch_model.safetensors.planes"
    found = filmgate("inspect", path)
    assert found.exit_code == 0
    plain = (model / "low_noise_model" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert f"packed in {path.stat().st_size:,} of {plain:,} bytes, 5-bit mantissas" in found.stdout
    assert "low-noise expert, by its folder" in found.stdout
    assert "A directory of packed files runs" in found.stdout


def test_half_of_a_packed_pair_is_a_part_of_a_model(packed):
    found = filmgate("inspect", packed / "low_noise_model")
    assert found.exit_code == 1
    assert f"a part of a model; expected the directory of the whole, {packed}" in found.stdout


def test_a_packed_file_that_was_cut_is_exit_code_2(packed):
    path = packed / "Wan2.1_VAE.safetensors.planes"
    path.write_bytes(path.read_bytes()[:-9])
    for name in (path, packed):
        found = filmgate("inspect", name)
        assert found.exit_code == 2
        assert "truncated" in found.stderr


@pytest.mark.parametrize("folder", ["high_noise_model", "low_noise_model"])
def test_a_folder_inside_a_model_leads_to_the_whole(model, folder):
    told = filmgate("inspect", model / folder)
    assert told.exit_code == 1
    assert f"{model / folder}: one network of a model, not complete\n" in told.stdout
    assert f"a part of a model; expected the directory of the whole, {model}, found its {folder}." in told.stdout
    planned = filmgate("plan", "a ball", "--model", model / folder)
    assert (planned.exit_code, "expected the directory of the whole" in planned.stderr) == (2, True)
    moved = shutil.copytree(model / folder, model.parent / "apart" / folder)
    expert = folder.removesuffix("_model").replace("_", "-")
    assert f"not a whole model, but the {expert} expert of a pair by its folder" in filmgate("inspect", moved).stdout


def test_a_take_says_what_it_drew_where_it_knows(tmp_path):
    path = tmp_path / "clip.json"
    for joules, lines in ((7200.0, ["Drew      2 Wh on the GPU"]), (None, [])):
        path.write_text(manifest_text(make_take(energy_joules=joules)))
        told = filmgate("inspect", path).stdout.splitlines()
        assert [line for line in told if line.startswith("Drew")] == lines


def test_a_configuration_tells_less_than_its_directory(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    done = filmgate("inspect", tmp_path / "config.json")
    assert done.exit_code == 2
    assert "is a configuration, which has no weights. Allowed: a weight file, or a model's directory" in done.stderr
    assert f"Nearest valid: {tmp_path}." in done.stderr
