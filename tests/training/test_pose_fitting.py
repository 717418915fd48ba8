"""Camera paths are found on rendered clips, whatever else is in them, and errors are what they are called."""

from __future__ import annotations

import math

import pytest
import torch

from filmgate.training.pose_fitting import FittedPath, Fitting, Level, fit_path, moved, pose_errors, rotation_of
from filmgate.training.truth import BARE, DAYLIGHT, camera_scenes
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import FIRST
from filmgate.training.world.motion import camera_at
from filmgate.training.world.moves import CameraState
from filmgate.training.world.render import Renderer, Views

FORM = a.ClipFormat(4, 96, 160)
FITTING = Fitting(stride=1, levels=(Level(4, 7, 2), Level(2, 4), Level(1, 3)))
COUNT = 2


@pytest.fixture(scope="module")
def clips():
    """Scenes whose cameras go at half their pace, since four frames stand for 33; their clips and true paths."""
    scenes = camera_scenes(24)
    kinds = [a.CAMERAS[kind] for kind in scenes.labels.camera]
    scenes = scenes.select(torch.tensor([kinds.index("truck right"), kinds.index("orbit left")]))
    scenes = scenes._replace(labels=scenes.labels._replace(pace=torch.ones_like(scenes.labels.pace)))
    return scenes, Renderer(FORM)(scenes)


def shifted(camera: CameraState, step: torch.Tensor) -> CameraState:
    """The path with a step [6] at every moment but the first, which is given."""
    away = moved(camera, step.expand(*camera.focal.shape, 6))
    return CameraState(*(torch.cat([t[:, :1], u[:, 1:]], 1) for t, u in zip(camera, away, strict=True)))


@pytest.fixture(scope="module")
def found(clips) -> FittedPath:
    scenes, clip = clips
    return fit_path(clip.rgb, scenes, fitting=FITTING)


def test_an_unknown_path_is_found(clips, found):
    _, clip = clips
    errors = pose_errors(found.camera, clip.camera)
    assert errors.degrees.shape == errors.units.shape == (COUNT, 3)
    assert errors.degrees.mean() < 0.2
    assert errors.units.mean() < 0.025
    moved_by = (clip.camera.position[:, -1] - clip.camera.position[:, 0]).norm(dim=-1)
    assert (moved_by > 10 * errors.units.mean(1)).all()
    assert ((found.seen > 0.1) & (found.seen <= 1)).all()
    assert (found.unlike < 0.02).all()


def test_the_error_is_how_far_the_request_was_off(clips, found):
    _, clip = clips
    asked = clip.camera
    for degrees, metres in ((1.0, 0.1), (3.0, 0.4)):
        step = torch.tensor([metres, 0, 0, 0, math.radians(degrees), 0])
        errors = pose_errors(found.camera, shifted(asked, step))
        floor = pose_errors(found.camera, asked)
        assert (errors.degrees - degrees).abs().max() <= floor.degrees.max() + 1e-3
        assert (errors.units - metres).abs().max() <= floor.units.max() + 1e-3


def test_beginning_at_the_wrong_request_does_not_hide_that_it_was_not_followed(clips):
    scenes, clip = clips
    asked = shifted(clip.camera, torch.tensor([0.3, 0, 0, 0, 0.05, 0]))
    fitted = fit_path(clip.rgb, scenes, requested=asked, fitting=FITTING)
    errors = pose_errors(fitted.camera, asked)
    assert errors.degrees.mean() == pytest.approx(math.degrees(0.05), abs=0.5)
    assert errors.units.mean() == pytest.approx(0.3, abs=0.06)


