"""What this machine has, found without torch: planning must not wait for it.

Memory in bytes. An NVIDIA GPU is found through its management library (NVML), which the driver brings along.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from filmgate.backends.launch import Launch
from filmgate.direction.devices import CPU, profile_named
from filmgate.direction.memory import DRIVER
from filmgate.spec import DeviceDescription, DeviceError, InvalidRequest
from filmgate.spec.speed import FLASH4

Item = TypeVar("Item")
_NAME_BYTES = 96
_FIRST_BF16 = 8
"""Compute capability, its first number, from which NVIDIA's GPUs multiply in bf16: Ampere."""
_FIRST_FLASH4 = 9
"""That from which FlashAttention 4 runs: Hopper."""


def describe_device(name: str | None = None) -> DeviceDescription:
    """The device called ``name``; without a name the first CUDA device that torch can use, else the CPU.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InvalidRequest: that is not the name of a device.
        DeviceError: there is no such device here.
    """
    if name is None:
        gpus = _gpus() if _torch_has_cuda() else []
        return gpus[0] if gpus else _cpu()
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+))?", name)
    if match is None or (match[2] and match[1] != "cuda"):
        raise InvalidRequest("device", f"{name!r} is not a device", allowed="cpu, cuda, cuda:N or mps")
    if match[1] == "cpu":
        return _cpu()
    if match[1] == "mps":
        return _apple()
    if not _torch_has_cuda():
        raise DeviceError("the installed torch was built without CUDA", allowed="cpu, or a CUDA build of torch")
    gpus = _gpus()
    index = int(match[2] or 0)
    if index >= len(gpus):
        here = ", ".join(f"cuda:{i} ({gpu.name})" for i, gpu in enumerate(gpus))
        raise DeviceError(f"there is no device {name}", allowed=here or "cpu", nearest="cpu")
    return gpus[index]


def check_gpus(count: int | None, device: DeviceDescription) -> None:
    """Raise if fewer GPUs are here, from ``device`` on, than are to share the work. Processes that ``torchrun`` started
    may be on several machines: there each finds its own, or does not.

    Raises:
        InvalidRequest: there are too few.
    """
    if device.kind != "cuda" or count is None or Launch.here() is not None:
        return
    here = len(_gpus()) - device.index
    if count > here:
        since = f" from cuda:{device.index} on" if device.index else ""
        raise InvalidRequest(
            "gpus", f"there are no {count} GPUs here{since}, but {here}", nearest=str(here),
            allowed=f"{f'1 to {here}' if here > 1 else '1'}, or a device profile to plan for another machine",
        )  # fmt: skip


def hardware_line(device: DeviceDescription) -> str:
    """A device for people: ``Intel Xeon, 2 cores, x86_64 Linux``."""
    plural = "" if device.cores == 1 else "s"
    size = f"{device.cores} core{plural}" if device.kind == "cpu" else f"{device.memory_bytes / 2**30:.0f} GiB"
    return f"{device.name}, {size}, {platform.machine()} {platform.system()}"


def profiled_device(name: str) -> DeviceDescription:
    """A device by the name of its profile, whether it is here or not; ``cpu`` is the processor of this machine.

    Raises:
        UnknownName: there is no such profile.
    """
    return _cpu() if name.lower() == CPU else profile_named(name).description


def _cpu() -> DeviceDescription:
    return DeviceDescription(kind="cpu", name=_processor(), memory_bytes=host_memory(), cores=_cores())


def _apple() -> DeviceDescription:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        raise DeviceError("mps needs a Mac with Apple silicon", allowed="cpu", nearest="cpu")
    return DeviceDescription(kind="mps", name=f"{_processor()} GPU", memory_bytes=host_memory(), cores=_cores())


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^(?:model name|Processor|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    name = match[1] if match else platform.processor() or platform.machine() or "processor"
    return " ".join(name.split())


def _cores() -> int:
    """Cores that this process may use: in a container fewer than the machine has, and no more than OMP_NUM_THREADS, by
    which people limit numerical programs."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    wanted = int(limit) if limit.isdigit() and int(limit) > 0 else allowed
    return min(allowed, wanted, _quota() or allowed)


def _quota() -> int | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(1, round(int(limit) / int(period)))


def host_memory() -> int:
    """Bytes of physical memory, or what the control group of this process may use of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdigit() else physical


def _torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA, by its version file: importing it takes a second."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    match = re.search(r"^cuda\b[^=]*=\s*(.+)$", text, re.MULTILINE)
    return match is not None and match[1].strip() != "None"


def free_memory(device: DeviceDescription) -> int:
    """Bytes of a GPU's memory that a video made by this process could use: what no other process has. 0: not known, or
    the device has no memory of its own."""
    if device.kind != "cuda":
        return 0
    free = next((free for gpu, free in _gpus_and_free() if gpu.index == device.index), 0)
    return min(free + _held_here(device.index), device.memory_bytes) if free else 0


def _held_here(index: int) -> int:
    """Bytes that this process itself has on a GPU, if it has computed there: they serve the next video."""
    torch = sys.modules.get("torch")  # where nobody imported it, nothing is held
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.memory_reserved(index)) + DRIVER["cuda"]


def _gpus() -> list[DeviceDescription]:
    """NVIDIA GPUs in the order of their slots; none without a working driver."""
    return [gpu for gpu, _ in _gpus_and_free()]


def _gpus_and_free() -> list[tuple[DeviceDescription, int]]:
    """The same, each with the bytes of its memory that are free."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1" if os.name == "posix" else "nvml.dll")
    except OSError:
        return []
    if nvml.nvmlInit_v2():
        return []
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        found = [_gpu(nvml, slot) for slot in range(count.value)]
    finally:
        nvml.nvmlShutdown()
    here = (one for one in visible(found) if one is not None)
    return [(gpu.model_copy(update={"index": index}), free) for index, (gpu, free) in enumerate(here)]


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _gpu(nvml: ctypes.CDLL, slot: int) -> tuple[DeviceDescription, int] | None:
    handle, memory, name = ctypes.c_void_p(), _Memory(), ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (
        nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(slot), ctypes.byref(handle))
        or nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NAME_BYTES))
        or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        or nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    )
    if failed:
        return None
    described = DeviceDescription(
        kind="cuda", name=name.value.decode(), memory_bytes=memory.total, cores=1, bf16=major.value >= _FIRST_BF16,
        triton=find_spec("triton") is not None,
        flash4=major.value >= _FIRST_FLASH4 and _is_installed(FLASH4),
    )  # fmt: skip
    return described, memory.free


def visible(gpus: Sequence[Item]) -> list[Item]:
    """What the driver's own variable CUDA_VISIBLE_DEVICES leaves of GPUs in the order of their slots, where it is a
    list of numbers."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(gpus)
    numbers = [int(part) for part in chosen.split(",") if part.strip().isdigit()]
    return [gpus[number] for number in numbers if number < len(gpus)]
