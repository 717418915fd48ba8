"""Captions of a folder of clips, in the forms of the public trainers. Does not need torch.

    NAME.json beside NAME.mp4      ``filmgate world render``: its ``caption``
    NAME.txt beside NAME.mp4       kohya, diffusion-pipe, musubi-tuner
    metadata.jsonl, metadata.csv   Hugging Face datasets (``file_name``), musubi-tuner (``video_path``, ``image_path``),
                                   DiffSynth (``video``, ``image``); the caption is ``caption``, ``text`` or ``prompt``
    captions.json                  diffusion-pipe: file name to a caption, or to a list of them

The first of them that is there counts, in this order.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filmgate.spec.errors import DamagedFile, InvalidRequest

TABLES = ("metadata.jsonl", "metadata.csv")
BY_NAME = "captions.json"
FILE_FIELDS = ("file_name", "video_path", "image_path", "video", "image", "file", "path")
CAPTION_FIELDS = ("caption", "text", "prompt")
Captions = Mapping[Path, tuple[str, ...]]


def read_tables(folder: Path) -> Captions:
    """Captions by absolute path of the clip, from the tables of a folder.

    Raises:
        DamagedFile: a table cannot be read, with its line.
        InvalidRequest: a line names no file or no caption.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for name in TABLES:
        path = folder / name
        if path.is_file():
            rows = _lines(path) if path.suffix == ".jsonl" else _rows(path)
            for number, row in rows:
                clip, caption = _pair(path, number, row)
                found[_located(folder, clip)] = (caption,)
    path = folder / BY_NAME
    if path.is_file():
        for clip, captions in _object(path).items():
            listed = [captions] if isinstance(captions, str) else captions
            if not isinstance(listed, list) or not listed or not all(isinstance(text, str) for text in listed):
                raise DamagedFile(path, "not a caption", key=clip, expected="a text or a list of texts")
            found[_located(folder, clip)] = tuple(text.strip() for text in listed)
    return found


def captions_of(clip: Path, tables: Captions) -> tuple[str, ...]:
    """What is written about a clip; nothing if nothing is.

    Raises:
        DamagedFile: a file beside it cannot be read.
    """
    truth = clip.with_suffix(".json")
    if truth.is_file() and isinstance(caption := _object(truth).get("caption"), str):
        return _written([caption])
    beside = clip.with_suffix(".txt")
    if beside.is_file():
        return _written([_text(beside)])
    if (listed := tables.get(clip.absolute())) is not None:
        return _written(listed)
    return ()


def remedy(clip: Path) -> str:
    """What to do where a caption is missing."""
    line = json.dumps({"file_name": clip.name, "caption": "what it shows"})
    return f"a text in {clip.with_suffix('.txt').name} beside it, or a line {line} in metadata.jsonl"


def _written(texts: Iterable[str]) -> tuple[str, ...]:
    """Those with a letter in them: numbers alone are a camera's path or a label, no caption."""
    return tuple(text.strip() for text in texts if any(map(str.isalpha, text)))


def _located(folder: Path, name: str) -> Path:
    return (folder / name).absolute()


def _pair(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, str]:
    clip = next((row[field] for field in FILE_FIELDS if isinstance(row.get(field), str) and row[field]), None)
    caption = next((row[field] for field in CAPTION_FIELDS if isinstance(row.get(field), str)), None)
    for value, what, fields in ((clip, "file", FILE_FIELDS), (caption, "caption", CAPTION_FIELDS)):
        if value is None:
            raise InvalidRequest(
                "clips", f"{path}, line {number} names no {what}", allowed=f"one of the fields {', '.join(fields)}"
            )
    assert clip is not None
    assert caption is not None
    return clip, caption


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DamagedFile(path, f"line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DamagedFile(path, f"line {number} is not an object", found=line[:40])
            yield number, row


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_text(path)))
    for row in reader:
        yield reader.line_num, row


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise DamagedFile(path, f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DamagedFile(path, "not an object of names and captions")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write the mark
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFile(path, f"not a text in UTF-8: {error}") from error