def test_light_and_things_that_move_do_not_count_as_moves(clips, found):
    scenes, clip = clips
    changed = clip.rgb.float() * 0.92 + 6
    for frame in range(4):  # a box that was not there crosses the picture
        changed[:, :, frame, 40:64, 30 * frame : 30 * frame + 24] = torch.tensor([200.0, 30.0, 160.0]).view(3, 1, 1)
    fitted = fit_path(changed.round().to(torch.uint8), scenes, fitting=FITTING)
    between = pose_errors(fitted.camera, found.camera)
    assert between.degrees.mean() < 0.4
    assert between.units.mean() < 0.05


def test_clips_are_fitted_by_themselves(clips, found):
    scenes, clip = clips
    alone = fit_path(clip.rgb[1:2], scenes.select(torch.tensor([1])), fitting=FITTING)
    torch.testing.assert_close(alone.camera.position[0], found.camera.position[1], atol=2e-2, rtol=0)


def test_errors_do_not_depend_on_where_the_world_is():
    generator = torch.Generator().manual_seed(0)

    def camera() -> CameraState:
        turn = rotation_of(torch.randn(2, 5, 3, generator=generator) * 0.3)
        return CameraState(turn, torch.randn(2, 5, 3, generator=generator), torch.ones(2, 5))

    one, other = camera(), camera()
    world, shift = rotation_of(torch.tensor([0.3, -1.1, 0.4])), torch.tensor([1.0, 2.0, 3.0])

    def placed(c: CameraState) -> CameraState:
        return CameraState(world @ c.rotation, (world @ c.position[..., None])[..., 0] + shift, c.focal)

    before, after = pose_errors(one, other), pose_errors(placed(one), placed(other))
    for mine, others in zip(before, after, strict=True):
        torch.testing.assert_close(mine, others, atol=1e-3, rtol=1e-5)
    assert max(e.max() for e in pose_errors(one, one)) < 1e-4


def test_an_angle_is_that_of_the_turn_between():
    for radians in (1e-4, 0.3, 3.0):
        one = CameraState(torch.eye(3).expand(1, 2, 3, 3), torch.zeros(1, 2, 3), torch.ones(1, 2))
        step = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, radians]).expand(1, 2, 6)
        assert pose_errors(moved(one, step), one).degrees[0, 0] == pytest.approx(math.degrees(radians), rel=1e-3)


def test_a_step_is_in_the_cameras_own_axes():
    turned = rotation_of(torch.tensor([0.0, math.pi / 2, 0.0])).expand(1, 1, 3, 3)  # it looks along +x
    one = CameraState(turned, torch.zeros(1, 1, 3), torch.ones(1, 1))
    ahead = moved(one, torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0, 0.0]).expand(1, 1, 6))
    torch.testing.assert_close(ahead.position[0, 0], torch.tensor([2.0, 0.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("world", [None, FIRST])
def test_views_are_what_the_renderer_shows(world):
    scenes = camera_scenes(2) if world is None else camera_scenes(2, world=world)
    form = a.ClipFormat(3, 48, 80)
    clip = Renderer(form)(scenes)
    moments = torch.linspace(0, 1, 3)
    rgb, number, distance = Views(scenes, moments)(camera_at(scenes, moments), 48, 80)
    assert rgb.shape == (2, 3, 3, 48, 80)
    assert (rgb - clip.rgb.float() / 255).abs().mean() < 0.03, "only anti-aliasing and shutter differ"
    assert (number == clip.number).float().mean() > 0.93
    assert (distance[number == 0] > 0).all()


def test_everything_rests_but_the_camera():
    scenes = camera_scenes(40)
    labels = scenes.labels
    assert (labels.motion == 0).all()
    assert (labels.count > 0).all()
    assert not {list(a.GROUNDS)[i] for i in labels.ground} & set(BARE)
    assert {list(a.LIGHTS)[i] for i in labels.light} == set(DAYLIGHT)
    named = {a.CAMERAS[i] for i in labels.camera}
    assert len(named) >= 19
    assert "follow" not in named
    path = camera_at(scenes, torch.linspace(0, 1, 5))
    assert torch.isfinite(path.position).all()
