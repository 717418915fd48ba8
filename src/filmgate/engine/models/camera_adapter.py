"""The camera branch of VideoX-Fun's Control-Camera models: packed rays to one addition per token.

Legend: B batch, T H W latent frames, rows and columns, s pixels per latent on a side, L = T·(H/2)·(W/2) tokens, D model
dimension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from filmgate.engine.models.config import PATCH, RAY_CHANNELS


class Residual(nn.Module):
    """Two convolutions beside the identity, at the resolution of the tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, H/2, W/2] to the same."""
        y: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + y


class CameraAdapter(nn.Module):
    """What is added to the video's tokens after the patch embedding; latent frames do not see one another here.

    Args:
        dim: D.
        scale: s, the spatial factor of the model's VAE: 8, or 16 for TI2V-5B.
        blocks: Residual blocks; the released models have one.
    """

    def __init__(self, dim: int, scale: int, blocks: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(RAY_CHANNELS * scale**2, dim, PATCH[1:], PATCH[1:])
        self.residual_blocks = nn.Sequential(*(Residual(dim) for _ in range(blocks)))

    def forward(self, rays: Tensor) -> Tensor:
        """Packed rays [B, 24, T, s·H, s·W] to tokens [B, L, D]."""
        if not torch.is_autocast_enabled(rays.device.type):
            rays = rays.to(self.conv.weight.dtype)
        frames = rearrange(rays, "b c t h w -> (b t) c h w")
        features = self.residual_blocks(self.conv(F.pixel_unshuffle(frames, self.scale)))
        tokens: Tensor = rearrange(features, "(b t) d h w -> b (t h w) d", b=len(rays))
        return tokens
