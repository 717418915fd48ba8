"""``filmgate migrate config``."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from filmgate.cli.main import program

SETUP = ("python", "generate.py", "--task", "t2v-14B", "--prompt", "a ball", "--base_seed", "7")


def run(*arguments):
    return CliRunner().invoke(program, ["migrate", "config", *map(str, arguments)])


def test_a_command_line_becomes_a_request_that_export_takes(tmp_path):
    file = tmp_path / "request.json"
    made = run("-o", file, "--", *SETUP)
    assert (made.exit_code, made.stderr) == (0, "")
    assert re.search(r"shift +5.0 +12.0 +translated", made.stdout)
    assert "Of 40 steps the high-noise expert paints 26." in made.stdout
    assert made.stdout.endswith(f"Request: {file}\n")
    request = json.loads(file.read_text())
    assert (request["steps"], request["boundary"], request["seed"]) == (40, 0.875, 7)
    for tool in ("official", "comfyui", "diffusers", "lightx2v"):
        back = CliRunner().invoke(program, ["export", str(file), "--to", tool])
        assert back.exit_code == 0, back.stderr


@pytest.mark.parametrize("tool", ["official", "comfyui", "diffusers", "lightx2v"])
def test_whatever_tool_the_setup_is_of(tool, tmp_path):
    wish, setup = tmp_path / "wish.json", tmp_path / "setup"
    wish.write_text(json.dumps({"prompt": "a ball", "model": "Wan2.1-T2V-14B", "steps": 30, "negative": "rain"}))
    setup.write_text(CliRunner().invoke(program, ["export", str(wish), "--to", tool]).stdout)
    found = run(setup, "--json")
    assert found.exit_code == 0, found.stderr
    made = json.loads(found.stdout)
    assert (made["dialect"], made["source"], made["target"]) == (tool, "wan2.1-t2v-14b", "wan2.2-t2v-a14b")
    assert (made["request"]["boundary"], made["request"]["shift"], made["request"]["steps"]) == (0.875, 12.0, 30)


def test_a_script_of_diffusers_is_read_and_not_executed(tmp_path):
    script = tmp_path / "render.py"
    script.write_text(
        "from diffusers import WanPipeline\nopen('executed', 'w')\n"
        "pipe = WanPipeline.from_pretrained('Wan-AI/Wan2.1-T2V-1.3B-Diffusers')\n"
        "pipe(prompt='a ball', height=480, width=832, num_frames=81, guidance_scale=5.0)\n"
    )
    made = json.loads(run(script, "--json").stdout)
    assert (made["target"], made["request"]["width"], made["request"]["frames"]) == ("wan2.2-ti2v-5b", 1280, 121)
    assert not (tmp_path / "executed").exists()


def lora(path, width, extra=()):
    state = {
        "diffusion_model.blocks.0.self_attn.q.lora_down.weight": np.ones((2, width), np.float32),
        "diffusion_model.blocks.0.self_attn.q.lora_up.weight": np.ones((width, 2), np.float32),
    }
    save_file(state | {name: np.ones(width, np.float32) for name in extra}, path)
    return path


def setup_with(path, tmp_path):
    given = {
        "_class_name": "WanPipeline", "model": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "scheduler": {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0},
        "call": {"prompt": "a ball"}, "loras": [{"path": str(path), "strength": 1.0}],
    }  # fmt: skip
    file = tmp_path / "setup.json"
    file.write_text(json.dumps(given))
    return file


def told_of_loras(setup):
    made = run(setup, "--json")
    assert made.exit_code == 0, made.stderr
    return [advice["text"] for advice in json.loads(made.stdout)["advice"] if "headers" in advice["source"]]


def test_loras_that_are_here_are_looked_into(tmp_path):
    file = lora(tmp_path / "style.safetensors", 5120, ["diffusion_model.blocks.0.cross_attn.k_img.diff_b"])
    (told,) = told_of_loras(setup_with(file, tmp_path))
    assert told == (
        "style.safetensors: 1 of 2 changes have a place in Wan 2.2 T2V-A14B, high-noise expert; 1 of 2 changes have a"
        " place in Wan 2.2 T2V-A14B, low-noise expert"
    )


def test_a_lora_that_cannot_be_read_does_not_stop_the_report(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no header at all")
    (told,) = told_of_loras(setup_with(broken, tmp_path))
    assert "broken.safetensors" in told
    assert told_of_loras(setup_with(tmp_path / "elsewhere.safetensors", tmp_path)) == []


def test_as_json_the_report_has_every_setting():
    made = json.loads(run("--json", "--", *SETUP).stdout)
    assert (made["source"], made["target"], made["high_steps"]) == ("wan2.1-t2v-14b", "wan2.2-t2v-a14b", 26)
    assert {"field": "boundary", "fate": "translated", "before": "none", "after": "0.875"}.items() <= next(
        entry for entry in made["entries"] if entry["field"] == "boundary"
    ).items()


def test_reports_are_written_too(tmp_path):
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    assert run("--html", page, "--markdown", text, "--", *SETUP).exit_code == 0
    assert "wan2.1-t2v-14b becomes wan2.2-t2v-a14b." in text.read_text()
    assert "<td>boundary</td><td>none</td><td>0.875</td>" in page.read_text()


def test_what_the_setup_said_and_is_lost_is_shown():
    assert "prompt_extend_method" in run("--", *SETUP, "--prompt_extend_method", "dashscope").stdout


def test_a_setup_of_wan_22_is_left_as_it_is():
    made = run("--", "python", "generate.py", "--task", "ti2v-5B", "--prompt", "a ball", "--size", "1280*704")
    assert made.stdout.count("wan2.2-ti2v-5b is of Wan 2.2 already: the setup is left as it is.") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.json",), "missing.json cannot be read"),
        (("--to", "wan2.2-t2v-14b", "--", *SETUP), "Nearest valid: wan2.2-t2v-a14b"),
        (("--variant", "wan2.1-t2v-13b", "--", *SETUP), "there is no variant named 'wan2.1-t2v-13b'"),
    ],
)
def test_what_cannot_be_migrated_is_an_error_and_writes_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run("-o", "request.json", *arguments)
    assert (made.exit_code, made.stdout) == (2, "")
    assert message in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there_is_an_error(tmp_path):
    made = run("-o", tmp_path / "nowhere" / "request.json", "--", *SETUP)
    assert (made.exit_code, made.stdout) == (2, "")
    assert "cannot be written" in made.stderr
