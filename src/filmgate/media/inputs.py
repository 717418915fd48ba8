"""Files that a video starts from: what a plan must know of them, and their pictures when it is carried out.

Legend: F frames, H W pixels; pictures are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filmgate.media.pictures import cover, picture_size
from filmgate.media.read import count_frames, read_facts, read_frames
from filmgate.spec import DamagedFile, InputFile, InputRole, InvalidRequest

_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})


def describe_input(role: InputRole, path: str | Path) -> InputFile:
    """A file by content, size and speed. Reads all of it once, for the hash.

    Raises:
        InvalidRequest: there is no such file; ``field`` is the role.
        DamagedFile: it is not a picture (``image``, ``last_image``, ``reference``), a video (``video``), or either
            (``mask``).
    """
    place = Path(path).absolute()
    if not place.is_file():
        raise InvalidRequest(role, f"{path} is not a file", allowed=_kind(role))
    facts = {"role": role, "path": str(place), "sha256": _sha256(place)}
    if role == "camera":
        return InputFile.model_validate(facts)
    if role == "video" or (role == "mask" and place.suffix.lower() in _VIDEOS):
        first, fps = next(read_frames(place), None), read_facts(place).fps
        if first is None:
            raise DamagedFile(place, "the video has no frames")
        height, width = first.shape[:2]  # of the frame and not of the file, which may lie on its side
        speed = (fps.numerator, fps.denominator)
        return InputFile.model_validate(
            {**facts, "width": width, "height": height, "frames": count_frames(place), "fps": speed}
        )
    width, height = picture_size(place)
    return InputFile.model_validate({**facts, "width": width, "height": height})


def verified(file: InputFile) -> Path:
    """Where an input lies, after a look at whether it is still what was planned with.

    Raises:
        InvalidRequest: it is gone, or its content is another.
    """
    path = Path(file.path)
    if not path.is_file():
        raise InvalidRequest(file.role, f"{path} is gone", allowed="the file that was planned with")
    if _sha256(path) != file.sha256:
        raise InvalidRequest(file.role, f"{path} has changed since it was planned", allowed="an unchanged file")
    return path


def read_clip(path: Path, *, fps: int, frames: int, width: int, height: int) -> NDArray[np.uint8]:
    """The first ``frames`` frames of a video at another speed and size: [F, height, width, 3].

    Frame k is the source's frame nearest to k/fps seconds, so that movements keep their tempo
    (:meth:`~filmgate.spec.InputFile.frames_at` counts them); frames of a source whose speed varies count as evenly
    spaced. Pictures are scaled to cover the size and cut to it.

    Raises:
        InvalidRequest: the video is too short.
        DamagedFile: it is not a video, or breaks off.
    """
    speed = read_facts(path).fps
    wanted = [_nearest(k, speed, fps) for k in range(frames)]
    clip = np.empty((frames, height, width, 3), dtype=np.uint8)
    done = 0
    for number, frame in enumerate(_until(path, wanted[-1])):
        fitted: NDArray[np.uint8] | None = None
        while done < frames and wanted[done] == number:
            fitted = cover(frame, width, height) if fitted is None else fitted
            clip[done] = fitted
            done += 1
    if done < frames:
        raise InvalidRequest("video", f"{path} has {done} frames at {fps} fps", allowed=f"{frames} frames or more")
    return clip


def _nearest(k: int, source: Fraction, fps: Fraction | int) -> int:
    """Number of the source's frame at k/fps seconds; half-way goes to the later one."""
    return int(k * source / Fraction(fps) + Fraction(1, 2))


def _until(path: Path, last: int) -> Iterator[NDArray[np.uint8]]:
    for number, frame in enumerate(read_frames(path)):
        yield frame
        if number == last:
            return


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(role: InputRole) -> str:
    if role == "camera":
        return "a file with a camera's path"
    return {"video": "a video", "mask": "a picture or a video"}.get(role, "a picture")
