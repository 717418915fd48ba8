"""What can be said of any video file, and of one beside another."""

from __future__ import annotations

import hashlib
from itertools import zip_longest
from pathlib import Path

import numpy as np

from filmgate.evaluation.metrics import flicker, mean_squared_error, psnr, ssim, temporal_difference
from filmgate.media.read import Frame, read_facts, read_frames
from filmgate.spec import DamagedFile, InvalidRequest, Measurement, Report

_BT709 = (1, 1, 1)


def judge(file: Path, reference: Path | None = None) -> Report:
    """Measure ``file``; with ``reference``, also how far the two are apart, frame by frame. Memory is a few frames.

    Raises:
        InvalidRequest: there is no such file, or the two differ in size or number of frames.
        DamagedFile: it is not a video.
    """
    facts = read_facts(file)
    count, difference, brightness = _steadiness(file)
    measurements = [
        Measurement(name="width", value=facts.width, unit="px"),
        Measurement(name="height", value=facts.height, unit="px"),
        Measurement(name="frames", value=count, unit="frames"),
        Measurement(name="fps", value=float(facts.fps), unit="1/s"),
        Measurement(name="duration", value=float(count / facts.fps), unit="s"),
        Measurement(name="bytes", value=file.stat().st_size, unit="B"),
        Measurement(name="temporal_difference", value=difference, samples=max(0, count - 1)),
        Measurement(name="flicker", value=flicker(brightness), samples=max(0, count - 2)),
    ]
    if reference is not None:
        measurements += compare(file, reference)
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    notes = [f"{facts.codec}, {facts.pixel_format}"]
    if facts.colour[:3] != _BT709:
        notes.append("colours are not tagged BT.709: players may show them differently")
    return Report(subject=str(file), sha256=digest, measurements=tuple(measurements), notes=tuple(notes))


def compare(first: Path, second: Path) -> list[Measurement]:
    """PSNR over all pixels, PSNR of the worst frame and mean SSIM of two videos.

    Raises:
        InvalidRequest, DamagedFile: as :func:`judge`.
    """
    errors, likeness = [], []
    for number, (a, b) in enumerate(zip_longest(read_frames(first), read_frames(second))):
        if a is None or b is None:
            shorter = first if a is None else second
            raise InvalidRequest("reference", f"{shorter.name} ends after {number} frames and the other goes on")
        if a.shape != b.shape:
            sizes = (f"{frame.shape[1]}x{frame.shape[0]}" for frame in (a, b))
            raise InvalidRequest("reference", f"sizes differ: {' and '.join(sizes)}", allowed="videos of one size")
        errors.append(mean_squared_error(a, b))
        likeness.append(ssim(a, b))
    return [
        Measurement(name="psnr", value=psnr(float(np.mean(errors))), unit="dB", samples=len(errors)),
        Measurement(name="psnr_worst_frame", value=psnr(max(errors)), unit="dB", samples=len(errors)),
        Measurement(name="ssim", value=float(np.mean(likeness)), samples=len(likeness)),
    ]


def _steadiness(file: Path) -> tuple[int, float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Number of frames, mean temporal difference, and the brightness of every frame."""
    brightness: list[float] = []
    differences: list[float] = []
    before: Frame | None = None
    for frame in read_frames(file):
        brightness.append(float(frame.mean()) / 255)
        if before is not None:
            differences.append(temporal_difference(before, frame))
        before = frame
    if before is None:
        raise DamagedFile(file, "the video has no frames")
    return len(brightness), float(np.mean(differences)) if differences else 0.0, np.array(brightness)
