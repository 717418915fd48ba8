"""What the stages hand to one another.

Legend: C latent channels, T H W latent frames, rows and columns, S text rows, P rows of image features, K first latent
frames, F frames, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from filmgate.camera.poses import CameraPath

Tokenise = Callable[[str], Sequence[int]]
"""Text to token ids, cleaned, cut to the model's text length and ended as the text encoder was trained."""


@dataclass(frozen=True)
class ColourMap:
    """The mean colour of a latent's pixels as a linear function of the latent: ``factors`` C rows of RGB, ``bias`` RGB,
    for colours in -1 ... 1. Fitted to a VAE by whoever made it."""

    factors: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the transformer is told besides noise and time.

    Every task is a value of this: what a model does not read, or a request does not bring, is None.

    Attributes:
        text: Features of the prompt [S, text_dim], cut to its tokens, end mark included.
        negative: Those of the negative prompt; None where no step uses guidance.
        image: Features of pictures [P, image_dim], read beside the text.
        beside: Channels [C', T, H, W] that are read beside the latent's.
        held: The first latent frames [C, K, H, W]. They are what they are at every noise level, and the network is told
            so: their tokens have timestep 0.
        source: Latent [C, T, H, W] of the video that the walk begins from instead of pure noise.
        control: What the model's branch for it reads, if it has one: VACE's context [C, T, H, W], or the packed rays of
            a camera [24, T, h, w].
        control_scale: Strength of VACE's hints.
        references: Latent frames at the beginning that show reference pictures: the noise has them too, the video has
            not.
    """

    text: Tensor
    negative: Tensor | None = None
    image: Tensor | None = None
    beside: Tensor | None = None
    held: Tensor | None = None
    source: Tensor | None = None
    control: Tensor | None = None
    control_scale: float = 1.0
    references: int = 0


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a plan names as inputs. Pictures are uint8 RGB: stills [rows, columns, 3] as they are in their files,
    ``video`` [F, h, w, 3] at the plan's speed and size (smaller where the plan keeps it inside, shorter where it keeps
    it at an end). ``mask`` [F, h, w] is 255 where to paint, with F = 1 for all frames."""

    image: NDArray[np.uint8] | None = None
    last_image: NDArray[np.uint8] | None = None
    video: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    references: tuple[NDArray[np.uint8], ...] = ()
    path: CameraPath | None = None


@dataclass(frozen=True, eq=False)
class Denoised:
    """State after a step. ``latent`` [C, T, H, W] goes on to the next step; ``clean`` is the network's present guess of
    the finished latent, x - sigma·velocity. Both fp32."""

    index: int
    latent: Tensor
    clean: Tensor
