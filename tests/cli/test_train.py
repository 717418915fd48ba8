"""``filmgate train`` on a tiny model of random weights: a whole run, a dry one, mistakes, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.training.lora.folders import write_folder
from typer.testing import CliRunner

from filmgate.cli.main import program

ROOT = Path(__file__).parents[2]
QUICK = ["--steps", "3", "--rank", "2", "--set", "samples=0", "--device", "cpu"]


@pytest.fixture
def run(tmp_path, wan_pair, monkeypatch):
    """Runs ``filmgate train lora clips`` in a directory with three clips, on the tiny model."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "clips")

    def command(*arguments, clips="clips"):
        words = ["train", "lora", clips, "--model", str(wan_pair), "--cache", "cache", *QUICK, *map(str, arguments)]
        return CliRunner().invoke(program, words)

    return command


def test_a_lora_is_trained_and_found(run):
    result = run("--name", "hero", "--json")
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout)["files"]
    assert [Path(file).name for file in files] == ["hero_high_noise.safetensors", "hero_low_noise.safetensors"]
    assert "Training: low-noise expert, 3/3, loss" in result.stderr
    assert "against the base" in result.stderr
    facts = CliRunner().invoke(program, ["lora", "inspect", files[0], "--json"])
    assert json.loads(facts.stdout)["expert"] == "high_noise"
    again = run("--name", "hero")
    assert again.exit_code == 0
    assert "goes on after step 3 of 3" in again.stderr
    assert Path("lora/hero_low_noise.safetensors").name in again.stdout


def test_a_dry_run_writes_nothing(run, tmp_path):
    before = set(tmp_path.rglob("*"))
    result = run("--dry-run", "--set", "targets=ffn", "--expert", "low_noise")
    assert result.exit_code == 0, result.output
    assert "3 of 32x32x5 at 12 fps" in result.stdout
    assert "low-noise 0.001 to 0.875" in result.stdout
    facts = json.loads(run("--dry-run", "--json").stdout)
    assert facts["experts"] == ["high_noise", "low_noise"]
    assert set(tmp_path.rglob("*")) == before


def test_a_recipe_comes_from_a_file_and_options_change_it(run, tmp_path):
    (tmp_path / "recipe.py").write_text(
        "from filmgate.training.lora.recipe import LoraRecipe\nrecipe = LoraRecipe(batch=3, rank=9, alpha=18)\n"
    )
    facts = json.loads(run("--config", "recipe.py", "--dry-run", "--json").stdout)
    assert (facts["batch"], facts["rank"], facts["alpha"], facts["steps"]) == (3, 2, 18, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "nose"], "Error: targets: there is no layer or set of layers named 'nose'"),
        (["--set", "colour=red"], "Error: set: there is no field of a recipe named 'colour'"),
        (["--dialect", "french"], "Error: dialect: there is no dialect named 'french'"),
        (["--config", "none.py"], "Error: config: none.py is not a file"),
        (["--device", "moon"], "Error: device: 'moon' is not a device"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(run, arguments, says):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(says)
    assert not Path("lora").exists()


def test_a_folder_without_captions_says_what_to_write(run):
    Path("clips/clip-1.txt").unlink()
    result = run()
    assert result.exit_code == 2
    assert "1 of 3 clips in clips have no caption: clip-1.mp4" in result.stderr
    assert "a text in clip-1.txt beside it" in result.stderr


def test_ctrl_c_keeps_the_state_and_exits_130(tmp_path, wan_pair):
    write_folder(tmp_path / "clips")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from filmgate.cli.main import main; main()"
    )
    words = ["train", "lora", "clips", "--model", str(wan_pair), "--cache", "cache", *QUICK, "--steps", "100000"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    work = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in work.stderr:
            if line.startswith("Training:"):
                break
        work.send_signal(signal.SIGINT)
        rest = work.stderr.read()
        assert work.wait(timeout=30) == 130
    finally:
        work.kill()
        work.stderr.close()
    assert "The state after the last step is kept in" in rest
    assert "Traceback" not in rest
    assert (tmp_path / "lora" / "state" / "high_noise.safetensors").is_file()


def test_the_stages_of_toybox_are_programs_of_their_own():
    for stage in ("vae", "diffusion"):
        result = CliRunner().invoke(program, ["train", "toybox", stage, "--help"])
        assert result.exit_code == 0, result.output
        assert f"usage: filmgate train toybox {stage}" in result.stdout
    for asked in ([], ["-h"], ["--help"]):
        result = CliRunner().invoke(program, ["train", "toybox", *asked])
        assert result.exit_code == 0
        assert "vae, text, diffusion, readers or family" in " ".join(result.stdout.split())
    result = CliRunner().invoke(program, ["train", "toybox", "nose"])
    assert result.exit_code == 2
    assert "Allowed: diffusion, family, readers, text, vae" in result.stderr
