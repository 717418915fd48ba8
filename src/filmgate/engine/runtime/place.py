"""Devices, number formats, threads and repeatability, chosen by value: nothing here looks at the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from filmgate.spec.errors import DeviceError, InvalidRequest
from filmgate.spec.model import Precision

deterministic: Any = torch.utils.deterministic
"""Without types."""
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str | None = None) -> torch.device:
    """The device called ``name``; without a name the first CUDA device, else Apple's GPU, else the CPU.

    Args:
        name: ``cpu``, ``cuda`` (the first), ``cuda:1`` or ``mps``.

    Raises:
        InvalidRequest: that is not the name of a device.
        DeviceError: this torch finds no such device; the error names those that it finds.
    """
    found = devices()
    if name is None:
        return torch.device(found[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise InvalidRequest("device", f"{name!r} is not a device", allowed="cpu, cuda, cuda:N or mps")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise DeviceError(f"there is no device {name}", allowed=", ".join(found), nearest=found[0])
    return torch.device(wanted)


def devices() -> tuple[str, ...]:
    """Names of all devices that torch finds here, the fastest first."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    apple = ["mps"] if torch.backends.mps.is_available() else []
    return (*gpus, *apple, "cpu")


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """Number format of the large layers.

    Raises:
        DeviceError: the device cannot compute in it at a useful speed.
    """
    dtype = DTYPES[precision]
    if (
        device.type == "cuda"
        and dtype is torch.bfloat16
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise DeviceError(f"{torch.cuda.get_device_name(device)} has no bf16", allowed="fp16, fp32", nearest="fp16")
    if device.type == "cpu" and dtype is torch.float16:
        raise DeviceError("fp16 is not for CPUs", allowed="fp32, bf16", nearest="bf16")
    return dtype


def use_threads(count: int) -> None:
    """Let torch's operators on the CPU run on ``count`` threads.

    Raises:
        InvalidRequest: ``count`` is not positive.
    """
    if count < 1:
        raise InvalidRequest("threads", f"{count} is too few", allowed="1 or more", nearest="1")
    torch.set_num_threads(count)


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Within the body the same work gives the same bits, on one machine and one build of torch.

    On the CPU sums depend on how many threads share them, so that the number is fixed. On a GPU fp32 is fp32 and not
    TF32, algorithms are not chosen by racing them, and an operator without a deterministic form is an error. New memory
    is not filled, as torch would then do: every number of it is written before it is read. Torch
    keeps all of this per process: nothing else should compute with it meanwhile. What was set before is restored.

    Args:
        threads: Of operators on the CPU.

    Raises:
        InvalidRequest: ``threads`` is not positive.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    # Not use_deterministic_algorithms: that imports torch's compiler, which takes a second.
    before, strictness = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    filled = deterministic.fill_uninitialized_memory
    flags = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    # cuBLAS reads this when it starts; without it its sums may change with what runs beside them.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    use_threads(threads)
    torch.set_deterministic_debug_mode("error")
    deterministic.fill_uninitialized_memory = False
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = flags
        torch.set_deterministic_debug_mode(strictness)
        deterministic.fill_uninitialized_memory = filled
        use_threads(before)
