"""Which attention is fastest, found out where it is needed.

Legend: B batch, L query tokens, S key tokens, N heads, Dh head dimension.

Which kernel wins depends on the card, on versions and on the shape: by the readings at hand flash-attn-4 before cuDNN
before FlashAttention 2 on a Hopper card, and the last two alike on older ones. A race at the shape takes a few calls
of each, a thousandth of what a video takes, and is logged.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.kernels.attention import Attend, cudnn_attention, flash4_attention, sdpa
from filmgate.spec.errors import DeviceError
from filmgate.spec.speed import AttentionKernel

log = logging.getLogger(__name__)
KERNELS: Mapping[AttentionKernel, Attend] = {"flash4": flash4_attention, "cudnn": cudnn_attention, "torch": sdpa}
"""Kernels by the name that a plan gives them; of equally fast ones the first is taken."""
FLASH4 = "flash-attn-4"
"""The package of ``flash4``."""
_REPEATS = 3


class Race(NamedTuple):
    """Who won, the seconds of each that ran, and why the others did not."""

    winner: AttentionKernel
    seconds: dict[AttentionKernel, float]
    reasons: dict[AttentionKernel, str]

    def __str__(self) -> str:
        times = [f"{name} {1000 * taken:.3g} ms" for name, taken in self.seconds.items()]
        return ", ".join([*times, *(f"{name} not ({reason})" for name, reason in self.reasons.items())])


def why_not(kernel: AttentionKernel, device: torch.device) -> str | None:
    """Why a kernel cannot run on a device; None: it can, as far as can be known without trying."""
    if kernel in ("torch", "fastest"):
        return None
    if device.type not in ("cuda", "meta"):
        return f"{device.type} has no such kernel"
    least = (9, 0) if kernel == "flash4" else (8, 0)
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < least:
        return f"it needs compute capability {least[0]}.{least[1]} or later"
    if kernel == "flash4":
        try:
            version(FLASH4)
        except PackageNotFoundError:
            return f"{FLASH4} is not installed: pip install 'filmgate[flash4]'"
    return None


def attention_of(kernel: AttentionKernel, device: torch.device) -> Attend:
    """The attention that a plan names.

    Raises:
        DeviceError: it cannot run there.
    """
    if kernel == "fastest":
        return Fastest()
    reason = why_not(kernel, device)
    if reason is not None:
        able = [name for name in KERNELS if why_not(name, device) is None]
        raise DeviceError(f"attention {kernel!r} cannot run: {reason}", allowed=", ".join(able), nearest=able[0])
    return KERNELS[kernel]


class Fastest:
    """Attention by whichever kernel was fastest when a shape first occurred.

    Args:
        kernels: Who takes part.
        clock: Seconds on a clock, once the device has done what it was told.
    """

    def __init__(
        self, kernels: Mapping[AttentionKernel, Attend] = KERNELS, clock: Callable[[torch.device], float] | None = None
    ) -> None:
        self._kernels = kernels
        self._clock = clock or _now
        self.races: dict[tuple[object, ...], Race] = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """See :class:`~filmgate.engine.kernels.attention.Attend`."""
        key = (tuple(q.shape), tuple(k.shape), q.dtype, q.device)
        if key not in self.races:
            self.races[key] = race(q, k, v, self._kernels, self._clock)
            log.info("attention of %s to %s in %s: %s", list(q.shape), list(k.shape), q.dtype, self.races[key])
        return self._kernels[self.races[key].winner](q, k, v)


def race(
    q: Tensor, k: Tensor, v: Tensor, kernels: Mapping[AttentionKernel, Attend], clock: Callable[[torch.device], float]
) -> Race:
    """Try all kernels that can run on these very queries, keys and values; torch's always takes part."""
    seconds: dict[AttentionKernel, float] = {}
    reasons: dict[AttentionKernel, str] = {}
    for name, attend in kernels.items():
        reason = why_not(name, q.device)
        if reason is None and q.dtype == torch.float32 and name != "torch":
            reason = "it is not for fp32"
        if reason is not None:
            reasons[name] = reason
            continue
        try:
            attend(q, k, v)  # compiles
            times = []
            for _ in range(_REPEATS):
                start = clock(q.device)
                attend(q, k, v)
                times.append(clock(q.device) - start)
            seconds[name] = statistics.median(times)
        except (RuntimeError, ImportError, NotImplementedError, AssertionError) as error:
            if name == "torch":
                raise
            reasons[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return Race(min(seconds, key=lambda name: seconds[name]), seconds, reasons)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
