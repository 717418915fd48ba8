"""The receipt of a video or of a picture: a :class:`~filmgate.spec.Take` inside it, and beside it.

The one inside names no outputs: a file cannot hold its own hash. Nor does it say what differs from run to run without
changing the picture (when it was made, how long that took, what was estimated), so that the same plan gives the same
file, byte for byte. The one beside it says both.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from filmgate.media.publish import write_bytes
from filmgate.media.read import read_facts
from filmgate.spec import DamagedFile, FilmgateError, InvalidRequest, MemoryEstimate, Take, TimeEstimate

KEY = "filmgate"
"""Name of the receipt in a video's metadata."""
_SUFFIX, _PICTURE = ".json", ".png"
_MADE_HERE = "a video or picture that Filmgate made, or its manifest"


def manifest_path(video: Path) -> Path:
    """Where the manifest of ``video`` lies: ``clip.json`` for ``clip.mp4``."""
    return video.with_suffix(_SUFFIX)


def manifest_text(take: Take) -> str:
    """A manifest as it is written to disk."""
    return json.dumps(take.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def write_manifest(video: Path, take: Take) -> Path:
    """Write the manifest of ``video`` beside it and return where.

    Raises:
        OutputError: the place is not writable, or the disk is full.
    """
    path = manifest_path(video)
    write_bytes(path, manifest_text(take).encode())
    return path


def embedded(take: Take) -> dict[str, str]:
    """What a video's metadata says of how it was made."""
    return {KEY: repeatable(take).model_dump_json(), "title": take.plan.prompt}


def repeatable(take: Take) -> Take:
    """What a take has in common with every repetition on the same machine."""
    nothing = MemoryEstimate(weights=0, activations=0, vae=0, peak=0)
    estimates = {"memory": nothing, "times": TimeEstimate(), "options": (), "seconds": 0.0, "price_usd": None}
    skipping = take.plan.acceleration.model_copy(update={"considered": ()})
    plan = take.plan.model_copy(update={**estimates, "warnings": (), "acceleration": skipping})
    return take.model_copy(update={"plan": plan, "files": (), "timings": None, "energy_joules": None, "created": None})


def read_take(path: Path) -> Take:
    """The take of a video, a picture or a manifest.

    What is inside a video counts; without that, what lies beside it. If both tell of the same take, what lies beside it
    adds estimates, timings and date.

    Raises:
        InvalidRequest: there is no such file, or it says nothing of how it was made.
        DamagedFile: what it says is no take, or the file is no video.
    """
    if not path.is_file():
        raise InvalidRequest("file", f"{path} is not a file", allowed=_MADE_HERE)
    if path.suffix.lower() == _SUFFIX:
        return _parse(path, path.read_bytes())
    inside, beside = _texts(path).get(KEY), manifest_path(path)
    if inside is not None:
        return _completed(_parse(path, inside.encode()), beside)
    if beside.is_file():
        return _parse(beside, beside.read_bytes())
    raise InvalidRequest(
        "file",
        f"{path} does not say how it was made, and there is no {beside.name} beside it",
        allowed=_MADE_HERE,
    )


def _completed(inside: Take, beside: Path) -> Take:
    """The take inside a video, with what its manifest adds if that is of the same take."""
    try:
        full = _parse(beside, beside.read_bytes())
    except (OSError, FilmgateError):
        return inside
    return full.model_copy(update={"files": ()}) if repeatable(full) == repeatable(inside) else inside


def _texts(path: Path) -> dict[str, str]:
    """What a video or a picture says of itself."""
    if path.suffix.lower() != _PICTURE:
        return read_facts(path).metadata
    from filmgate.media.pictures import picture_texts  # planning, which reads no pictures, starts faster without

    return picture_texts(path)


def _parse(path: Path, text: bytes) -> Take:
    try:
        return Take.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or None
        raise DamagedFile(path, f"not a manifest of this version of Filmgate: {first['msg']}", key=where) from error
