"""Pictures to what a transformer is told of them.

Legend: F pixel frames, h w their size, C latent channels, T H W latent frames, rows and columns, t pixel frames of a
latent frame, P rows of image features, D their width. Pictures are uint8 RGB [rows, columns, 3] of any size.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from filmgate.engine.models.clip import ClipEncoder, normalise
from filmgate.engine.models.vae import WanVae
from filmgate.media.pictures import cover, crop_to_ratio
from filmgate.spec import Compression, InvalidRequest, VideoShape

RGB = NDArray[np.uint8]


def to_tensor(pictures: RGB) -> Tensor:
    """RGB codes [..., h, w, 3] to fp32 [3, ..., h, w] in -1 ... 1."""
    return torch.from_numpy(np.array(pictures)).movedim(-1, 0).float().div_(255).sub_(0.5).div_(0.5)


@torch.no_grad()
def look(pictures: Sequence[RGB], encoder: ClipEncoder) -> Tensor:
    """Image features of all pictures, one below the other: [P, D]."""
    device = next(encoder.parameters()).device
    seen = [normalise(to_tensor(picture).to(device), encoder.config.pixels) for picture in pictures]
    return torch.cat([encoder(picture)[0] for picture in seen])


def frames_beside(image: RGB, last_image: RGB | None, video: VideoShape, vae: WanVae) -> Tensor:
    """What a transformer reads beside the noise when the first frame is known, and maybe the last: [t + C, T, H, W].

    A mask that says which pixel frames are known, t of them folded into channels, and the latent of a clip of these
    frames with grey between them.

    Raises:
        InvalidRequest: there are two pictures for a single frame.
    """
    if last_image is not None and video.frames == 1:
        raise InvalidRequest("frames", "1 has no room for a first and a last picture", allowed="5 or more", nearest="5")
    compression = vae.config.compression
    clip = torch.zeros(3, video.frames, video.height, video.width)
    known = {0: image} if last_image is None else {0: image, video.frames - 1: last_image}
    for number, picture in known.items():
        clip[:, number] = _stretched(picture, video, compression)
    latent = vae.encode(clip[None])[0]
    mask = known_frames(known, video.frames, compression.temporal).to(latent)
    return torch.cat([mask[:, :, None, None].expand(-1, -1, *latent.shape[2:]), latent])


def known_frames(known: Collection[int], frames: int, temporal: int) -> Tensor:
    """Pixel frames that are known, by their numbers, as a mask [t, T] of 0 and 1.

    The first latent frame is one pixel frame, which counts for all its channels; of the others each channel is one
    pixel frame.
    """
    flags = torch.tensor([float(number in known) for number in range(frames)])
    packed: Tensor = torch.cat([flags[:1].expand(temporal), flags[1:]]).unflatten(0, (-1, temporal)).T
    return packed


def first_frame(image: RGB, video: VideoShape, vae: WanVae) -> Tensor:
    """The first latent frame of a video that begins with a picture: [C, 1, H, W]."""
    return vae.encode(to_tensor(cover(image, video.width, video.height))[None, :, None])[0]


def read_video(frames: RGB, vae: WanVae) -> Tensor:
    """The latent of a video [F, h, w, 3]: [C, T, H, W]."""
    return vae.encode(to_tensor(frames)[None])[0]


def _stretched(picture: RGB, video: VideoShape, compression: Compression) -> Tensor:
    """A picture at the size of a video: [3, h, w].

    Cut to its proportions, unless these are off by no more than the rounding of sizes, and brought to its size as the
    originals do: bicubic, not smoothed, and not clamped where it overshoots.
    """
    whole = crop_to_ratio(picture, video.width, video.height, tolerance=compression.multiple)
    return F.interpolate(to_tensor(whole)[None], (video.height, video.width), mode="bicubic", align_corners=False)[0]
