"""Is a repetition the same, and if not, why."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from filmgate.cli.main import program
from filmgate.cli.rerun import compare, describe, localise
from filmgate.spec import InvalidRequest, UnknownName


def changed(take, **fields):
    return take.model_copy(update=fields)


def test_the_same_frames_are_exact(take):
    assert compare(take, changed(take, created="later")) == (True, (), False)
    assert describe(compare(take, take)).startswith("Exact")


def test_other_frames_on_the_same_machine_have_no_excuse(take):
    verdict = compare(take, changed(take, frames_sha256="0" * 64))
    assert not verdict.exact
    assert not verdict.excused
    assert describe(verdict).startswith("NOT EXACT")


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"hardware": "another"}, "machine: 2 cores of A processor then, another now"),
        ({"versions": {"filmgate": "0.1.0", "torch": "2.12.0"}}, "torch: 2.13.0 then, 2.12.0 now"),
        ({"versions": {"filmgate": "0.1.0"}}, "torch: 2.13.0 then, absent now"),
    ],
)
def test_another_machine_or_version_excuses_other_frames(take, fields, names):
    verdict = compare(take, changed(take, frames_sha256="0" * 64, **fields))
    assert verdict.excused
    assert names in describe(verdict)


def test_other_weights_are_named_and_no_excuse(take):
    weights = (take.weights[0].model_copy(update={"sha256": "c" * 64}),)
    verdict = compare(take, changed(take, frames_sha256="0" * 64, hardware="another", weights=weights))
    assert not verdict.excused
    assert "weights: high_noise_model/w.safetensors" in describe(verdict)


def test_the_plan_is_taken_to_where_the_model_lies_now(take, model):
    here = model.model_copy(update={"path": "/elsewhere/tiny"})
    plan = localise(take, [here])
    assert plan.model.path == "/elsewhere/tiny"
    assert plan.fingerprint == take.plan_sha256


def test_an_absent_model_is_named(take):
    with pytest.raises(UnknownName, match="tiny"):
        localise(take, [])


def test_a_changed_manifest_is_not_repeated(take, model):
    tampered = changed(take, plan=take.plan.model_copy(update={"seed": 8}))
    with pytest.raises(InvalidRequest, match="manifest was changed"):
        localise(tampered, [model])


def test_another_model_of_the_same_name_is_not_taken(take, model):
    other = model.model_copy(update={"variant": "wan2.1-t2v-1.3b"})
    with pytest.raises(InvalidRequest, match="model here is another"):
        localise(take, [other])


def test_a_video_of_a_model_elsewhere_is_repeated_bit_by_bit(wan_pair, tmp_path, monkeypatch):
    """The whole way, with the engine: the model is found where it was, or where one says that it is now."""
    monkeypatch.chdir(tmp_path)
    then, now = tmp_path / "then", tmp_path / "now"
    shutil.copytree(wan_pair, then)

    def run(*arguments):
        return CliRunner().invoke(program, [str(argument) for argument in arguments])

    made = run("generate", "a red ball", "--model", then, "-o", "clip.mp4", "--preview-every", 1)
    assert made.exit_code == 0, made.stderr
    assert json.loads(run("rerun", "clip.mp4", "--json").stdout)["exact"]
    then.rename(now)
    lost = run("rerun", "clip.mp4")
    assert lost.exit_code == 2
    assert "tiny" in lost.stderr
    assert run("rerun", "clip.mp4", "--model", now).stdout.startswith("Exact")
    weights = now / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "head.head.weight": -tensors["head.head.weight"]}, weights)
    other = run("rerun", "clip.mp4", "--model", now)
    assert other.exit_code == 1
    assert "weights: low_noise_model" in other.stdout
