"""Pose files: what they say, that nothing is lost, and that whatever is wrong is named with its line."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.camera.paths import LENS, path_of, paths, still

from filmgate.camera.poses import CameraPath, format_poses, parse_poses, read_poses
from filmgate.spec.errors import InvalidRequest

ROW = "0 0.532139961 0.946026558 0.5 0.5 0 0 1 0 0 0.25 0 1 0 -0.5 0 0 1 2"


def text_of(*rows: str) -> str:
    return "\n".join(["https://www.youtube.com/watch?v=x", *rows]) + "\n"


def refusal(text: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_poses(text, source="path.txt")
    assert caught.value.field == "camera"
    assert caught.value.allowed
    return caught.value


@pytest.mark.parametrize("row", [ROW, ROW.removeprefix("0 "), ROW.replace(" ", "\t  ")])
@pytest.mark.parametrize("first", ["", "https://www.youtube.com/watch?v=x", "17 words are no pose"])
def test_a_row_is_a_lens_and_a_pose_whatever_stands_above(row: str, first: str) -> None:
    path = parse_poses(f"{first}\n{row}\n\n{row}\n")
    assert len(path) == 2
    assert path.lenses.tolist() == [list(LENS)] * 2
    assert path.world_to_camera[1].tolist() == [[1, 0, 0, 0.25], [0, 1, 0, -0.5], [0, 0, 1, 2]]


@given(paths(), st.sampled_from(["", "https://example.org/a b c"]))
def test_every_digit_survives_the_file(path: CameraPath, source: str) -> None:
    again = parse_poses(format_poses(path, source=source))
    assert np.array_equal(again.lenses, path.lenses)
    assert np.array_equal(again.world_to_camera, path.world_to_camera)


@given(st.text(alphabet="0123456789.eE+-naif \n", max_size=400))
@settings(max_examples=300)
def test_any_text_is_a_path_or_a_named_error(text: str) -> None:
    # Any other error than this one fails.
    with contextlib.suppress(InvalidRequest):
        assert len(parse_poses(text)) > 0


@given(paths(max_frames=3), st.data())
def test_a_damaged_number_is_refused_with_its_line(path: CameraPath, data: st.DataObject) -> None:
    rows = format_poses(path).splitlines()
    line = data.draw(st.integers(1, len(rows) - 1))
    words = rows[line].split()
    place = data.draw(st.integers(0, len(words) - 1))
    words[place] = data.draw(st.sampled_from(["nan", "inf", "-inf", "1e999", "x", "1,5", "0x10"]))
    rows[line] = " ".join(words)
    error = refusal("\n".join(rows))
    assert f"path.txt:{line + 1}: {words[place]!r}" in error.what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no poses"),
        ("https://example.org\n \n", "no poses"),
        (ROW + "\n" + ROW, ":1: the first line is a pose"),
        (text_of(ROW + " 0"), ":2: 20 numbers"),
        (text_of("1 2 3"), ":2: 3 numbers"),
        (text_of(ROW, ROW.removeprefix("0 ")), ":3: 18 numbers"),
        (text_of(ROW.replace("0.532139961", "0")), ":2: a focal length of 0.0"),
        (text_of(ROW.replace("0.946026558", "-1")), ":2: a focal length of -1.0"),
        (text_of(ROW, ROW.replace(" 1 0 0 0.25", " 1.1 0 0 0.25")), ":3: R in"),
        (text_of(ROW.replace(" 1 0 0 0.25", " -1 0 0 0.25")), ":2: R in"),
        (text_of(ROW.replace(" 1 0 0 0.25", " 0 0 0 0.25")), ":2: R in"),
        (text_of(ROW.replace(" 1 0 0 0.25", " 1e308 0 0 0.25")), ":2: R in"),
    ],
)
def test_what_is_wrong_is_said(text: str, what: str) -> None:
    assert what in refusal(text).what


def test_paths_that_were_interpolated_number_by_number_are_read() -> None:
    a, b = path_of(np.zeros((2, 3)), [[0, 0, 0], [0, 0.1, 0]]).world_to_camera
    middle = CameraPath(np.array([LENS]), np.array([(a + b) / 2]))
    assert np.array_equal(parse_poses(format_poses(middle)).world_to_camera, middle.world_to_camera)


def test_files_are_read_and_their_absence_is_named(tmp_path) -> None:
    file = tmp_path / "path.txt"
    file.write_text(text_of(ROW, ROW))
    assert len(read_poses(file)) == 2
    for path, what in [(tmp_path / "nothing.txt", "No such file"), (tmp_path, "directory")]:
        with pytest.raises(InvalidRequest, match=what):
            read_poses(path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="not a text file"):
        read_poses(file)


def test_a_path_is_cut_to_the_video_but_never_stretched() -> None:
    path = path_of([[i, 0, 0] for i in range(7)])
    assert np.array_equal(path.first(5).world_to_camera, path.world_to_camera[:5])
    assert len(path.first(7)) == 7
    with pytest.raises(InvalidRequest) as caught:
        path.first(9)
    assert caught.value.nearest == "5 frames"
    with pytest.raises(InvalidRequest, match="1 frames"):
        still(4).first(5)
