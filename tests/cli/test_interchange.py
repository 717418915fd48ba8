"""``filmgate import`` and ``filmgate export``."""

import json

import pytest
from typer.testing import CliRunner

from filmgate.cli.main import program

SCHEDULER = {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0}


def run(*arguments):
    return CliRunner().invoke(program, list(map(str, arguments)))


def test_a_command_line_becomes_a_request_and_comes_back(tmp_path):
    made = run(
        "import", "--", "python", "generate.py", "--task", "t2v-A14B", "--prompt", "a red ball", "--base_seed", 7
    )
    assert made.exit_code == 0
    request = json.loads(made.stdout)
    assert (request["prompt"], request["guidance_high"], request["guidance_low"]) == ("a red ball", 4.0, 3.0)
    assert "Approximated: seed: 7" in made.stderr
    file = tmp_path / "request.json"
    file.write_text(made.stdout)
    assert request["model"] == "wan2.2-t2v-a14b"
    back = run("export", file, "--to", "official")
    assert back.exit_code == 0
    assert "--task t2v-A14B" in back.stdout
    assert "--prompt 'a red ball'" in back.stdout


def test_a_workflow_is_written_and_read(tmp_path):
    wish, flow = tmp_path / "wish.json", tmp_path / "flow.json"
    wish.write_text(json.dumps({"prompt": "a ball", "model": "Wan2.2-T2V-A14B", "seed": 3}))
    flow.write_text(run("export", wish, "--to", "comfyui").stdout)
    found = run("import", flow, "--json")
    assert json.loads(found.stdout)["dialect"] == "comfyui"
    assert json.loads(found.stdout)["request"]["steps"] == 40
    wish.write_text(found.stdout)
    assert run("export", wish, "--to", "lightx2v").exit_code == 0


def test_a_diffusers_directory(tmp_path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline", "boundary_ratio": 0.875}))
    found = run("import", tmp_path)
    assert json.loads(found.stdout)["shift"] == 3.0
    assert "Dropped: prompt" in found.stderr


@pytest.mark.parametrize("arguments", [
    ("import", "missing.json"), ("import", "--", "rm", "-rf", "x"), ("import", "."),
    ("import", "generate.py --nothing"), ("export", "missing.json", "--to", "comfyui"),
])  # fmt: skip
def test_what_cannot_be_read_is_an_error(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith("Error: ")


@pytest.mark.parametrize("text", ['{"prompt": 4}', '{"promt": "a"}', "[]", "{"])
def test_a_wrong_request_names_its_field(text, tmp_path):
    file = tmp_path / "wish.json"
    file.write_text(text)
    assert run("export", file, "--to", "comfyui").exit_code == 2


def test_a_binary_file_is_an_error(tmp_path):
    file = tmp_path / "x.json"
    file.write_bytes(b"\xff\xfe\x00")
    assert run("import", file).exit_code == 2


def test_a_script_is_read_and_not_executed(tmp_path):
    script = tmp_path / "render.py"
    script.write_text(
        "from diffusers import WanPipeline\nopen('executed', 'w')\n"
        "pipe = WanPipeline.from_pretrained('Wan-AI/Wan2.1-T2V-14B-Diffusers')\npipe(prompt='a ball')\n"
    )
    found = run("import", script)
    assert (found.exit_code, json.loads(found.stdout)["prompt"]) == (0, "a ball")
    assert "Approximated: shift: none -> 3.0" in found.stderr


def test_a_model_that_is_not_told_is_said_and_the_way_out_too(tmp_path):
    settings, wish = tmp_path / "wan_moe.json", tmp_path / "wish.json"
    settings.write_text(json.dumps({"model_cls": "wan2.1", "infer_steps": 40, "prompt": "a ball"}))
    found = run("import", settings)
    assert "Dropped: model: model_cls wan2.1 (" in found.stderr
    wish.write_text(found.stdout)
    refused = run("export", wish, "--to", "comfyui")
    assert (refused.exit_code, "--variant" in refused.stderr) == (2, True)
    assert run("export", wish, "--to", "comfyui", "--variant", "wan2.1-t2v-14b").exit_code == 0


def test_the_variant_of_a_report_counts_for_an_export(tmp_path):
    wish = tmp_path / "wish.json"
    wish.write_text(
        run("import", "--json", "--", "generate.py", "--task", "i2v-A14B", "--ckpt_dir", "w", "--prompt", "a").stdout
    )
    assert "--task i2v-A14B" in run("export", wish, "--to", "official").stdout
