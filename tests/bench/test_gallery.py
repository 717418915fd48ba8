"""The page and the sheets of the gallery, without painting anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gallery
from filmgate.camera.poses import CameraPath, format_poses
from gallery import Item

SECTIONS = {"text": {"title": "Text"}, "older": {"title": "Older", "beside": "text"}, "camera": {"title": "A path"}}
HEIGHT, WIDTH, FRAMES = 24, 40, 9


def take(steps: int) -> dict:
    video = {"width": WIDTH, "height": HEIGHT, "frames": FRAMES}
    return {"plan": {"video": video, "fps": 12, "steps": [0] * steps, "solver": "euler"}}


def made(name: str, prompt: str, steps: int = 4) -> dict:
    return {name: [(Item(f"{name}-01", prompt, "toybox-t2v", 0), take(steps))]}


def test_sections_that_were_not_made_again_stay_on_the_page() -> None:
    whole = gallery.page(made("text", "a red ball") | made("camera", "a blue cube"), SECTIONS)
    assert gallery.page({}, SECTIONS, whole) == whole
    later = gallery.page(made("older", "a cone"), SECTIONS, whole)
    assert [line for line in later.splitlines() if line.startswith("## ")] == ["## Text", "## Older", "## A path"]
    assert all(prompt in later for prompt in ("a red ball", "a cone", "a blue cube"))
    assert later.count("On the left the same prompt and seed of *Text*.") == 1
    again = gallery.page(made("text", "a green ball", steps=20), SECTIONS, later)
    assert "a red ball" not in again
    assert "20 steps of euler" in again
    assert "a cone" in again


def test_a_section_that_is_no_longer_listed_leaves_the_page() -> None:
    whole = gallery.page(made("text", "a red ball") | made("camera", "a blue cube"), SECTIONS)
    assert "a blue cube" not in gallery.page({}, {"text": SECTIONS["text"]}, whole)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    Image.new("RGB", (2 * WIDTH, 2 * HEIGHT), "red").save(tmp_path / "first.png")
    poses = np.tile(np.eye(3, 4), (FRAMES, 1, 1))
    poses[:, 2, 3] = -np.linspace(0, 2, FRAMES)
    (tmp_path / "path.txt").write_text(format_poses(CameraPath(np.full((FRAMES, 4), 0.5), poses)))
    return {"image": tmp_path / "first.png", "camera": tmp_path / "path.txt"}


def test_a_sheet_shows_what_was_given_once(given: dict[str, Path], tmp_path: Path) -> None:
    item = Item("camera-01", "a blue cube", "toybox-camera", 0, (), given)
    still = gallery.stills(item, HEIGHT, WIDTH)
    assert (still[:, :WIDTH] == (255, 0, 0)).all()
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 99, np.uint8)
    wide = gallery.columns(item, frames, {})
    assert (wide[:, :, -WIDTH:] == 99).all()
    assert (wide[0] != wide[-1]).any()  # the camera has moved
    gallery.contact_sheet([(item.prompt, still, wide)], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == still.shape[1] + gallery.SHEET_MOMENTS * (wide.shape[2] + 2)
        reds = (np.asarray(sheet.convert("RGB")) == (255, 0, 0)).all(-1).any(0).sum()
    assert reds == WIDTH


def test_a_clip_stands_beside_that_of_the_same_number() -> None:
    item = Item("older-02", "a cone", "toybox-2.1", 0, beside="text")
    frames, other = (np.full((FRAMES, HEIGHT, WIDTH, 3), value, np.uint8) for value in (9, 7))
    assert gallery.stills(item, HEIGHT, WIDTH).shape == (HEIGHT, 0, 3)
    assert (gallery.columns(item, frames, {"text-02": other})[:, :, :WIDTH] == 7).all()
    assert gallery.columns(item, frames, {"text-01": other}).shape == frames.shape


def test_unknown_sections_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gallery.py", "--only", "oder"])
    with pytest.raises(SystemExit):
        gallery.main()
    assert "no section 'oder'" in capsys.readouterr().err
