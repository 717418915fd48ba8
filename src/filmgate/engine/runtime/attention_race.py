"""Which attention is fastest, found out where it is needed.

Legend: B batch, L query tokens, S key tokens, N heads, Dh head dimension.

Which kernel wins depends on the card, on versions and on the shape: by the readings at hand flash-attn-4 before cuDNN
before FlashAttention 2 on a Hopper card, and the last two alike on older ones. A race at the shape takes a few calls
of each, a thousandth of what a video takes, and is told. Where its result is kept, the same machine calls the same
kernel the next time: two that are nearly alike would win in turn, and their last bits differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.kernels.attention import Attend, cudnn_attention, flash4_attention, sdpa
from filmgate.spec.errors import DeviceError
from filmgate.spec.speed import FLASH4, AttentionKernel

KERNELS: Mapping[AttentionKernel, Attend] = {"flash4": flash4_attention, "cudnn": cudnn_attention, "torch": sdpa}
"""Kernels by the name that a plan gives them; of equally fast ones the first is taken."""
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


@dataclass
class Races:
    """Results of races.

    Attributes:
        winners: By shapes and format in words: who is called there without another race, if it can run.
        keep: Told all winners when there is a new one.
        news: Races since :meth:`told`, a line each.
    """

    winners: dict[str, AttentionKernel] = field(default_factory=dict)
    keep: Callable[[Mapping[str, AttentionKernel]], None] | None = None
    news: list[str] = field(default_factory=list)

    def settle(self, shape: str, result: Race) -> None:
        """Note who won."""
        self.winners[shape] = result.winner
        self.news.append(f"attention of {shape} by {result.winner}: {result}")
        if self.keep is not None:
            self.keep(self.winners)

    def told(self) -> tuple[str, ...]:
        """The news; they are no news from then on."""
        news, self.news = tuple(self.news), []
        return news


def circumstances(device: torch.device) -> str | None:
    """A card and what its kernels come from, on which it depends who wins; None: the device has one kernel."""
    if device.type != "cuda":
        return None
    try:
        flash = f"{FLASH4} {version(FLASH4)}"
    except PackageNotFoundError:
        flash = f"no {FLASH4}"
    cudnn = f"cuDNN {torch.backends.cudnn.version()}"
    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {cudnn}, {flash}"


def attention_of(kernel: AttentionKernel, device: torch.device, races: Races | None = None) -> Attend:
    """The attention that a plan names.

    Args:
        races: For ``fastest``: what is known, and where results go.

    Raises:
        DeviceError: it cannot run there.
    """
    if kernel == "fastest":
        return Fastest(races)
    reason = why_not(kernel, device)
    if reason is not None:
        able = [name for name in KERNELS if why_not(name, device) is None]
        raise DeviceError(f"attention {kernel!r} cannot run: {reason}", allowed=", ".join(able), nearest=able[0])
    return KERNELS[kernel]


class Fastest:
    """Attention by whichever kernel was fastest when a shape first occurred.

    Args:
        races: What is known, and where results go.
        kernels: Who takes part.
        clock: Seconds on a clock, once the device has done what it was told.
    """

    def __init__(
        self, races: Races | None = None, kernels: Mapping[AttentionKernel, Attend] = KERNELS,
        clock: Callable[[torch.device], float] | None = None,
    ) -> None:  # fmt: skip
        self.races = Races() if races is None else races
        self._kernels = kernels
        self._clock = clock or _now
        self._chosen: dict[tuple[object, ...], Attend] = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """See :class:`~filmgate.engine.kernels.attention.Attend`."""
        key = (q.shape, k.shape, q.dtype, q.device)
        if key not in self._chosen:
            self._chosen[key] = self._kernels[self._winner(q, k, v)]
        return self._chosen[key](q, k, v)

    def _winner(self, q: Tensor, k: Tensor, v: Tensor) -> AttentionKernel:
        shape = f"{list(q.shape)} to {list(k.shape)} in {str(q.dtype).removeprefix('torch.')}"
        known = self.races.winners.get(shape)
        if known is not None and known in self._kernels and why_not(known, q.device) is None:
            return known
        result = race(q, k, v, self._kernels, self._clock)
        self.races.settle(shape, result)
        return result.winner


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
