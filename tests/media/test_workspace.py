"""Directories of unfinished files, and what is made of those whose process was killed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.takes import make_plan, make_take

from filmgate.media.errand import Errand
from filmgate.media.lock import LOCK
from filmgate.media.run_folder import claim, folder_of
from filmgate.media.workspace import half_delivered, open_workspace, sweep
from filmgate.spec import FileRecord, OutputError

CODE = (
    "import sys, time; from pathlib import Path; from filmgate.media.workspace import open_workspace;"
    "work = open_workspace(Path(sys.argv[1])); (work.path / 'half.mp4').touch();"
    "print(work.path.name, flush=True); time.sleep(600)"
)


ERRAND = (
    "import sys, time; from pathlib import Path; from tests.takes import make_plan;"
    "from filmgate.media.errand import Errand;"
    "made = Errand(make_plan(), Path(sys.argv[1]), None, overwrite=False, runs=Path(sys.argv[2]));"
    "made.begin(); print(made.workspace.name, flush=True); time.sleep(600)"
)
ROOT = Path(__file__).parents[2]


@contextmanager
def another_process(video, *more, code=CODE):
    """The name of the workspace that another process works in, and a function that kills it."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(video), *map(str, more)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )  # fmt: skip

    def kill():
        process.send_signal(signal.SIGKILL)
        process.wait()

    try:
        yield process.stdout.readline().strip(), kill
    finally:
        kill()
        process.stdout.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_workspace_is_beside_its_video_and_goes(tmp_path):
    work = open_workspace(tmp_path / "clip.mp4")
    assert work.path.parent == tmp_path
    assert names(work.path) == [LOCK]
    work.remove()
    work.remove()
    assert names(tmp_path) == []


def test_what_a_killed_process_left_goes_and_what_a_live_one_has_stays(tmp_path):
    video = tmp_path / "clip.mp4"
    scratch = tmp_path / ".clip.preview.png.0123abcd.part"
    with another_process(video) as (theirs, kill):
        scratch.touch()
        sweep(video)
        assert names(tmp_path) == sorted([theirs, scratch.name])
        kill()
        sweep(video)
        assert names(tmp_path) == []


def test_only_what_is_called_after_the_video_goes(tmp_path):
    left = [".clip-2.0123abcd.part", ".clip.v2.0123abcd.part", ".clip.0123abcd.parts", "clip.0123abcd.part"]
    for name in left:
        (tmp_path / name).mkdir()
    (tmp_path / ".clip.0123abcd.part").mkdir()
    sweep(tmp_path / "clip.mp4")
    assert names(tmp_path) == sorted(left)
    sweep(tmp_path / "missing" / "clip.mp4")


def test_signs_in_a_name_are_no_pattern(tmp_path):
    (tmp_path / ".c[l]ip*.0123abcd.part").mkdir()
    (tmp_path / ".clip.0123abcd.part").mkdir()
    sweep(tmp_path / "c[l]ip*.mp4")
    assert names(tmp_path) == [".clip.0123abcd.part"]


def test_a_name_that_is_swept_away_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    from filmgate.media import lock

    locked, swept = lock._locked, []

    def late(file):
        if not swept:
            swept.extend(tmp_path.iterdir())
            shutil.rmtree(swept[0])
        return locked(file)

    monkeypatch.setattr(lock, "_locked", late)
    work = open_workspace(tmp_path / "clip.mp4")
    assert names(work.path) == [LOCK]
    assert len(swept) == 1


def test_a_file_system_without_locks_is_no_reason_to_fail(tmp_path, monkeypatch):
    from filmgate.media import lock

    monkeypatch.setattr(lock, "_locked", lambda _: False)
    work = open_workspace(tmp_path / "clip.mp4")
    assert names(work.path) == []
    sweep(tmp_path / "clip.mp4")
    assert work.path.is_dir(), "where nobody can hold anything, nobody sweeps"
    work.remove()


@pytest.mark.parametrize("theirs", [b"half", b"somebody else's"])
def test_half_a_delivery_that_nobody_wrote_down_is_taken_back(tmp_path, theirs):
    video, manifest = tmp_path / "clip.mp4", tmp_path / "clip.json"
    with another_process(video) as (name, kill):
        kill()
    manifest.write_bytes(theirs)
    digest = hashlib.sha256(b"half").hexdigest()
    moves = [{"target": str(path), "sha256": digest, "old": None} for path in (manifest, video)]
    (tmp_path / name / "delivery.json").write_text(json.dumps(moves))
    errand = Errand(make_plan(), video, None, overwrite=False, runs=None)
    if theirs == b"half":
        errand.begin()
        assert names(tmp_path) == [errand.workspace.name]
    else:
        with pytest.raises(OutputError, match="exists already"):
            errand.begin()
        assert names(tmp_path) == ["clip.json"]
    errand.end()
    assert not half_delivered(video)


@pytest.mark.parametrize("place", ["held", "unwritable"])
def test_a_killed_run_that_was_not_written_down_leaves_nothing(tmp_path, place):
    videos, runs, plan = tmp_path / "videos", tmp_path / "runs", make_plan()
    videos.mkdir()
    holder = claim(folder_of(runs, plan)) if place == "held" else runs.write_text("a file")
    with another_process(videos / "clip.mp4", runs, code=ERRAND) as (theirs, kill):
        beside = Errand(plan, videos / "clip.mp4", None, overwrite=False, runs=runs)
        beside.begin()
        assert names(videos) == sorted([theirs, beside.workspace.name])
        beside.end()
        assert names(videos) == [theirs]
        kill()
    if place == "held":
        holder.release()
    again = Errand(plan, videos / "clip.mp4", None, overwrite=False, runs=runs)
    again.begin()
    assert names(videos) == [again.workspace.name]
    again.end()
    assert names(videos) == []


def test_a_second_errand_of_one_plan_gets_copies(tmp_path):
    plan = make_plan()
    first, second = (Errand(plan, tmp_path / f"{n}.mp4", None, overwrite=False, runs=tmp_path / "runs") for n in "ab")
    first.begin()
    second.begin(beside=True)
    assert (second.notes, second.state) == ([], None)
    (first.workspace / "video.mp4").write_bytes(b"a video")
    take = make_take(plan, files=[FileRecord(role="video", path="video.mp4", bytes=7, sha256="a" * 64)])
    assert second.deliver_copy(take, first.workspace).files[0].path == "b.mp4"
    assert first.deliver(take).files[0].path == "a.mp4"
    first.end()
    second.end()
    assert names(tmp_path) == ["a.json", "a.mp4", "b.json", "b.mp4", "runs"]
    assert names(tmp_path / "runs") == []
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
