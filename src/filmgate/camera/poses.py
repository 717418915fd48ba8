"""A camera's path, and the text files that hold one.

Conventions are those of OpenCV: x to the right, y down, z forward, in the units of whoever made the path. A pose is
world-to-camera, [R | t]; lenses are normalised, focal length and centre in widths (x) and heights (y) of the picture.

The files are RealEstate10K's, as CameraCtrl and VideoX-Fun read them: one line that names the source and is not read,
then a line per frame with 19 numbers: a time stamp, fx fy cx cy, two numbers without meaning, and the 12 numbers of
[R | t] row by row. Some editions leave the time stamp out; both are read. (RealEstate10K, Zhou et al. 2018,
arXiv 1805.09817.)

Legend: F frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filmgate.spec.errors import InvalidRequest

Numbers = NDArray[np.float64]
FIELD = "camera"
"""What an error calls a path that cannot be used."""
_WITH_TIME, _WITHOUT_TIME = 19, 18
_ORTHONORMAL = 0.02
"""How far RᵀR may be from 1. VideoX-Fun's own training paths are interpolated number by number and stay within that;
beyond it the rays are far from unit length, which no model has seen."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Where the camera is in every frame, and through which lens it looks.

    Attributes:
        lenses: [F, 4], fx fy cx cy, normalised by the picture's width and height.
        world_to_camera: [F, 3, 4].
    """

    lenses: Numbers
    world_to_camera: Numbers

    def __len__(self) -> int:
        return len(self.lenses)

    def first(self, frames: int) -> CameraPath:
        """The path of the first ``frames`` frames: what is beyond them is not used, as in VideoX-Fun.

        Raises:
            InvalidRequest: the path is shorter.
        """
        if frames > len(self):
            raise InvalidRequest(
                FIELD,
                f"{len(self)} poses for {frames} frames",
                allowed=f"a path of at least {frames} poses, or at most {len(self)} frames",
                nearest=f"{1 + (len(self) - 1) // 4 * 4} frames",
            )
        return CameraPath(self.lenses[:frames], self.world_to_camera[:frames])


def read_poses(path: Path) -> CameraPath:
    """The path in a file.

    Raises:
        InvalidRequest: there is no such file, or it is not a pose file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(FIELD, f"{path}: {error.strerror}", allowed="a pose file") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(FIELD, f"{path}: not a text file", allowed="a pose file in UTF-8") from error
    return parse_poses(text, source=str(path))


def parse_poses(text: str, *, source: str = "poses") -> CameraPath:
    """The path that a pose file's text describes.

    Args:
        text: First line: anything but a pose. Then a pose per line; empty lines are skipped.
        source: What to call the text in an error.

    Raises:
        InvalidRequest: with the line at fault.
    """
    lines = text.splitlines()
    if lines and _is_pose(lines[0]):
        # The original reader skips this line unread, and every frame would get the pose of the next one.
        raise InvalidRequest(
            FIELD, f"{source}:1: the first line is a pose", allowed="the name of the source there, or nothing"
        )
    rows = [(number, line.split()) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if not rows:
        raise InvalidRequest(FIELD, f"{source}: no poses", allowed="a first line, then a pose per line")
    width = len(rows[0][1])
    if width not in (_WITH_TIME, _WITHOUT_TIME):
        raise _wrong_width(source, rows[0][0], width, f"{_WITH_TIME} ({_WITHOUT_TIME} without the time stamp)")
    table = np.array([_numbers(words, width, source, number) for number, words in rows])[:, width - _WITHOUT_TIME :]
    path = CameraPath(table[:, :4].copy(), table[:, 6:].reshape(-1, 3, 4).copy())
    for (number, _), lens, pose in zip(rows, path.lenses, path.world_to_camera, strict=True):
        _check(lens, pose[:, :3], f"{source}:{number}")
    return path


def format_poses(path: CameraPath, *, source: str = "") -> str:
    """The text of a pose file, with every digit: :func:`parse_poses` gives the same path back. Time stamps are the
    frames' numbers."""
    rows = [
        " ".join([str(frame), *(repr(float(x)) for x in lens), "0", "0", *(repr(float(x)) for x in pose.flat)])
        for frame, (lens, pose) in enumerate(zip(path.lenses, path.world_to_camera, strict=True))
    ]
    return "\n".join([source, *rows]) + "\n"


def _is_pose(line: str) -> bool:
    words = line.split()
    if len(words) not in (_WITH_TIME, _WITHOUT_TIME):
        return False
    try:
        return all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _numbers(words: list[str], width: int, source: str, line: int) -> list[float]:
    if len(words) != width:
        raise _wrong_width(source, line, len(words), f"{width}, as in the lines before")
    numbers = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InvalidRequest(FIELD, f"{source}:{line}: {word!r} is not a number", allowed="finite numbers")
        numbers.append(number)
    return numbers


def _wrong_width(source: str, line: int, found: int, allowed: str) -> InvalidRequest:
    return InvalidRequest(FIELD, f"{source}:{line}: {found} numbers", allowed=allowed)


def _check(lens: Numbers, rotation: Numbers, where: str) -> None:
    if min(lens[0], lens[1]) <= 0:
        raise InvalidRequest(FIELD, f"{where}: a focal length of {min(lens[0], lens[1])}", allowed="more than 0")
    # What is far too large to square is no rotation either.
    bounded = np.abs(rotation).max() <= 2
    if not bounded or np.abs(rotation.T @ rotation - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(rotation) < 0:
        raise InvalidRequest(
            FIELD,
            f"{where}: R in [R | t] is not a rotation",
            allowed="rows of length 1 at right angles, right-handed",
        )
