"""Files of a take appear together, or not at all."""

import errno
import os
from pathlib import Path

import pytest
from tests.takes import make_take

from filmgate.media import deliver as delivery
from filmgate.media.deliver import check_free, check_place, deliver
from filmgate.media.manifest import read_take
from filmgate.spec import FileRecord, OutputError


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "video.mp4").write_bytes(b"new video")
    (folder / "sheet.png").write_bytes(b"new sheet")
    return folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


TAKE = make_take(
    files=[
        FileRecord(role="video", path="video.mp4", bytes=9, sha256="a" * 64),
        FileRecord(role="sheet", path="sheet.png", bytes=9, sha256="b" * 64),
    ]
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_files_get_their_names(workspace, place):
    take = deliver(TAKE, workspace, place / "clip.mp4", place / "clip.png", overwrite=False)
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert (place / "clip.mp4").read_bytes() == b"new video"
    assert [record.path for record in take.files] == ["clip.mp4", "clip.png"]
    assert read_take(place / "clip.json") == take


def test_a_sheet_that_nobody_asked_for_stays_behind(workspace, place):
    take = deliver(TAKE, workspace, place / "clip.mp4", None, overwrite=False)
    assert names(place) == ["clip.json", "clip.mp4"]
    assert [record.role for record in take.files] == ["video"]


def test_a_sheet_may_lie_elsewhere(workspace, place, tmp_path):
    (tmp_path / "sheets").mkdir()
    take = deliver(TAKE, workspace, place / "clip.mp4", tmp_path / "sheets" / "s.png", overwrite=False)
    assert take.files[1].path == str(Path("..") / "sheets" / "s.png")
    assert (place / take.files[1].path).read_bytes() == b"new sheet"


@pytest.mark.parametrize("taken", ["clip.mp4", "clip.json", "clip.png"])
def test_a_name_that_was_taken_meanwhile_is_left_alone(workspace, place, taken):
    (place / taken).write_bytes(b"somebody else's")
    take = deliver(TAKE, workspace, place / "clip.mp4", place / "clip.png", overwrite=False)
    assert names(place) == sorted(["clip-2.json", "clip-2.mp4", "clip-2.png", taken])
    assert (place / taken).read_bytes() == b"somebody else's"
    assert [record.path for record in take.files] == ["clip-2.mp4", "clip-2.png"]


def test_overwriting_replaces_all(workspace, place):
    for name in ("clip.mp4", "clip.json", "clip.png"):
        (place / name).write_bytes(b"old")
    deliver(TAKE, workspace, place / "clip.mp4", place / "clip.png", overwrite=True)
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert (place / "clip.mp4").read_bytes() == b"new video"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_failure_in_the_middle_takes_everything_back(workspace, place, monkeypatch, overwrite, error, fails):
    if overwrite:
        for name in ("clip.mp4", "clip.json", "clip.png"):
            (place / name).write_bytes(b"old")
    claim, calls = delivery._claim, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == fails + 1:
            raise error
        claim(source, target)

    monkeypatch.setattr(delivery, "_claim", failing)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        deliver(TAKE, workspace, place / "clip.mp4", place / "clip.png", overwrite=overwrite)
    assert names(place) == (["clip.json", "clip.mp4", "clip.png"] if overwrite else [])
    assert all(path.read_bytes() == b"old" for path in place.iterdir())


def test_file_systems_without_hard_links(workspace, place, monkeypatch):
    def link(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (place / "clip.mp4").write_bytes(b"somebody else's")
    deliver(TAKE, workspace, place / "clip.mp4", None, overwrite=False)
    assert names(place) == ["clip-2.json", "clip-2.mp4", "clip.mp4"]
    assert (place / "clip-2.mp4").read_bytes() == b"new video"


@pytest.mark.parametrize("taken", ["clip.mp4", "clip.json", "clip.png"])
def test_taken_names_are_refused_before_the_work_and_a_free_one_is_suggested(place, taken):
    (place / taken).touch()
    with pytest.raises(OutputError, match=r"exists already.*--overwrite.*clip-2\.mp4"):
        check_free(place / "clip.mp4", place / "clip.png")
    check_free(place / "other.mp4", None)


@pytest.mark.parametrize(
    ("video", "sheet", "message"),
    [
        ("missing/clip.mp4", None, "not a directory"),
        ("clip.mp4", "missing/clip.png", "not a directory"),
        ("folder", None, "is a directory"),
        ("clip.mp4", "clip.mp4", "different names"),
        ("clip.mp4", "clip.json", "different names"),
    ],
)
def test_impossible_places_are_refused_before_the_work(place, video, sheet, message):
    (place / "folder").mkdir()
    with pytest.raises(OutputError, match=message):
        check_place(place / video, sheet and place / sheet)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no file system here that nobody may write to")
def test_a_virtual_file_system_is_refused_whatever_its_permissions_say():
    with pytest.raises(OutputError, match=r"^/sys/clip\.(mp4|json) (cannot be written|is not writable)|^/sys is not"):
        check_place(Path("/sys/clip.mp4"), None)


@pytest.mark.parametrize("sheet", [None, "sheets/clip.png"])
def test_a_full_disk_is_refused_before_the_work_and_nothing_stays_there(place, monkeypatch, sheet):
    (place / "sheets").mkdir()
    full = place / "sheets" if sheet else place
    write = Path.write_bytes

    def until_full(path, data):
        if path.parent == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OutputError, match="No space left"):
        check_place(place / "clip.mp4", sheet and place / sheet)
    assert [path.name for path in place.rglob("*")] == ["sheets"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(place):
    place.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="not writable"):
            check_place(place / "clip.mp4", None)
    finally:
        place.chmod(0o700)


def test_a_relative_name_is_one_in_the_working_directory(workspace, place, monkeypatch):
    monkeypatch.chdir(place)
    check_place(Path("clip.mp4"), None)
    deliver(TAKE, workspace, Path("clip.mp4"), None, overwrite=False)
    assert names(place) == ["clip.json", "clip.mp4"]
