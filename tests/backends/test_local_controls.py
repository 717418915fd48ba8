"""VACE and a camera's path from files on disk to a video on disk, planned, rendered and repeated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.backends.test_local_inputs import made, picture, sidecar
from tests.camera.paths import path_of
from tests.engine.wan_directory import DIT, PAIR

from filmgate.app import Filmgate
from filmgate.backends.local import read_inputs
from filmgate.camera.poses import format_poses
from filmgate.cli.rerun import compare, find_model, localise
from filmgate.media.manifest import read_take
from filmgate.media.write import write_video
from filmgate.spec import Done, InvalidRequest, Request


@pytest.fixture
def vace(make_wan) -> Path:
    dit = dataclasses.replace(DIT, vace_layers=(0,))
    return make_wan("vace", folders=PAIR, dit=dit, sidecar=sidecar("wan2.2-vace-a14b", "vace"))


@pytest.fixture
def camera(make_wan) -> Path:
    dit = dataclasses.replace(DIT, in_dim=36, camera_scale=8)
    return make_wan("camera", folders=PAIR, dit=dit, sidecar=sidecar("wan2.2-camera-a14b", "camera"))


def clip(path: Path, *, frames: int = 5, size: tuple[int, int] = (32, 32), seed: int = 0) -> str:
    codes = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(codes).resize(size, Image.Resampling.NEAREST))
    write_video(path, [np.roll(still, 2 * k, 1) for k in range(frames)], fps=12)
    return str(path)


def pose_file(path: Path, frames: int = 5, step: float = 0.2) -> str:
    path.write_text(format_poses(path_of([(step * k, 0, 0) for k in range(frames)]), source="https://example.org"))
    return str(path)


def half_mask(path: Path) -> str:
    codes = np.zeros((32, 32), dtype=np.uint8)
    codes[:, 16:] = 255
    Image.fromarray(codes).save(path)
    return str(path)


def repeated(root: Path, tmp_path: Path, name: str) -> bool:
    before = read_take(tmp_path / name)
    filmgate = Filmgate(model_paths=[root], cache=tmp_path / "cache")
    again = localise(before, (find_model(before, filmgate, None),))
    return compare(before, list(filmgate.render(again, tmp_path / f"again-{name}"))[-1].take).exact


def test_a_video_a_mask_and_references_make_a_video_that_can_be_repeated(vace: Path, tmp_path: Path) -> None:
    given = {
        "video": clip(tmp_path / "in.mp4"),
        "mask": half_mask(tmp_path / "mask.png"),
        "references": (picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 1)),
    }
    plan, events = made(vace, tmp_path, **given)
    assert isinstance(events[-1], Done)
    assert plan.operation == "vace"
    assert [file.role for file in events[-1].take.plan.inputs] == ["video", "mask", "reference", "reference"]
    assert repeated(vace, tmp_path, "out.mp4")
    _, others = made(vace, tmp_path, "other.mp4", **{**given, "references": given["references"][:1]})
    assert others[-1].take.frames_sha256 != events[-1].take.frames_sha256


@pytest.mark.parametrize(
    ("wishes", "shape"),
    [
        ({"keep": "start", "frames": 9}, (5, 32, 32, 3)),
        ({"keep": "end", "frames": 9}, (5, 32, 32, 3)),
        ({"keep": "inside", "width": 64, "height": 48}, (5, 32, 32, 3)),
        ({"keep": "inside", "width": 64, "height": 16}, (5, 16, 16, 3)),
        ({"width": 64, "height": 48}, (5, 48, 64, 3)),
    ],
)
def test_a_video_is_read_as_large_and_long_as_it_is_kept(
    vace: Path, tmp_path: Path, wishes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    filmgate = Filmgate(model_paths=[vace], cache=tmp_path / "cache")
    request = Request(prompt="a ball", model=str(vace), device="cpu", video=clip(tmp_path / "in.mp4"), **wishes)
    plan = filmgate.plan(request)
    found = read_inputs(plan).video
    assert found is not None
    assert found.shape == shape
    events = list(filmgate.render(plan, tmp_path / "out.mp4"))
    assert isinstance(events[-1], Done)
    assert repeated(vace, tmp_path, "out.mp4")


def test_masks_are_read_as_pictures_and_as_videos(vace: Path, tmp_path: Path) -> None:
    filmgate = Filmgate(model_paths=[vace], cache=tmp_path / "cache")
    video = clip(tmp_path / "in.mp4")
    found = []
    for mask in (half_mask(tmp_path / "mask.png"), clip(tmp_path / "mask.mp4")):
        request = Request(prompt="a ball", model=str(vace), device="cpu", video=video, mask=mask)
        found.append(read_inputs(filmgate.plan(request)).mask)
    assert [mask.shape for mask in found if mask is not None] == [(1, 32, 32), (5, 32, 32)]
    assert found[0] is not None
    assert np.array_equal(found[0][0] > 127, np.broadcast_to(np.arange(32) >= 16, (32, 32)))


def test_a_path_makes_a_video_that_can_be_repeated_and_another_path_another(camera: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "in.png", size=(32, 32))
    hashes = set()
    for name, step in (("left", -3.0), ("right", 3.0)):
        path = pose_file(tmp_path / f"{name}.txt", step=step)
        plan, events = made(camera, tmp_path, f"{name}.mp4", image=image, camera=path)
        assert isinstance(events[-1], Done)
        assert (plan.operation, plan.video.frames) == ("camera", 5)
        hashes.add(events[-1].take.frames_sha256)
    assert repeated(camera, tmp_path, "right.mp4")
    _, events = made(camera, tmp_path, "alone.mp4", camera=pose_file(tmp_path / "alone.txt"))
    hashes.add(events[-1].take.frames_sha256)
    assert len(hashes) == 3


def test_a_path_that_is_too_short_or_no_path_is_refused_before_anything_is_loaded(camera: Path, tmp_path: Path) -> None:
    filmgate = Filmgate(model_paths=[camera], cache=tmp_path / "cache")

    def refused(**wishes: Any) -> str:
        with pytest.raises(InvalidRequest) as error:
            filmgate.plan(Request(prompt="a ball", model=str(camera), device="cpu", **wishes))
        return str(error.value)

    short = pose_file(tmp_path / "short.txt", 4)
    assert "frames: 5 are more than the 4 that the camera's path has" in refused(camera=short, frames=5)
    assert filmgate.plan(Request(prompt="a ball", model=str(camera), device="cpu", camera=short)).video.frames == 1
    (tmp_path / "no.txt").write_text("https://example.org\n1 2 3\n")
    assert f"{tmp_path / 'no.txt'}:2: 3 numbers" in refused(camera=str(tmp_path / "no.txt"))
    assert "is not a file" in refused(camera=str(tmp_path / "nothing.txt"))
