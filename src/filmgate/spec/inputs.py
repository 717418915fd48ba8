"""Pictures and videos that a wish starts from, as a plan names them: by content, so that a repetition can tell."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from filmgate.spec.shape import Frozen

InputRole = Literal["image", "last_image", "video", "mask", "reference", "camera"]


class InputFile(Frozen):
    """A file that a plan needs beside the model.

    ``role`` is what it is for, ``path`` where it lay, ``sha256`` what was in it. Sizes are those of the picture turned
    upright; a file without pictures (a camera's path) has none. ``frames`` and ``fps`` (numerator, denominator) are
    those of a video; the frames of a path are its poses.
    """

    role: InputRole
    path: str
    sha256: str
    width: int = 0
    height: int = 0
    frames: int = 1
    fps: tuple[int, int] | None = None

    def frames_at(self, fps: int) -> int:
        """How many frames it gives at another speed, frame k being the one nearest to k/fps seconds, half-way the later
        one; as it is where it has no speed."""
        if self.fps is None:
            return self.frames
        return math.ceil(Fraction((2 * self.frames - 1) * fps * self.fps[1], 2 * self.fps[0]))
