"""Latents to frames.

Legend: C latent channels, T latent frames, H W latent size, F frames of a chunk, h w pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.engine.models.vae import WanVae
from filmgate.spec import NotFinite


def decode(latent: Tensor, vae: WanVae) -> Iterator[NDArray[np.uint8]]:
    """Frames of a latent [C, T, H, W], as the VAE yields them: the first alone, then four at a time.

    Yields:
        uint8 RGB [F, h, w, 3].

    Raises:
        NotFinite: a frame has numbers that are not finite, which would be shown as black.
    """
    device = next(vae.parameters()).device
    for video in vae.decode_chunks(latent[None].to(device)):
        if not video.is_meta and not torch.isfinite(video).all():  # shapes alone have no numbers
            raise NotFinite(
                "decoded frames have numbers that are not finite: the weights of the VAE are damaged",
                allowed="sound weights",
            )
        yield to_rgb(video[0])


def to_rgb(video: Tensor) -> NDArray[np.uint8]:
    """Video [3, F, h, w] in -1 ... 1 to uint8 RGB [F, h, w, 3]; what lies outside is clamped, codes are rounded."""
    codes = video.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return np.asarray(codes.permute(1, 2, 3, 0).contiguous().cpu().numpy(), dtype=np.uint8)
