"""What a run of bench/forward.py claims. Nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from claims import Measured
from forward_profile import grouped

CLAIMED = {
    "a14b-720p": "gpu.a14b.720p.forward", "a14b-480p": "gpu.a14b.480p.forward", "ti2v-5b": "gpu.ti2v5b.forward",
    "vae21": "gpu.vae21", "vae22": "gpu.vae22",
}  # fmt: skip
GOALS = {
    "gpu.a14b.720p.forward.exact": 9.7, "gpu.a14b.480p.forward.exact": 2.45, "gpu.ti2v5b.forward.exact": 0.80,
    "gpu.a14b.720p.forward.8bit": 7.7, "gpu.a14b.480p.forward.8bit": 1.95, "gpu.ti2v5b.forward.8bit": 0.65,
    "gpu.a14b.720p.forward.sparse": 4.2,
    "gpu.vae21.decode": 1.5, "gpu.vae21.encode": 1.2, "gpu.vae22.decode": 4.0,
}  # fmt: skip
READINGS = {
    "exact": "exact", "plain": "plain", "plain_cudnn": "plain_cudnn", "compiled": "diffusers",
    "decode": "decode.diffusers", "encode": "encode.diffusers", "encode_bf16": "encode",
    "8bit": "8bit", "8bit_products": "8bit_products", "sparse": "sparse", "sparse_bf16": "sparse_bf16",
    "sparse_without_summary": "sparse_without_summary", "flash4": "exact_flash4",
}  # fmt: skip
"""Fields of a part, in seconds, and what their claims are called."""
KERNEL_PARTS = ("attention", "operations", "light", "launches", "guidance")
"""Parts whose numbers are of single kernels, or of single blocks: claims that begin with ``kernels.``."""
UNITS = {
    "tera_operations_per_second": "TFLOP/s", "tera_bytes_per_second": "TB/s", "relative_error": "", "sum_error": "",
    "repeats": "", "blocks": "", "tokens": "",
}  # fmt: skip
"""Of numbers of kernels by field; all others are seconds."""

Attended = tuple[str | None, Measured]
"""A number, and the dense attention that it was measured with where one is known."""


def numbers_of(name: str, part: Mapping[str, Any]) -> Iterator[Attended]:
    """What a part of passes or of an autoencoder claims."""
    key, _, whose = name.partition(".")
    if key not in CLAIMED or "failed" in part:
        return
    stem = CLAIMED[key]
    usual = part.get("exact.attention")
    wanted = READINGS | {field: "decode" for field in part if field.startswith("decode_bf16_") and "peak" not in field}
    for field, label in wanted.items():
        kernel = part.get(f"{field}.attention")
        if field in part:
            value, goal = round(statistics.median(part[field]), 4), GOALS.get(f"{stem}.{label}")
            yield kernel, Measured(f"{stem}.{label}", value, "s", goal, higher_is_better=False)
        if f"{field}.relative_error" in part:
            yield kernel, _error(f"{stem}.{label}", part[f"{field}.relative_error"])
        if f"{field}_kernels" in part:
            yield from _profiled(kernel, f"{stem}.{label}", part[f"{field}_kernels"])
    if "relative_error" in part and not whose:
        yield usual, _error(stem, part["relative_error"])
    yield from _profiled(usual, stem, part.get("kernels", {}))
    if "blocks" in part:
        for field in ("median", "largest"):
            yield usual, Measured(f"{stem}.profile.block.{field}", _short(part["blocks"][field]), "ms", None, False)
        yield from _profiled(usual, f"{stem}.profile.block", part["blocks"]["kernels"])


def _error(stem: str, value: float) -> Measured:
    return Measured(f"{stem}.relative_error", _short(value), "", None, higher_is_better=False)


def _profiled(kernel: str | None, stem: str, kernels: dict[str, float]) -> Iterator[Attended]:
    """Milliseconds by kind of kernel."""
    for group, milliseconds in grouped(kernels).items():
        yield kernel, Measured(f"{stem}.profile.{group}", _short(milliseconds, 5), "ms", None, higher_is_better=False)


def kernel_numbers(parts: Mapping[str, Any]) -> Iterator[Measured]:
    """What single kernels claim: ``kernels.attention.a14b-720p.cudnn.seconds``. What failed claims nothing."""
    for name in KERNEL_PARTS:
        yield from _leaves(f"kernels.{name}", parts.get(name, {}))


def _leaves(stem: str, found: Mapping[str, Any]) -> Iterator[Measured]:
    for name, value in found.items():
        label = f"{stem}.{name}"
        if isinstance(value, Mapping):
            yield from _leaves(label, value)
        elif isinstance(value, bool | int | float):
            field = label.rpartition(".")[2]
            yield Measured(
                label, _short(float(value)), UNITS.get(field, "s"), None, field.startswith(("tera", "repeats"))
            )


def _short(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")
