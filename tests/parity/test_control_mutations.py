"""A test of the tests: the likeliest mistakes in VACE and in a camera's rays, one at a time, must be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from tests.camera.paths import path_of, slow_ray
from tests.engine.golden_fill import fill_parameters, golden_tensor
from tests.engine.models.dit_cases import DIT_TOLERANCE, deviation
from tests.engine.models.test_vace import EXPECTED, GOLDEN
from tests.engine.pipeline.test_vace_context import (
    FRAMES,
    HEIGHT,
    WIDTH,
    box_masks,
    diffusers_context,
    pictures,
    random_vae,
    tensor_of,
)
from torch import Tensor

from filmgate.camera import rays
from filmgate.camera.poses import CameraPath
from filmgate.engine.models import dit
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline import vace_context
from filmgate.spec import VideoShape

Patch = pytest.MonkeyPatch

# ----------------------------------------------------------------------------------------------------- the transformer


@torch.inference_mode()
def vace_deviation(scale: float = 0.8) -> float:
    """How far the tiny transformer is from the published vector."""
    model = WanDiT(GOLDEN)
    fill_parameters(model)
    output = model(
        golden_tensor("x", (1, 16, 3, 8, 10)), torch.tensor([937.0]), golden_tensor("context", (1, 20, 32)),
        control=golden_tensor("vace", (1, 96, 3, 8, 10)), control_scale=scale,
    )  # fmt: skip
    return deviation(output, EXPECTED)


Branch = list[tuple[Any, Any]]


def without_the_video(branch: Branch, context: Tensor, tokens: Tensor, step: Any) -> Iterator[Tensor]:
    return dit_hints(branch, context, torch.zeros_like(tokens), step)


def fed_back(branch: Branch, context: Tensor, tokens: Tensor, step: Any) -> Iterator[Tensor]:
    for block, text in branch:
        if block.before_proj is not None:
            context = block.before_proj(context) + tokens
        context = block.after_proj(step(block, context, text))
        yield context


def joined_unprojected(branch: Branch, context: Tensor, tokens: Tensor, step: Any) -> Iterator[Tensor]:
    for block, text in branch:
        context = step(block, context + (tokens if block.before_proj is not None else 0), text)
        yield block.after_proj(context)


def joined_in_every_block(branch: Branch, context: Tensor, tokens: Tensor, step: Any) -> Iterator[Tensor]:
    for block, text in branch:
        context = tokens + (context if block.before_proj is None else block.before_proj(context))
        context = step(block, context, text)
        yield block.after_proj(context)


def last_first(branch: Branch, context: Tensor, tokens: Tensor, step: Any) -> Iterator[Tensor]:
    return iter(list(dit_hints(branch, context, tokens, step))[::-1])


dit_hints = dit.hints


@pytest.mark.parametrize(
    "mutation",
    [without_the_video, fed_back, joined_unprojected, joined_in_every_block, last_first],
    ids=lambda mutation: mutation.__name__,
)
def test_the_golden_branch_notices(mutation: Callable[..., Iterator[Tensor]], monkeypatch: Patch) -> None:
    assert vace_deviation() <= DIT_TOLERANCE
    monkeypatch.setattr(dit, "hints", mutation)
    assert vace_deviation() > 10 * DIT_TOLERANCE


def test_the_golden_branch_notices_its_strength() -> None:
    assert vace_deviation(scale=1.0) > 10 * DIT_TOLERANCE


# --------------------------------------------------------------------------------------------------------- the context


@pytest.fixture(scope="module")
def expected_context() -> Tensor:
    """diffusers' context of a video, a wandering box and two references; these stand in reverse order there."""
    with torch.inference_mode():
        video = pictures(*[(WIDTH, HEIGHT)] * FRAMES)
        return diffusers_context(random_vae(), video, box_masks(), pictures((24, 56), (96, 40), seed=1))


@torch.inference_mode()
def context_deviation(expected: Tensor) -> float:
    clip = torch.stack([tensor_of(frame) for frame in pictures(*[(WIDTH, HEIGHT)] * FRAMES)], 1)
    mask = torch.stack([(tensor_of(frame)[0] + 1) / 2 for frame in box_masks()])
    shown = [tensor_of(picture) for picture in reversed(pictures((24, 56), (96, 40), seed=1))]
    found = vace_context.vace_context(random_vae().encode, clip, mask, shown)
    return (found - expected).abs().max().item()


def columns_before_rows(patch: Patch) -> None:
    patch.setattr(vace_context, "rearrange", lambda x, form, **s: rearrange(x, form.replace("(p q)", "(q p)"), **s))


