"""A video autoencoder whose frames are divided over ranks by rows, from outside: equal to the whole up to rounding.

Legend: B batch, C channels, T frames, H rows of this rank, W columns, P positions of a frame.

Rows are those of the latent, so that each rank has whole blocks of pixels at every level. Whatever convolves over rows
gets one row more from either neighbour first, and what it makes of that is cut off again; the middle layers, which
attend to all positions of a frame, get the keys and values of all ranks. All else works on each position by itself. A
stream's memory holds the neighbours' rows as well, so that they are sent once.

An autoencoder that works in tiles divides these: every rank has some, and what all of them make is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_layers import (
    WHOLE,
    ActivatedNorm,
    AttentionBlock,
    CausalConv3d,
    Downsample,
    Memory,
    Upsample,
    to_frames,
    to_video,
)
from filmgate.engine.runtime.halo import with_halo
from filmgate.engine.runtime.parallel import Group, Team

Chunks = Callable[[Tensor], Iterator[Tensor]]


def parallel_vae(network: WanVae, group: Group) -> WanVae:
    """Let an autoencoder decode and encode this rank's rows of every frame; all ranks yield whole ones.

    Latents of fewer rows than ranks are worked on by every rank alone.
    """
    if group.handle is None:
        return network
    rows = _Rows(group, network.config.spatial_factor)
    for layer in (*network.encoder.modules(), *network.decoder.modules()):
        if isinstance(layer, CausalConv3d) and layer.weight.shape[3] > 1:
            layer.forward = partial(rows.convolve, layer.forward)  # type: ignore[method-assign]
            layer.after = partial(rows.convolve_after, layer.after)  # type: ignore[method-assign]
        elif isinstance(layer, Upsample):
            layer.forward = partial(rows.double, layer.forward)  # type: ignore[method-assign]
        elif isinstance(layer, Downsample):
            layer.forward = partial(rows.halve, layer.forward)  # type: ignore[method-assign]
        elif isinstance(layer, AttentionBlock):
            layer.forward = partial(rows.attend, layer, layer.forward)  # type: ignore[method-assign]
    network.decode_chunks = partial(rows.decode, network.decode_chunks)  # type: ignore[method-assign]
    network.encode_chunks = partial(rows.encode, network.encode_chunks)  # type: ignore[method-assign]
    return network


def parallel_tiles(network: TiledVae, team: Team) -> TiledVae:
    """Let an autoencoder work on this rank's tiles, the others working on theirs; all ranks yield whole frames."""
    group = team.everyone
    if group.handle is None:
        return network

    def share(number: int, count: int) -> float | None:
        if number % group.size == group.index:
            return 1.0
        # Who has none learns from the first one how long and large the chunks are.
        return 0.0 if number == 0 and group.index >= count else None

    def added(chunks: Chunks, video: Tensor) -> Iterator[Tensor]:
        stream = chunks(video)
        first = next(stream)
        team.meet()  # some have a tile more than others
        yield group.summed(first)
        for chunk in stream:
            yield group.summed(chunk)

    network.share = share
    network.decode_chunks = partial(added, network.decode_chunks)  # type: ignore[method-assign]
    network.encode_chunks = partial(added, network.encode_chunks)  # type: ignore[method-assign]
    return network


class _Rows:
    """This rank's rows; ``height`` is that of the latent while one is worked on in parts, else 0. ``factor`` pixels are
    a row of it."""

    def __init__(self, group: Group, factor: int) -> None:
        self._group = group
        self._factor = factor
        self._height = 0

    def decode(self, chunks: Chunks, latent: Tensor) -> Iterator[Tensor]:
        yield from self._divided(chunks, latent, latent.shape[-2], 1)

    def encode(self, chunks: Chunks, video: Tensor) -> Iterator[Tensor]:
        yield from self._divided(chunks, video, video.shape[-2] // self._factor, self._factor)

    def _divided(self, chunks: Chunks, whole: Tensor, height: int, scale: int) -> Iterator[Tensor]:
        """Chunks of which every rank makes its rows; ``whole`` has ``scale`` rows to one of the latent."""
        if height < self._group.size:
            yield from chunks(whole)
            return
        own = self._group.own(height)
        stream = chunks(whole[..., own.start * scale : own.stop * scale, :])
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

    def halve(self, forward: Callable[..., tuple[Tensor, Memory]], x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        if not self._height:
            return forward(x, memory)
        # Every other row, each with the two below it: of the neighbours' only the one below is seen.
        x, own = with_halo(self._group, x)
        return forward(x[..., own.start :, :], memory)

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
        """Rows [B, C, F, h, w] of all ranks."""
        scale = part.shape[-2] // (self._group.own(height).stop - self._group.own(height).start)
        rows = self._group.gathered(part.unflatten(-2, (-1, scale)), height, 3)
        return rows.flatten(3, 4)


def _cut(y: Tensor, own: slice) -> Tensor:
    """The own rows of [B, C, T, H, W], in the order in memory that the next layer likes."""
    return y[..., own, :].contiguous(memory_format=torch.channels_last_3d)
