"""Looks at this machine, without torch and without changing anything. What cannot be found is said, never an error.

GPUs are found through NVML (``nvidia-ml-py``), memory through ``psutil``; each is optional. Any question to NVML may be
answered with "not supported", and is asked on its own: containers, WSL, MIG and virtual GPUs do so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from filmgate.economics.machine import Gpu, MachineFacts
from filmgate.spec.model import DeviceDescription

Value = TypeVar("Value")
PACKAGES = ("filmgate", "torch", "av", "numpy", "safetensors", "gguf", "diffusers", "flash-attn", "sageattention")
"""Packages whose versions are told, where they are installed."""
EXTRA = "pip install 'filmgate[assess]'"
REASONS: Mapping[int, str] = {
    0x4: "power limit", 0x8: "hardware slowdown", 0x20: "heat (software)", 0x40: "heat (hardware)", 0x80: "power brake",
}  # fmt: skip
"""Bits of NVML's clocks event reasons that mean that work is slower than it could be."""
_FFMPEG_SECONDS = 5


def inspect_machine(cpu: DeviceDescription, folder: Path, *, nvml: Any = None, memory: Any = None) -> MachineFacts:
    """Everything that can be found.

    Args:
        cpu: The processor, with the cores and the memory that this process may use.
        folder: Where models are to lie: its disk is looked at.
        nvml: Module in the form of ``pynvml``; None: the installed one, if there is one.
        memory: Module in the form of ``psutil``; likewise.
    """
    missing: list[str] = []
    nvml = nvml or _module("pynvml", "GPUs", "nvidia-ml-py", missing)
    memory = memory or _module("psutil", "free memory", "psutil", missing)
    gpus, driver, cuda = _nvidia(nvml, missing) if nvml is not None else ((), None, None)
    ffmpeg = _ffmpeg()
    if ffmpeg is None:
        missing.append("ffmpeg: no such program; videos are written by PyAV, which has its own")
    total, free = _disk(folder, missing)
    return MachineFacts(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        processor=cpu.name, cores=cpu.cores, memory_bytes=cpu.memory_bytes,
        available_bytes=min(memory.virtual_memory().available, cpu.memory_bytes) if memory is not None else 0,
        disk=str(folder), disk_bytes=total, disk_free_bytes=free, gpus=gpus, driver=driver, cuda=cuda, ffmpeg=ffmpeg,
        versions=tuple(_versions()), missing=tuple(missing),
    )  # fmt: skip


def visible(gpus: tuple[Gpu, ...], chosen: str | None) -> tuple[Gpu, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` leaves: numbers, or (beginnings of) UUIDs, in its order. NVML itself ignores it.

    As CUDA does, the list ends at the first entry that names no GPU.
    """
    if chosen is None:
        return gpus
    left: list[Gpu] = []
    for word in (part.strip() for part in chosen.split(",")):
        named = [gpu for gpu in gpus if (word.isdigit() and gpu.index == int(word))
                 or (word.startswith("GPU-") and gpu.uuid.startswith(word))]  # fmt: skip
        if len(named) != 1:
            break
        left.append(named[0])
    return tuple(gpu.model_copy(update={"index": index}) for index, gpu in enumerate(left))


def _module(name: str, what: str, package: str, missing: list[str]) -> Any:
    try:
        return import_module(name)
    except ImportError:
        missing.append(f"{what}: {package} is not installed ({EXTRA})")
        return None


def _nvidia(nvml: Any, missing: list[str]) -> tuple[tuple[Gpu, ...], str | None, str | None]:
    """GPUs in the order of their slots, the driver's version, and the newest CUDA that it runs."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        missing.append(f"GPUs: no NVIDIA driver answers ({error})")
        return (), None, None
    try:
        found = tuple(_gpu(nvml, slot) for slot in range(nvml.nvmlDeviceGetCount()))
        driver = _asked(nvml, lambda: str(nvml.nvmlSystemGetDriverVersion()))
        number = _asked(nvml, lambda: int(nvml.nvmlSystemGetCudaDriverVersion()))
    finally:
        nvml.nvmlShutdown()
    gpus = visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if len(gpus) < len(found):
        missing.append(f"GPUs: CUDA_VISIBLE_DEVICES leaves {len(gpus)} of {len(found)}")
    return gpus, driver, None if number is None else f"{number // 1000}.{number % 1000 // 10}"


def _gpu(nvml: Any, slot: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(slot)

    def asked(name: str, *arguments: Any) -> Any:
        question = getattr(nvml, name, None)
        return None if question is None else _asked(nvml, lambda: question(handle, *arguments))

    memory, power, mig = asked("nvmlDeviceGetMemoryInfo"), asked("nvmlDeviceGetPowerManagementLimit"), None
    mode = asked("nvmlDeviceGetMigMode")
    if mode is not None:
        mig = bool(mode[0])
    running = asked("nvmlDeviceGetComputeRunningProcesses")
    held = asked("nvmlDeviceGetCurrentClocksEventReasons") or asked("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
    most = (asked("nvmlDeviceGetMaxPcieLinkGeneration"), asked("nvmlDeviceGetMaxPcieLinkWidth"))
    now = (asked("nvmlDeviceGetCurrPcieLinkGeneration"), asked("nvmlDeviceGetCurrPcieLinkWidth"))
    return Gpu(
        index=slot,
        name=str(asked("nvmlDeviceGetName") or "NVIDIA GPU"),
        uuid=str(asked("nvmlDeviceGetUUID") or ""),
        memory_bytes=0 if memory is None else memory.total,
        free_bytes=None if memory is None else memory.free,
        capability=asked("nvmlDeviceGetCudaComputeCapability"),
        power_limit=None if power is None else power / 1000,
        pcie=None if None in most else most,
        pcie_now=None if None in now else now,
        mig=mig,
        processes=None if running is None else len(running),
        throttled=tuple(name for bit, name in REASONS.items() if held & bit),
        energy_counter=asked("nvmlDeviceGetTotalEnergyConsumption") is not None,
    )


def _asked(nvml: Any, question: Callable[[], Value]) -> Value | None:
    """An answer, or None where the driver gives none."""
    try:
        return question()
    except nvml.NVMLError:
        return None


def _ffmpeg() -> str | None:
    path = shutil.which("ffmpeg")
    if path is None:
        return None
    try:
        run = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=_FFMPEG_SECONDS, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"ffmpeg version (\S+)", run.stdout)
    return match[1] if match else "of an unknown version"


def _disk(folder: Path, missing: list[str]) -> tuple[int, int]:
    """Bytes of the disk that a directory lies on, or will lie on: all and free."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path.cwd())
    try:
        usage = shutil.disk_usage(there)
    except OSError as error:
        missing.append(f"disk: {error.strerror}")
        return 0, 0
    return usage.total, usage.free


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
