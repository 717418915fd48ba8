"""Rays of a moving camera, as the Control-Camera models of VideoX-Fun read them.

Every pixel of every frame is six numbers, the Plücker coordinates of its ray in the axes of the first frame's camera:
moment o × d, then direction d, o being the camera's centre. Lenses are cropped to the picture's shape, poses become
relative to the first, and four frames are packed into one: all in this order, as the models were trained.

Legend: F frames, T latent frames, H W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filmgate.camera.poses import CameraPath, Numbers
from filmgate.spec.shape import VideoShape

SUBFRAMES = 4
"""Frames in one latent frame."""
COORDINATES = 6
CHANNELS = COORDINATES * SUBFRAMES
SOURCE = (1280, 720)
"""Width and height of the pictures whose lens a pose file gives, where it does not say: VideoX-Fun assumes it too."""


def pixel_lenses(lenses: Numbers, width: int, height: int, source: tuple[int, int] = SOURCE) -> Numbers:
    """Lenses [F, 4] in pixels of a picture cut from the middle of the source's, as large as it can be.

    The longer view of the two is cut: pixels stay as square as they were, and the centre stays where it was in parts of
    the picture.

    Args:
        lenses: [F, 4] fx fy cx cy, normalised by the source.
        width, height: Of the picture.
        source: Width and height of the source; only their ratio counts.
    """
    ratio = source[0] / source[1]
    scale = (height * ratio, height) if ratio > width / height else (width, width / ratio)
    pixels: Numbers = lenses * np.array([*scale, width, height])
    return pixels


def relative_to_first(world_to_camera: Numbers) -> Numbers:
    """Camera-to-world poses [F, 3, 4] in the axes of the first camera; the first is exactly the identity."""
    square = np.concatenate([world_to_camera, np.broadcast_to([[[0.0, 0, 0, 1]]], (len(world_to_camera), 1, 4))], 1)
    relative: Numbers = (square[0] @ np.linalg.inv(square))[:, :3]
    relative[0] = np.eye(3, 4)
    return relative


def pluecker(lens: Numbers, camera_to_world: Numbers, width: int, height: int) -> Numbers:
    """Rays of one frame through the centres of its pixels: [6, H, W], o × d and then d of length 1.

    Args:
        lens: [4] fx fy cx cy in pixels.
        camera_to_world: [3, 4].
        width, height: Of the picture.
    """
    return moments_and_directions(pixel_directions(lens, width, height), camera_to_world)


def pixel_directions(lens: Numbers, width: int, height: int) -> Numbers:
    """Directions of length 1 through the centres of the pixels, in the camera's own axes: [3, H, W]."""
    fx, fy, cx, cy = lens
    direction = np.ones((3, height, width))
    direction[0] = (np.arange(width) + 0.5 - cx) / fx
    direction[1] = ((np.arange(height) + 0.5 - cy) / fy)[:, None]
    direction /= np.linalg.norm(direction, axis=0)
    return direction


def moments_and_directions(directions: Numbers, camera_to_world: Numbers) -> Numbers:
    """Plücker coordinates [6, H, W] of directions [3, H, W] in the axes of a camera, whose pose is [3, 4]."""
    rotation, centre = camera_to_world[:, :3], camera_to_world[:, 3]
    # o × (R·d) is linear in d: each column of R is crossed instead of each pixel's direction. The axis is named:
    # VideoX-Fun leaves it to torch, which takes the first axis of length 3.
    matrix = np.concatenate([np.cross(centre, rotation, axisb=0, axisc=0), rotation])
    return np.tensordot(matrix, directions, 1)


def packed_rays(path: CameraPath, video: VideoShape, source: tuple[int, int] = SOURCE) -> NDArray[np.float32]:
    """What a Control-Camera model is given of a path: [24, T, H, W].

    The first frame is repeated four times, and then every four frames share a latent frame, as in the video's own
    latent. Channel 4·k + s is coordinate k of the s-th of them.

    Args:
        path: At least as many poses as the video has frames; others are not used.
        video: Of 4n + 1 frames.
        source: See :func:`pixel_lenses`.

    Raises:
        InvalidRequest: the path is too short.
    """
    path = path.first(video.frames)
    lenses = pixel_lenses(path.lenses, video.width, video.height, source)
    shape = (COORDINATES, SUBFRAMES, 1 + (video.frames - 1) // SUBFRAMES, video.height, video.width)
    packed = np.empty(shape, np.float32)
    directions = pixel_directions(lenses[0], video.width, video.height)
    for frame, (lens, pose) in enumerate(zip(lenses, relative_to_first(path.world_to_camera), strict=True)):
        if frame and not np.array_equal(lens, lenses[frame - 1]):
            directions = pixel_directions(lens, video.width, video.height)
        rays = moments_and_directions(directions, pose)
        latent, slot = divmod(frame + SUBFRAMES - 1, SUBFRAMES)
        packed[:, slot if frame else slice(None), latent] = rays if frame else rays[:, None]
    return packed.reshape(CHANNELS, *shape[2:])
