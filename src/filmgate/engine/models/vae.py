"""Wan's causal video VAEs (arXiv 2503.20314): one network, run over a whole clip or as a stream of chunks.

Legend: B batch, F pixel frames, T latent frames, H W size in pixels, h w size in latents, C channels, z latent
channels.

F = 1 + 4n pixel frames are T = 1 + n latent frames; the first frame is encoded alone. The whole-sequence methods are
for training and for reference; the streams compute the same with a memory that does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from filmgate.engine.kernels.channel_norm import lies_for_kernels
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.models.vae_layers import (
    CUBE,
    POINT,
    WHOLE,
    ActivatedNorm,
    AttentionBlock,
    CausalConv3d,
    Downsample,
    Memory,
    ResidualBlock,
    ShortcutDown,
    ShortcutUp,
    Upsample,
    run,
    slots,
)
from filmgate.spec.errors import InvalidRequest


class Encoder(nn.Module):
    """Video [B, 3, F, H, W] (patchified for Wan 2.2) to [B, 2z, T, h, w]."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths = [config.dim, *(config.dim * factor for factor in config.dim_mult)]
        stack: list[nn.Module] = []
        for level, (before, width) in enumerate(pairwise(widths)):
            layers = residual_blocks(before, width, config.num_res_blocks)
            factor = (1, 1)
            if level < len(config.temporal_downsample):
                temporal = config.temporal_downsample[level]
                layers.append(Downsample(width, temporal))
                factor = (2 if temporal else 1, 2)
            stack.extend([ShortcutDown(layers, width, factor)] if config.level_shortcuts else layers)
        self.conv1 = CausalConv3d(config.pixel_channels, widths[0], CUBE)
        self.downsamples = nn.Sequential(*stack)
        self.middle = middle(widths[-1])
        self.head = head(widths[-1], 2 * config.z_dim)
        self.slots = slots((*self.layers(), self.head["2"]))

    def layers(self) -> Iterator[nn.Module]:
        """All layers before the head."""
        yield from (self.conv1, *self.downsamples, *self.middle)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return through(self.layers(), self.head, x, memory)


class Decoder(nn.Module):
    """Latent [B, z, T, h, w] to video [B, 3, F, H, W] (patchified for Wan 2.2)."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        factors = (config.dim_mult[-1], *reversed(config.dim_mult))
        widths = [config.decoder_width * factor for factor in factors]
        temporal = tuple(reversed(config.temporal_downsample))
        # Wan 2.1 halves the width in the upsampling, Wan 2.2 in the first residual block after it.
        shrink = 1 if config.level_shortcuts else 2
        stack: list[nn.Module] = []
        for level, (before, width) in enumerate(pairwise(widths)):
            layers = residual_blocks(before // shrink if level else before, width, config.num_res_blocks + 1)
            factor = None
            if level < len(temporal):
                layers.append(Upsample(width, width // shrink, temporal[level]))
                factor = (2 if temporal[level] else 1, 2)
            stack.extend([ShortcutUp(layers, width, factor)] if config.level_shortcuts else layers)
        self.conv1 = CausalConv3d(config.z_dim, widths[0], CUBE)
        self.middle = middle(widths[0])
        self.upsamples = nn.Sequential(*stack)
        self.head = head(widths[-1], config.pixel_channels)
        self.slots = slots((*self.layers(), self.head["2"]))

    def layers(self) -> Iterator[nn.Module]:
        """All layers before the head."""
        yield from (self.conv1, *self.middle, *self.upsamples)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return through(self.layers(), self.head, x, memory)


def residual_blocks(channels_in: int, channels_out: int, count: int) -> list[nn.Module]:
    """Blocks of one level; the first changes the width."""
    return [ResidualBlock(channels_in if i == 0 else channels_out, channels_out) for i in range(count)]


def middle(channels: int) -> nn.Sequential:
    """Blocks at the coarsest level, where the positions of a frame attend to each other."""
    return nn.Sequential(ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels))


def head(channels_in: int, channels_out: int) -> nn.ModuleDict:
    """Norm, SiLU (index 1 in the original) and the last convolution."""
    return nn.ModuleDict({"0": ActivatedNorm(channels_in), "2": CausalConv3d(channels_in, channels_out, CUBE)})


def through(body: Iterable[nn.Module], last: nn.ModuleDict, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Layers, then a head, whose memory is the last slot."""
    x, kept = run(body, x.contiguous(memory_format=torch.channels_last_3d), memory[:-1])
    norm, conv = cast(ActivatedNorm, last["0"]), cast(CausalConv3d, last["2"])
    if lies_for_kernels(x):
        x, final = conv.after(norm, x, memory[-1:])
        x = x + conv.bias.view(-1, 1, 1, 1)
    else:
        x, final = conv(norm(x), memory[-1:])
    return x, kept + final


