"""The doctor finds what is wrong and says what to do."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer

from filmgate.cli import doctor
from filmgate.cli.doctor import Finding
from filmgate.engine.checkpoints.packed import pack_directory


def only(findings):
    [finding] = findings
    return finding


def test_an_old_python_is_a_problem():
    assert only(doctor.check_python((3, 10, 4))).remedy
    assert only(doctor.check_python((3, 11, 0))).remedy is None


def test_a_missing_package_is_named_in_the_remedy():
    finding = only(doctor.check_packages({"no-such-package-here": ("1", "2")}))
    assert finding.remedy == "pip install 'no-such-package-here>=1,<2'"
    assert only(doctor.check_packages({"numpy": ("1", "9")})).remedy is None


@pytest.mark.parametrize("bounds", [("1", "1.5"), ("900", "901")])
def test_a_package_of_another_version_is_a_problem(bounds):
    finding = only(doctor.check_packages({"numpy": bounds}))
    assert f"numpy>={bounds[0]},<{bounds[1]}" in finding.remedy


def test_versions_compare_as_numbers(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda _: "1.10.0rc1")
    assert only(doctor.check_packages({"x": ("1.9", "1.11")})).remedy is None


def test_the_ranges_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = dict(re.fullmatch(r"([\w-]+)>=([\d.]+),<([\d.]+)", line).group(1, 0) for line in project["dependencies"])
    torch = declared.pop("torch")
    first, beyond = (".".join(map(str, number)) for number in doctor.TORCH_RANGE)
    assert torch == f"torch>={first},<{beyond}"
    assert declared == {name: f"{name}>={first},<{beyond}" for name, (first, beyond) in doctor.PACKAGES.items()}


def self_test(**changes):
    good = {"device": "cuda", "network": "transformer", "allowed": 0.01, "error": 0.001, "why": ""}
    results = [good | {"precision": "fp32"}, good | {"precision": "bf16"} | changes]
    text = json.dumps({"results": results, "attention": ["torch (math)", "flash_attn"]})
    return ("-c", f"print({text!r})")


def test_this_machine_computes_as_the_fingerprints_say():
    *devices, attention = doctor.check_devices()
    assert devices[0].name == "self-test cpu"
    assert [finding.remedy for finding in devices] == [None] * len(devices)
    assert attention.found.startswith("torch (")


@pytest.mark.parametrize("changes", [{"error": 0.5}, {"error": None, "why": "no kernel image"}])
def test_a_device_that_computes_wrongly_in_one_precision_is_told_the_other(changes):
    device, attention = doctor.check_devices(self_test(**changes))
    assert "--precision fp32" in device.remedy
    assert changes.get("why", "above the allowed 1e-02") in device.found
    assert attention == Finding("attention", "torch (math), flash_attn")
    assert doctor.check_devices(self_test()).__next__().remedy is None


def test_a_device_that_is_wrong_in_all_is_not_to_be_used():
    results = [
        {"device": "cuda", "network": "x", "precision": p, "allowed": 0, "error": 1, "why": ""}
        for p in ("fp32", "bf16")
    ]
    text = json.dumps({"results": results, "attention": []})
    device, _ = doctor.check_devices(("-c", f"print({text!r})"))
    assert "--device cpu" in device.remedy


def test_a_self_test_that_dies_is_a_problem_and_not_a_crash():
    finding = only(doctor.check_devices(("-c", "import os; os.abort()")))
    assert finding.remedy


def test_a_slow_disk_or_one_that_cannot_be_written_is_a_problem(tmp_path):
    assert only(doctor.check_disk_speed(tmp_path, count=1 << 20)).found.endswith(f"written in {tmp_path}")
    assert only(doctor.check_disk_speed(tmp_path, least=1e15, count=1 << 20)).remedy
    (tmp_path / "file").touch()
    assert "cannot be written" in only(doctor.check_disk_speed(tmp_path / "file")).found
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def probe(version="2.13.0", works=True):
    facts = {"version": version, "works": works, "threads": 2, "devices": [], "mps": False}
    return f"print('a library chats'); print({json.dumps(json.dumps(facts))})"


def test_a_known_torch_is_well_and_its_device_is_named():
    torch, device = doctor.check_torch(probe("2.13.0+cpu"))
    assert (torch.found, torch.remedy) == ("2.13.0+cpu", None)
    assert device.found == "CPU, 2 threads"


@pytest.mark.parametrize("version", ["2.7.1", "2.14.0", "3.0.0"])
def test_an_unknown_torch_is_a_problem(version):
    torch, _ = doctor.check_torch(probe(version))
    assert "2.8" in torch.remedy


def test_a_torch_that_computes_wrongly_is_a_problem():
    torch, _ = doctor.check_torch(probe(works=False))
    assert torch.remedy


@pytest.mark.parametrize("code", ["raise ImportError('libcudart is missing')", "import os; os.abort()"])
def test_a_torch_that_cannot_be_imported_is_a_problem_and_not_a_crash(code):
    finding = only(doctor.check_torch(code))
    assert finding.found.startswith("cannot be imported")
    assert finding.remedy


def test_the_encoder_is_tried():
    finding = only(doctor.check_video())
    assert finding.remedy is None
    assert "read 5" in finding.found


def test_models_are_unpacked_and_named(monkeypatch, tmp_path, wan_pair):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("filmgate.app.models.shipped_directories", lambda: (wan_pair,))
    finding = only(doctor.check_models())
    assert finding == Finding("models", f"tiny in {wan_pair}")


def test_no_model_or_a_damaged_one_is_a_problem(monkeypatch, tmp_path, make_wan):
    monkeypatch.setattr("filmgate.app.models.shipped_directories", tuple)
    assert "--model" in only(doctor.check_models()).remedy
    damaged = make_wan()
    (damaged / "Wan2.1_VAE.safetensors").unlink()
    monkeypatch.setattr("filmgate.app.models.shipped_directories", lambda: (damaged,))
    finding = only(doctor.check_models())
    assert "autoencoder is missing" in finding.found
    assert "reinstall" in finding.remedy


def test_a_fetched_model_that_is_damaged_is_to_be_fetched_again(monkeypatch, tmp_path, make_wan, wan_pair):
    damaged = make_wan()
    file = damaged / "Wan2.1_VAE.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setenv("FILMGATE_MODELS", str(damaged.parent))
    monkeypatch.setattr("filmgate.app.models.shipped_directories", lambda: (wan_pair,))
    shipped, fetched = doctor.check_models()
    assert shipped.remedy is None
    assert "truncated" in fetched.found
    assert fetched.remedy == f"Remove {damaged}, and fetch the model again with filmgate fetch."


def test_a_check_that_breaks_is_a_problem_and_ends_no_other(monkeypatch, capsys):
    def check_half_a_library():
        yield Finding("a", "fine")
        raise ImportError("libavcodec.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "CHECKS", (check_half_a_library, lambda: [Finding("z", "fine")]))
    with pytest.raises(typer.Exit):
        doctor.doctor()
    told = capsys.readouterr().out
    assert re.search(r"ok +a .*fine", told)
    assert re.search(r"ok +z .*fine", told)
    assert "half a library  cannot be looked at: ImportError: libavcodec.so" in told
    assert "half a library: Mend what is named above" in told


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path, wan_pair):
    pack_directory(wan_pair, tmp_path / "tiny")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("filmgate.app.models.shipped_directories", lambda: (tmp_path / "tiny",))
    assert "XDG_CACHE_HOME" in only(doctor.check_models()).remedy


def test_too_little_memory_or_disk_is_a_problem(tmp_path):
    assert only(doctor.check_memory(1 << 60)).remedy
    assert only(doctor.check_disk(tmp_path, 1 << 60)).remedy
    assert only(doctor.check_disk(tmp_path, 0)).remedy is None


def test_a_problem_makes_the_exit_code_1_and_prints_its_remedy(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: [Finding("a", "fine"), Finding("b", "broken", "mend it")],))
    with pytest.raises(typer.Exit) as caught:
        doctor.doctor()
    assert caught.value.exit_code == 1
    assert "b: mend it" in capsys.readouterr().out


def test_json_lists_every_finding(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: [Finding("a", "fine")],))
    doctor.doctor(as_json=True)
    found = {"name": "a", "found": "fine", "remedy": None}
    assert json.loads(capsys.readouterr().out) == {"ok": True, "findings": [found]}
