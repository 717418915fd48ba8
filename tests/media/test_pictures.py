"""Pictures: upright, of bounded size, and fitted to a video without distortion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from filmgate.media import pictures
from filmgate.media.pictures import cover, crop_to_ratio, picture_size, read_picture
from filmgate.spec import DamagedFile, InvalidRequest


@pytest.fixture
def gradient():
    rows, columns = np.mgrid[0:30, 0:50]
    return np.stack([rows * 8, columns * 5, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


def test_a_picture_is_read_as_it_is(gradient, tmp_path):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), gradient)
    assert picture_size(tmp_path / "a.png") == (50, 30)


@pytest.mark.parametrize(("orientation", "size"), [(1, (50, 30)), (3, (50, 30)), (6, (30, 50)), (8, (30, 50))])
def test_a_picture_is_turned_upright(gradient, tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gradient).save(tmp_path / "a.png", exif=exif)
    turned = {1: gradient, 3: gradient[::-1, ::-1], 6: np.rot90(gradient, -1), 8: np.rot90(gradient)}[orientation]
    assert np.array_equal(read_picture(tmp_path / "a.png"), turned)
    assert picture_size(tmp_path / "a.png") == size


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(gradient, tmp_path, mode):
    name = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(gradient).convert(mode).save(name)
    assert read_picture(name).shape == (30, 50, 3)


def test_what_is_not_a_picture_is_said(gradient, tmp_path):
    with pytest.raises(InvalidRequest, match=r"nothing\.png is not a file"):
        read_picture(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("a picture, honestly")
    with pytest.raises(DamagedFile, match="not a picture"):
        picture_size(tmp_path / "text.png")
    Image.fromarray(gradient).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile, match="damaged"):
        read_picture(tmp_path / "half.png")


def test_an_enormous_picture_is_refused_by_its_header(gradient, tmp_path, monkeypatch):
    Image.fromarray(gradient).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "LARGEST", 1499)
    with pytest.raises(InvalidRequest, match=r"has 50x30 pixels\. Allowed: 1499 pixels or fewer"):
        read_picture(tmp_path / "a.png")


def test_cover_scales_and_cuts_as_the_original_of_the_small_vae_does(gradient):
    scaled = np.asarray(Image.fromarray(gradient).resize((53, 32), Image.Resampling.LANCZOS))  # 50x30 times 32/30
    assert np.array_equal(cover(gradient, 50, 32), scaled[:, 1:51])  # 53.3 is rounded to 53, and of the 3 one goes left


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(1, 64))
def test_cover_has_the_size_for_any_picture(rows, columns, height, width):
    assert cover(np.zeros((rows, columns, 3), np.uint8), width, height).shape == (height, width, 3)


@given(st.integers(8, 400), st.integers(8, 400), st.integers(1, 40), st.integers(1, 40))
def test_a_crop_keeps_the_middle_and_the_whole_of_one_side(rows, columns, height, width):
    picture = np.arange(rows * columns * 3, dtype=np.uint32).reshape(rows, columns, 3).astype(np.uint8)
    cut = crop_to_ratio(picture, 16 * width, 16 * height, tolerance=0)
    assert cut.shape[0] == rows or cut.shape[1] == columns
    top, left = (rows - cut.shape[0]) // 2, (columns - cut.shape[1]) // 2
    assert np.array_equal(cut, picture[top : top + cut.shape[0], left : left + cut.shape[1]])
    other = cut.shape[1] * height / width if cut.shape[0] == rows else cut.shape[0] * width / height
    assert abs(other - (cut.shape[0] if cut.shape[0] == rows else cut.shape[1])) <= max(height / width, width / height)


def test_a_crop_within_the_tolerance_is_none(gradient):
    assert crop_to_ratio(gradient, 832, 480, tolerance=32) is gradient  # 50:30 at 832 is 499 high
    assert crop_to_ratio(gradient, 832, 480, tolerance=8).shape == (29, 50, 3)
