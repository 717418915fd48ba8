"""Causal 3-D convolution of video, and convolution of an upsampled frame: the two operations that a video VAE spends
its time in.

Legend: B batch, C channels in, K channels out, T frames, H W size of a frame, kt kh kw kernel.

Each has a reference in plain PyTorch, and the same sum in another order for CPUs in fp32, where oneDNN's 3-D
convolution reaches a small fraction of the speed of its 2-D one when channels are few:

* In time, pairs of output frames by minimal filtering (Winograd 1980, F(2, 3)): four 2-D convolutions of sums of frames
  instead of six of frames. F(4, 3) would halve the products once more, but its rounding error is six times larger and
  leaves the bound within which the VAE must agree with other implementations.
* In space, a 3×3 kernel over a frame whose pixels were doubled meets each source pixel twice, so that every phase of
  the output is a 2×2 kernel over the small frame: 4/9 of the products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from filmgate.engine.kernels.channel_norm import has_kernel


def causal_conv3d(x: Tensor, weight: Tensor, bias: Tensor | None, context: Tensor | None = None) -> Tensor:
    """Convolve so that no output frame sees a later input frame; odd kernels, stride 1, size preserved.

    Args:
        x: [B, C, T, H, W].
        weight: [K, C, kt, kh, kw].
        bias: [K].
        context: [B, C, kt - 1, H, W], the frames before ``x``; ``None`` at the beginning of a video: they are zero.

    Returns:
        [B, K, T, H, W].
    """
    if _prefers_planes(x, weight):
        return causal_conv3d_by_planes(x, weight, bias, context)
    return causal_conv3d_reference(x, weight, bias, context)


def causal_conv3d_reference(x: Tensor, weight: Tensor, bias: Tensor | None, context: Tensor | None = None) -> Tensor:
    """:func:`causal_conv3d` as one ``conv3d``; any device, any floating dtype."""
    frames, rows, columns = weight.shape[2:]
    padding = (0, rows // 2, columns // 2)
    if frames > 1:
        x = F.pad(x, (0, 0, 0, 0, frames - 1, 0)) if context is None else torch.cat([context, x], dim=2)
    return F.conv3d(x, weight, bias, padding=padding)


def causal_conv3d_by_planes(x: Tensor, weight: Tensor, bias: Tensor | None, context: Tensor | None = None) -> Tensor:
    """:func:`causal_conv3d` for kt of 1 or 3 as channels-last ``conv2d``s of frames and of sums of frames.

    In fp32 it differs from the reference by rounding: at most 3e-6 of the largest output (a test states it).
    """
    padding = (weight.shape[3] // 2, weight.shape[4] // 2)
    if weight.shape[2] == 1 or (context is None and x.shape[2] == 1):
        # One tap, or a first frame with nothing but zeros before it: the last tap alone.
        kernel = _channels_last(weight[:, :, -1])
        y = F.conv2d(_channels_last(x.transpose(1, 2).flatten(0, 1)), kernel, bias, padding=padding)
        return y.view(x.shape[0], -1, *y.shape[1:]).transpose(1, 2)
    taps = weight.permute(2, 0, 3, 4, 1).contiguous().permute(0, 1, 4, 2, 3)
    frames = [_channels_last(frame) for frame in x.unbind(2)]
    before = [torch.zeros_like(frames[0])] * 2 if context is None else [_channels_last(f) for f in context.unbind(2)]
    frames = before + frames
    even, odd = (taps[0] + taps[2]) * 0.5, taps[1] * 0.5
    kernels = (taps[0], even + odd, even - odd, taps[2])
    video, slots = _room(frames[0], x.shape[2], weight.shape[0])
    outputs: list[Tensor] = []
    for start in range(0, x.shape[2] - 1, 2):
        outputs.extend(_pair(frames[start : start + 4], kernels, bias, padding, slots[start : start + 2]))
    if x.shape[2] % 2:
        older, old, new = (
            F.conv2d(frame, tap, share, padding=padding)
            for frame, tap, share in zip(frames[-3:], taps, (None, None, bias), strict=True)
        )
        outputs.append(torch.add(new, old, out=slots[-1]).add_(older))
    return _join(outputs) if video is None else video


def _pair(
    frames: list[Tensor],
    kernels: tuple[Tensor, ...],
    bias: Tensor | None,
    padding: tuple[int, int],
    slots: list[Tensor | None],
) -> tuple[Tensor, Tensor]:
    """Two output frames [B, K, H, W] of four input frames [B, C, H, W], written to ``slots`` if there are any."""
    first = F.conv2d(frames[0] - frames[2], kernels[0], None, padding=padding)
    total = F.conv2d(frames[1] + frames[2], kernels[1], bias, padding=padding)
    difference = F.conv2d(frames[2] - frames[1], kernels[2], None, padding=padding)
    last = F.conv2d(frames[1] - frames[3], kernels[3], None, padding=padding)
    earlier = torch.add(first, total, out=slots[0]).add_(difference)
    return earlier, torch.sub(total, difference, out=slots[1]).sub_(last)


def _room(frame: Tensor, length: int, channels: int) -> tuple[Tensor | None, list[Tensor | None]]:
    """An output video [B, K, T, H, W] and its frames to write to, or none where autograd or a compiler looks on."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None, [None] * length
    batch, _, height, width = frame.shape
    video = frame.new_empty(batch, length, height, width, channels).permute(0, 4, 1, 2, 3)
    return video, list(video.unbind(2))


