"""From a workspace to the place that the caller chose: all files of a take appear together or not at all.

Before the first file moves, a journal in the workspace says which will. A process that is killed between two files
leaves it there, and :func:`settle` takes the delivery back.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Literal, TypedDict

from filmgate.media.manifest import manifest_path, manifest_text
from filmgate.media.publish import replace, scratch, writable, write_bytes
from filmgate.spec import FileRecord, OutputError, Take

PICTURE = ".png"
_JOURNAL = "delivery.json"
_PROBE_BYTES = 1 << 14


class _Move(TypedDict):
    """A file on its way to ``target``: what is in it, and device and number of the file that it replaces."""

    target: str
    sha256: str
    old: list[int] | None


def check_free(video: Path, sheet: Path | None) -> None:
    """Refuse names that are taken, before any work is done.

    Raises:
        OutputError: one of the files exists, or they could not be written there.
    """
    for path in _targets(video, sheet):
        if path.exists():
            nearest = next(name for name in _numbered(video) if not any(map(Path.exists, _beside(name, video, sheet))))
            raise OutputError(f"{path} exists already", allowed="another name, or --overwrite", nearest=str(nearest))


def check_place(video: Path, sheet: Path | None) -> None:
    """Refuse places where nothing can be written, before any work is done. Leaves nothing there.

    Raises:
        OutputError: the directory is missing, not writable or on a full disk, or the names coincide.
    """
    targets = _targets(video, sheet)
    if len(set(targets)) != len(targets):
        raise OutputError(f"video, manifest and contact sheet cannot all be {video}", allowed="different names")
    for path in targets:
        if not path.parent.is_dir():
            raise OutputError(f"{path.parent} is not a directory", allowed="an existing directory")
        if path.is_dir():
            raise OutputError(f"{path} is a directory", allowed="the name of a file")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} is not writable", allowed="a writable directory")
    for path in {path.parent: path for path in reversed(targets)}.values():
        _probe(path)


def _probe(path: Path) -> None:
    """Write a little beside ``path`` and take it away again: permissions do not tell of read-only and virtual file
    systems, where nobody may write, nor of full ones."""
    with scratch(path) as part, writable(path):
        part.write_bytes(bytes(_PROBE_BYTES))


def deliver(take: Take, workspace: Path, video: Path, sheet: Path | None, *, overwrite: bool) -> Take:
    """Move the files of ``take`` from ``workspace`` to their places: its video, or its picture where ``video``
    is the name of one.

    Without ``overwrite`` nothing is replaced: if a name was taken while the work went on, ``-2``, ``-3``, ... is added
    to the video's name and with it to the others'. With it, the old files come back if anything fails.

    Returns:
        The take, its files by their new names relative to the manifest.

    Raises:
        OutputError: the files cannot be moved.
    """
    for place in [video] if overwrite else _numbered(video):
        still = _renamed(sheet, video, place)
        final = take.model_copy(update={"files": _records(take, place, still)})
        moves = _moves(take, workspace, final, place, still)
        with writable(place):
            _write_journal(moves, workspace)
            try:
                _move(moves, workspace, overwrite=overwrite)
            except FileExistsError:
                continue
        return final
    raise AssertionError("numbers do not end")


def settle(workspace: Path) -> Path | None:
    """Put right what is left of a delivery from ``workspace`` whose process was killed.

    Returns:
        The manifest, if the video has got its name and with it everything else has. Else None: new files are taken
        away, replaced ones are back, and the workspace can go.

    Raises:
        OutputError: the files cannot be moved.
    """
    try:
        moves: list[_Move] = json.loads((workspace / _JOURNAL).read_bytes())
    except OSError:
        return None
    if _arrived(moves[-1]):
        return Path(moves[0]["target"])
    for number, move in reversed(list(enumerate(moves))):
        target, old = Path(move["target"]), workspace / f"old-{number}"
        with writable(target):
            if _arrived(move):
                target.unlink()
            # A copy of a file that is still in its place may be half a copy.
            if old.exists() and not target.exists():
                shutil.move(old, target)
    return None


def _write_journal(moves: list[tuple[Path, Path]], workspace: Path) -> None:
    entries = [
        _Move(target=str(target.absolute()), sha256=_sha256(source), old=_identity(target)) for source, target in moves
    ]
    write_bytes(workspace / _JOURNAL, json.dumps(entries).encode())


def _arrived(move: _Move) -> bool:
    """Whether a file has got its name: the one that was there before does not count, even if it is the same."""
    target = Path(move["target"])
    return target.is_file() and _identity(target) != move["old"] and _sha256(target) == move["sha256"]


def _identity(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _targets(video: Path, sheet: Path | None) -> list[Path]:
    return [path for path in (video, manifest_path(video), sheet) if path is not None]


def _beside(place: Path, video: Path, sheet: Path | None) -> list[Path]:
    """All files, if the video's name becomes ``place``."""
    return _targets(place, _renamed(sheet, video, place))


def _renamed(sheet: Path | None, video: Path, place: Path) -> Path | None:
    """The sheet with the number that the video's name got."""
    return sheet if sheet is None or place == video else sheet.with_stem(sheet.stem + place.stem[len(video.stem) :])


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_stem(f"{path.stem}-{number}") for number in count(2))


def _records(take: Take, video: Path, sheet: Path | None) -> tuple[FileRecord, ...]:
    names = {_main(video): video, "sheet": sheet}
    found = ((record, names.get(record.role)) for record in take.files)
    root = manifest_path(video).parent
    return tuple(
        record.model_copy(update={"path": os.path.relpath(place, root)}) for record, place in found if place is not None
    )


def _moves(take: Take, workspace: Path, final: Take, video: Path, sheet: Path | None) -> list[tuple[Path, Path]]:
    """What goes where, the video last: who sees it sees the others too."""
    manifest = workspace / "manifest.json"
    with writable(manifest_path(video)):
        manifest.write_text(manifest_text(final), encoding="utf-8")
    sources = {record.role: workspace / record.path for record in take.files}
    moves = [(manifest, manifest_path(video))]
    if sheet is not None and "sheet" in sources:
        moves.append((sources["sheet"], sheet))
    return [*moves, (sources[_main(video)], video)]


def _main(video: Path) -> Literal["video", "picture"]:
    """Role of the file that is called ``video``."""
    return "picture" if video.suffix.lower() == PICTURE else "video"


def _move(moves: list[tuple[Path, Path]], workspace: Path, *, overwrite: bool) -> None:
    """Move all files, or none and raise."""
    back: list[tuple[Path, Path]] = []
    try:
        for number, (source, target) in enumerate(moves):
            if overwrite and target.exists():
                old = workspace / f"old-{number}"
                shutil.move(target, old)
                back.append((old, target))
            _claim(source, target)
            back.append((target, source))
    except BaseException:
        # The last first: a new file must be gone before the old one gets its name back.
        for here, there in reversed(back):
            shutil.move(here, there)
        raise


def _claim(source: Path, target: Path) -> None:
    """Move without replacing: FileExistsError if there is something already."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # Another file system, or one without hard links: a moment of risk between the question and the deed.
        if target.exists():
            raise FileExistsError(target) from None
        with scratch(target) as part:
            shutil.copyfile(source, part)
            replace(part, target)
    source.unlink()
