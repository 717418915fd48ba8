"""The few small sums that need fp64, on devices that have none as well: Apple's GPU computes in fp32 at most.

Where a device has fp64 nothing is moved; else the CPU computes, and callers bring results back in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor

WITHOUT = ("mps",)
"""Kinds of devices that have no fp64."""


def fp64_device(device: torch.device | str | None) -> torch.device | str | None:
    """Where fp64 for ``device`` is computed: there, or on the CPU."""
    return "cpu" if device is not None and torch.device(device).type in WITHOUT else device


def in_fp64(x: Tensor) -> Tensor:
    """``x`` in fp64, where :func:`fp64_device` says. It is moved before it is widened."""
    return x.to(fp64_device(x.device)).double()