def _join(frames: list[Tensor]) -> Tensor:
    """Frames [B, K, H, W] to a video [B, K, T, H, W], channels last in memory."""
    return torch.stack([frame.permute(0, 2, 3, 1) for frame in frames], dim=1).permute(0, 4, 1, 2, 3)


def _prefers_planes(x: Tensor, weight: Tensor) -> bool:
    known = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and weight.shape[2] in (1, 3)
    return known and not torch.is_autocast_enabled("cpu")


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def doubled_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Double every pixel in both directions (nearest neighbour), then convolve 3×3 with zero padding.

    Args:
        x: [B, C, H, W].
        weight: [K, C, 3, 3].
        bias: [K].

    Returns:
        [B, K, 2H, 2W].
    """
    if _prefers_planes(x, weight[:, :, None]):
        return doubled_conv2d_by_phases(x, weight, bias)
    return doubled_conv2d_reference(x, weight, bias)


def doubled_conv2d_reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """:func:`doubled_conv2d` as written: doubled, then ``conv2d``."""
    return F.conv2d(doubled(x), weight, bias, padding=1)


def doubled(x: Tensor) -> Tensor:
    """Every pixel of frames [B, C, H, W] four times: [B, C, 2H, 2W].

    On a GPU torch's own way takes several times as long as the memory would.
    """
    if not has_kernel(x):
        return F.interpolate(x, scale_factor=2.0, mode="nearest-exact")
    from filmgate.engine.kernels.triton_channels import launch_doubled

    batch, channels, height, width = x.shape
    y = x.new_empty(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
    launch_doubled(x, y)
    return y


def doubled_conv2d_by_phases(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """:func:`doubled_conv2d` as one 2×2 ``conv2d`` to the four phases (even or odd row and column) of the output.

    Sums the kernel's taps before multiplying, so fp32 results differ from the reference by rounding.
    """
    batch, _, height, width = x.shape
    outputs = weight.shape[0]
    # Rows 2i-1, 2i, 2i+1 of the doubled frame are source rows i-1, i, i; rows 2i, 2i+1, 2i+2 are i, i, i+1.
    fold = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=x.dtype, device=x.device)
    kernels = torch.einsum("arm,bsn,kcmn->abkcrs", fold, fold, weight).flatten(0, 2)
    biases = None if bias is None else bias.repeat(4)
    phases = F.conv2d(_channels_last(x), _channels_last(kernels), biases, padding=1)
    phases = rearrange(phases, "n (a b k) h w -> n h w a b k", a=2, b=2)
    y = x.new_empty(batch, height, 2, width, 2, outputs)
    for a in range(2):
        for b in range(2):
            y[:, :, a, :, b] = phases[:, a : a + height, b : b + width, a, b]
    return y.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
