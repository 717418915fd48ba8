"""Layers of Wan's causal video VAEs, each usable on a whole video and on a stream.

Legend: B batch, T frames at some level, H W size of a frame at that level, C channels.

The first frame of a video is special: it never enters a temporal convolution of a resampling layer, so that a single
image is a video of one frame.

Every layer maps ``(x, memory)`` to ``(y, memory)``. A memory is a flat tuple with one slot per causal layer: the last
frames that the layer has seen, or ``None`` before the first. The empty memory means that ``x`` is the whole video and
nothing need be remembered. "Nothing seen yet" and "the whole video" compute the same thing, so both forms are one code
path, and a stream may be cut wherever the temporal strides allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from filmgate.engine.kernels.channel_norm import (
    biased_sum,
    channel_rms,
    channel_rms_silu,
    channel_rms_silu_after,
    lies_for_kernels,
    width_to_read,
)
from filmgate.engine.kernels.conv import causal_conv3d, doubled_conv2d

Memory = tuple[Tensor | None, ...]
WHOLE: Memory = ()
"""The memory of a layer that sees the whole video at once."""


class Layer(Protocol):
    """What all layers here have in common; ``slots`` is the length of the layer's memory."""

    slots: int

    def __call__(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]: ...


def run(layers: Iterable[nn.Module], x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Apply layers in order, giving each its part of the memory."""
    kept: list[Tensor | None] = []
    for module in layers:
        layer = cast(Layer, module)
        x, own = layer(x, memory[: layer.slots])
        memory = memory[layer.slots :]
        kept.extend(own)
    return x, tuple(kept)


def slots(layers: Iterable[nn.Module]) -> int:
    """Length of the memory of several layers."""
    return sum(cast(Layer, layer).slots for layer in layers)


def memory_bytes(memory: Memory) -> int:
    """Bytes that a stream keeps between two chunks."""
    return sum(frames.nbytes for frames in memory if frames is not None)


def at_start(memory: Memory) -> bool:
    """Whether the next chunk begins a video."""
    return not memory or memory[0] is None


def last_frames(x: Tensor, before: Tensor | None, count: int) -> Tensor:
    """The last ``count`` frames of ``before`` followed by ``x`` [B, C, T, H, W], zero where there are none.

    A copy, so that it does not keep the whole chunk alive.
    """
    if x.shape[2] < count:
        before = x.new_zeros(*x.shape[:2], count, *x.shape[3:]) if before is None else before
        x = torch.cat([before, x], dim=2)
    return x[:, :, x.shape[2] - count :].clone(memory_format=torch.channels_last_3d)


class ChannelNorm(nn.Module):
    """RMS norm over the channels of frames [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return channel_rms(x, self.gamma)


class ActivatedNorm(nn.Module):
    """RMS norm over the channels of videos [B, C, T, H, W], then SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return channel_rms_silu(x, self.gamma)


class CausalConv3d(nn.Module):
    """Convolution that pads time on the left only; its memory is the last kt - 1 input frames."""

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        like = nn.Conv3d(channels_in, channels_out, kernel)  # for its initialisation
        self.weight, self.bias = like.weight, cast(nn.Parameter, like.bias)
        self.reach = kernel[0] - 1
        self.slots = 1 if self.reach else 0

    def forward(self, x: Tensor, memory: Memory = WHOLE) -> tuple[Tensor, Memory]:
        before = memory[0] if memory else None
        y = causal_conv3d(x, self.weight, self.bias, before)
        return y, (last_frames(x, before, self.reach),) if memory else WHOLE

    def after(
        self, norm: ActivatedNorm, x: Tensor, memory: Memory, bias: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """The same of ``norm(x + bias)``, without the own bias, in fewer passes; for what lies as the kernels need."""
        before, width = memory[0] if memory else None, width_to_read(x)
        seen = channel_rms_silu_after(x, bias, norm.gamma, before, self.reach, width)
        weight = self.weight
        if width > weight.shape[1]:
            wide = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, width - weight.shape[1]))
            weight = wide.contiguous(memory_format=torch.channels_last_3d)
        rows, columns = (side // 2 for side in weight.shape[3:])
        y = F.conv3d(seen, weight, None, padding=(0, rows, columns))
        return y, (last_frames(seen[:, : x.shape[1]], None, self.reach),) if memory else WHOLE


CUBE = (3, 3, 3)
POINT = (1, 1, 1)
TIME = (3, 1, 1)


class ResidualBlock(nn.Module):
    """Twice norm, SiLU and 3×3×3 convolution, beside a shortcut that projects where the width changes."""

    slots = 2

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        # The original is a list with activations and a dropout in between, whose places are the gaps in the names.
        self.residual = nn.ModuleDict(
            {
                "0": ActivatedNorm(channels_in),
                "2": CausalConv3d(channels_in, channels_out, CUBE),
                "3": ActivatedNorm(channels_out),
                "6": CausalConv3d(channels_out, channels_out, CUBE),
            }
        )
        self.shortcut = CausalConv3d(channels_in, channels_out, POINT) if channels_in != channels_out else None

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        norm1, norm2 = (cast(ActivatedNorm, self.residual[name]) for name in ("0", "3"))
        conv1, conv2 = (cast(CausalConv3d, self.residual[name]) for name in ("2", "6"))
        if lies_for_kernels(x):
            y, first = conv1.after(norm1, x, memory[:1])
            y, second = conv2.after(norm2, y, memory[1:], conv1.bias)
            if self.shortcut is not None:
                x, _ = self.shortcut(x)
            return biased_sum(y, conv2.bias, x), first + second
        y, first = conv1(norm1(x), memory[:1])
        y, second = conv2(norm2(y), memory[1:])
        if self.shortcut is not None:
            x, _ = self.shortcut(x)
        return y.add_(x), first + second


class AttentionBlock(nn.Module):
    """Single-head self-attention among the positions of each frame."""

    slots = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        batch, _, _, height, _ = x.shape
        qkv = self.to_qkv(self.norm(to_frames(x)))
        # Without channels side by side torch takes its slowest way, which keeps all scores in fp32.
        q, k, v = rearrange(qkv, "n (three c) h w -> three n 1 (h w) c", three=3).contiguous()
        y = F.scaled_dot_product_attention(q, k, v)
        y = self.proj(rearrange(y, "n 1 (h w) c -> n c h w", h=height))
        return x + to_video(y, batch), memory


class Downsample(nn.Module):
    """Halve height and width and, if ``temporal``, time; the first frame of a video skips the temporal convolution.

    Its memory is the last frame before the chunk. Chunks after the first must have an even number of frames.
    """

    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.slots = 1 if temporal else 0
        # Index 0 is the padding: one row below and one column to the right, none on the other sides.
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        if temporal:
            self.time_conv = nn.Conv3d(channels, channels, TIME, stride=(2, 1, 1))

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        x = to_video(self.resample(to_frames(x)), x.shape[0])
        if not self.slots:
            return x, WHOLE
        before = memory[0] if memory else None
        kept: Memory = (last_frames(x, before, 1),) if memory else WHOLE
        if before is not None:
            return self.time_conv(torch.cat([before, x], dim=2)), kept
        if x.shape[2] < 3:
            return x[:, :, :1], kept
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2), kept


class Upsample(nn.Module):
    """Double height and width and, if ``temporal``, time, where the first frame of a video stays one frame.

    The temporal convolution never sees the first frame: its history before the second frame is zero.
    """

    def __init__(self, channels_in: int, channels_out: int, temporal: bool) -> None:
        super().__init__()
        # Index 0 is the doubling of pixels in the original.
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.time_conv = CausalConv3d(channels_in, 2 * channels_in, TIME) if temporal else None
        self.slots = 1 if temporal else 0

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        if self.time_conv is not None:
            x, memory = self._double_time(self.time_conv, x, memory)
        conv = cast(nn.Conv2d, self.resample[1])
        return to_video(doubled_conv2d(to_frames(x), conv.weight, conv.bias), x.shape[0]), memory

    def _double_time(self, time_conv: CausalConv3d, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        first, rest = (x[:, :, :1], x[:, :, 1:]) if at_start(memory) else (None, x)
        if rest.shape[2] == 0:
            return x, (x.new_zeros(*x.shape[:2], time_conv.reach, *x.shape[3:]),) if memory else WHOLE
        pairs, kept = time_conv(rest, memory)
        # The first half of the channels is the earlier frame. Channels last in memory, as the convolutions like it.
        y = rearrange(pairs, "b (two c) t h w -> b (t two) h w c", two=2).permute(0, 4, 1, 2, 3)
        return y if first is None else torch.cat([first, y], dim=2), kept


class ShortcutDown(nn.Module):
    """A level of the Wan 2.2 encoder: its layers, beside an average over the blocks that they shrink to a position."""

    def __init__(self, layers: Sequence[nn.Module], channels_out: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.downsamples = nn.Sequential(*layers)
        self.channels_out, self.factor = channels_out, factor
        self.slots = slots(self.downsamples)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        y, kept = run(self.downsamples, x, memory)
        frames, side = self.factor
        # The first frame of a video has no partner; a zero frame before it is one.
        x = F.pad(x, (0, 0, 0, 0, -x.shape[2] % frames, 0))
        blocks = rearrange(x, "b c (t f) (h p) (w q) -> b (c f p q) t h w", f=frames, p=side, q=side)
        return y + reduce(blocks, "b (k g) t h w -> b k t h w", "mean", k=self.channels_out), kept


class ShortcutUp(nn.Module):
    """A level of the Wan 2.2 decoder: its layers, beside a copy of every position to the block that it grows to."""

    def __init__(self, layers: Sequence[nn.Module], channels_out: int, factor: tuple[int, int] | None) -> None:
        super().__init__()
        self.upsamples = nn.Sequential(*layers)
        self.channels_out, self.factor = channels_out, factor
        self.slots = slots(self.upsamples)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        y, kept = run(self.upsamples, x, memory)
        if self.factor is None:
            return y, kept
        frames, side = self.factor
        copies = self.channels_out * frames * side * side // x.shape[1]
        wide = x.repeat_interleave(copies, dim=1)
        grown = rearrange(wide, "b (k f p q) t h w -> b k (t f) (h p) (w q)", f=frames, p=side, q=side)
        if at_start(memory):
            grown = grown[:, :, frames - 1 :]
        return y + grown, kept


def to_frames(x: Tensor) -> Tensor:
    """Video [B, C, T, H, W] to a batch of frames [B·T, C, H, W]."""
    return x.transpose(1, 2).flatten(0, 1)


def to_video(x: Tensor, batch: int) -> Tensor:
    """Inverse of :func:`to_frames`."""
    return x.view(batch, -1, *x.shape[1:]).transpose(1, 2)
