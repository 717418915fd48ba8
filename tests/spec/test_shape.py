"""Shapes: the only conversions between pixels and latents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from filmgate.spec import Compression, InvalidRequest, LatentShape, VideoShape

WAN21, WAN22 = Compression(), Compression(temporal=4, spatial=16, channels=48)
COMPRESSIONS = st.builds(
    Compression, temporal=st.integers(1, 8), spatial=st.sampled_from([4, 8, 16]), channels=st.integers(1, 64),
    patch=st.integers(1, 4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("compression", "video", "latent", "tokens"),
    [
        (WAN21, (81, 480, 832), (16, 21, 60, 104), 32_760),
        (WAN21, (81, 720, 1280), (16, 21, 90, 160), 75_600),
        (WAN22, (121, 704, 1280), (48, 31, 44, 80), 27_280),
        (WAN21, (33, 96, 160), (16, 9, 12, 20), 540),
        (WAN21, (1, 16, 16), (16, 1, 2, 2), 1),
    ],
)
def test_published_shapes(compression, video, latent, tokens):
    frames, height, width = video
    shape = VideoShape(frames=frames, height=height, width=width)
    channels, times, rows, columns = latent
    expected = LatentShape(channels=channels, frames=times, height=rows, width=columns)
    assert compression.latent(shape) == expected
    assert compression.video(expected) == shape
    assert compression.tokens(expected) == tokens


@given(COMPRESSIONS, st.integers(1, 40), st.integers(1, 30), st.integers(1, 30))
def test_every_latent_is_that_of_its_video(compression, frames, rows, columns):
    latent = LatentShape(
        channels=compression.channels, frames=frames, height=rows * compression.patch, width=columns * compression.patch
    )
    assert compression.latent(compression.video(latent)) == latent
    assert compression.tokens(latent) == frames * rows * columns


@given(COMPRESSIONS, st.integers(-50, 3000))
def test_the_nearest_frames_are_valid_and_nearest(compression, frames):
    nearest = compression.nearest_frames(frames)
    compression.check_frames(nearest)
    valid = [1 + compression.temporal * n for n in range(abs(frames) + 3)]
    assert abs(nearest - frames) == min(abs(count - frames) for count in valid)


@given(COMPRESSIONS, st.integers(-50, 3000))
def test_the_nearest_side_is_valid_and_nearest(compression, pixels):
    nearest = compression.nearest_side(pixels)
    compression.check_side("width", nearest)
    valid = [compression.multiple * n for n in range(1, abs(pixels) // compression.multiple + 3)]
    assert abs(nearest - pixels) == min(abs(side - pixels) for side in valid)


def test_ties_go_up():
    assert WAN21.nearest_frames(3) == 5
    assert WAN21.nearest_side(24) == 32


@given(COMPRESSIONS, st.integers(-10, 500), st.integers(-10, 500), st.integers(-5, 100))
def test_what_is_accepted_divides_and_what_does_not_is_refused(compression, width, height, frames):
    fits = (
        frames >= 1 and (frames - 1) % compression.temporal == 0
        and all(side >= 1 and side % (compression.spatial * compression.patch) == 0 for side in (width, height))
    )  # fmt: skip
    shape = VideoShape.model_construct(frames=frames, height=height, width=width)
    if fits:
        assert compression.video(compression.latent(shape)) == shape
    else:
        with pytest.raises(InvalidRequest, match=r"Nearest valid: \d+\."):
            compression.latent(shape)


@pytest.mark.parametrize(
    ("frames", "height", "width", "field", "nearest"),
    [(80, 480, 832, "frames", "81"), (81, 481, 832, "height", "480"), (81, 480, 840, "width", "848")],
)
def test_the_field_at_fault_is_named(frames, height, width, field, nearest):
    with pytest.raises(InvalidRequest) as error:
        WAN21.latent(VideoShape(frames=frames, height=height, width=width))
    assert (error.value.field, error.value.nearest) == (field, nearest)


@pytest.mark.parametrize("number", [0, -1])
def test_shapes_are_positive(number):
    with pytest.raises(ValidationError, match="greater than 0"):
        VideoShape(frames=number, height=16, width=16)
    with pytest.raises(ValidationError, match="greater than 0"):
        LatentShape(channels=16, frames=1, height=number, width=2)


def test_a_video_is_written_as_people_write_it():
    assert str(VideoShape(frames=81, height=480, width=832)) == "832x480x81"
