"""What the models with a branch of their own are told: VACE of a video, a mask and references, the Control-Camera
models of VideoX-Fun of a camera's path.

Legend: F pixel frames, h w their size.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from filmgate.camera.rays import packed_rays
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.pictures import first_frame, frames_beside, to_tensor
from filmgate.engine.pipeline.vace_context import between, extended, from_nothing, outpainted, vace_context
from filmgate.engine.pipeline.values import Conditioning, Pictures
from filmgate.media.pictures import cover
from filmgate.spec import InvalidRequest, Keep, Plan, VideoShape

PER_TOKEN_CHANNELS = 48
"""Latent channels of the one model (TI2V-5B, and what was made of it) that knows a first frame by its timestep."""
_IMAGE_ROWS = ImageEncoderConfig().positions


def with_vace(conditioning: Conditioning, pictures: Pictures, plan: Plan, vae: WanVae) -> Conditioning:
    """VACE's context of whatever a plan brings along, and how many latent frames of references come first."""
    device = next(vae.parameters()).device
    video, mask = vace_source(pictures, plan.keep, plan.video)
    references = [to_tensor(picture).to(device) for picture in pictures.references]
    spatial = plan.model.compression.spatial
    context = vace_context(vae.encode, video.to(device), mask.to(device), references, spatial=spatial)
    return replace(conditioning, control=context, control_scale=plan.control_scale, references=len(references))


def vace_source(pictures: Pictures, keep: Keep | None, video: VideoShape) -> tuple[Tensor, Tensor]:
    """The video that VACE sees, [3, F, h, w] in -1 ... 1, and where it paints, [F, h, w].

    A video with a mask is what it is. Without one all of it is painted anew and followed, unless ``keep`` says which
    part of the result it is. Pictures are the result's first and last frame. What nothing is known of is grey.
    """
    shape = (video.frames, video.height, video.width)
    if pictures.video is not None:
        clip = to_tensor(pictures.video)
        if keep == "inside":
            rows, columns = clip.shape[2:]
            top, left = (video.height - rows) // 2, (video.width - columns) // 2
            return outpainted(clip, video.height, video.width, top=top, left=left)
        if keep is not None:
            return extended(clip, video.frames, before=keep == "end")
        mask = torch.ones(shape) if pictures.mask is None else torch.from_numpy(np.array(pictures.mask)).float() / 255
        return clip, mask.expand(shape)
    stills = [
        None if picture is None else to_tensor(cover(picture, video.width, video.height))[:, None]
        for picture in (pictures.image, pictures.last_image)
    ]
    match stills:
        case [None, None]:
            return from_nothing(*shape)
        case [Tensor() as first, None]:
            return extended(first, video.frames)
        case [Tensor() as first, Tensor() as last]:
            return between(first, last, video.frames)
    raise InvalidRequest("image", "there is a last one only", allowed="a first one too")


def with_camera(conditioning: Conditioning, pictures: Pictures, plan: Plan, vae: WanVae | None) -> Conditioning:
    """The rays of a path, and what the model reads beside the noise: known frames, or zeros where none is known.

    Args:
        conditioning: To be completed.
        pictures: With a path.
        plan: What for.
        vae: For the pictures; None without any.

    Raises:
        InvalidRequest: there is no path or it is too short, or the model has no place for the pictures.
    """
    if pictures.path is None:
        raise InvalidRequest("camera", "there is no path", allowed="a pose file")
    device, dit = conditioning.text.device, plan.model.dit
    rays = torch.from_numpy(packed_rays(pictures.path, plan.video)).to(device)
    latent, extra = plan.latent, dit.in_channels - dit.out_channels
    nothing = torch.zeros(extra, latent.frames, latent.height, latent.width, device=device)
    beside, held, image = nothing, None, conditioning.image
    if pictures.image is not None and vae is not None:
        # Wan 2.1's models read the picture's latent, then zeros, and no mask; Wan 2.2's what image to video reads.
        if extra == dit.out_channels:
            beside = torch.cat([first_frame(pictures.image, plan.video, vae), nothing[:, 1:]], 1)
        else:
            beside = frames_beside(pictures.image, pictures.last_image, plan.video, vae)
        if dit.out_channels == PER_TOKEN_CHANNELS:
            held = beside[-dit.out_channels :, :1]
    if image is None and dit.image_dim is not None:
        image = torch.zeros(_IMAGE_ROWS, dit.image_dim, device=device)
    return replace(conditioning, control=rays, beside=beside if extra else None, held=held, image=image)