def masks_of_latent_frames(patch: Patch) -> None:
    original = vace_context.fold_mask
    first_of_four = [0, *range(1, FRAMES, 4)]
    patch.setattr(vace_context, "fold_mask", lambda mask, frames, s: original(mask[first_of_four], frames, s))


def references_on_black(patch: Patch) -> None:
    original = vace_context.on_canvas

    def black(picture: Tensor, height: int, width: int) -> Tensor:
        white = original(picture, height, width)
        return torch.where(original(torch.zeros_like(picture), height, width) == 1, -1.0, white)

    patch.setattr(vace_context, "on_canvas", black)


def references_stretched(patch: Patch) -> None:
    def stretched(picture: Tensor, height: int, width: int) -> Tensor:
        return F.interpolate(picture[None], (height, width), mode="bilinear", align_corners=False)[0]

    patch.setattr(vace_context, "on_canvas", stretched)


@pytest.mark.parametrize(
    "mutation",
    [columns_before_rows, masks_of_latent_frames, references_on_black, references_stretched],
    ids=lambda mutation: mutation.__name__,
)
def test_the_comparison_of_contexts_notices(
    mutation: Callable[[Patch], None], expected_context: Tensor, monkeypatch: Patch
) -> None:
    assert context_deviation(expected_context) <= 1e-5
    mutation(monkeypatch)
    assert context_deviation(expected_context) > 1e-4


# ------------------------------------------------------------------------------------------------------------ the rays

PATH = path_of([(i / 9, -i / 7, i / 5) for i in range(5)], [(i / 11, i / 13, -i / 17) for i in range(5)])
VIDEO = VideoShape(frames=5, width=5, height=4)


def rays_deviation() -> float:
    """How far packed rays are from those of one pixel at a time, each looked up where it belongs."""
    packed = rays.packed_rays(PATH, VIDEO)
    worst = 0.0
    for latent, slot, frame in [(0, 0, 0), (0, 1, 0), (0, 3, 0), (1, 0, 1), (1, 1, 2), (1, 3, 4)]:
        for x, y in [(0, 0), (4, 0), (1, 3)]:
            expected = slow_ray(PATH, frame, x, y, VIDEO.width, VIDEO.height)
            worst = max(worst, float(np.abs(packed[slot::4, latent, y, x] - expected).max()))
    return worst


def world_to_camera_as_it_stands(patch: Patch) -> None:
    patch.setattr(rays, "relative_to_first", lambda poses: poses)


def relative_to_the_world(patch: Patch) -> None:
    original = rays.relative_to_first
    patch.setattr(rays, "relative_to_first", lambda poses: original(np.concatenate([poses[1:2], poses]))[1:])


def corners_of_pixels(patch: Patch) -> None:
    original = rays.pixel_directions
    patch.setattr(rays, "pixel_directions", lambda lens, *size: original(np.add(lens, [0, 0, 0.5, 0.5]), *size))


def direction_first(patch: Patch) -> None:
    original = rays.moments_and_directions
    patch.setattr(rays, "moments_and_directions", lambda *args: np.roll(original(*args), 3, 0))


def moment_turned(patch: Patch) -> None:
    original = rays.moments_and_directions
    signs = np.array([-1, -1, -1, 1, 1, 1])[:, None, None]
    patch.setattr(rays, "moments_and_directions", lambda *args: original(*args) * signs)


def directions_to_the_image_plane(patch: Patch) -> None:
    original = rays.pixel_directions

    def unscaled(*args: Any) -> np.ndarray:
        directions = original(*args)
        return directions / directions[2]

    patch.setattr(rays, "pixel_directions", unscaled)


def lens_not_cropped(patch: Patch) -> None:
    patch.setattr(rays, "pixel_lenses", lambda lenses, w, h, _source: lenses * [w, h, w, h])


def frames_slower_than_coordinates(patch: Patch) -> None:
    original = rays.packed_rays

    def folded(path: CameraPath, video: VideoShape) -> np.ndarray:
        return rearrange(original(path, video), "(k s) t h w -> (s k) t h w", s=4)

    patch.setattr(rays, "packed_rays", folded)


@pytest.mark.parametrize(
    "mutation",
    [
        world_to_camera_as_it_stands, relative_to_the_world, corners_of_pixels, direction_first, moment_turned,
        directions_to_the_image_plane, lens_not_cropped, frames_slower_than_coordinates,
    ],
    ids=lambda mutation: mutation.__name__,
)  # fmt: skip
def test_the_oracle_of_rays_notices(mutation: Callable[[Patch], None], monkeypatch: Patch) -> None:
    assert rays_deviation() < 1e-6
    mutation(monkeypatch)
    assert rays_deviation() > 1e-3
