"""``filmgate lora inspect`` on files that are really there, and LoRAs of a request on the command line."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from tests.engine.wan_directory import DIT, SIDECAR, tiny_wan_directory
from typer.testing import CliRunner

from filmgate.cli.main import program


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_wan_directory(tmp_path_factory.mktemp("model"), sidecar=SIDECAR)


def lora(path, width=DIT.dim, extra=()):
    state = {
        "diffusion_model.blocks.0.self_attn.q.lora_down.weight": torch.ones(2, width),
        "diffusion_model.blocks.0.self_attn.q.lora_up.weight": torch.ones(width, 2),
        "diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(1.0),
    }
    save_file(state | {name: torch.ones(width) for name in extra}, path)
    return str(path)


def filmgate(*arguments):
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_a_report_for_people(model, tmp_path):
    done = filmgate("lora", "inspect", lora(tmp_path / "style_high_noise.safetensors"), "--model", model)
    assert done.exit_code == 0, done.stderr
    for words in (
        "ComfyUI",
        "rank ",
        "high-noise, by its file name",
        "tiny, low-noise expert: 1 of 1 changes (100.0%)",
    ):
        assert words in done.stdout


def test_a_report_for_programs(model, tmp_path):
    path = lora(tmp_path / "a.safetensors", extra=["diffusion_model.blocks.7.norm3.diff"])
    done = filmgate("lora", "inspect", path, "--model", model, "--json")
    facts = json.loads(done.stdout)
    assert (facts["dialect"], facts["ranks"], facts["alphas"]) == ("LightX2V", [2], [1.0])
    assert [(match["matched"], match["changes"]) for match in facts["matches"]] == [(1, 2), (1, 2)]
    assert facts["matches"][0]["rest"] == ["blocks.7.norm3.weight: the model has no such tensor"]


def test_a_partial_match_is_a_warning_and_none_is_an_error(model, tmp_path):
    path = lora(tmp_path / "a.safetensors", extra=["diffusion_model.blocks.7.norm3.diff"])
    partial = filmgate("lora", "inspect", path, "--model", model)
    assert partial.exit_code == 0
    assert "warning: 1 change has no place in tiny, high-noise expert\n  blocks.7.norm3.weight" in partial.stdout
    wrong = filmgate("lora", "inspect", lora(tmp_path / "b.safetensors", width=64), "--model", model)
    assert wrong.exit_code == 2
    assert "Error: Of its 1 changes none has a place in tiny: blocks.0.self_attn.q.weight: made for" in wrong.stderr
    assert "tiny, low-noise expert: 0 of 1 changes (0.0%)" in wrong.stdout


def test_published_models_without_any_here(tmp_path):
    done = filmgate("lora", "inspect", lora(tmp_path / "a.safetensors", width=1536))
    assert "Wan 2.1 T2V-1.3B: 1 of 1 changes" in done.stdout


def test_a_size_that_nobody_published_is_described_all_the_same(tmp_path):
    path = lora(tmp_path / "a.safetensors")
    done = filmgate("lora", "inspect", path)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: No published model has a place for any of its changes; --model compares it")
    for words in ("ComfyUI", "rank ", "alpha ", "no published model: its attention is 32 wide"):
        assert words in done.stdout
    facts = json.loads(filmgate("lora", "inspect", path, "--json").stdout)
    assert (facts["dialect"], facts["ranks"], facts["alphas"]) == ("ComfyUI", [2], [1.0])
    assert facts["problem"].startswith("No published model")


def test_a_file_that_is_not_there_or_is_no_lora(model, tmp_path):
    assert filmgate("lora", "inspect", tmp_path / "none.safetensors").exit_code == 2
    other = filmgate("lora", "inspect", model / "high_noise_model" / "diffusion_pytorch_model.safetensors")
    assert other.exit_code == 2
    assert "not a LoRA" in other.stderr


def test_it_does_not_load_torch(model, tmp_path):
    arguments = ["lora", "inspect", lora(tmp_path / "a.safetensors"), "--model", str(model)]
    code = (
        f"import sys; sys.argv = ['filmgate', *{arguments!r}]\n"
        "from filmgate.cli.main import program\n"
        "try:\n    program()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_plan_says_what_is_done_with_loras(model, tmp_path):
    high, low = lora(tmp_path / "high.safetensors"), lora(tmp_path / "low.safetensors")
    done = filmgate(
        "plan", "a ball", "--model", model, "--distilled", "hybrid", "--lora-high", f"{high}:0.8", "--lora-low", low,
        "--guidance-method", "nag",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "high.safetensors at 0.8, high-noise" in done.stdout
    assert "low.safetensors at 1, low-noise" in done.stdout
    assert "hybrid" in done.stdout
    assert "nag" in done.stdout


def test_a_plan_for_programs_names_files_by_content(model, tmp_path):
    path = lora(tmp_path / "a.safetensors")
    done = filmgate("plan", "a ball", "--model", model, "--lora", f"{path}:-0.5", "--json")
    assert [(use["expert"], use["strength"], len(use["sha256"])) for use in json.loads(done.stdout)["loras"]] == [
        ("high_noise", -0.5, 64), ("low_noise", -0.5, 64),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--distilled", "lightening"], "Nearest valid: lightning"),
        (["--distilled", "hybrid"], "there are none"),
        (["--distilled", "lightning", "--steps", "5"], "steps: 5"),
        (
            ["--guidance-method", "apgg"],
            "there is no guidance method named 'apgg'. Allowed: apg, cfg, cfg_zero_star, nag. Nearest valid: apg",
        ),
        (["--guidance-interval", "0.9", "0.1"], "no range of noise levels"),
        (["--lora", "none.safetensors"], "none.safetensors: there is no such file or directory; expected a LoRA file"),
        (["--solver", "euler-ancestral"], "Nearest valid: euler_ancestral"),
    ],
)
def test_bad_input_is_refused_with_the_reason(arguments, message, model):
    done = filmgate("plan", "a ball", "--model", model, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
