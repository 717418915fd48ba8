"""Random camera paths, and the plainest way from a path to its rays: one pixel at a time, in homogeneous numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filmgate.camera.poses import CameraPath

LENS = (0.532139961, 0.946026558, 0.5, 0.5)
"""The lens of VideoX-Fun's own paths."""


def rotation(vector) -> np.ndarray:
    """Rotation by |vector| radians about it, as the exponential series of its cross-product matrix."""
    x, y, z = vector
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    term = total = np.eye(3)
    for n in range(1, 40):
        term = term @ generator / n
        total = total + term
    return total


def path_of(centres, rotations=None, lens=LENS) -> CameraPath:
    """Cameras at ``centres`` [F, 3], turned by rotation vectors [F, 3] of camera-to-world."""
    centres = np.asarray(centres, dtype=float)
    turns = np.zeros_like(centres) if rotations is None else np.asarray(rotations, dtype=float)
    poses = []
    for centre, turn in zip(centres, turns, strict=True):
        r = rotation(turn)
        poses.append(np.column_stack([r.T, -r.T @ centre]))
    return CameraPath(np.tile(np.array(lens, dtype=float), (len(centres), 1)), np.array(poses))


def still(frames: int) -> CameraPath:
    return path_of(np.zeros((frames, 3)))


@st.composite
def paths(draw, min_frames=1, max_frames=9) -> CameraPath:
    frames = draw(st.integers(min_frames, max_frames))
    number = st.floats(-3, 3, allow_subnormal=False)
    centres, turns = (draw(arrays(float, (frames, 3), elements=number)) for _ in range(2))
    path = path_of(centres, turns / 2)
    lenses = draw(arrays(float, (frames, 4), elements=st.floats(0.3, 2)))
    return CameraPath(lenses, path.world_to_camera)


def slow_ray(path: CameraPath, frame: int, x: int, y: int, width: int, height: int) -> np.ndarray:
    """The six numbers of a pixel: two points of its ray in the world are moved to the first camera's axes."""
    fx, fy, cx, cy = path.lenses[frame]
    fx, fy = (height * 16 / 9 * fx, height * fy) if width / height < 16 / 9 else (width * fx, width * 9 / 16 * fy)
    u, v = (x + 0.5 - width * cx) / fx, (y + 0.5 - height * cy) / fy
    square = [np.vstack([pose, [0, 0, 0, 1]]) for pose in path.world_to_camera]
    near, far = (
        (square[0] @ np.linalg.solve(square[frame], np.array([u * depth, v * depth, depth, 1.0])))[:3]
        for depth in (1.0, 2.0)
    )
    direction = (far - near) / np.sqrt(((far - near) ** 2).sum())
    (ox, oy, oz), (dx, dy, dz) = near, direction
    # Any point of the ray gives the same moment.
    return np.array([oy * dz - oz * dy, oz * dx - ox * dz, ox * dy - oy * dx, dx, dy, dz])
