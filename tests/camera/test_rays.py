"""Rays: against one pixel at a time, published numbers of the lens, golden numbers of the packing, and invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.camera.paths import LENS, path_of, paths, rotation, slow_ray, still

from filmgate.camera.poses import CameraPath
from filmgate.camera.rays import packed_rays, pixel_lenses, pluecker, relative_to_first
from filmgate.spec import InvalidRequest, VideoShape

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 7))


def rays_of(path: CameraPath, width: int, height: int) -> np.ndarray:
    """[F, 6, H, W]."""
    lenses = pixel_lenses(path.lenses, width, height)
    poses = relative_to_first(path.world_to_camera)
    return np.array([pluecker(lens, pose, width, height) for lens, pose in zip(lenses, poses, strict=True)])


# Focal length in pixels and fields of view in degrees that follow from VideoX-Fun's lens, made for 1280×720.
@pytest.mark.parametrize(
    ("size", "focal", "fields"),
    [
        ((1280, 720), 681.14, (86.43, 55.72)),
        ((832, 480), 454.09, (84.99, 55.72)),
        ((480, 832), 787.09, (33.91, 55.72)),
        ((1280, 704), 681.14, (86.43, 54.66)),
        ((1024, 1024), 968.73, (55.72, 55.72)),
    ],
)
def test_lenses_are_cropped_to_the_picture(size: tuple[int, int], focal: float, fields: tuple[float, float]) -> None:
    fx, fy, cx, cy = pixel_lenses(np.array([LENS]), *size)[0]
    assert fx == pytest.approx(focal, abs=0.1)
    assert fy == pytest.approx(focal, abs=0.1)
    assert (cx, cy) == (size[0] / 2, size[1] / 2)
    found = [2 * math.degrees(math.atan(side / 2 / f)) for side, f in zip(size, (fx, fy), strict=True)]
    assert found == pytest.approx(fields, abs=0.01)


@given(paths(max_frames=1), st.integers(1, 4000), st.integers(1, 4000))
def test_a_lens_of_its_own_picture_is_only_scaled(path: CameraPath, width: int, height: int) -> None:
    found = pixel_lenses(path.lenses, width, height, source=(width, height))
    assert found == pytest.approx(path.lenses * [width, height, width, height], rel=1e-12)


@given(paths(max_frames=4), SIZES)
@settings(max_examples=60)
def test_rays_are_those_of_one_pixel_at_a_time(path: CameraPath, size: tuple[int, int]) -> None:
    width, height = size
    rays = rays_of(path, width, height)
    for frame in range(len(path)):
        for y in range(height):
            for x in range(width):
                assert rays[frame, :, y, x] == pytest.approx(slow_ray(path, frame, x, y, width, height), abs=1e-10)


@given(paths(), SIZES)
def test_directions_have_length_one_and_moments_are_at_right_angles(path: CameraPath, size: tuple[int, int]) -> None:
    rays = rays_of(path, *size)
    moment, direction = rays[:, :3], rays[:, 3:]
    assert np.abs((direction**2).sum(1) - 1).max() < 1e-12
    assert np.abs((moment * direction).sum(1)).max() < 1e-11
    # The moment is o × d, so that the camera's distance from a ray through the first camera's centre bounds it.
    centres = relative_to_first(path.world_to_camera)[:, :, 3]
    assert (np.linalg.norm(moment, axis=1) <= np.linalg.norm(centres, axis=1)[:, None, None] + 1e-11).all()
    assert np.cross(np.broadcast_to(centres[:, :, None, None], direction.shape), direction, axis=1) == pytest.approx(
        moment, abs=1e-11
    )


@given(paths(), st.tuples(*[st.floats(-1, 1)] * 6), SIZES)
def test_where_the_world_lies_does_not_matter(path: CameraPath, move: tuple[float, ...], size: tuple[int, int]) -> None:
    turn, shift = rotation(move[:3]), np.array(move[3:]) * 5
    moved = [np.column_stack([pose[:, :3] @ turn, pose[:, :3] @ shift + pose[:, 3]]) for pose in path.world_to_camera]
    other = CameraPath(path.lenses, np.array(moved))
    assert rays_of(other, *size) == pytest.approx(rays_of(path, *size), abs=1e-9)


@given(paths(), SIZES)
def test_the_first_frame_is_the_origin(path: CameraPath, size: tuple[int, int]) -> None:
    poses = relative_to_first(path.world_to_camera)
    assert np.array_equal(poses[0], np.eye(3, 4))
    assert not rays_of(path, *size)[0, :3].any()


@given(st.floats(0.01, 10), paths(), SIZES)
def test_moments_grow_with_the_world_and_directions_do_not(
    scale: float, path: CameraPath, size: tuple[int, int]
) -> None:
    larger = CameraPath(path.lenses, path.world_to_camera * [1, 1, 1, scale])
    rays, scaled = rays_of(path, *size), rays_of(larger, *size)
    assert scaled[:, :3] == pytest.approx(rays[:, :3] * scale, abs=1e-9)
    assert scaled[:, 3:] == pytest.approx(rays[:, 3:], abs=1e-12)


# Right-handed, x to the right, y down, z forward. A point far ahead moves against the camera's turn.
@pytest.mark.parametrize(
    ("centre", "turn", "centre_ray"),
    [
        ((1, 0, 0), (0, 0, 0), (0, -1, 0, 0, 0, 1)),  # truck right
        ((0, -1, 0), (0, 0, 0), (-1, 0, 0, 0, 0, 1)),  # pedestal up
        ((0, 0, 1), (0, 0, 0), (0, 0, 0, 0, 0, 1)),  # dolly in
        ((0, 0, 0), (0, math.pi / 2, 0), (0, 0, 0, 1, 0, 0)),  # pan right
        ((0, 0, 0), (math.pi / 2, 0, 0), (0, 0, 0, 0, -1, 0)),  # tilt up
        ((0, 0, 0), (0, 0, math.pi / 2), (0, 0, 0, 0, 0, 1)),  # roll
    ],
)
def test_moves_have_their_sign(centre: tuple, turn: tuple, centre_ray: tuple) -> None:
    path = path_of([(0, 0, 0), centre], [(0, 0, 0), turn])
    assert rays_of(path, 3, 3)[1, :, 1, 1] == pytest.approx(centre_ray, abs=1e-12)


def test_the_picture_turns_against_the_roll() -> None:
    rays = rays_of(path_of([(0, 0, 0)] * 2, [(0, 0, 0), (0, 0, math.pi / 2)], lens=(9 / 16, 1, 0.5, 0.5)), 3, 3)
    right, down = rays[0, 3:, 1, 2], rays[0, 3:, 2, 1]
    assert rays[1, 3:, 1, 2] == pytest.approx(down, abs=1e-12), "what was below is on the right"
    assert rays[1, 3:, 2, 1] == pytest.approx([-right[0], right[1], right[2]], abs=1e-12)


@given(paths(min_frames=9, max_frames=9), st.sampled_from([1, 5, 9]), SIZES)
def test_packing_repeats_the_first_frame_and_folds_four(path: CameraPath, frames: int, size: tuple[int, int]) -> None:
    rays = rays_of(path, *size).astype(np.float32)
    packed = packed_rays(path, VideoShape(frames=frames, width=size[0], height=size[1]))
    assert packed.dtype == np.float32
    assert packed.shape == (24, (frames + 3) // 4, size[1], size[0])
    for k in range(6):
        for s in range(4):
            assert np.array_equal(packed[4 * k + s, 0], rays[0, k])
            for latent in range(1, packed.shape[1]):
                assert np.array_equal(packed[4 * k + s, latent], rays[4 * latent - 3 + s, k])


# The rule of VideoX-Fun's pipeline as a chain of views: frames [0 0 0 0 1 2 ...] in groups of four, coordinate slower
# than frame. Its own path Pan_Left: t of world-to-camera grows by 1/54 along x every frame.
def test_packing_is_the_chain_of_views_that_the_models_were_trained_with() -> None:
    path = path_of([(-i / 54, 0, 0) for i in range(9)])
    rays = rays_of(path, 4, 2)
    frames = np.concatenate([np.repeat(rays[:1], 4, 0), rays[1:]])
    chain = frames.reshape(3, 4, 6, 2, 4).swapaxes(1, 2).reshape(3, 24, 2, 4).swapaxes(0, 1)
    packed = packed_rays(path, VideoShape(frames=9, width=4, height=2))
    assert packed == pytest.approx(chain, abs=1e-7)
    # Written out by hand for pixel (0, 0). 4×2 is wider than 16:9, so that the width is kept: f = 4·0.532139961 px,
    # d = (-1.5/f, -0.5/f, 1)/n, o = (-i/54, 0, 0), o × d = (0, -x/n, -x·0.5/f/n).
    f = 4 * LENS[0]
    assert f == pytest.approx(4 * 9 / 16 * LENS[1], rel=1e-4), "square pixels"
    n = math.sqrt((1.5 / f) ** 2 + (0.5 / f) ** 2 + 1)
    for latent, slot, frame in [(0, 0, 0), (0, 3, 0), (1, 0, 1), (1, 3, 4), (2, 2, 7)]:
        x = -frame / 54
        expected = [0, -x / n, x * -0.5 / f / n, -1.5 / f / n, -0.5 / f / n, 1 / n]
        assert packed[slot::4, latent, 0, 0] == pytest.approx(expected, abs=1e-4)
    golden = (0.00000000, 0.10406119, 0.02444404, -0.56570485, -0.18856829, 0.80275776)
    assert packed[2::4, 2, 0, 0] == pytest.approx(golden, abs=1e-6)


def test_a_focal_length_may_change_on_the_way() -> None:
    path = still(5)
    lenses = path.lenses * np.linspace(1, 2, 5)[:, None] ** [1, 1, 0, 0]
    packed = packed_rays(CameraPath(lenses, path.world_to_camera), VideoShape(frames=5, width=6, height=4))
    slopes = packed[12:16, 1, 0, 0] / packed[20:24, 1, 0, 0]
    assert slopes[3] / slopes[0] == pytest.approx(1.25 / 2, rel=1e-5)


def test_a_short_path_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="4 poses for 5 frames"):
        packed_rays(still(4), VideoShape(frames=5, width=6, height=4))
