"""Looking at a machine: with drivers that answer all, some or none of the questions."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from filmgate.economics import inspection
from filmgate.economics.inspection import inspect_machine, visible
from filmgate.economics.machine import Gpu
from filmgate.spec import DeviceDescription

CPU = DeviceDescription(kind="cpu", name="Some CPU", memory_bytes=64 << 30, cores=8)
GIB = 2**30


class Nvml:
    """NVML as its Python binding is shaped, with what a driver answers. A name in ``silent`` is not supported."""

    class NVMLError(Exception):
        pass

    def __init__(self, count=1, silent=(), **changes):
        self.count, self.closed = count, False
        answers = {
            "Name": "NVIDIA GeForce RTX 4090", "UUID": "GPU-aaaa-{slot}",
            "MemoryInfo": SimpleNamespace(total=24 * GIB, free=22 * GIB, used=2 * GIB),
            "CudaComputeCapability": (8, 9), "PowerManagementLimit": 450_000, "MaxPcieLinkGeneration": 4,
            "MaxPcieLinkWidth": 16, "CurrPcieLinkGeneration": 1, "CurrPcieLinkWidth": 8, "MigMode": (0, 0),
            "ComputeRunningProcesses": [1, 2], "CurrentClocksEventReasons": 0x4 | 0x1, "TotalEnergyConsumption": 5,
            **changes,
        }  # fmt: skip
        for name, answer in answers.items():
            setattr(self, f"nvmlDeviceGet{name}", self._question(answer, name in silent))

    def _question(self, answer, silent):
        def ask(slot):
            if silent:
                raise self.NVMLError("Not Supported")
            return answer.format(slot=slot) if isinstance(answer, str) else answer

        return ask

    def nvmlInit(self):
        pass

    def nvmlShutdown(self):
        self.closed = True

    def nvmlDeviceGetCount(self):
        return self.count

    def nvmlDeviceGetHandleByIndex(self, slot):
        return slot

    def nvmlSystemGetDriverVersion(self):
        return "580.65"

    def nvmlSystemGetCudaDriverVersion(self):
        return 13000


class Broken(Nvml):
    def nvmlInit(self):
        raise self.NVMLError("Driver Not Loaded")


@pytest.fixture(autouse=True)
def all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_card_that_answers_everything(tmp_path):
    nvml = Nvml()
    facts = inspect_machine(CPU, tmp_path, nvml=nvml)
    assert facts.gpus == (
        Gpu(
            index=0, name="NVIDIA GeForce RTX 4090", uuid="GPU-aaaa-0", memory_bytes=24 * GIB, free_bytes=22 * GIB,
            capability=(8, 9), power_limit=450.0, pcie=(4, 16), pcie_now=(1, 8), mig=False, processes=2,
            throttled=("power limit",), energy_counter=True,
        ),
    )  # fmt: skip
    assert (facts.driver, facts.cuda) == ("580.65", "13.0")
    assert facts.gpus[0].description.memory_bytes == 22 * GIB
    assert nvml.closed


@pytest.mark.parametrize("silent", [
    ("PowerManagementLimit", "MigMode", "TotalEnergyConsumption"), ("MemoryInfo",), ("MaxPcieLinkWidth", "UUID"),
    ("CurrentClocksEventReasons", "ComputeRunningProcesses", "CudaComputeCapability"),
])  # fmt: skip
def test_what_a_driver_does_not_say_is_left_out(silent, tmp_path):
    (gpu,) = inspect_machine(CPU, tmp_path, nvml=Nvml(silent=silent)).gpus
    assert gpu.name == "NVIDIA GeForce RTX 4090"
    fields = {"PowerManagementLimit": "power_limit", "MigMode": "mig", "MemoryInfo": "free_bytes",
              "MaxPcieLinkWidth": "pcie", "ComputeRunningProcesses": "processes",
              "CudaComputeCapability": "capability"}  # fmt: skip
    assert all(getattr(gpu, fields[name]) is None for name in silent if name in fields)


def test_no_driver_is_said_and_no_error(tmp_path):
    facts = inspect_machine(CPU, tmp_path, nvml=Broken())
    assert facts.gpus == ()
    assert any("Driver Not Loaded" in what for what in facts.missing)


def test_none_of_the_optional_packages(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = inspect_machine(CPU, tmp_path)
    assert facts.gpus == ()
    assert (facts.memory_bytes, facts.available_bytes, facts.ffmpeg) == (CPU.memory_bytes, 0, None)
    assert [what.partition(":")[0] for what in facts.missing] == ["GPUs", "free memory", "ffmpeg"]
    assert all("filmgate[assess]" in what for what in facts.missing[:2])


def test_this_very_machine(tmp_path):
    facts = inspect_machine(CPU, tmp_path / "not" / "there" / "yet")
    assert facts.disk_bytes >= facts.disk_free_bytes > 0
    assert 0 < facts.available_bytes <= CPU.memory_bytes
    assert dict(facts.versions)["numpy"]


def test_an_ffmpeg_that_hangs_or_fails_is_none(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ffmpeg version 7.1-static Copyright\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert inspect_machine(CPU, tmp_path).ffmpeg == "7.1-static"

    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired(arguments[0], 5)

    monkeypatch.setattr(subprocess, "run", hang)
    assert inspect_machine(CPU, tmp_path).ffmpeg is None


GPUS = tuple(
    Gpu(index=index, name="X", uuid=f"GPU-{name}", memory_bytes=1) for index, name in enumerate(("aa", "bb", "ab"))
)


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        (None, "aa bb ab"), ("", ""), ("1", "bb"), ("2,0", "ab aa"), ("GPU-bb", "bb"), ("GPU-a", ""), ("0,7,1", "aa"),
        ("-1", ""), (" 1 , 2 ", "bb ab"),
    ],
)  # fmt: skip
def test_only_what_cuda_would_show_counts(chosen, left):
    found = visible(GPUS, chosen)
    assert [gpu.uuid.removeprefix("GPU-") for gpu in found] == left.split()
    if chosen is not None:
        assert [gpu.index for gpu in found] == list(range(len(found)))


def test_hidden_cards_are_told_of(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    facts = inspect_machine(CPU, tmp_path, nvml=Nvml(count=2))
    assert [gpu.uuid for gpu in facts.gpus] == ["GPU-aaaa-1"]
    assert any("leaves 1 of 2" in what for what in facts.missing)


def test_the_binding_has_every_question_that_is_asked_and_means_the_same_by_its_bits():
    pynvml = pytest.importorskip("pynvml")
    asked = set(re.findall(r"nvml[A-Z]\w+", Path(inspection.__file__).read_text()))
    assert asked - {"nvmlDeviceGetCurrentClocksThrottleReasons"} <= set(dir(pynvml))  # the older name is a second try
    bits = {
        "SwPowerCap": "power limit", "HwSlowdown": "hardware slowdown", "SwThermalSlowdown": "heat (software)",
        "HwThermalSlowdown": "heat (hardware)", "HwPowerBrakeSlowdown": "power brake",
    }  # fmt: skip
    for name, words in bits.items():
        value = getattr(pynvml, f"nvmlClocksEventReason{name}", None) or getattr(
            pynvml, f"nvmlClocksThrottleReason{name}"
        )
        assert inspection.REASONS[value] == words
