"""What is carried between sittings comes back as it was, and nowhere else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from filmgate.spec.errors import DamagedFile
from filmgate.training.carried import NOTES, RATES, pack_notes, unpack_notes


def test_curves_and_rates_come_back(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    (first / "base").mkdir(parents=True)
    other.mkdir()
    (first / RATES).write_text("{}")
    (first / "base" / "base.jsonl").write_text("one\n")
    (first / "base" / "base.safetensors").write_text("not a note")
    pack_notes(first, tmp_path / NOTES)
    unpack_notes(tmp_path / NOTES, other)
    assert sorted(p.relative_to(other).as_posix() for p in other.rglob("*.*")) == ["base/base.jsonl", RATES]
    (other / "base" / "base.jsonl").write_text("newer\n")
    unpack_notes(tmp_path / NOTES, other)  # has rates of its own by now
    assert (other / "base" / "base.jsonl").read_text() == "newer\n"


def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with tarfile.open(tmp_path / NOTES, "w:gz") as archive:
        member = tarfile.TarInfo("../outside.log")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DamagedFile, match="belongs elsewhere"):
        unpack_notes(tmp_path / NOTES, runs)
    assert not (tmp_path / "outside.log").exists()
