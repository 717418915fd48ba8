"""Picture files to arrays, and arrays to the size that a video has.

Legend: H W pixels; pictures are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from filmgate.spec import DamagedFile, InvalidRequest

Picture = NDArray[np.uint8]
LARGEST = 100_000_000
"""Pixels of the largest picture that is read: a small file can claim to be enormous."""
_ORIENTATION, _TURNED = 0x0112, frozenset({5, 6, 7, 8})
"""EXIF: the tag, and its values for pictures that lie on their side."""


def read_picture(path: Path) -> Picture:
    """A still picture, upright as its camera noted. Transparency is dropped, as the originals do.

    Raises:
        InvalidRequest: there is no such file, or it is too large.
        DamagedFile: it is not a picture, or breaks off.
    """
    with _opened(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of an upright picture, by its header.

    Raises:
        InvalidRequest, DamagedFile: as :func:`read_picture`.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _TURNED else (width, height)


def picture_texts(path: Path) -> dict[str, str]:
    """What a PNG says of itself in words.

    Raises:
        InvalidRequest, DamagedFile: as :func:`read_picture`.
    """
    with _opened(path) as image:
        image.load()  # texts may stand behind the pixels
        return {name: str(text) for name, text in getattr(image, "text", {}).items()}


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise InvalidRequest("file", f"{path} is not a file", allowed="a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower than its error's
            with Image.open(path) as image:
                if image.width * image.height > LARGEST:
                    raise InvalidRequest(
                        "file", f"{path} has {image.width}x{image.height} pixels", allowed=f"{LARGEST} pixels or fewer"
                    )
                yield image
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DamagedFile(path, "not a picture") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's readers raise for broken files
        raise DamagedFile(path, f"the picture is damaged: {error}") from error


def cover(picture: Picture, width: int, height: int) -> Picture:
    """Scale a picture (Lanczos) until it covers ``width`` × ``height``, and cut the middle out of it."""
    rows, columns = picture.shape[:2]
    scale = max(width / columns, height / rows)
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    scaled = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled.crop((left, top, left + width, top + height)), dtype=np.uint8)


def crop_to_ratio(picture: Picture, width: int, height: int, *, tolerance: float) -> Picture:
    """The middle of a picture in the proportions of ``width`` × ``height``; pixels are not touched.

    Args:
        tolerance: A picture that would be off by no more than this many pixels of the video on either side stays whole:
            sizes of videos are rounded, and the originals stretch by that much.
    """
    rows, columns = picture.shape[:2]
    wide, high = columns * height / rows, rows * width / columns  # the other side, if one is kept
    if abs(wide - width) <= tolerance or abs(high - height) <= tolerance:
        return picture
    if wide > width:
        kept = max(1, round(rows * width / height))
        left = (columns - kept) // 2
        return picture[:, left : left + kept]
    kept = max(1, round(columns * height / width))
    top = (rows - kept) // 2
    return picture[top : top + kept]
