"""Videos that we read, ours and others'."""

import av
import numpy as np
import pytest

from filmgate.media.read import read_facts, read_frames, read_video
from filmgate.media.write import write_video
from filmgate.spec import DamagedFile, InvalidRequest


def write_elsewhere(path, rgb, *, matrix, tag, full=False):
    """A video by another program: its scaler does the conversion."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), rgb, np.uint8), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=matrix, src_color_range="JPEG",
                dst_color_range="JPEG" if full else "MPEG",
            )  # fmt: skip
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "tag"), [("ITU709", 1), ("ITU601", 6), ("ITU601", 2)])
def test_the_matrix_and_range_of_the_file_are_used(tmp_path, matrix, tag, full):
    write_elsewhere(tmp_path / "a.mp4", (20, 200, 60), matrix=matrix, tag=tag, full=full)
    seen = read_video(tmp_path / "a.mp4").frames[1].reshape(-1, 3)
    assert np.abs(seen.astype(int) - (20, 200, 60)).max() <= 4


def test_frames_come_one_at_a_time(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((5, 32, 32, 3), np.uint8), fps=12)
    frames = read_frames(tmp_path / "a.mp4")
    assert next(frames).shape == (32, 32, 3)
    assert sum(1 for _ in frames) == 4


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidRequest, match="not a file"):
        read_video(tmp_path / "a.mp4")


@pytest.mark.parametrize("data", [b"", b"not a video at all" * 100])
def test_not_a_video(tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(DamagedFile, match=r"a\.mp4"):
        read_facts(tmp_path / "a.mp4")


def test_a_truncated_video(tmp_path):
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    write_video(path, noise, fps=12)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DamagedFile):
        read_video(path)


def test_a_file_without_pictures(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    with pytest.raises(DamagedFile, match="no pictures"):
        read_facts(tmp_path / "a.wav")
