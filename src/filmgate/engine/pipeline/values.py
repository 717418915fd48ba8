"""What the stages hand to one another.

Legend: C latent channels, T H W latent frames, rows and columns, S text rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

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

    ``text`` [S, text_dim] are the features of the prompt, cut to its tokens, end mark included; ``negative`` those of
    the negative prompt, None where no step uses guidance.
    """

    text: Tensor
    negative: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Denoised:
    """State after a step. ``latent`` [C, T, H, W] goes on to the next step; ``clean`` is the network's present guess of
    the finished latent, x - sigma·velocity. Both fp32."""

    index: int
    latent: Tensor
    clean: Tensor
