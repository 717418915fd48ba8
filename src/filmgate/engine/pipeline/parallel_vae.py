"""A video decoder whose frames are divided over ranks by rows, from outside: equal to the whole up to rounding.

Legend: B batch, C channels, T frames, H rows of this rank, W columns, P positions of a frame.

Whatever convolves over rows gets one row more from either neighbour first, and what it makes of that is cut off again;
the middle layer, which attends to all positions of a frame, gets the keys and values of all ranks. All else works
on each position by itself. A stream's memory holds the neighbours' rows as well, so that they are sent once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_layers import (
    WHOLE,
    ActivatedNorm,
    AttentionBlock,
    CausalConv3d,
    Memory,
    Upsample,
    to_frames,
    to_video,
)
from filmgate.engine.runtime.halo import with_halo
from filmgate.engine.runtime.parallel import Group

Chunks = Callable[[Tensor], Iterator[Tensor]]


def parallel_vae(network: WanVae, group: Group) -> WanVae:
    """Let an autoencoder decode this rank's rows of every frame; all ranks yield whole frames. Encoding stays as it is.

    Latents of fewer rows than ranks are decoded by every rank alone.
    """
    if group.handle is None:
        return network
    rows = _Rows(group)
    for layer in network.decoder.modules():
        if isinstance(layer, CausalConv3d) and layer.weight.shape[3] > 1:
            layer.forward = partial(rows.convolve, layer.forward)  # type: ignore[method-assign]
            layer.after = partial(rows.convolve_after, layer.after)  # type: ignore[method-assign]
        elif isinstance(layer, Upsample):
            layer.forward = partial(rows.double, layer.forward)  # type: ignore[method-assign]
        elif isinstance(layer, AttentionBlock):
            layer.forward = partial(rows.attend, layer, layer.forward)  # type: ignore[method-assign]
    network.decode_chunks = partial(rows.decode, network.decode_chunks)  # type: ignore[method-assign]
    return network


class _Rows:
    """This rank's rows; ``height`` is that of the latent while one is decoded in parts, else 0."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._height = 0

    def decode(self, chunks: Chunks, latent: Tensor) -> Iterator[Tensor]:
        height = latent.shape[-2]
        if height < self._group.size:
            yield from chunks(latent)
            return
        stream = chunks(latent[..., self._group.own(height), :])
        while True:
            self._height = height
            try:
                part = next(stream, None)
            finally:
                self._height = 0
            if part is None:
                return
            yield self._whole(part, height)

    def convolve(
        self, forward: Callable[..., tuple[Tensor, Memory]], x: Tensor, memory: Memory = WHOLE
    ) -> tuple[Tensor, Memory]:
        if not self._height:
            return forward(x, memory)
        x, own = with_halo(self._group, x)
        y, kept = forward(x, memory)
        return _cut(y, own), kept

    def convolve_after(
        self,
        after: Callable[..., tuple[Tensor, Memory]],
        norm: ActivatedNorm,
        x: Tensor,
        memory: Memory,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Memory]:
        if not self._height:
            return after(norm, x, memory, bias)
        x, own = with_halo(self._group, x)
        y, kept = after(norm, x, memory, bias)
        return _cut(y, own), kept

    def double(self, forward: Callable[..., tuple[Tensor, Memory]], x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        if not self._height:
            return forward(x, memory)
        x, own = with_halo(self._group, x)
        y, kept = forward(x, memory)
        return _cut(y, slice(2 * own.start, 2 * own.stop)), kept

    def attend(
        self, layer: AttentionBlock, forward: Callable[..., tuple[Tensor, Memory]], x: Tensor, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """[B, C, T, H, W]; positions of other ranks are read, not computed."""
        if not self._height:
            return forward(x, memory)
        batch, _, _, height, _ = x.shape
        qkv = layer.to_qkv(layer.norm(to_frames(x)))
        q, k, v = rearrange(qkv, "n (three c) h w -> three n 1 h w c", three=3).contiguous()
        whole = self._group.gathered(torch.stack((k, v)), self._height, 3)
        k, v = whole.flatten(3, 4).contiguous()
        y = F.scaled_dot_product_attention(q.flatten(2, 3), k, v)
        y = layer.proj(rearrange(y, "n 1 (h w) c -> n c h w", h=height))
        return x + to_video(y, batch), memory

    def _whole(self, part: Tensor, height: int) -> Tensor:
        """Pixels [B, 3, F, h, w] of all ranks."""
        scale = part.shape[-2] // (self._group.own(height).stop - self._group.own(height).start)
        rows = self._group.gathered(part.unflatten(-2, (-1, scale)), height, 3)
        return rows.flatten(3, 4)


def _cut(y: Tensor, own: slice) -> Tensor:
    """The own rows of [B, C, T, H, W], in the order in memory that the next layer likes."""
    return y[..., own, :].contiguous(memory_format=torch.channels_last_3d)
