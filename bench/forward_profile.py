"""Where the milliseconds of a pass go: by kind of kernel, and block by block. Parts of bench/forward.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from filmgate.engine.models.dit import WanDiT
from forward_measure import wait

KINDS = {
    "attention": ("sdpa", "fmha", "flash", "softmax"), "convolution": ("fprop",), "products": ("nvjet", "gemm"),
    "norms": ("_residual_norm", "_norm_heads", "_channel_rms", "_biased_sum", "_rounded_rows"),
    "skipped": ("_skipped_kernel",), "upsampling": ("upsample", "_doubled_kernel"), "copies": ("Memcpy", "copy_kernel"),
}  # fmt: skip
"""Kinds of kernels by parts of their names; the first that fits."""


def profile(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Milliseconds of all kernels of one pass by name, the largest first; on a CPU those of torch's operators."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    on_gpu = device.type == "cuda"
    with watch(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        run()
        wait(device)
    found: dict[str, float] = {}
    for row in seen.key_averages():
        taken = (row.self_device_time_total if on_gpu else row.self_cpu_time_total) / 1000
        if taken > 0:
            # Names of generated kernels differ behind their beginning, so that two may become one here.
            name = f"{row.key[:90]} x{row.count}"
            found[name] = found.get(name, 0.0) + taken
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def grouped(kernels: dict[str, float]) -> dict[str, float]:
    """Milliseconds of a pass, or of decoding six latent frames, by kind of kernel; ``other`` is all that is of none."""
    found: dict[str, float] = {}
    for name, milliseconds in kernels.items():
        group = next((group for group, marks in KINDS.items() if any(mark in name for mark in marks)), "other")
        found[group] = found.get(group, 0.0) + milliseconds
    return found


def blocks(network: WanDiT, run: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Milliseconds of every block of one pass, and the kernels of the one in the middle, by itself.

    A block ends on the device when its last kernel does: its time is that between two marks in the stream, without a
    wait that would let the device run dry.
    """
    marks: list[Any] = []
    kept: list[tuple[Any, ...]] = []
    layers = network.text_blocks()
    middle = layers[len(layers) // 2]

    def begin(_block: nn.Module, inputs: tuple[Any, ...]) -> None:
        marks.append(_mark(device))
        if _block is middle:
            kept.append(inputs)

    def end(_block: nn.Module, _inputs: tuple[Any, ...], _output: object) -> None:
        marks.append(_mark(device))

    handles = [layer.register_forward_pre_hook(begin, prepend=True) for layer in layers]
    handles += [layer.register_forward_hook(end) for layer in layers]
    try:
        run()
        wait(device)
    finally:
        for handle in handles:
            handle.remove()
    taken = [_between(start, stop) for start, stop in zip(marks[::2], marks[1::2], strict=True)]
    return {
        "milliseconds": taken, "median": statistics.median(taken), "largest": max(taken),
        "kernels": profile(lambda: middle(*kept[0]), device),
    }  # fmt: skip


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Any, stop: Any) -> float:
    """Milliseconds."""
    return float(start.elapsed_time(stop)) if isinstance(start, torch.cuda.Event) else 1000 * (stop - start)
