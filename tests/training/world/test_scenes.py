"""Scenes: labels obey the rules that make captions true, and the same seed gives the same scene."""

from __future__ import annotations

import pytest
import torch

from filmgate.training.world import attributes as a
from filmgate.training.world.motion import camera_at, objects_at, project, visibility
from filmgate.training.world.scenes import PARAMETERS, Scenes, SceneStream, sample_labels, sample_scenes


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(3000, torch.Generator().manual_seed(5))


def test_same_seed_same_scenes() -> None:
    first, second = (sample_scenes(20, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.uniforms, second.uniforms)
    assert all(torch.equal(x, y) for x, y in zip(first.labels, second.labels, strict=True))


def test_different_objects_never_share_a_colour(scenes: Scenes) -> None:
    labels = scenes.labels
    different = (labels.alike == 0) & (labels.count >= 2)
    assert (labels.colour[different, 0] != labels.colour[different, 1]).all()
    three = different & (labels.count == 3)
    assert (labels.colour[three, 2:] != labels.colour[three, :2]).all()


def test_objects_that_are_alike_share_everything(scenes: Scenes) -> None:
    labels = scenes.labels
    alike = labels.alike == 1
    assert alike.any()
    for name in ("colour", "shape", "material", "size", "motion"):
        tensor = getattr(labels, name)[alike]
        assert (tensor == tensor[:, :1]).all(), name


def test_nothing_spins_invisibly(scenes: Scenes) -> None:
    labels = scenes.labels
    spins = labels.motion == 6
    shows = (labels.shape == a.SHAPES.index("cube")) | (labels.material == a.MATERIALS.index("striped"))
    assert spins.any()
    assert shows[spins].all()


def test_every_object_is_in_view_in_the_middle(scenes: Scenes) -> None:
    moments = torch.tensor([0.5])
    camera = camera_at(scenes, moments)
    for state in objects_at(scenes, moments):
        u, v, depth = project(camera, state.x, state.y, state.z)
        inside = (u.abs() < 0.5) & (v.abs() < 0.3) & (depth > 1)
        assert inside[:, 0][state.present].float().mean() > 0.995


def test_left_and_right_hold_on_screen(scenes: Scenes) -> None:
    labels, moments = scenes.labels, torch.tensor([0.5])
    camera = camera_at(scenes, moments)
    first, second, _ = (project(camera, s.x, s.y, s.z)[0][:, 0] for s in objects_at(scenes, moments))
    stated = (labels.count >= 2) & (labels.alike == 0)
    assert (first < second)[stated & (labels.relation == 0)].float().mean() > 0.99
    assert (first > second)[stated & (labels.relation == 1)].float().mean() > 0.99


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("left", 0, -1), ("right", 0, 1), ("toward", 2, -1), ("away", 2, 1), ("rise", 1, -1), ("fall", 1, 1)],
)
def test_motion_goes_where_its_name_says(motion: str, axis: int, sign: int) -> None:
    labels = sample_labels(200, torch.Generator().manual_seed(2))
    labels = labels._replace(
        motion=torch.full_like(labels.motion, a.MOTIONS.index(motion)), count=torch.ones_like(labels.count)
    )
    scenes = Scenes(labels, torch.rand(200, PARAMETERS, generator=torch.Generator().manual_seed(3)))
    state = objects_at(scenes, torch.tensor([0.0, 1.0]))[0]
    travelled = (state.x, state.y, state.z)[axis]
    assert ((travelled[:, 1] - travelled[:, 0]) * sign > 0.5).all()


@pytest.mark.parametrize(
    ("camera", "picture_moves"),
    [
        ("pan left", (1, 0)),
        ("pan right", (-1, 0)),
        ("tilt up", (0, 1)),
        ("tilt down", (0, -1)),
        ("truck left", (1, 0)),
        ("truck right", (-1, 0)),
    ],
)
def test_picture_slides_against_the_camera(camera: str, picture_moves: tuple[int, int]) -> None:
    labels = sample_labels(100, torch.Generator().manual_seed(2))
    labels = labels._replace(camera=torch.full_like(labels.camera, a.CAMERAS.index(camera)))
    scenes = Scenes(labels, torch.rand(100, PARAMETERS, generator=torch.Generator().manual_seed(3)))
    path = camera_at(scenes, torch.tensor([0.4, 0.6]))
    point = torch.zeros(100, 2)
    u, v, _ = project(path, point, point - 0.5, point + 4.4)
    shift = torch.stack([u[:, 1] - u[:, 0], v[:, 1] - v[:, 0]], 1)
    along = (shift * torch.tensor(picture_moves).float()).sum(1)
    assert (along > 0.02).all()


@pytest.mark.parametrize(
    ("camera", "axis", "sign"),
    [
        ("dolly in", 2, 1),
        ("dolly out", 2, -1),
        ("crane up", 1, -1),
        ("crane down", 1, 1),
        ("orbit left", 0, -1),
        ("orbit right", 0, 1),
    ],
)
def test_camera_travels_where_its_name_says(camera: str, axis: int, sign: int) -> None:
    labels = sample_labels(100, torch.Generator().manual_seed(2))
    labels = labels._replace(camera=torch.full_like(labels.camera, a.CAMERAS.index(camera)))
    scenes = Scenes(labels, torch.rand(100, PARAMETERS, generator=torch.Generator().manual_seed(3)))
    position = camera_at(scenes, torch.tensor([0.0, 1.0])).position
    assert ((position[:, 1, axis] - position[:, 0, axis]) * sign > 0.3).all()


def test_rotations_are_proper(scenes: Scenes) -> None:
    rotation = camera_at(scenes, torch.linspace(0, 1, 3)).rotation
    identity = torch.eye(3).expand_as(rotation)
    assert torch.allclose(rotation.mT @ rotation, identity, atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(()), atol=1e-5)


def test_choosing_candidates_makes_captions_true(scenes: Scenes) -> None:
    assert (visibility(scenes) >= 0).float().mean() > 0.998


def test_a_stream_draws_many_chunks_at_once_and_hands_each_out_once() -> None:
    stream = SceneStream(5, torch.Generator().manual_seed(2))
    stream.ahead = 3
    at_once = sample_scenes(15, torch.Generator().manual_seed(2))
    parts = [next(stream) for _ in range(3)]
    assert torch.equal(torch.cat([part.uniforms for part in parts]), at_once.uniforms)
    for name, values in at_once.labels._asdict().items():
        assert torch.equal(torch.cat([getattr(part.labels, name) for part in parts]), values)
    assert not torch.equal(next(stream).uniforms, parts[0].uniforms)
