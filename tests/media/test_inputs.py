"""What a plan knows of its files, and videos at another speed."""

import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from filmgate.media.inputs import _nearest, describe_input, read_clip, verified
from filmgate.media.read import read_frames
from filmgate.media.write import write_video
from filmgate.spec import DamagedFile, InputFile, InvalidRequest


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Twelve grey frames at 24 fps, each 20 codes lighter than the last."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, [np.full((32, 48, 3), 10 + 20 * k, np.uint8) for k in range(12)], fps=24, quality=1)
    return path


def test_a_video_is_described(clip):
    assert describe_input("video", clip) == InputFile(
        role="video", path=str(clip), sha256=hashlib.sha256(clip.read_bytes()).hexdigest(), width=48, height=32,
        frames=12, fps=(24, 1),
    )  # fmt: skip
    assert describe_input("mask", clip).frames == 12


def test_a_picture_and_a_camera_are_described(tmp_path, monkeypatch):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    made = describe_input("last_image", "a.png")
    assert (made.path, made.width, made.height, made.frames, made.fps) == (str(tmp_path / "a.png"), 20, 10, 1, None)
    assert describe_input("mask", "a.png").width == 20
    (tmp_path / "path.txt").write_text("0 0.5")
    assert describe_input("camera", "path.txt").width == 0


def test_what_cannot_be_used_names_its_role(clip, tmp_path):
    with pytest.raises(InvalidRequest, match=r"last_image: nothing\.png is not a file. Allowed: a picture"):
        describe_input("last_image", "nothing.png")
    with pytest.raises(DamagedFile, match="not a picture"):
        describe_input("image", clip)
    Image.new("RGB", (20, 10)).save(tmp_path / "a.txt", "PNG")
    (tmp_path / "b.mp4").write_text("not a video")
    with pytest.raises(DamagedFile, match="not a video"):
        describe_input("video", tmp_path / "b.mp4")


def test_a_file_that_changed_is_noticed(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    file = describe_input("image", tmp_path / "a.png")
    assert verified(file) == tmp_path / "a.png"
    Image.new("RGB", (20, 10), (1, 0, 0)).save(tmp_path / "a.png")
    with pytest.raises(InvalidRequest, match=r"image: .*a\.png has changed since it was planned"):
        verified(file)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InvalidRequest, match=r"a\.png is gone"):
        verified(file)


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_a_video_is_turned_upright(tmp_path, degrees, quarters):
    corner = np.zeros((32, 48, 3), np.uint8)
    corner[:16, :24] = 255
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        if degrees:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corner)))
        container.mux(stream.encode(None))
    upright = np.rot90(corner, quarters)
    file = describe_input("video", tmp_path / "turned.mp4")
    assert (file.height, file.width, file.frames) == (*upright.shape[:2], 1)
    (frame,) = read_frames(tmp_path / "turned.mp4")
    assert np.abs(frame.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    ("fps", "numbers"),
    [(24, [0, 1, 2, 3, 4]), (12, [0, 2, 4, 6, 8, 10]), (16, [0, 2, 3, 5, 6, 8, 9, 11]), (48, [0, 1, 1, 2, 2, 3, 3, 4])],
)
def test_frames_are_those_of_their_time(clip, fps, numbers):
    frames = read_clip(clip, fps=fps, frames=len(numbers), width=48, height=32)
    assert frames.shape == (len(numbers), 32, 48, 3)
    assert [round((frame.mean() - 10) / 20) for frame in frames] == numbers


def test_a_video_that_is_too_short_is_refused(clip):
    assert describe_input("video", clip).frames_at(16) == 8
    with pytest.raises(InvalidRequest, match=r"has 8 frames at 16 fps\. Allowed: 9 frames or more"):
        read_clip(clip, fps=16, frames=9, width=48, height=32)


@given(st.integers(1, 300), st.integers(1, 60), st.fractions(Fraction(1), Fraction(120), max_denominator=1001))
def test_the_count_is_that_of_the_frames_there_are(frames, fps, speed):
    file = InputFile(
        role="video", path="a", sha256="0", frames=frames, fps=(speed.numerator, speed.denominator)
    )  # fmt: skip
    count = file.frames_at(fps)
    assert _nearest(count - 1, speed, fps) <= frames - 1 < _nearest(count, speed, fps)
