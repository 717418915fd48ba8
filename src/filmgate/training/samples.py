"""Samples to look at while training: a few plain Euler steps, and contact sheets.

The product's sampler lives in ``engine.sampling``; this one only has to show whether training goes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from filmgate.engine.models.vae import WanVae
from filmgate.training.precision import mixed


def walk(velocity: Callable[[Tensor, float], Tensor], x: Tensor, steps: int = 20, shift: float = 5.0) -> Tensor:
    """From noise to a clip in Euler steps; ``velocity`` maps (x, sigma) to velocity."""
    grid = torch.linspace(1, 0, steps + 1)
    sigmas = (shift * grid / (1 + (shift - 1) * grid)).tolist()
    for now, after in pairwise(sigmas):
        x = x + (after - now) * velocity(x, now)
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
