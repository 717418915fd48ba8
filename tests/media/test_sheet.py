"""Contact sheets."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from filmgate.media.sheet import Still, choose_stills, sheet_png, strip_png, write_sheet
from filmgate.spec import InvalidRequest, OutputError


def stills(count, height=96, width=160):
    return [Still(i * 4, np.full((height, width, 3), (10 + 20 * i, 200, 90), np.uint8)) for i in range(count)]


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@given(st.integers(1, 400), st.integers(1, 30))
def test_chosen_frames_are_spread_from_first_to_last(frames, count):
    chosen = choose_stills(frames, count)
    assert len(chosen) == min(frames, count)
    assert chosen[0] == 0
    assert len(chosen) == 1 or chosen[-1] == frames - 1
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_every_still_is_shown_enlarged_by_a_whole_factor():
    image = opened(sheet_png(stills(8), "a red ball", fps=12, resample="nearest"))
    pixels = np.asarray(image).reshape(-1, 3)
    for still in stills(8):
        assert (pixels == still.frame[0, 0]).all(1).sum() == 4 * 96 * 160


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 16])
def test_no_still_is_cut_off(count):
    pixels = np.asarray(opened(sheet_png(stills(count), "", fps=12, resample="nearest"))).reshape(-1, 3)
    shown = sum((pixels == s.frame[0, 0]).all(1).sum() for s in stills(count))
    assert shown == count * 4 * 96 * 160


def test_large_frames_are_reduced_and_keep_their_shape():
    image = opened(sheet_png(stills(1, 720, 1280), "", fps=16))
    assert image.size[0] == 320 + 16
    assert ((np.asarray(image) == (10, 200, 90)).all(-1)).sum() == 320 * 180


def test_the_prompt_is_written_and_kept_as_text(tmp_path):
    prompt = "a red ball rolls past a blue cube " * 6 + "一个红球"
    write_sheet(tmp_path / "a.png", stills(8), prompt, fps=12, metadata={"filmgate": "receipt"})
    image = Image.open(tmp_path / "a.png")
    image.load()
    assert image.text["Description"] == prompt
    assert image.text["filmgate"] == "receipt"
    blank = opened(sheet_png(stills(8), "", fps=12))
    assert image.size[1] > blank.size[1], "a long caption takes more lines"


def test_refusals(tmp_path):
    with pytest.raises(InvalidRequest, match="at least one"):
        sheet_png([], "", fps=12)
    with pytest.raises(OutputError):
        write_sheet(tmp_path / "missing" / "a.png", stills(1), "", fps=12)


def test_a_strip_stands_frames_side_by_side():
    image = opened(strip_png([still.frame for still in stills(3, 8, 10)]))
    assert image.size == (30, 8)
    assert image.getpixel((25, 4)) == (50, 200, 90)
