"""A folder of clips, and how they are cut to what a model can be trained on. Does not need torch.

Rules: a clip is read at the model's speed by taking the nearest frames; it is scaled until it covers the size of its
bucket, and the middle is cut out; of its frames the longest 4n+1 are taken from the beginning. The size of a bucket has
the clip's proportions and the area that was asked for. A picture is a clip of one frame.

Legend: F frames, h w pixels; frames are uint8 RGB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filmgate.media.pictures import cover, picture_size, read_picture
from filmgate.media.read import count_frames, read_facts, read_frames
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.shape import Compression, VideoShape
from filmgate.training.lora.captions import captions_of, read_tables, remedy
from filmgate.training.lora.recipe import LoraRecipe

VIDEOS = frozenset({".mp4", ".webm", ".gif", ".mov", ".mkv", ".avi", ".m4v"})
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
SHORTEST = 2
"""Latent frames of the shortest video that is not a picture: fewer have no motion."""
ENLARGED = 1.5
"""From this factor on it is worth saying that a clip is enlarged."""


@dataclass(frozen=True)
class Clip:
    """A file to train on. ``fps`` is None for a picture; sides in pixels."""

    path: Path
    captions: tuple[str, ...]
    width: int
    height: int
    frames: int
    fps: float | None


@dataclass(frozen=True)
class Cut:
    """What is taken of a clip: ``video`` from frame ``start`` on, frames counted at ``fps``."""

    clip: Clip
    video: VideoShape
    start: int
    fps: int

    @property
    def enlarged(self) -> float:
        """Factor by which its pixels grow; below 1 they shrink."""
        return max(self.video.width / self.clip.width, self.video.height / self.clip.height)

    def __str__(self) -> str:
        return f"{self.clip.path.name} from {self.start / self.fps:.2f} s: {self.video}"


def read_folder(folder: Path) -> tuple[Clip, ...]:
    """The clips of a folder with their captions, in the order of their names; clips in other places if a table of the
    folder names them.

    Raises:
        InvalidRequest: there is no such folder, nothing in it, a clip that a table names is not there, or has no
            caption.
        DamagedFile: a clip or a table cannot be read.
    """
    if not folder.is_dir():
        raise InvalidRequest("clips", f"{folder} is not a folder", allowed="a folder with clips and their captions")
    tables = read_tables(folder)
    here = {path.absolute() for path in folder.iterdir() if path.suffix.lower() in VIDEOS | PICTURES}
    paths = sorted(here | set(tables))
    if not paths:
        kinds = ", ".join(sorted(suffix[1:] for suffix in VIDEOS | PICTURES))
        raise InvalidRequest("clips", f"there are no clips in {folder}", allowed=f"files of these kinds: {kinds}")
    clips, silent = [], []
    for path in paths:
        if not path.is_file():
            raise InvalidRequest(
                "clips", f"{path} is not there, but a table in {folder} names it",
                allowed="file names relative to the folder",
            )  # fmt: skip
        captions = captions_of(path, tables)
        if captions:
            clips.append(_described(path, captions))
        else:
            silent.append(path)
    if silent:
        names = ", ".join(path.name for path in silent[:5]) + (" ..." if len(silent) > 5 else "")
        what = f"{len(silent)} of {len(paths)} clips in {folder} have no caption: {names}"
        raise InvalidRequest("clips", what, allowed=remedy(silent[0]))
    return tuple(clips)


def _described(path: Path, captions: tuple[str, ...]) -> Clip:
    if path.suffix.lower() in PICTURES:
        width, height = picture_size(path)
        return Clip(path, captions, width, height, 1, None)
    facts = read_facts(path)
    return Clip(path, captions, facts.width, facts.height, facts.frames or count_frames(path), float(facts.fps))


def bucket_of(clip: Clip, size: tuple[int, int], compression: Compression) -> tuple[int, int]:
    """Width and height with the proportions of a clip and the area of ``size``."""
    area, ratio = size[0] * size[1], clip.width / clip.height
    if math.isclose(ratio, size[0] / size[1], rel_tol=0.02):
        return size
    return compression.nearest_side(round(math.sqrt(area * ratio))), compression.nearest_side(
        round(math.sqrt(area / ratio))
    )


def cut_clips(
    clips: Iterable[Clip], recipe: LoraRecipe, compression: Compression, *, size: tuple[int, int], frames: int,
    fps: int, motion: bool,
) -> tuple[Cut, ...]:  # fmt: skip
    """What of every clip is trained on.

    Args:
        clips: In their order.
        recipe: Says whether proportions are kept, and what of long clips is taken.
        compression: Of the model.
        size, frames, fps: The most that is taken, in the model's units.
        motion: Pictures cannot be trained on.

    Raises:
        InvalidRequest: a clip is too short, or a picture where there must be motion; or the size cannot be encoded.
    """
    compression.check_frames(frames)
    for side, pixels in zip(("width", "height"), size, strict=True):
        compression.check_side(side, pixels)
    found: list[Cut] = []
    for clip in clips:
        width, height = bucket_of(clip, size, compression) if recipe.buckets else size
        if clip.fps is None:
            if motion:
                raise InvalidRequest(
                    "clips", f"{clip.path} is a picture, and the model paints what follows one",
                    allowed="videos; remove it from the folder",
                )  # fmt: skip
            found.append(Cut(clip, VideoShape(frames=1, height=height, width=width), 0, fps))
            continue
        there = _at_speed(clip, fps)
        least = min(frames, 1 + (SHORTEST - 1) * compression.temporal)
        if there < least:
            raise InvalidRequest(
                "clips", f"{clip.path} is too short: {clip.frames} frames at {clip.fps:g} fps are {there} at {fps} fps",
                allowed=f"{least} or more: a longer clip, or a higher fps in the recipe",
            )  # fmt: skip
        starts = range(0, there - least + 1, frames) if recipe.long == "all" else (0,)
        for start in starts:
            length = 1 + (min(frames, there - start) - 1) // compression.temporal * compression.temporal
            found.append(Cut(clip, VideoShape(frames=length, height=height, width=width), start, fps))
    return tuple(found)


def _at_speed(clip: Clip, fps: int) -> int:
    """Frames that a clip has at another speed, the last one included."""
    assert clip.fps is not None
    return math.floor((clip.frames - 1) * fps / clip.fps + 1e-6) + 1


def numbers_of(cut: Cut) -> list[int]:
    """Numbers in the file of the frames that are taken."""
    if cut.clip.fps is None:
        return [0]
    step = cut.clip.fps / cut.fps
    return [min(cut.clip.frames - 1, math.floor((cut.start + i) * step + 0.5)) for i in range(cut.video.frames)]


def read_cut(cut: Cut) -> NDArray[np.uint8]:
    """Frames [F, h, w, 3].

    Raises:
        InvalidRequest, DamagedFile: the clip cannot be read, or has fewer frames than its container says.
    """
    fitted: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda picture: cover(  # noqa: E731
        picture, cut.video.width, cut.video.height
    )
    if cut.clip.fps is None:
        return fitted(read_picture(cut.clip.path))[None]
    numbers = numbers_of(cut)
    wanted, frames = set(numbers), {}
    for number, frame in enumerate(read_frames(cut.clip.path)):
        if number in wanted:
            frames[number] = fitted(frame)
        if number >= numbers[-1]:
            break
    missing = sorted(wanted - set(frames))
    if missing:
        raise InvalidRequest(
            "clips", f"{cut.clip.path} ends before its frame {missing[0]}, though it says it has {cut.clip.frames}",
            allowed="a sound file: write it anew with a video tool",
        )  # fmt: skip
    return np.stack([frames[number] for number in numbers])
