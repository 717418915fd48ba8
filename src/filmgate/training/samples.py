"""Samples to look at while training: a fixed list of prompts, painted with a few plain Euler steps.

The product's sampler lives in ``engine.sampling``; this one only has to show whether training goes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.training.precision import mixed
from filmgate.training.text_encoder import PADDING, encode_captions
from filmgate.training.world.catalogue import FIRST, Catalogue

PROMPTS = (
    "a red ball rolls to the left on grass at noon",
    "a blue cube on snow, the camera pans right",
    "a yellow cone bounces on sand at sunset",
    "a purple cylinder to the left of a green ball on dirt on a cloudy day",
    "a white ball moves right on a striped floor at night",
    "a large orange cube spins on a tiled floor at noon, the camera orbits left",
    "a cyan ball rolls right past a pink cube on grass at sunset",
    "three black cones on snow on a cloudy day, the camera dollies in",
)
Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]


def features(encoder: Umt5Encoder, prompts: list[str], device: torch.device, world: Catalogue = FIRST) -> Tensor:
    """Text features [B, L, D], zero on padding, of prompts; ``world`` is what the encoder was trained on."""
    ids = encode_captions(prompts, world).to(device).long()
    mask = ids != PADDING
    encoded: Tensor = encoder(ids, mask)
    return encoded.float() * mask[..., None]


@torch.no_grad()
def paint(
    velocity: Velocity, encoder: Umt5Encoder, prompts: list[str], shape: tuple[int, int, int, int], *,
    steps: int = 20, shift: float = 5.0, guidance: float = 4.0, seed: int = 0, device: torch.device,
    world: Catalogue = FIRST,
) -> Tensor:  # fmt: skip
    """Normalised latents [B, z, T, h, w] of ``prompts``; ``velocity`` maps (x, timestep [B], text features) to
    velocity."""
    text, empty = (features(encoder, texts, device, world) for texts in (prompts, [""] * len(prompts)))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(prompts), *shape, generator=generator).to(device)
    grid = torch.linspace(1, 0, steps + 1)
    sigmas = (shift * grid / (1 + (shift - 1) * grid)).tolist()
    for now, after in pairwise(sigmas):
        timestep = torch.full((2 * len(x),), now * 1000, device=device)
        with mixed(device):
            both = velocity(torch.cat([x, x]), timestep, torch.cat([text, empty])).float()
        positive, negative = both.chunk(2)
        x = x + (after - now) * (negative + guidance * (positive - negative))
    return x


@torch.no_grad()
def decode(vae: WanVae, latents: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Latents to uint8 clips [B, 3, F, H, W]."""
    raw = latents * std.view(1, -1, 1, 1, 1) + mean.view(1, -1, 1, 1, 1)
    clips = []
    for start in range(0, len(raw), 8):
        with mixed(raw.device):
            clips.append(vae.decode_sequence(raw[start : start + 8]).float().clamp(-1, 1))
    return ((torch.cat(clips) + 1) * 127.5).round().to(torch.uint8)


def contact_sheet(clips: Tensor, path: Path, moments: int = 5) -> None:
    """PNG with one row per clip of uint8 [B, 3, F, H, W] and ``moments`` evenly spaced frames."""
    chosen = torch.linspace(0, clips.shape[2] - 1, moments).round().long()
    rows = clips[:, :, chosen].permute(0, 3, 2, 4, 1).flatten(2, 3).flatten(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rows.cpu().numpy()).save(path)


def captioned_sheet(clips: Tensor, captions: Sequence[str], path: Path, moments: int = 6) -> None:
    """PNG with one row per clip of uint8 [B, 3, F, H, W]: its caption (of any lines, the same number for all) above
    ``moments`` evenly spaced frames."""
    chosen = torch.linspace(0, clips.shape[2] - 1, moments).round().long()
    rows = clips[:, :, chosen].permute(0, 3, 2, 4, 1).flatten(2, 3).cpu().numpy()
    text, font = 16 * (1 + captions[0].count("\n")), ImageFont.load_default(11)
    height, width = rows.shape[1:3]
    sheet = Image.new("RGB", (width, len(rows) * (height + text)), (18, 18, 20))
    pen = ImageDraw.Draw(sheet)
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        top = number * (height + text)
        pen.text((4, top + 1), caption, fill=(235, 235, 235), font=font)
        sheet.paste(Image.fromarray(row), (0, top + text))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
