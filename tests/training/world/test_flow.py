"""True motion agrees with the pictures: what is warped by it matches what is seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from filmgate.evaluation.temporal import compensated_error, steadiness
from filmgate.training.truth import camera_scenes
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import RICH
from filmgate.training.world.flow import true_flow
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_labels, sample_scenes

FORM = a.ClipFormat(17, 48, 80)


def clip_of(scenes, first: int) -> np.ndarray:
    """The frames first and first + 1 [2, H, W, 3] of a clip."""
    rgb = Renderer(FORM)(scenes, torch.tensor([first, first + 1])).rgb
    return rgb[0].permute(1, 2, 3, 0).contiguous().numpy()


def with_motion(name: str, camera: str = "static"):
    generator = torch.Generator().manual_seed(3)
    labels = sample_labels(1, generator, RICH)
    zero = torch.zeros_like(labels.count)
    labels = labels._replace(
        count=zero + 1, alike=zero, shape=torch.full_like(labels.shape, 1),
        motion=torch.full_like(labels.motion, a.MOTIONS.index(name)), material=torch.full_like(labels.material, 1),
        camera=zero + a.CAMERAS.index(camera), light=zero, angle=zero,
        pace=zero, weather=zero, size=labels.size * 0 + 2,
    )  # fmt: skip
    return sample_scenes(1, generator, labels, world=RICH)


def test_nothing_moves_where_nothing_moves():
    flow = true_flow(with_motion("still"), 17, 48, 80)
    assert flow.pixels.abs().max() < 1e-2
    assert flow.visible.float().mean() > 0.97


@pytest.mark.parametrize("motion", ["left", "spin", "toward", "rise"])
def test_an_object_takes_its_pixels_with_it(motion):
    scenes = with_motion(motion)
    flow = true_flow(scenes, 17, 48, 80)
    frames = clip_of(scenes, 8)
    still = np.zeros_like(flow.pixels[0, 8].numpy())
    seen = flow.visible[0, 8].numpy()
    moving = seen & (flow.pixels[0, 8].norm(dim=-1) > 0.3).numpy()
    assert moving.sum() > 40
    with_it = compensated_error(frames, flow.pixels[0, 8:9].numpy(), moving[None])
    without = compensated_error(frames, still[None], moving[None])
    assert with_it < 0.8 * without


def test_a_pan_moves_everything_as_the_turn_says():
    scenes = camera_scenes(20)
    kinds = [a.CAMERAS[kind] for kind in scenes.labels.camera]
    scenes = scenes.select(torch.tensor([kinds.index("pan right")]))
    flow = true_flow(scenes, 17, 48, 80)
    from filmgate.training.world.motion import camera_at

    camera = camera_at(scenes, torch.linspace(0, 1, 17))
    forward = camera.rotation[0, :, :, 2]
    turn = math.acos(float((forward[8] * forward[9]).sum().clamp(max=1)))
    middle = flow.pixels[0, 8, 24, 40]
    assert float(middle[0]) == pytest.approx(-math.tan(turn) * float(camera.focal[0, 8]) * 80, rel=0.05)
    frames = clip_of(scenes, 8)
    true = compensated_error(frames, flow.pixels[0, 8:9].numpy(), flow.visible[0, 8:9].numpy())
    assert true < 0.03
    assert true < 1.5 * steadiness(frames).warp_error + 0.005


def test_what_is_covered_is_not_visible():
    scenes = with_motion("left")
    flow = true_flow(scenes, 17, 48, 80)
    share = flow.visible[0, 8].float().mean()
    assert 0.9 < share < 1


def test_nothing_visible_is_no_number():
    frames = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    flow, nothing = np.zeros((1, 4, 4, 2), dtype=np.float32), np.zeros((1, 4, 4), dtype=bool)
    assert math.isnan(compensated_error(frames, flow, nothing))
    assert compensated_error(frames, flow, ~nothing) == 0
