"""Frames to an MP4 that every player shows in the right colours and at the right speed.

Legend: F frames, H W pixels; frames are uint8 RGB [H, W, 3]. H.264 in yuv420p, BT.709 primaries, transfer and matrix,
limited range, index in front of the pictures. Memory does not grow with F.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from filmgate.media.colour import rgb_to_yuv420
from filmgate.media.publish import replace, scratch, writable
from filmgate.spec import InvalidRequest, OutputError

Frame = NDArray[np.uint8]
QUALITY = 16
"""Constant rate factor of x264 at which its losses are hard to see."""
_BT709 = 1
"""Code point of BT.709 in all three tables of ITU-T H.273."""
_LIMITED = 1
"""FFmpeg's name for 16 ... 235."""


class VideoWriter:
    """Takes frames one after another; made by :func:`writing`.

    ``metadata`` may be set until the last moment: a receipt knows the fingerprint of the frames only after them.
    """

    def __init__(self, draft: Path, destination: Path, size: tuple[int, int], fps: Fraction, quality: int) -> None:
        self.frames = 0
        self.metadata: dict[str, str] = {}
        self._destination = destination
        with writable(destination, av.FFmpegError):
            self._container = av.open(str(draft), "w", format="mp4")
        options = {"crf": str(quality), "preset": "medium", **_repeatable_code()}
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = 1 / fps
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED

    def add(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            InvalidRequest: it is not uint8 [H, W, 3] of the video's size.
            OutputError: the disk is full.
        """
        expected = (self._stream.height, self._stream.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise InvalidRequest("frame", f"{frame.dtype} {frame.shape}", allowed=f"uint8 {expected}")
        picture = av.VideoFrame.from_ndarray(rgb_to_yuv420(frame), format="yuv420p")
        picture.pts = self.frames
        with writable(self._destination, av.FFmpegError):
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self.frames:
            raise InvalidRequest("frames", "a video needs at least one", allowed="1 or more")
        with writable(self._destination, av.FFmpegError):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def abandon(self) -> None:
        """Let go of the file; complaints about it no longer matter."""
        with contextlib.suppress(OSError, av.FFmpegError):
            self._container.close()


@contextmanager
def writing(
    destination: Path, *, width: int, height: int, fps: int | Fraction, quality: int = QUALITY
) -> Iterator[VideoWriter]:
    """Write a video while the body adds frames; it appears at ``destination`` when the body ends well, and only then.

    Args:
        destination: Where the MP4 goes; a file that is there is replaced.
        width, height: Pixels, both even.
        fps: Frames per second, exactly.
        quality: x264's constant rate factor, 0 (lossless) ... 51; less is better and larger.

    Raises:
        InvalidRequest: an odd size, no positive ``fps``, a ``quality`` out of range, or no frames.
        OutputError: the place is not writable, or the disk is full.
    """
    for side, pixels in (("width", width), ("height", height)):
        if pixels < 2 or pixels % 2:
            nearest = str(max(2, pixels + pixels % 2))
            raise InvalidRequest(side, f"{pixels} does not fit 4:2:0", allowed="even numbers", nearest=nearest)
    if fps <= 0:
        raise InvalidRequest("fps", f"{fps} is not a speed", allowed="more than 0")
    if not 0 <= quality <= 51:
        raise InvalidRequest("quality", str(quality), allowed="0 ... 51", nearest=str(min(51, max(0, quality))))
    with scratch(destination) as draft, scratch(destination) as final:
        writer = VideoWriter(draft, destination, (width, height), Fraction(fps), quality)
        try:
            yield writer
            writer.finish()
        finally:
            writer.abandon()
        with writable(destination, av.FFmpegError):
            _assemble(draft, final, writer.metadata)
            packets = _packets(final)
        if packets != writer.frames:
            # A container that runs out of disk while it closes may do so silently.
            raise OutputError(f"{destination} cannot be written: only {packets} of {writer.frames} frames arrived")
        replace(final, destination)


@functools.cache
def _repeatable_code() -> dict[str, str]:
    """Keeps x264 from its code for AVX-512 where the processor has that.

    That code looks at memory nobody has written: of 60 encodings of the same 64x48 frames 16 gave other bytes than the
    rest, and 15 of 60 at 160x96 (PyAV 18.1). The code for AVX2, which every such processor has too, never did, and its
    bytes are those of the majority.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {"x264-params": "asm=avx2"} if re.search(r"\bavx512", flags) else {}


def _assemble(draft: Path, final: Path, metadata: Mapping[str, str]) -> None:
    """Copy the pictures behind an index that holds ``metadata``, which had to wait for them."""
    flags = {"movflags": "+faststart+use_metadata_tags"}
    with av.open(str(draft)) as source, av.open(str(final), "w", format="mp4", options=flags) as target:
        pictures = source.streams.video[0]
        stream = target.add_stream_from_template(pictures)
        target.metadata.update(metadata)
        for packet in source.demux(pictures):
            if packet.size:
                packet.stream = stream
                target.mux(packet)


def _packets(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def write_video(
    destination: Path,
    frames: Iterable[Frame],
    *,
    fps: int | Fraction,
    quality: int = QUALITY,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write all of ``frames``, which may be an iterator that makes them one by one; returns how many there were.

    Raises:
        InvalidRequest, OutputError: as :func:`writing`.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InvalidRequest("frames", "a video needs at least one", allowed="1 or more")
    with writing(destination, width=first.shape[1], height=first.shape[0], fps=fps, quality=quality) as video:
        video.metadata.update(metadata or {})
        video.add(first)
        for frame in iterator:
            video.add(frame)
        return_value = video
    return return_value.frames
