"""Flow-matching loss of a finished model on held-out clips: the most sensitive number there is of how well it learned.

Noise and noise levels are fixed numbers, the same for every model and whatever the batch, so that two models can be
compared clip by clip. Legend: N clips, C T h w latent, L tokens, K deciles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.engine.sampling.schedules import TRAINING_STEPS
from filmgate.training.painting import Painter

DECILES = 10
_SEED = 77_000


def fixed_noise(decile: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Noise levels [N] in (decile ... decile + 1)/10 and noise of ``shape`` [N, ...], drawn on the CPU."""
    generator = torch.Generator("cpu").manual_seed(_SEED + decile)
    levels = (decile + torch.rand(shape[0], generator=generator)) / DECILES
    return levels, torch.randn(shape, generator=generator)


@torch.no_grad()
def flow_losses(
    painter: Painter, latents: Tensor, prompts: Sequence[str], boundary: float | None, *, batch: int
) -> NDArray[np.float64]:
    """Mean squared velocity error [K, N] on latents [N, C, T, h, w] (normalised) with their prompts.

    Every clip is noised once per decile; the expert is the one that paints at that level.
    """
    features = painter.features(prompts)
    result = torch.zeros(DECILES, len(latents), dtype=torch.float64)
    for decile in range(DECILES):
        levels, noise = fixed_noise(decile, latents.shape)
        experts = [painter.expert(level * TRAINING_STEPS, boundary) for level in levels.tolist()]
        for expert in painter.experts:
            mine = torch.tensor([i for i, name in enumerate(experts) if name == expert], dtype=torch.long)
            for part in mine.split(batch):
                if not len(part):
                    continue
                clean, sigma = latents[part.to(latents.device)].to(painter.device), levels[part].to(painter.device)
                drawn = noise[part].to(painter.device)
                s = sigma.view(-1, 1, 1, 1, 1)
                cache = painter.project(expert, features[part.to(painter.device)])
                velocity = painter.velocity((1 - s) * clean + s * drawn, expert, sigma * TRAINING_STEPS, cache)
                error = (velocity - (drawn - clean)).square().mean((1, 2, 3, 4))
                result[decile, part] = error.double().cpu()
    return result.numpy()
