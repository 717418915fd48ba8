"""The image encoder of Wan 2.1's image-to-video models: the visual tower of CLIP (open_clip's XLM-RoBERTa ViT-H/14).

Legend: B pictures, H W pixels, P = 1 + patches rows of features, D features, N heads.

Attribute names are those inside ``visual`` of the original checkpoint, whose text tower Wan never uses. The features
are what the last block but one gives (Diffusers: ``hidden_states[-2]``), all rows of it, not normalised; the last block
is not made.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.kernels.attention import Attend, sdpa
from filmgate.engine.models.config import ImageEncoderConfig

EPS = 1e-5
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures, 0 ... 1, that CLIP was trained on."""


class LayerNorm(nn.LayerNorm):
    """Layer normalisation computed in fp32, in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps).to(x)


class SelfAttention(nn.Module):
    """Attention among the rows of a picture."""

    def __init__(self, config: ImageEncoderConfig, attend: Attend) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(config.dim, 3 * config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        self.heads = (config.heads, config.dim // config.heads)
        self.attend = attend

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, D] to [B, P, D]."""
        q, k, v = (part.unflatten(-1, self.heads) for part in self.to_qkv(x).chunk(3, dim=-1))
        mixed: Tensor = self.proj(self.attend(q, k, v).flatten(-2))
        return mixed


class Block(nn.Module):
    """Attention and feed-forward network, each normalised before."""

    def __init__(self, config: ImageEncoderConfig, attend: Attend) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.dim, EPS)
        self.attn = SelfAttention(config, attend)
        self.norm2 = LayerNorm(config.dim, EPS)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.dim_ffn), nn.GELU(), nn.Linear(config.dim_ffn, config.dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, D] to [B, P, D]."""
        x = x + self.attn(self.norm1(x))
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed


class ClipEncoder(nn.Module):
    """Pictures to image features, in the dtype of the weights (the originals': fp16, on a CPU fp32)."""

    def __init__(self, config: ImageEncoderConfig, attend: Attend = sdpa) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(3, config.dim, config.patch, config.patch, bias=False)
        self.cls_embedding = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, config.positions, config.dim))
        self.pre_norm = LayerNorm(config.dim, EPS)
        self.transformer = nn.Sequential(*(Block(config, attend) for _ in range(config.layers - 1)))

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [B, 3, H, W], see :func:`normalise`, to features [B, P, D]."""
        patches = self.patch_embedding(pictures.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        rows = torch.cat([self.cls_embedding.expand(len(patches), -1, -1), patches], dim=1)
        features: Tensor = self.transformer(self.pre_norm(rows + self.pos_embedding))
        return features


def normalise(picture: Tensor, pixels: int) -> Tensor:
    """A picture [3, H, W] in -1 ... 1 as CLIP wants it: [1, 3, pixels, pixels].

    Squeezed into a square, bicubic and without smoothing, as the original code does; Diffusers crops the middle instead
    and smoothes, so that its features of a picture that is not square are others.
    """
    square = F.interpolate(picture[None].float(), (pixels, pixels), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(values, device=square.device)[:, None, None] for values in (MEAN, STD))
    return (square * 0.5 + 0.5 - mean) / std
