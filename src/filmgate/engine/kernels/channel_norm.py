"""RMS normalisation over channels, as in the residual and attention blocks of Wan's VAEs.

Legend: B batch, C channels, ... any further axes (T H W of a video, H W of a frame).
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_NORM = 1e-12
HOPPER, HALF = 9, 2
"""Major compute capability, and bytes of a number in half precision."""
WIDENED = {96: 128}
"""Channels that a convolution reads faster as more."""
TRITON = find_spec("triton") is not None
"""Whether there are kernels at all: torch's builds for Windows come without Triton."""


def channel_rms(x: Tensor, gamma: Tensor) -> Tensor:
    """Scale every position's channel vector to root-mean-square 1, then by ``gamma``.

    y = √C · x / max(‖x‖₂, 1e-12) · gamma, computed in fp32 whatever the dtype of ``x`` and returned in that dtype.

    Args:
        x: [B, C, ...], any floating dtype.
        gamma: [C, 1, ...] with as many axes as ``x`` without its batch axis.
    """
    if has_kernel(x):
        return _kernel(x, gamma, activated=False)
    return channel_rms_reference(x, gamma)


def channel_rms_reference(x: Tensor, gamma: Tensor) -> Tensor:
    """:func:`channel_rms` in plain PyTorch."""
    return _scaled(x, gamma).to(x.dtype)


def channel_rms_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """SiLU of :func:`channel_rms`, with the activation in the dtype of ``x``."""
    if has_kernel(x):
        return _kernel(x, gamma, activated=True)
    return channel_rms_silu_reference(x, gamma)


def channel_rms_silu_reference(x: Tensor, gamma: Tensor) -> Tensor:
    """:func:`channel_rms_silu` in plain PyTorch."""
    y = _scaled(x, gamma).to(x.dtype)
    # Where no gradient is recorded the temporary is ours, and on a CPU a second large tensor costs more than the sums.
    return F.silu(y, inplace=not torch.is_grad_enabled())


def _scaled(x: Tensor, gamma: Tensor) -> Tensor:
    wide = x.float()
    norm: Tensor = torch.linalg.vector_norm(wide, dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    scale = gamma.float() * x.shape[1] ** 0.5
    unit = wide / norm
    return unit * scale if torch.is_grad_enabled() else unit.mul_(scale)


def channel_rms_silu_after(
    x: Tensor, bias: Tensor | None, gamma: Tensor, before: Tensor | None, frames: int, width: int | None = None
) -> Tensor:
    """:func:`channel_rms_silu` of a video, put straight behind the frames that a convolution sees before it.

    On a GPU, see :func:`lies_for_kernels`.

    Args:
        x: [1, C, T, H, W]; put in order first if its channels do not lie side by side, as those of small convolutions.
        bias: [C], added to ``x`` first, as a convolution adds its own.
        gamma: [C, 1, 1, 1].
        before: [1, C, frames, H, W]; None: zeros.
        frames: How many come before.
        width: Channels of the result; those beyond C are zero. None: C.

    Returns:
        [1, width, frames + T, H, W], channels side by side in memory.
    """
    from filmgate.engine.kernels.triton_channels import launch_channel_rms

    x = x.contiguous(memory_format=torch.channels_last_3d)
    _, channels, length, rows, columns = x.shape
    room = x.new_empty(1, frames + length, rows, columns, width or channels).permute(0, 4, 1, 2, 3)
    if before is None:
        room[:, :, :frames].zero_()
    else:
        room[:, :channels, :frames].copy_(before)
        room[:, channels:, :frames].zero_()
    launch_channel_rms(x, gamma, room[:, :, frames:], SMALLEST_NORM, activated=True, bias=bias)
    return room


def biased_sum(x: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    """x + bias + other, each sum rounded, in one pass: what ends a residual block. On a GPU.

    Args:
        x: [1, C, T, H, W], what a convolution gave without its bias.
        bias: [C].
        other: Shape and dtype of ``x``.
    """
    from filmgate.engine.kernels.triton_channels import launch_biased_sum

    x, other = (part.contiguous(memory_format=torch.channels_last_3d) for part in (x, other))
    y = torch.empty_like(x)
    launch_biased_sum(x, bias, other, y)
    return y


def width_to_read(x: Tensor) -> int:
    """How many channels a convolution should be given of ``x`` [1, C, ...]: C, or more where zeros beside them pay.

    In half precision cuDNN's kernels for Hopper read channels in 64s. 96 of them as 128 take three quarters of the time
    (docs/lab-notes.md, 2026-12-01); other widths of Wan's VAEs are multiples of 64, or not measured.
    """
    hopper = x.is_cuda and torch.cuda.get_device_capability(x.device)[0] == HOPPER
    return WIDENED.get(x.shape[1], x.shape[1]) if hopper and x.element_size() == HALF else x.shape[1]


def lies_for_kernels(x: Tensor) -> bool:
    """Whether ``x`` [1, C, ...] is on a GPU with its channels side by side, and nobody wants gradients."""
    return x.shape[0] == 1 and has_kernel(x)


def has_kernel(x: Tensor) -> bool:
    """Whether Triton's kernels take ``x`` [B, C, ...]: on a GPU, where channels lie side by side and nobody wants
    gradients."""
    if x.device.type != "cuda" or not TRITON or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return lies_side_by_side(x)


def lies_side_by_side(x: Tensor) -> bool:
    """Whether the channels of ``x`` [B, C, ...] are neighbours in memory."""
    return x.stride(1) == 1 and x.movedim(1, -1).is_contiguous()


def _kernel(x: Tensor, gamma: Tensor, *, activated: bool) -> Tensor:
    from filmgate.engine.kernels.triton_channels import launch_channel_rms

    y = torch.empty_like(x)
    launch_channel_rms(x, gamma, y, SMALLEST_NORM, activated=activated)
    return y