class WanVae(nn.Module):
    """The causal VAE; tensors are named as in the original checkpoints.

    Runs on the device and in the dtype of its weights (the originals run in fp32; norms are fp32 in any case). On a CPU
    in fp32 the convolutions take their fast path.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * config.z_dim, 2 * config.z_dim, POINT)
        self.conv2 = CausalConv3d(config.z_dim, config.z_dim, POINT)
        self.decoder = Decoder(config)

    def encode_sequence(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Raw latent distribution of a whole video at once: for training, and the reference of the stream.

        Differentiable and without state; memory grows with F.

        Args:
            video: [B, 3, F, H, W] in [-1, 1], F = 1 + 4n, H and W multiples of the spatial factor.

        Returns:
            Mean and log-variance, [B, z, T, h, w] each, in the VAE's own units (not normalised).
        """
        hidden, _ = self.encoder(self._patchify(video), WHOLE)
        mean, log_variance = self.conv1(hidden)[0].chunk(2, dim=1)
        return mean, log_variance

    def decode_sequence(self, latent: Tensor) -> Tensor:
        """Video of a whole raw latent [B, z, T, h, w] at once: [B, 3, F, H, W], roughly in [-1, 1], not clamped."""
        video, _ = self.decoder(self.conv2(latent)[0], WHOLE)
        return self._unpatchify(video)

    @torch.no_grad()
    def encode_chunks(self, video: Tensor) -> Iterator[Tensor]:
        """Encode as a stream; see :meth:`encode`. Yields one normalised latent frame [B, z, 1, h, w] at a time.

        The video may lie elsewhere: a chunk at a time comes to the VAE's device.
        """
        self._check_video(video)
        memory: Memory = (None,) * self.encoder.slots
        for start, stop in pairwise((0, *range(1, video.shape[2] + 1, self.config.temporal_factor))):
            chunk = self._patchify(video[:, :, start:stop].to(self.conv2.weight))
            hidden, memory = self.encoder(chunk, memory)
            yield self.normalise(self.conv1(hidden)[0][:, : self.config.z_dim])

    @torch.no_grad()
    def decode_chunks(self, latent: Tensor) -> Iterator[Tensor]:
        """Decode as a stream; see :meth:`decode`. Yields the first frame, then four frames at a time.

        Memory is a few frames per layer whatever T is. Nothing is computed before it is asked for.
        """
        self._check_latent(latent)
        memory: Memory = (None,) * self.decoder.slots
        for index in range(latent.shape[2]):
            chunk = self.denormalise(latent[:, :, index : index + 1]).to(self._dtype)
            video, memory = self.decoder(self.conv2(chunk)[0], memory)
            yield self._unpatchify(video).float().clamp_(-1, 1)

    def encode(self, video: Tensor) -> Tensor:
        """Mean latent of a video, in the units of the transformer.

        Args:
            video: [B, 3, F, H, W] in [-1, 1], F = 1 + 4n (an image: F = 1).

        Returns:
            [B, z, T, h, w] fp32, (mean - latents_mean) / latents_std.

        Raises:
            InvalidRequest: the shape is not one that the VAE can encode.
        """
        return torch.cat(list(self.encode_chunks(video)), dim=2)

    def decode(self, latent: Tensor) -> Tensor:
        """Video of a normalised latent [B, z, T, h, w]: [B, 3, F, H, W] fp32, clamped to [-1, 1].

        Raises:
            InvalidRequest: the shape is not that of a latent of this VAE.
        """
        return torch.cat(list(self.decode_chunks(latent)), dim=2)

    def normalise(self, raw: Tensor) -> Tensor:
        """Latent in the VAE's units to the transformer's, in fp32."""
        mean, std = self._statistics(raw.device)
        return (raw.float() - mean) / std

    def denormalise(self, latent: Tensor) -> Tensor:
        """Inverse of :meth:`normalise`."""
        mean, std = self._statistics(latent.device)
        return latent.float() * std + mean

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        # Made on use: a buffer would be lost where the module is built on the meta device and filled from a file.
        config = self.config
        mean, std = (torch.tensor(values, device=device) for values in (config.latents_mean, config.latents_std))
        return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)

    @property
    def _dtype(self) -> torch.dtype:
        return self.conv2.weight.dtype

    def _patchify(self, video: Tensor) -> Tensor:
        if self.config.patch == 1:
            return video
        # The column offset is the slower of the two.
        return rearrange(video, "b c f (h q) (w r) -> b (c r q) f h w", q=self.config.patch, r=self.config.patch)

    def _unpatchify(self, video: Tensor) -> Tensor:
        if self.config.patch == 1:
            return video
        return rearrange(video, "b (c r q) f h w -> b c f (h q) (w r)", q=self.config.patch, r=self.config.patch)

    def _check_video(self, video: Tensor) -> None:
        if video.ndim != 5 or video.shape[1] != 3:
            shape = list(video.shape)
            raise InvalidRequest("video", f"its shape is {shape}", allowed="[batch, 3, frames, height, width]")
        self.config.compression.check_frames(video.shape[2])
        factor = self.config.spatial_factor
        for side, pixels in (("height", video.shape[3]), ("width", video.shape[4])):
            if pixels < 1 or pixels % factor:
                nearest = max(1, (2 * pixels + factor) // (2 * factor)) * factor
                raise InvalidRequest(
                    side,
                    f"{pixels} does not divide by {factor}",
                    allowed=f"positive multiples of {factor}",
                    nearest=str(nearest),
                )

    def _check_latent(self, latent: Tensor) -> None:
        if latent.ndim != 5 or latent.shape[1] != self.config.z_dim or 0 in latent.shape:
            raise InvalidRequest(
                "latent",
                f"its shape is {list(latent.shape)}",
                allowed=f"[batch, {self.config.z_dim}, frames, height, width], none of them 0",
            )
