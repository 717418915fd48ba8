"""Contact sheets: a video at one glance, as a PNG.

Legend: F frames, H W pixels; frames are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from filmgate.media.publish import write_bytes
from filmgate.spec import InvalidRequest

Frame = NDArray[np.uint8]
Resample = Literal["lanczos", "nearest"]
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
TILE = 320
"""Widest side of a tile in pixels that a frame is brought to; small frames by a whole factor."""
_GAP, _LINE, _FONT = 8, 18, 14
_PAPER, _INK, _FAINT = (18, 18, 20), (235, 235, 235), (150, 150, 155)


class Still(NamedTuple):
    """A frame of a video and its number, from 0."""

    number: int
    frame: Frame


def choose_stills(frames: int, count: int = 8) -> tuple[int, ...]:
    """Numbers of at most ``count`` frames, evenly spread from the first to the last."""
    if frames <= count:
        return tuple(range(frames))
    if count == 1:
        return (0,)
    return tuple((2 * i * (frames - 1) + count - 1) // (2 * (count - 1)) for i in range(count))


def sheet_png(
    stills: Sequence[Still],
    caption: str,
    *,
    fps: int | Fraction,
    resample: Resample = "lanczos",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Draw stills in a grid under a caption.

    Every still is labelled with its time. How it was enlarged or reduced is said after the caption, since enlargement
    by Lanczos looks smoother than the video is. ``metadata`` and the caption go into the PNG as text.

    Raises:
        InvalidRequest: no stills.
    """
    if not stills:
        raise InvalidRequest("stills", "a contact sheet needs at least one", allowed="1 or more")
    height, width = stills[0].frame.shape[:2]
    size, note = _tile_size(width, height, resample)
    columns = _columns(len(stills), size)
    rows = math.ceil(len(stills) / columns)
    sheet_width = columns * (size[0] + _GAP) + _GAP
    font = ImageFont.load_default(_FONT)
    lines = [*_wrapped(caption, sheet_width - 2 * _GAP), note]
    top = _GAP + len(lines) * _LINE + _GAP
    sheet = Image.new("RGB", (sheet_width, top + rows * (size[1] + _LINE + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((_GAP, _GAP + number * _LINE), line, fill=_FAINT if line is note else _INK, font=font)
    for place, still in enumerate(stills):
        x = _GAP + place % columns * (size[0] + _GAP)
        y = top + place // columns * (size[1] + _LINE + _GAP)
        sheet.paste(Image.fromarray(still.frame).resize(size, _FILTERS[resample]), (x, y))
        label = f"{float(still.number / Fraction(fps)):.2f} s, frame {still.number}"
        pen.text((x, y + size[1] + 1), label, fill=_FAINT, font=font)
    return _png(sheet, {"Description": caption, "Software": "Filmgate", **(metadata or {})})


def write_sheet(
    destination: Path,
    stills: Sequence[Still],
    caption: str,
    *,
    fps: int | Fraction,
    resample: Resample = "lanczos",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """:func:`sheet_png`, published at ``destination``.

    Raises:
        InvalidRequest: no stills.
        OutputError: the place is not writable, or the disk is full.
    """
    write_bytes(destination, sheet_png(stills, caption, fps=fps, resample=resample, metadata=metadata))


def write_picture(destination: Path, frame: Frame, *, metadata: Mapping[str, str]) -> None:
    """A frame as a PNG, pixel by pixel, with ``metadata`` as text.

    Raises:
        OutputError: the place is not writable, or the disk is full.
    """
    write_bytes(destination, _png(Image.fromarray(frame), metadata))


def strip_png(frames: Sequence[Frame]) -> bytes:
    """Frames side by side, for a preview."""
    return _png(Image.fromarray(np.concatenate(frames, axis=1)), {})


def _png(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _tile_size(width: int, height: int, resample: Resample) -> tuple[tuple[int, int], str]:
    """Size of a tile, and how it comes from the frame's."""
    longest = max(width, height)
    factor = max(1, TILE // longest)
    if longest > TILE:
        size = (max(1, round(width * TILE / longest)), max(1, round(height * TILE / longest)))
        return size, f"{width}x{height}, shown at {size[0]}x{size[1]} ({resample})"
    shown = f"shown at {factor}x ({resample})" if factor > 1 else "shown pixel by pixel"
    return (width * factor, height * factor), f"{width}x{height}, {shown}"


def _columns(count: int, size: tuple[int, int]) -> int:
    """Columns that bring a sheet of equal tiles closest to 16:9, rather with a full last row."""

    def badness(columns: int) -> tuple[float, int]:
        rows = math.ceil(count / columns)
        ratio = columns * size[0] / (rows * (size[1] + _LINE))
        return abs(math.log(ratio * 9 / 16)) + (columns * rows - count) / count, columns

    return min(range(1, count + 1), key=badness)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), max(20, int(width / (0.5 * _FONT)))) or [""]
