"""Videos that we write: colours, speed, structure, and nothing left behind."""

import signal
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from filmgate.media.colour import BT601, BT709, rgb_to_yuv420, yuv420_to_rgb
from filmgate.media.read import read_facts, read_video
from filmgate.media.write import write_video, writing
from filmgate.spec import InvalidRequest, OutputError

PATCHES = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 40, 90), (30, 180, 170),
]  # fmt: skip


def patches(height=96, width=160):
    step = width // len(PATCHES)
    frame = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(PATCHES):
        frame[:, index * step : (index + 1) * step] = colour
    return frame


def moving(count, height=32, width=48):
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        bump = np.exp(-((x - 2 * index) ** 2 + (y - height / 2) ** 2) / 60)
        yield np.stack([40 + 180 * bump, 30 + 2 * y, 200 - 150 * bump], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    # BT.709-6 by hand: Y = 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B), chroma at ±112 where one primary is alone.
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_primaries_become_their_bt709_codes(rgb, yuv):
    planes = rgb_to_yuv420(np.full((4, 6, 3), rgb, np.uint8))
    assert planes.shape == (6, 6)
    luma, blue, red = planes.ravel()[:24], planes.ravel()[24:30], planes.ravel()[30:]
    assert (set(luma), set(blue), set(red)) == ({yuv[0]}, {yuv[1]}, {yuv[2]})


def test_the_conversion_agrees_with_a_scaler_that_is_told_the_matrix():
    frame = patches()
    theirs = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
    )
    difference = np.abs(rgb_to_yuv420(frame).astype(int) - theirs.to_ndarray())
    # the scaler rounds down here and there, and blurs chroma across the borders of patches in its own way
    assert np.median(difference) <= 1
    assert difference[:96, :].max() <= 2


def test_chroma_sits_on_the_left_column():
    frame = np.zeros((2, 8, 3), np.uint8)
    frame[:, 4:, 0] = 255  # red from column 4 on: the sample of columns 4 and 5 sees [0, 255, 255] as 1:2:1
    red = rgb_to_yuv420(frame).ravel()[20:].astype(int)
    assert red[1] == 128
    assert red[2] == round(128 + 0.75 * 112)
    assert red[3] == 240


@pytest.mark.parametrize("coding", [BT709, BT601, BT709._replace(full_range=True)])
def test_there_and_back_costs_only_rounding(coding):
    worst = 0.0
    for frame in moving(17):
        error = yuv420_to_rgb(rgb_to_yuv420(frame, coding), coding).astype(float) - frame
        worst = max(worst, (error**2).mean())
        assert abs(error.mean()) < 0.1, "nothing gets darker or brighter"
    assert worst < 2, "44 dB"


def test_colours_come_back(tmp_path):
    write_video(tmp_path / "a.mp4", [patches()] * 9, fps=12)
    frames = read_video(tmp_path / "a.mp4").frames
    step = 160 // len(PATCHES)
    for index, colour in enumerate(PATCHES):
        seen = frames[:, 40:56, index * step + 8 : index * step + 12].reshape(-1, 3)
        assert np.abs(seen.astype(int) - colour).max() <= 3, colour


def test_moving_pictures_come_back(tmp_path):
    source = np.stack(list(moving(17)))
    write_video(tmp_path / "a.mp4", source, fps=12, quality=4)
    found = read_video(tmp_path / "a.mp4").frames
    assert found.shape == source.shape
    # in order: every frame is closest to its own source
    error = ((found[:, None].astype(float) - source[None]) ** 2).mean((2, 3, 4))
    assert (error.argmin(1) == np.arange(17)).all()
    assert error.min(1).max() < 3


