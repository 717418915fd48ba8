"""What is minimised: the error of the velocity at noise levels of the expert's own range.

x_s = (1 - s)·video + s·noise; the network is told 1000·s and shall answer noise - video (arXiv 2403.03206, 2503.20314).
Everything that is drawn belongs to a clip's place in the run, not to what was drawn before: a run that goes on where it
stopped, or on several devices, draws the same.

Legend: B clips, C T H W latent, L tokens, S rows of text, P rows of image features, N levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.models.config import PATCH
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.sampling.schedules import TRAINING_STEPS, shift_sigma
from filmgate.spec.model import ExpertName

LEAST = 1e-3
"""Lowest noise level that is drawn."""
_NOISE_SEED = 77_000


@dataclass(frozen=True, eq=False)
class Example:
    """A clip as the transformer knows it: ``latents`` [C, T, H, W], ``text`` [S, D], and where the model reads them
    ``beside`` [C', T, H, W] and ``image`` [P, D]."""

    latents: Tensor
    text: Tensor
    beside: Tensor | None = None
    image: Tensor | None = None


@dataclass(frozen=True)
class Range:
    """Noise levels of an expert, and how they are distributed before the shift."""

    low: float
    high: float
    shift: float
    logit_normal: bool = False

    @classmethod
    def of(cls, expert: ExpertName, boundary: float | None, shift: float, *, logit_normal: bool = False) -> Range:
        """The levels that an expert paints: above the boundary, below it, or all."""
        if expert == "dense" or boundary is None:
            return cls(0.0, 1.0, shift, logit_normal)
        low, high = (boundary, 1.0) if expert == "high_noise" else (0.0, boundary)
        return cls(low, high, shift, logit_normal)

    def level(self, share: float) -> float:
        """The level below which ``share`` of all lie, ``share`` in 0 ... 1."""
        low, high = unshift_sigma(self.low, self.shift), unshift_sigma(self.high, self.shift)
        if self.logit_normal:
            lowest, highest = _normal_share(low), _normal_share(high)
            even = _normal_value(lowest + share * (highest - lowest))
        else:
            even = low + share * (high - low)
        return min(max(shift_sigma(even, self.shift), self.low, LEAST), self.high)


def unshift_sigma(sigma: float, shift: float) -> float:
    """Inverse of :func:`~filmgate.engine.sampling.schedules.shift_sigma`."""
    return sigma / (shift - (shift - 1) * sigma)


def _normal_share(level: float) -> float:
    """Share of a logit-normal distribution that lies below a level."""
    if level <= 0 or level >= 1:
        return float(level >= 1)
    return 0.5 * (1 + math.erf(math.log(level / (1 - level)) / math.sqrt(2)))


def _normal_value(share: float) -> float:
    """Inverse of :func:`_normal_share`."""
    if share <= 0 or share >= 1:
        return float(share >= 1)
    return torch.sigmoid(torch.special.ndtri(torch.tensor(share, dtype=torch.float64))).item()


def draws_of(seed: int, place: int) -> torch.Generator:
    """The numbers of one place in the run, on the CPU."""
    return torch.Generator("cpu").manual_seed((seed * 1_000_003 + place) % (1 << 63))


def velocity_errors(
    network: WanDiT, examples: Sequence[Example], levels: Sequence[float], noise: Tensor, held: Sequence[bool]
) -> Tensor:
    """Mean squared error per clip [B], fp32, of clips of one shape.

    Args:
        network: The expert, as it is.
        examples: B clips.
        levels: Noise level of each.
        noise: [B, C, T, H, W].
        held: Whether the first latent frame of a clip is known, for models with a timestep per token: its tokens are
            told 0, and its error does not count.
    """
    clean = torch.stack([example.latents for example in examples]).to(noise)
    sigma = torch.tensor(levels, dtype=torch.float32, device=noise.device)
    s = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - s) * clean + s * noise
    timestep = sigma * TRAINING_STEPS
    counts = torch.ones_like(clean[:, :1])
    if any(held):
        known = torch.tensor(held, device=noise.device)
        first = torch.zeros_like(counts, dtype=torch.bool)
        first[:, :, 0] = known.view(-1, 1, 1, 1)
        noisy, counts = torch.where(first, clean, noisy), counts.masked_fill(first, 0.0)
        timestep = timestep[:, None] * _per_token(~first)
    beside = [example.beside for example in examples if example.beside is not None]
    seen = torch.cat([noisy, torch.stack(beside).to(noise)], 1) if beside else noisy
    images = [example.image for example in examples if example.image is not None]
    text = _stacked([example.text.to(noise) for example in examples])
    velocity = network(seen, timestep, text, torch.stack(images).to(noise) if images else None)
    error = (velocity.float() - (noise - clean)).square() * counts
    mean: Tensor = error.sum((1, 2, 3, 4)) / (counts.sum((1, 2, 3, 4)) * clean.shape[1])
    return mean


def _per_token(flags: Tensor) -> Tensor:
    """[B, 1, T, H, W] of truths to [B, L] of 1 and 0."""
    _, rows, columns = PATCH
    return flags[:, 0, :, ::rows, ::columns].flatten(1).float()


def _stacked(texts: Sequence[Tensor]) -> Tensor:
    """Texts [S, D] of any lengths, padded with zeros as the model pads them: [B, S, D]."""
    rows = max(len(text) for text in texts)
    return torch.stack([F.pad(text, (0, 0, 0, rows - len(text))) for text in texts])


@torch.no_grad()
def fixed_losses(
    network: WanDiT, examples: Sequence[Example], levels: Sequence[float], device: torch.device
) -> list[float]:
    """Error per level, mean over clips, with noise that is the same every time and for every model."""
    sums = [0.0] * len(levels)
    for number, example in enumerate(examples):
        generator = torch.Generator("cpu").manual_seed(_NOISE_SEED + number)
        noise = torch.randn(example.latents.shape, generator=generator)[None].to(device)
        for index, level in enumerate(levels):
            sums[index] += velocity_errors(network, [example], [level], noise, [False]).item()
    return [total / max(1, len(examples)) for total in sums]
