"""The doctor finds what is wrong and says what to do."""

import json

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
    finding = only(doctor.check_packages(["numpy", "no-such-package-here"]))
    assert finding.remedy == "pip install no-such-package-here"
    assert only(doctor.check_packages(["numpy"])).remedy is None


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
    monkeypatch.setattr("filmgate.app.shipped_directories", lambda: (wan_pair,))
    finding = only(doctor.check_models())
    assert finding == Finding("models", f"tiny in {wan_pair}")


def test_no_model_or_a_damaged_one_is_a_problem(monkeypatch, tmp_path, make_wan):
    monkeypatch.setattr("filmgate.app.shipped_directories", tuple)
    assert "--model" in only(doctor.check_models()).remedy
    damaged = make_wan()
    (damaged / "Wan2.1_VAE.safetensors").unlink()
    monkeypatch.setattr("filmgate.app.shipped_directories", lambda: (damaged,))
    finding = only(doctor.check_models())
    assert "autoencoder is missing" in finding.found
    assert "reinstall" in finding.remedy


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path, wan_pair):
    pack_directory(wan_pair, tmp_path / "tiny")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("filmgate.app.shipped_directories", lambda: (tmp_path / "tiny",))
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