def test_tags_speed_and_structure(tmp_path):
    path = tmp_path / "a.mp4"
    assert write_video(path, moving(33), fps=12) == 33
    facts = read_facts(path)
    assert facts.colour == (1, 1, 1, 1)
    assert (facts.codec, facts.pixel_format, facts.width, facts.height) == ("h264", "yuv420p", 48, 32)
    assert (facts.fps, facts.frames, facts.seconds) == (12, 33, 33 / 12)
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat"), "the index stands in front"


@pytest.mark.parametrize("fps", [16, 24, Fraction(24000, 1001), Fraction(30000, 1001)])
def test_speeds_are_exact(tmp_path, fps):
    write_video(tmp_path / "a.mp4", moving(5), fps=fps)
    with av.open(str(tmp_path / "a.mp4")) as file:
        times = [frame.pts * frame.time_base for frame in file.decode(video=0)]
        assert file.streams.video[0].average_rate == fps
    assert times == [i / Fraction(fps) for i in range(5)]


def test_metadata_survives_whatever_is_in_it(tmp_path):
    text = '{"prompt": "ein Würfel; =#\\\n\\n 一个红球", "long": "' + "x" * 200_000 + '"}'
    write_video(tmp_path / "a.mp4", moving(2), fps=12, metadata={"filmgate": text})
    assert read_facts(tmp_path / "a.mp4").metadata["filmgate"] == text


def test_metadata_may_come_after_the_frames(tmp_path):
    with writing(tmp_path / "a.mp4", width=48, height=32, fps=12) as video:
        for frame in moving(3):
            video.add(frame)
        assert not (tmp_path / "a.mp4").exists()
        video.metadata["filmgate"] = f"{video.frames} frames"
    assert read_facts(tmp_path / "a.mp4").metadata["filmgate"] == "3 frames"


def test_quality_is_a_value(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    sizes, errors = [], []
    for quality in (4, 40):
        write_video(tmp_path / "a.mp4", noise, fps=12, quality=quality)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
        errors.append(np.abs(read_video(tmp_path / "a.mp4").frames.astype(int) - noise).mean())
    assert sizes[0] > 2 * sizes[1]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit, OSError])
def test_an_error_leaves_nothing_and_what_was_there(tmp_path, error):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def frames():
        yield from moving(3)
        raise error

    with pytest.raises(error):
        write_video(path, frames(), fps=12)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    "options",
    [{"width": 47}, {"height": 33}, {"height": 0}, {"fps": 0}, {"fps": -12}, {"quality": 52}, {"quality": -1}],
)
def test_values_out_of_range_are_refused(tmp_path, options):
    with (
        pytest.raises(InvalidRequest, match=next(iter(options))),
        writing(tmp_path / "a.mp4", **{"width": 48, "height": 32, "fps": 12, **options}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_or_none_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="frame"):
        write_video(tmp_path / "a.mp4", [*moving(2), next(moving(1, 34, 48))], fps=12)
    with pytest.raises(InvalidRequest, match="at least one"):
        write_video(tmp_path / "a.mp4", [], fps=12)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory"):
        write_video(tmp_path / "missing" / "a.mp4", moving(2), fps=12)


def test_a_destination_that_is_a_directory(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match="irectory"):
        write_video(tmp_path / "a.mp4", moving(2), fps=12)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from filmgate.media.write import write_video
from filmgate.spec import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
noise = np.random.default_rng(0)
frames = (noise.integers(0, 256, (96, 160, 3), dtype=np.uint8) for _ in range(20))
try:
    write_video(Path(sys.argv[1]) / "a.mp4", frames, fps=12)
except OutputError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit of the file size")
@pytest.mark.parametrize("room", [0, 10_000, 60_000])
def test_a_full_disk(tmp_path, room):
    # A limit of the file size fails where a full disk does: in the middle of a write.
    code = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(room)]
    run = subprocess.run(code, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("refused:")
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    def peak(count):
        tracemalloc.start()
        write_video(tmp_path / "a.mp4", moving(count, 96, 160), fps=12)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    frame = 96 * 160 * 3
    assert peak(60) - peak(20) < 10 * frame
