"""The objective of flow matching: noise levels, texts and the error of the velocity.

Legend: B clips, K patch tokens, L text tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.training.conditions import packed_rays, token_timesteps
from filmgate.training.latents import Batch
from filmgate.training.members import SHIFT
from filmgate.training.precision import mixed
from filmgate.training.text_encoder import END, PADDING
from filmgate.training.trainee import Recipe, Trainee, alignment_target


def shifted(u: Tensor, shift: float) -> Tensor:
    """Noise level after the schedule's shift: s·u / (1 + (s - 1)·u)."""
    return shift * u / (1 + (shift - 1) * u)


def unshifted(sigma: float, shift: float) -> float:
    """Inverse of :func:`shifted`."""
    return sigma / (shift - (shift - 1) * sigma)


def sample_sigmas(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Noise levels [B]: over the full range four fifths logit-normal (shift 3) and one fifth uniform under the sampling
    shift; within an expert's range uniform under the sampling shift."""
    device = generator.device
    uniform = torch.rand(count, device=device, generator=generator)
    if recipe.low == 0.0 and recipe.high == 1.0:
        normal = torch.randn(count, device=device, generator=generator)
        concentrated = torch.rand(count, device=device, generator=generator) < 0.7
        return torch.where(concentrated, shifted(torch.sigmoid(normal), 3.0), shifted(uniform, SHIFT)).clamp(1e-4, 1.0)
    low = max(0.0, unshifted(recipe.low, SHIFT) - (recipe.overlap if recipe.low > 0 else 0))
    high = min(1.0, unshifted(recipe.high, SHIFT) + (recipe.overlap if recipe.high < 1 else 0))
    return shifted(low + (high - low) * uniform, SHIFT).clamp(1e-4, 1.0)


@torch.no_grad()
def embed(encoder: Umt5Encoder, ids: Tensor) -> Tensor:
    """Text features [B, L, D_text], zero on padding as Wan has them."""
    mask = ids != PADDING
    with mixed(ids.device):
        features: Tensor = encoder(ids, mask)
    return features.float() * mask[..., None]


def without_text(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace a share of the captions by the empty prompt (one end mark): the unconditional branch of guidance."""
    empty = torch.zeros_like(ids)
    empty[:, 0] = END
    drop = torch.rand(len(ids), device=ids.device, generator=generator) < share
    return torch.where(drop[:, None], empty, ids)


def flow_loss(
    model: Trainee, batch: Batch, sigma: Tensor, noise: Tensor, context: Tensor, *, held: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean squared velocity error per clip [B], and the alignment loss.

    Args:
        held: The first latent frame is known: it is clean, its tokens are told 0, and its error does not count.
    """
    s = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - s) * batch.latents + s * noise
    timestep, counted = sigma * 1000, slice(1 if held else 0, None)
    if held:
        noisy = torch.cat([batch.latents[:, :, :1], noisy[:, :, 1:]], 2)
        timestep = token_timesteps(timestep, noisy.shape[2], noisy.shape[3], noisy.shape[4])
    seen = noisy if batch.beside is None else torch.cat([noisy, batch.beside], 1)
    rays = None
    scale = model.dit.config.camera_scale
    if scale is not None and batch.path is not None:
        rays = packed_rays(batch.path, scale * noisy.shape[3], scale * noisy.shape[4])
    with mixed(noisy.device):
        velocity, logits = model(seen, timestep, context, rays)
    error = (velocity.float() - (noise - batch.latents))[:, :, counted].pow(2).mean((1, 2, 3, 4))
    target = alignment_target(batch.cover, batch.labels, model.head.world)
    return error, F.binary_cross_entropy_with_logits(logits.float(), target)
