"""A cheap look at an unfinished video.

Legend: C latent channels, T H W latent frames, rows and columns, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.decode import to_rgb
from filmgate.engine.pipeline.values import ColourMap
from filmgate.media.sheet import choose_stills, strip_png

FRAMES = 4
WIDTH = 320
"""Widest frame of a preview, in pixels."""


def preview(clean: Tensor, colours: ColourMap | None, vae: Callable[[], WanVae], *, spatial: int) -> bytes:
    """PNG of a few frames of a latent [C, T, H, W], side by side, the first and the last among them.

    With a colour map that is one matrix product. Without one the real VAE decodes the first frame alone, which costs
    about a fourth of what the last step of the decoder's stream does.

    Args:
        clean: The present guess of the finished latent.
        colours: Of the model's VAE, if known.
        vae: Loads the VAE; called only without ``colours``.
        spatial: Pixels per latent on a side.
    """
    if colours is None:
        network = vae()
        device = next(network.parameters()).device
        return strip_png([to_rgb(network.decode(clean[None, :, :1].to(device))[0])[0]])
    latent = clean[:, list(choose_stills(clean.shape[1], FRAMES))].float().cpu()
    mixed = torch.einsum("cthw,cr->rthw", latent, torch.tensor(colours.factors, dtype=torch.float32))
    frames = to_rgb(mixed + torch.tensor(colours.bias, dtype=torch.float32)[:, None, None, None])
    factor = max(1, min(spatial, WIDTH // frames.shape[2]))
    return strip_png([_enlarged(frame, factor) for frame in frames])


def _enlarged(frame: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
