"""What VACE reads beside the noise: a video, a mask and reference pictures, folded into one latent video.

The context has 96 channels: what is kept of the video (16), what is to be painted anew or to be followed (16), and the
mask, folded 8×8 (64). Reference pictures come before the video, one latent frame each, and are cut off after denoising.
All of this is as the original code of Wan 2.1 VACE does it; diffusers puts the references in reverse order, and first
resamples those whose sides are no multiples of 8.

Legend: F frames, T latent frames, H W pixels, h w latents, z latent channels. Pictures are in -1 ... 1, 0 is mid-grey;
a mask is 1 where the model paints and 0 where it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from filmgate.spec.errors import InvalidRequest

Encode = Callable[[Tensor], Tensor]
"""Video [1, 3, F, H, W] to latent [1, z, T, h, w] in the transformer's units."""


def vace_context(
    encode: Encode, video: Tensor, mask: Tensor, references: Sequence[Tensor] = (), *, spatial: int = 8
) -> Tensor:
    """The context of a video, ready for the transformer.

    What a mask hides is still shown to the model, as the second half of the latent: paint it grey for a free hand (the
    functions below do), or leave it in to be followed, like a depth map or a pose under a mask of ones.

    Args:
        encode: The model's autoencoder.
        video: [3, F, H, W].
        mask: [F, H, W] in 0 ... 1; more than a half counts as 1.
        references: Pictures [3, any, any], in the order in which the model shall see them.
        spatial: Pixels per latent on a side.

    Returns:
        [2·z + spatial², references + T, h, w].

    Raises:
        InvalidRequest: video and mask are not of one size.
    """
    if mask.shape != video.shape[1:]:
        raise InvalidRequest(
            "mask",
            f"{list(mask.shape)} frames, rows and columns",
            allowed=f"those of the video, {list(video.shape[1:])}",
        )
    mask = (mask > 0.5).to(video.dtype)
    kept, painted = (encode(part[None])[0] for part in (video * (1 - mask), video * mask))
    latent = torch.cat([kept, painted])
    folded = fold_mask(mask, latent.shape[1], spatial).to(latent)
    height, width = video.shape[2:]
    pictures = [encode(on_canvas(picture, height, width).to(video)[None, :, None])[0] for picture in references]
    shown = [F.pad(picture, (0, 0, 0, 0, 0, 0, 0, len(picture) + len(folded))) for picture in pictures]
    return torch.cat([*shown, torch.cat([latent, folded])], dim=1)


def fold_mask(mask: Tensor, frames: int, spatial: int) -> Tensor:
    """Mask [F, H, W] to [spatial², T, h, w]: a channel per pixel of a latent, row by row.

    Time is thinned out to the nearest frame of equally long parts, as the original does, and not to the frames that a
    latent frame holds: of 81 frames the first latent frame gets the second frame's mask.
    """
    # Which frames those are is left to the operator that the original uses, with its rounding.
    numbers = torch.arange(len(mask), dtype=torch.float32)[None, None]
    nearest = F.interpolate(numbers, size=frames, mode="nearest-exact")[0, 0].long()
    return rearrange(mask[nearest.to(mask.device)], "t (h p) (w q) -> (p q) t h w", p=spatial, q=spatial)


def on_canvas(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture [3, any, any] as large as it fits in the middle of a white one: [3, height, width]."""
    if picture.shape[1:] == (height, width):
        return picture
    scale = min(height / picture.shape[1], width / picture.shape[2])
    rows, columns = (max(1, int(side * scale)) for side in picture.shape[1:])
    scaled = F.interpolate(picture[None], size=(rows, columns), mode="bilinear", align_corners=False)[0]
    canvas = picture.new_ones(3, height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[:, top : top + rows, left : left + columns] = scaled
    return canvas


def without_references(latent: Tensor, references: int) -> Tensor:
    """The video of a denoised latent [z, references + T, h, w]: [z, T, h, w]."""
    return latent[:, references:]


def from_nothing(frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Video [3, F, H, W] and mask [F, H, W] where only text and references count: grey, to be painted everywhere."""
    return torch.zeros(3, frames, height, width), torch.ones(frames, height, width)


def extended(clip: Tensor, frames: int, *, before: bool = False) -> tuple[Tensor, Tensor]:
    """Video and mask of ``frames`` frames that go on after a clip [3, any, H, W], or lead up to it.

    Raises:
        InvalidRequest: the clip has as many frames already.
    """
    given = clip.shape[1]
    _check_room(given, frames)
    video, mask = from_nothing(frames, *clip.shape[2:])
    kept = slice(frames - given, None) if before else slice(given)
    video[:, kept], mask[kept] = clip, 0
    return video, mask


def between(first: Tensor, last: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Video and mask of ``frames`` frames that begin and end with clips [3, any, H, W].

    Raises:
        InvalidRequest: the clips leave nothing between them, or are of two sizes.
    """
    given = first.shape[1] + last.shape[1]
    if first.shape[2:] != last.shape[2:]:
        raise InvalidRequest(
            "last_image", f"{list(last.shape[2:])} pixels", allowed=f"{list(first.shape[2:])}, as the first"
        )
    _check_room(given, frames)
    video, mask = extended(first, frames)
    video[:, frames - last.shape[1] :], mask[frames - last.shape[1] :] = last, 0
    return video, mask


def outpainted(clip: Tensor, height: int, width: int, *, top: int, left: int) -> tuple[Tensor, Tensor]:
    """Video [3, F, height, width] and mask around a clip [3, F, any, any] that lies ``top`` rows and ``left`` columns
    from its corner.

    Raises:
        InvalidRequest: the clip does not lie inside.
    """
    frames, rows, columns = clip.shape[1:]
    for field, offset, inner, outer in (("height", top, rows, height), ("width", left, columns, width)):
        if offset < 0 or offset + inner > outer:
            raise InvalidRequest(
                field, f"{outer} pixels around {inner} at {offset}", allowed=f"at least {max(offset, 0) + inner}"
            )
    video, mask = from_nothing(frames, height, width)
    place = (slice(top, top + rows), slice(left, left + columns))
    video[(slice(None), slice(None), *place)] = clip
    mask[(slice(None), *place)] = 0
    return video, mask


def _check_room(given: int, frames: int) -> None:
    if given >= frames:
        nearest = (given + 3) // 4 * 4 + 1
        raise InvalidRequest(
            "frames", f"{frames}, of which {given} are given", allowed=f"more than {given}", nearest=str(nearest)
        )
