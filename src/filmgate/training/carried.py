"""What is carried from one sitting to the next beside weights: curves, logs, sheets and rates; and bringing it home."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from filmgate.spec.errors import DamagedFile

MOST_BYTES, MOST_FILES = 16 << 20, 8
"""Of what is brought home at once: more is said."""
NOTES, RATES = "notes.tar.gz", "rates.json"
_NOTED = ("*.jsonl", "*.log", "*.png", RATES)


def pack_notes(runs: Path, path: Path) -> None:
    """Curves, logs, sheets and rates of a run in one file."""
    part = path.with_suffix(".part")
    with tarfile.open(part, "w:gz") as archive:
        for pattern in _NOTED:
            for file in sorted(runs.rglob(pattern)):
                archive.add(file, file.relative_to(runs).as_posix())
    part.replace(path)


def unpack_notes(path: Path, runs: Path) -> None:
    """Curves and rates of earlier sittings, where this machine has none.

    Raises:
        DamagedFile: A file of the archive belongs outside of ``runs``.
    """
    if path.is_file() and not (runs / RATES).is_file():
        # By hand: the filters of tarfile came with Python 3.11.4.
        with tarfile.open(path) as archive:
            for member in archive:
                place, content = runs / member.name, archive.extractfile(member) if member.isfile() else None
                if not place.resolve().is_relative_to(runs.resolve()):
                    raise DamagedFile(path, "holds a file that belongs elsewhere", key=member.name)
                if content is not None:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content.read())


def bring(kept: Path, out: Path, since: float) -> list[str]:
    """Copy what changed in ``kept`` since a moment (``time.time``); returns what is too much to bring at once."""
    out.mkdir(parents=True, exist_ok=True)
    files = [path for path in sorted(kept.iterdir()) if path.is_file() and path.stat().st_mtime >= since]
    for path in files:
        shutil.copyfile(path, out / path.name)
    large = [f"{path.name} has {path.stat().st_size >> 20} MiB" for path in files if path.stat().st_size > MOST_BYTES]
    return [*large, *([f"{len(files)} files"] if len(files) > MOST_FILES else [])]
