"""Reports of files."""

import hashlib

import numpy as np
import pytest

from filmgate.evaluation.facts import judge
from filmgate.media.write import write_video
from filmgate.spec import DamagedFile, InvalidRequest, Report


def write(path, level=0, count=9, size=(32, 48)):
    y, x = np.mgrid[: size[0], : size[1]]
    frames = [np.stack([60 + x + 6 * i + level, 40 + y * 3, 200 - x], -1).astype(np.uint8) for i in range(count)]
    write_video(path, frames, fps=12, quality=4)
    return path


def values(report):
    return {m.name: m.value for m in report.measurements}


def test_facts_of_a_file(tmp_path):
    path = write(tmp_path / "a.mp4")
    report = judge(path)
    found = values(report)
    assert (found["width"], found["height"], found["frames"], found["fps"]) == (48, 32, 9, 12)
    assert found["duration"] == 0.75
    assert found["bytes"] == path.stat().st_size
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["temporal_difference"] == pytest.approx(2 / 255, rel=0.3)
    assert found["flicker"] < 0.01
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_flickering_video_is_found(tmp_path):
    frames = [np.full((32, 32, 3), 100 + 20 * (i % 2), np.uint8) for i in range(8)]
    write_video(tmp_path / "a.mp4", frames, fps=12)
    assert values(judge(tmp_path / "a.mp4"))["flicker"] == pytest.approx(40 / 255, rel=0.05)


def test_a_video_beside_another(tmp_path):
    first = write(tmp_path / "a.mp4")
    same, darker = values(judge(first, first)), values(judge(write(tmp_path / "b.mp4", level=12), first))
    assert (same["psnr"], same["ssim"]) == (100, pytest.approx(1))
    # one channel of three is 12 off
    assert darker["psnr"] == pytest.approx(20 * np.log10(255 / 12) + 10 * np.log10(3), abs=0.7)
    assert darker["psnr_worst_frame"] <= darker["psnr"]
    assert 0.5 < darker["ssim"] < 1


def test_videos_that_cannot_be_compared(tmp_path):
    first = write(tmp_path / "a.mp4")
    with pytest.raises(InvalidRequest, match="ends after 5 frames"):
        judge(write(tmp_path / "b.mp4", count=5), first)
    with pytest.raises(InvalidRequest, match="48x34 and 48x32"):
        judge(write(tmp_path / "c.mp4", size=(34, 48)), first)


def test_files_that_are_no_videos(tmp_path):
    with pytest.raises(InvalidRequest, match="not a file"):
        judge(tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(DamagedFile):
        judge(tmp_path / "text.mp4")
