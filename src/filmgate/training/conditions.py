"""What the transformers are told beside the text, for a batch of clips: known frames, and the camera's rays.

The engine computes the same for one clip (``engine.pipeline.pictures``, ``filmgate.camera.rays``); tests hold the two
together. Legend: B clips, F frames, T latent frames, H W pixels, C z latent channels, h w latent size, L tokens.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from filmgate.camera.rays import SOURCE, SUBFRAMES
from filmgate.engine.models.config import PATCH
from filmgate.training.members import Told
from filmgate.training.world.moves import CameraState

PATH_NUMBERS = 16
"""Of a frame of a camera's path: the lens (4), then the pose [R | t] (12)."""


def path_of(camera: CameraState, aspect: float) -> Tensor:
    """The path of every clip as its pose file has it: [B, F, 16]."""
    return torch.cat([camera.lenses(aspect), camera.world_to_camera().flatten(2)], -1).float()


def known_mask(last: Tensor, frames: int) -> Tensor:
    """Which pixel frames are known, folded as the VAE folds them: [B, 4, T], the first frame always, the last where
    ``last`` [B] says so."""
    mask = torch.zeros(len(last), SUBFRAMES, frames, device=last.device)
    mask[:, :, 0] = 1
    mask[:, -1, -1] = torch.where(last, torch.ones_like(mask[:, -1, -1]), mask[:, -1, -1])
    return mask


def only_known(video: Tensor, last: Tensor) -> Tensor:
    """Clips [B, 3, F, H, W] with grey wherever a frame is not known."""
    grey = torch.zeros_like(video)
    grey[:, :, 0] = video[:, :, 0]
    grey[:, :, -1] = torch.where(last.view(-1, 1, 1, 1), video[:, :, -1], grey[:, :, -1])
    return grey


def beside(latent: Tensor, last: Tensor) -> Tensor:
    """What is read beside the noise: the mask and the latent [B, z, T, h, w] of :func:`only_known`: [B, 4 + z, ...]."""
    mask = known_mask(last, latent.shape[2])
    return torch.cat([mask[..., None, None].expand(-1, -1, -1, *latent.shape[3:]), latent], 1)


def packed_rays(path: Tensor, height: int, width: int) -> Tensor:
    """Rays [B, 24, T, H, W] of paths [B, F, 16], as ``filmgate.camera.rays.packed_rays`` makes them of pose files."""
    lens, pose = path[..., :4].double(), path[..., 4:].double().unflatten(-1, (3, 4))
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=pose.dtype, device=pose.device).expand(*pose.shape[:2], 1, 4)
    square = torch.cat([pose, bottom], 2)
    relative = square[:, :1] @ torch.linalg.inv(square)
    rotation, centre = relative[..., :3, :3], relative[..., :3, 3]
    moment = torch.linalg.cross(centre[..., None].expand_as(rotation), rotation, dim=-2)
    matrix = torch.cat([moment, rotation], 2).float()  # [B, F, 6, 3]
    # Where the picture is narrower than the source, its lens is the source's by height, else by width.
    ratio = SOURCE[0] / SOURCE[1]
    scale = (height * ratio, height) if ratio > width / height else (width, width / ratio)
    fx, fy, cx, cy = (lens * torch.tensor([*scale, width, height], device=lens.device)).float().unbind(-1)
    column, row = (torch.arange(side, device=path.device) + 0.5 for side in (width, height))
    x = ((column - cx[..., None]) / fx[..., None])[:, :, None, :].expand(-1, -1, height, -1)
    y = ((row - cy[..., None]) / fy[..., None])[..., None].expand(-1, -1, -1, width)
    direction = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], 2), dim=2)
    rays = torch.einsum("bfkd,bfdhw->bfkhw", matrix, direction)
    rays = torch.cat([rays[:, :1].expand(-1, SUBFRAMES - 1, -1, -1, -1), rays], 1)
    packed: Tensor = rearrange(rays, "b (t s) k h w -> b (k s) t h w", s=SUBFRAMES)
    return packed


def held_now(told: Told, generator: torch.Generator) -> bool:
    """Whether the first frames of this batch are held: all or none, because a timestep per token costs more."""
    if told.beside or told.first <= 0:
        return False
    return bool(torch.rand((), device=generator.device, generator=generator) < told.first)


def distinct(sigma: Tensor) -> Tensor:
    """Noise levels [B] of which no two are equal, moved by less than B parts in a million: a batch with timesteps per
    token then has the same number of different ones every time, and is compiled once."""
    step = 1e-6
    rank = sigma.argsort().argsort()
    return sigma * (1 - step * len(sigma)) + step * (rank + 1)


def token_timesteps(timestep: Tensor, *size: int) -> Tensor:
    """Timesteps [B] for every token [B, L] of latents of ``size`` T h w, 0 in the first frame, which is held."""
    frames, rows, columns = (length // patch for length, patch in zip(size, PATCH, strict=True))
    later = torch.ones(frames, rows * columns, device=timestep.device)
    later[0] = 0
    return timestep[:, None] * later.flatten()
