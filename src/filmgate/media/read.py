"""Video files to frames.

Legend: F frames, H W pixels; frames are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from filmgate.media.colour import BT601, BT709, yuv420_to_rgb
from filmgate.spec import DamagedFile, InvalidRequest

Frame = NDArray[np.uint8]
# By FFmpeg's code points (ITU-T H.273, table 4): the matrices that we compute, and those that its scaler has.
_RGB, _UNSPECIFIED = 0, 2
_CODINGS = {1: BT709, 5: BT601, 6: BT601}
_SCALER_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
}


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of itself. ``frames`` is None where the container does not count them, ``colour`` is the name
    of (primaries, transfer, matrix, range) as FFmpeg's code points, 2 (matrix) or 0 (range) if it is silent."""

    width: int
    height: int
    fps: Fraction
    frames: int | None
    codec: str
    pixel_format: str
    colour: tuple[int, int, int, int]
    seconds: float | None
    metadata: dict[str, str]


@dataclass(frozen=True)
class Video:
    """A whole video in memory: ``frames`` [F, H, W, 3]."""

    frames: NDArray[np.uint8]
    fps: Fraction
    metadata: dict[str, str]


def read_facts(path: Path) -> VideoFacts:
    """Everything but the pictures.

    Raises:
        InvalidRequest: there is no such file.
        DamagedFile: it is not a video.
    """
    with _opened(path) as container:
        stream = _pictures(container, path)
        context = stream.codec_context
        colour = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        return VideoFacts(
            width=context.width,
            height=context.height,
            fps=_speed(stream, path),
            frames=stream.frames or None,
            codec=context.name,
            pixel_format=context.pix_fmt or "unknown",
            colour=(int(colour[0]), int(colour[1]), int(colour[2]), int(colour[3])),
            seconds=container.duration / av.time_base if container.duration is not None else None,
            metadata=dict(container.metadata),
        )


def read_frames(path: Path) -> Iterator[Frame]:
    """Frames in the order of display, one at a time, upright: a telephone's video notes how it was held.

    Raises:
        InvalidRequest: there is no such file.
        DamagedFile: it is not a video, or it breaks off.
    """
    with _opened(path) as container:
        stream = _pictures(container, path)
        try:
            for picture in container.decode(stream):
                yield _upright(picture, path)
        except (av.FFmpegError, OSError) as error:
            raise DamagedFile(path, f"the video breaks off: {error.strerror or error}") from error


def count_frames(path: Path) -> int:
    """How many pictures there are, by their packets: containers need not say, and nothing is decoded.

    Raises:
        InvalidRequest, DamagedFile: as :func:`read_frames`.
    """
    with _opened(path) as container:
        stream = _pictures(container, path)
        try:
            return sum(1 for packet in container.demux(stream) if packet.size)
        except (av.FFmpegError, OSError) as error:
            raise DamagedFile(path, f"the video breaks off: {error.strerror or error}") from error


def read_video(path: Path) -> Video:
    """A whole video.

    Raises:
        InvalidRequest, DamagedFile: as :func:`read_frames`; also DamagedFile where there are no frames.
    """
    facts = read_facts(path)
    frames = list(read_frames(path))
    if not frames:
        raise DamagedFile(path, "the video has no frames")
    return Video(np.stack(frames), facts.fps, facts.metadata)


def _opened(path: Path) -> InputContainer:
    if not path.is_file():
        raise InvalidRequest("file", f"{path} is not a file", allowed="a video file")
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"not a video: {error.strerror or error}") from error


def _pictures(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise DamagedFile(path, "there are no pictures in it")
    return container.streams.video[0]


def _speed(stream: VideoStream, path: Path) -> Fraction:
    speed = stream.average_rate or stream.guessed_rate
    if not speed:
        raise DamagedFile(path, "it does not say how fast it is")
    return Fraction(speed)


def _upright(picture: av.VideoFrame, path: Path) -> Frame:
    """One frame, turned by the quarters that the container notes."""
    quarters = picture.rotation // 90 if picture.rotation % 90 == 0 else 0
    return np.ascontiguousarray(np.rot90(_rgb(picture, path), quarters)) if quarters else _rgb(picture, path)


def _rgb(picture: av.VideoFrame, path: Path) -> Frame:
    """One frame by the file's own matrix; without a tag, as players guess: BT.709 from 720 rows on."""
    tag = int(picture.colorspace)
    if tag in (_RGB, _UNSPECIFIED):
        tag = 1 if picture.height >= 720 else 6
    if tag not in _SCALER_MATRICES:
        raise InvalidRequest("file", f"{path} codes colour by matrix {tag} of ITU-T H.273", allowed="BT.709 or BT.601")
    full = picture.color_range == ColorRange.JPEG or picture.format.name.startswith("yuvj")
    even = picture.width % 2 == 0 and picture.height % 2 == 0
    if picture.format.name in ("yuv420p", "yuvj420p") and tag in _CODINGS and even:
        return yuv420_to_rgb(np.asarray(picture.to_ndarray(), dtype=np.uint8), _CODINGS[tag]._replace(full_range=full))
    converted = picture.reformat(
        format="rgb24",
        src_colorspace=_SCALER_MATRICES[tag],
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return np.asarray(converted.to_ndarray(), dtype=np.uint8)
