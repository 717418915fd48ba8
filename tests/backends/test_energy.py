"""What a GPU has drawn: by its counter, and nothing where there is none."""

import numpy as np
import pytest
from tests.takes import make_plan

from filmgate.backends import energy
from filmgate.backends.energy import difference, drawn_joules
from filmgate.backends.hardware import describe_device
from filmgate.backends.recording import Origin, Past, perform
from filmgate.media.manifest import read_take
from filmgate.spec import DeviceDescription, Done, Progress

GPU = DeviceDescription(kind="cuda", name="NVIDIA A", memory_bytes=80 << 30, index=1)


class Library:
    """NVML with three GPUs whose counters stand at 1, 2 and 3 kJ."""

    def __init__(self, *, begins=True, counts=True):
        self.begins, self.counts, self.ended = begins, counts, 0

    def nvmlInit_v2(self):
        return 0 if self.begins else 9

    def nvmlShutdown(self):
        self.ended += 1
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 3
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, slot, handle):
        handle._obj.value = slot.value + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, drawn):
        drawn._obj.value = handle.value * 1_000_000
        return 0 if self.counts else 3


@pytest.fixture
def library(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def use(found):
        monkeypatch.setattr(energy.ctypes, "CDLL", lambda _: found)
        return found

    return use


def test_millijoules_of_the_right_gpu(library, monkeypatch):
    found = library(Library())
    assert drawn_joules(GPU) == 2000.0
    assert found.ended == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert drawn_joules(GPU) == 1000.0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert drawn_joules(GPU) is None


def test_nothing_where_nobody_counts(library, monkeypatch):
    assert drawn_joules(DeviceDescription(kind="cpu", name="A", memory_bytes=1)) is None
    library(Library(begins=False))
    assert drawn_joules(GPU) is None
    found = library(Library(counts=False))
    assert drawn_joules(GPU) is None
    assert found.ended == 1

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(energy.ctypes, "CDLL", missing)
    assert drawn_joules(GPU) is None


@pytest.mark.parametrize(
    ("before", "after", "joules"),
    [(1.0, 3.5, 2.5), (None, 3.0, None), (1.0, None, None), (3.0, 1.0, None), (1.0, 1.0, 0)],
)
def test_differences(before, after, joules):
    assert difference(before, after) == joules


def performed(plan, folder, past=()):
    def work():
        yield Past(past)
        yield Progress(stage="denoise", done=1, total=1, seconds=0.5, eta_seconds=0.0)
        yield np.zeros((plan.video.frames, plan.video.height, plan.video.width, 3), np.uint8)

    readings = iter((100.0, 350.0))
    origin = Origin((), {}, "a machine")
    events = list(perform(plan, folder, work(), lambda: origin, lambda: next(readings)))
    assert isinstance(events[-1], Done)
    return events[-1].take


def test_a_take_says_what_it_drew_and_the_video_does_not(tmp_path):
    take = performed(make_plan(), tmp_path)
    assert take.energy_joules == 250.0
    assert read_take(tmp_path / "video.mp4").energy_joules is None


def test_what_an_earlier_process_drew_is_not_known(tmp_path):
    unit = Progress(stage="denoise", done=1, total=4, seconds=0.5, eta_seconds=0.0)
    assert performed(make_plan(), tmp_path, (unit,)).energy_joules is None


@pytest.mark.gpu
def test_a_real_gpu_draws_something():
    import torch

    device = describe_device("cuda")
    before = drawn_joules(device)
    if before is None:
        pytest.skip("this GPU does not count what it draws")
    matrix = torch.randn(8192, 8192, device="cuda")
    for _ in range(200):
        matrix = torch.nn.functional.normalize(matrix @ matrix)
    torch.cuda.synchronize()
    assert difference(before, drawn_joules(device)) > 10
