"""Sizes: what was asked for, listed ones, and those that a picture's proportions leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direction.models import model_of

from filmgate.direction.presets import PRESETS
from filmgate.direction.sizes import fill_area, fit_area, size_of
from filmgate.spec import Compression, InputFile, InvalidRequest, Request

SMALL_VAE = Compression(spatial=16, channels=48)
ORIGINAL = [
    # picture, then what the original code makes of it: image to video at 720p and at 480p, and TI2V-5B
    ((1024, 1024), (960, 960), (624, 624), (960, 928)),
    ((1920, 1080), (1280, 720), (832, 464), (1248, 704)),
    ((1080, 1920), (720, 1280), (464, 832), (704, 1248)),
    ((4032, 3024), (1104, 816), (720, 544), (1088, 800)),
    ((640, 427), (1168, 784), (768, 512), (1152, 768)),
    ((1000, 333), (1648, 544), (1088, 352), (1632, 544)),
    ((832, 480), (1248, 720), (832, 464), (1248, 704)),
]


@pytest.mark.parametrize(("picture", "large", "small", "five"), ORIGINAL)
def test_sizes_are_those_of_the_original_code(picture, large, small, five):
    assert fill_area(picture, 1280 * 720, Compression()) == large
    assert fill_area(picture, 832 * 480, Compression()) == small
    assert fit_area(picture, 1280 * 704, SMALL_VAE) == five


@given(st.integers(500, 5000), st.integers(500, 5000), st.integers(200_000, 2_000_000))
def test_a_filled_area_is_nearly_full_and_never_too_large(wide, high, area):
    for width, height, unit in (
        (*fill_area((wide, high), area, Compression()), 16),
        (*fit_area((wide, high), area, SMALL_VAE), 32),
    ):
        assert width % unit == height % unit == 0
        assert width * height <= area
        assert (width + unit) * (height + unit) > 0.9 * area


@pytest.mark.parametrize("make", [fill_area, fit_area])
def test_a_picture_without_a_side_is_refused(make):
    with pytest.raises(InvalidRequest, match="image: 10000x1 is so narrow that a side would have less than 16 pixels"):
        make((10_000, 1), 832 * 480, Compression(), "image")


def size(variant="wan2.2-i2v-a14b", picture=None, role="image", **wishes):
    guide = InputFile(role=role, path="a", sha256="0", width=picture[0], height=picture[1]) if picture else None
    return size_of(Request(prompt="a", **wishes), model_of(variant), PRESETS[variant], guide)


def test_the_picture_fills_what_was_left_open():
    assert size(picture=(1024, 1024)) == (960, 960)
    assert size(picture=(1024, 1024), area=832 * 480) == (624, 624)
    assert size(picture=(1024, 512), width=640) == (640, 320)
    assert size(picture=(1024, 512), height=640) == (1280, 640)
    assert size(picture=(1024, 512), width=640, height=640) == (640, 640)
    assert size("wan2.2-ti2v-5b", picture=(1024, 1024)) == (960, 928)
    assert size("wan2.2-t2v-a14b", picture=(1080, 1920), role="video") == (720, 1280)


def test_without_a_picture_an_area_is_a_listed_size():
    assert size("wan2.2-t2v-a14b", area=832 * 480) == (832, 480)
    assert size("wan2.2-t2v-a14b", area=1280 * 720) == (1280, 720)
    assert size("wan2.2-t2v-a14b", area=640_000) == (1056, 592)
    assert size("wan2.2-t2v-a14b") == (1280, 720)


def test_what_cannot_be_is_said():
    with pytest.raises(InvalidRequest, match="area: was given together with a side"):
        size(picture=(100, 100), area=10_000, width=640)
    with pytest.raises(InvalidRequest, match="area: was given together with a side"):
        size(area=10_000, width=640, height=640)
    with pytest.raises(InvalidRequest, match=r"width: 650 does not divide by 16.*Nearest valid: 656"):
        size(picture=(100, 100), width=650)
