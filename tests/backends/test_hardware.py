"""Devices, found without torch."""

import ctypes
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from filmgate.backends import hardware
from filmgate.backends.hardware import check_gpus, describe_device, free_memory, hardware_line
from filmgate.direction.memory import DRIVER
from filmgate.spec import DeviceDescription, DeviceError, InvalidRequest

GPUS = [
    DeviceDescription(kind="cuda", name=name, memory_bytes=80 << 30, index=index)
    for index, name in enumerate(("NVIDIA A", "NVIDIA B"))
]


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(hardware, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(hardware, "_gpus", lambda: GPUS)


def test_the_processor():
    device = describe_device("cpu")
    assert device.kind == "cpu"
    assert device.name
    assert 1 <= device.cores <= os.cpu_count()
    assert device.memory_bytes > 1 << 28
    assert f", {device.cores} core" in hardware_line(device)


def test_people_limit_the_cores_by_the_usual_variable(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    every = describe_device("cpu").cores
    for value, cores in (("1", 1), ("100000", every), ("", every), ("0", every), ("many", every)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert describe_device("cpu").cores == cores
    one = describe_device("cpu").model_copy(update={"cores": 1, "name": "A"})
    assert hardware_line(one).startswith("A, 1 core, ")


def test_a_gpu_is_preferred_where_there_is_one(gpus):
    assert describe_device() == GPUS[0]
    assert describe_device("cuda") == GPUS[0]
    assert describe_device("cuda:1") == GPUS[1]
    assert describe_device("cpu").kind == "cpu"
    assert hardware_line(GPUS[1]).startswith("NVIDIA B, 80 GiB")


@pytest.mark.parametrize(
    ("count", "first", "nearest"),
    [(None, 0, None), (1, 0, None), (2, 0, None), (3, 0, "2"), (1000, 0, "2"), (1, 1, None), (2, 1, "1")],
)
def test_as_many_gpus_share_as_there_are(gpus, count, first, nearest):
    if nearest is None:
        check_gpus(count, GPUS[first])
        return
    with pytest.raises(InvalidRequest, match=f"there are no {count} GPUs here") as caught:
        check_gpus(count, GPUS[first])
    assert (caught.value.field, caught.value.nearest) == ("gpus", nearest)
    assert ("from cuda:1 on" in str(caught.value)) == (first == 1)
    assert "device profile" in caught.value.allowed


def test_processes_may_be_more_than_gpus_and_so_may_those_of_several_machines(gpus, monkeypatch):
    check_gpus(1000, describe_device("cpu"))
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.setenv(name, "0")
    check_gpus(16, GPUS[0])


def test_a_gpu_that_torch_cannot_use_is_none(monkeypatch):
    monkeypatch.setattr(hardware, "_torch_has_cuda", lambda: False)
    monkeypatch.setattr(hardware, "_gpus", lambda: GPUS)
    assert describe_device().kind == "cpu"
    with pytest.raises(DeviceError, match="without CUDA"):
        describe_device("cuda")


class Library:
    """NVIDIA's management library, as far as it is asked: a T4 and an H200 of which others use a part."""

    CARDS = ((b"Tesla T4", 15 << 30, 14 << 30, 7), (b"NVIDIA H200", 140 << 30, 90 << 30, 9))

    def nvmlInit_v2(self):
        return 0

    def nvmlShutdown(self):
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(self.CARDS)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, slot, handle):
        handle._obj.value = slot.value + 1
        return 0

    def nvmlDeviceGetName(self, handle, name, _):
        name.value = self.CARDS[handle.value - 1][0]
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        _, memory._obj.total, memory._obj.free, _ = self.CARDS[handle.value - 1]
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle, major, minor):
        major._obj.value, minor._obj.value = self.CARDS[handle.value - 1][3], 0
        return 0


def test_what_the_driver_says_of_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(hardware, "_held_here", lambda _: 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    old, new = describe_device("cuda:0"), describe_device("cuda:1")
    assert (old.name, old.bf16, new.name, new.bf16) == ("Tesla T4", False, "NVIDIA H200", True)
    assert new.triton == (importlib.util.find_spec("triton") is not None)
    assert (new.index, new.memory_bytes) == (1, 140 << 30)
    assert [free_memory(device) for device in (old, new, describe_device("cpu"))] == [14 << 30, 90 << 30, 0]
    monkeypatch.setattr(hardware, "_held_here", lambda _: 20 << 30)
    assert [free_memory(device) for device in (old, new)] == [15 << 30, 110 << 30]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert free_memory(describe_device("cuda")) == 110 << 30


def test_nothing_is_held_by_a_process_that_has_not_computed_there(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert hardware._held_here(0) == 0
    cuda = SimpleNamespace(is_initialized=lambda: True, memory_reserved=lambda _: 5 << 30)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert hardware._held_here(0) == (5 << 30) + DRIVER["cuda"]


def test_a_gpu_that_is_not_there(gpus):
    with pytest.raises(DeviceError, match=r"cuda:1 \(NVIDIA B\)"):
        describe_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cpu:1", "", "cuda:x"])
def test_not_a_device(name):
    with pytest.raises(InvalidRequest, match="cuda:N"):
        describe_device(name)


@pytest.mark.parametrize(
    ("variable", "indices"), [(None, [0, 1]), ("1", [1]), ("1,0", [1, 0]), ("", []), ("7", []), ("-1", [])]
)
def test_the_drivers_variable_hides_gpus(monkeypatch, variable, indices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert hardware.visible(GPUS) == [GPUS[index] for index in indices]


def test_torch_says_the_same_of_itself():
    import torch

    assert hardware._torch_has_cuda() == (torch.version.cuda is not None)
    assert bool(hardware._gpus()) == bool(torch.cuda.is_available())


def test_looking_does_not_load_torch():
    code = "import sys, filmgate.backends.hardware as h; h.describe_device(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
