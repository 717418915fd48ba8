"""What a GPU has drawn, by the counter of its management library (NVML, which the driver brings along).

The counter belongs to the whole GPU and runs since the driver was loaded: the difference of two readings is the energy
of what happened in between, other programs on the same GPU included. GPUs since Volta have one; parts of a GPU (MIG),
most virtual ones and other makers' have none that is read here.
"""

from __future__ import annotations

import ctypes
import os

from filmgate.backends.hardware import visible
from filmgate.spec import DeviceDescription

_MILLI = 1000.0


def drawn_joules(device: DeviceDescription) -> float | None:
    """Joules that the GPU has drawn since its driver was loaded; None where nobody counts them."""
    if device.kind != "cuda":
        return None
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1" if os.name == "posix" else "nvml.dll")
    except OSError:
        return None
    if nvml.nvmlInit_v2():
        return None
    try:
        return _read(nvml, device.index)
    finally:
        nvml.nvmlShutdown()


def difference(before: float | None, after: float | None) -> float | None:
    """Joules between two readings; None where one is missing, or the counter began anew in between."""
    if before is None or after is None or after < before:
        return None
    return after - before


def _read(nvml: ctypes.CDLL, index: int) -> float | None:
    """The counter of the GPU that torch calls ``index``."""
    count, handle, drawn = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_ulonglong()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    slots = visible(range(count.value))
    if index >= len(slots):
        return None
    failed = nvml.nvmlDeviceGetHandleByIndex_v2(
        ctypes.c_uint(slots[index]), ctypes.byref(handle)
    ) or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(drawn))
    return None if failed else drawn.value / _MILLI
