"""The renderer: ground truth agrees with the picture, and the picture agrees with itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from filmgate.training.world import attributes as a
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.ground_truth import render_clips, write_truth
from filmgate.training.world.motion import objects_at, project
from filmgate.training.world.render import Clip, Renderer
from filmgate.training.world.scenes import Scenes, sample_scenes

FORMAT = ClipFormat(frames=5, height=48, width=80)


@pytest.fixture(scope="module")
def rendered() -> tuple[Scenes, Clip]:
    scenes = sample_scenes(12, torch.Generator().manual_seed(8))
    return scenes, Renderer(FORMAT)(scenes)


def test_clip_has_the_asked_format(rendered: tuple[Scenes, Clip]) -> None:
    _, clip = rendered
    assert clip.rgb.shape == (12, 3, 5, 48, 80)
    assert clip.rgb.dtype == torch.uint8
    assert clip.number.shape == clip.distance.shape == (12, 5, 48, 80)


def test_chosen_frames_are_those_of_the_whole_clip(rendered: tuple[Scenes, Clip]) -> None:
    scenes, clip = rendered
    chosen = torch.tensor([0, 3])
    some = Renderer(FORMAT)(scenes, chosen)
    assert torch.equal(some.rgb, clip.rgb[:, :, chosen])
    assert torch.equal(some.number, clip.number[:, chosen])
    torch.testing.assert_close(some.camera.position, clip.camera.position[:, chosen])


def test_object_mask_covers_the_projected_centre(rendered: tuple[Scenes, Clip]) -> None:
    scenes, clip = rendered
    moments = torch.linspace(0, 1, 5)
    found = 0
    for slot, state in enumerate(objects_at(scenes, moments)):
        u, v, _ = project(clip.camera, state.x, state.y, state.z)
        for video in range(12):
            if not state.present[video] or u[video, 2].abs() > 0.45 or v[video, 2].abs() > 0.27:
                continue
            column, row = int((u[video, 2] + 0.5) * 80), int((v[video, 2] * 80 / 48 + 0.5) * 48)
            if int(clip.number[video, 2, row, column]) == slot + 1:
                found += 1
    assert found >= 8  # a few centres are behind other objects


def test_a_lone_object_has_its_own_colour() -> None:
    scenes = sample_scenes(60, torch.Generator().manual_seed(4))
    labels = scenes.labels
    plain = (labels.count == 1) & (labels.material[:, 0] == 0) & (labels.light == list(a.LIGHTS).index("noon"))
    scenes = scenes.select(plain.nonzero()[:, 0])
    clip = Renderer(FORMAT)(scenes)
    for video in range(len(scenes.uniforms)):
        mask = clip.number[video, 2] == 1
        pixels = clip.rgb[video, :, 2][:, mask].float().mean(1)
        name = list(a.COLOURS)[int(scenes.labels.colour[video, 0])]
        albedo = torch.tensor(a.COLOURS[name])
        if name in ("red", "green", "blue"):
            assert int(pixels.argmax()) == int(albedo.argmax()), name


def test_static_scene_stands_still() -> None:
    scenes = sample_scenes(400, torch.Generator().manual_seed(6))
    labels = scenes.labels
    still = (labels.camera == 0) & (labels.count == 1) & (labels.motion[:, 0] == 0)
    clip = Renderer(FORMAT)(scenes.select(still.nonzero()[:2, 0]))
    assert torch.equal(clip.rgb[:, :, 0], clip.rgb[:, :, -1])


def test_batch_does_not_matter(rendered: tuple[Scenes, Clip]) -> None:
    scenes, clip = rendered
    alone = Renderer(FORMAT)(scenes.select(torch.tensor([3])))
    assert (alone.rgb[0].int() - clip.rgb[3].int()).abs().max() <= 1


def test_ground_truth_files(tmp_path: Path) -> None:
    first = next(render_clips(7, 1, FORMAT))
    again = next(render_clips(7, 3, FORMAT))
    assert np.array_equal(first.frames, again.frames)
    assert first.frames.shape == (5, 48, 80, 3)
    text, arrays, _ = write_truth(first, tmp_path / "clip")
    known = json.loads(text.read_text())
    assert known["caption"] == first.caption
    assert len(known["camera_to_world"]) == 5
    with np.load(arrays) as stored:
        assert np.array_equal(stored["number"], first.number)
