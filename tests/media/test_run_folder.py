"""Who is at a run, and what is written down of it."""

import os
import signal
import subprocess
import sys

import pytest
from tests.takes import make_plan

from filmgate.media.run_folder import RunNote, claim, folder_of, notes, read_note, stale

PLAN = make_plan()


def note_of(folder, plan=PLAN):
    return RunNote(
        plan=plan, output=str(folder / "clip.mp4"), sheet=None, overwrite=False, workspace=str(folder / ".clip.part")
    )


def test_a_run_is_called_after_its_plan(tmp_path):
    names = {folder_of(tmp_path, make_plan(seed=seed)).name for seed in (1, 1, 2)}
    assert len(names) == 2
    assert all(len(name) == 40 for name in names)


def test_one_at_a_time_even_in_one_process(tmp_path):
    first = claim(tmp_path / "runs" / "a")
    assert claim(tmp_path / "runs" / "a") is None
    first.release()
    assert claim(tmp_path / "runs" / "a") is not None


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from filmgate.media.run_folder import claim;"
        "folder = claim(Path(sys.argv[1])); print(folder is not None, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "True\n"
        assert claim(tmp_path / "a") is None
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert claim(tmp_path / "a") is not None
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_folder_that_is_thrown_away_between_opening_and_locking_is_made_anew(tmp_path, monkeypatch):
    from filmgate.media import lock

    locked, first = lock._locked, claim(tmp_path / "a")

    def late(file):
        if (tmp_path / "a").exists() and first.path.exists() and not late.done:
            late.done = True
            first.discard()
        return locked(file)

    late.done = False
    monkeypatch.setattr(lock, "_locked", late)
    second = claim(tmp_path / "a")
    assert late.done
    assert (tmp_path / "a" / "lock").is_file()
    assert claim(tmp_path / "a") is None
    second.release()


def test_what_is_written_down_is_read(tmp_path):
    folder = claim(tmp_path / "a")
    assert folder.note() is None
    folder.write_note(note_of(tmp_path))
    assert folder.note() == read_note(tmp_path / "a") == note_of(tmp_path)
    (tmp_path / "a" / "run.json").write_text("{")
    assert folder.note() is None


def test_state_is_whatever_a_backend_left(tmp_path):
    folder = claim(tmp_path / "a")
    folder.write_note(note_of(tmp_path))
    (folder.path / ".half.part").touch()
    assert not folder.holds_state
    (folder.path / "walk.safetensors").touch()
    assert folder.holds_state


def test_half_written_files_go_with_the_next_claim(tmp_path):
    folder = claim(tmp_path / "a")
    (folder.path / ".walk.1234.part").touch()
    folder.release()
    assert [path.name for path in claim(tmp_path / "a").path.iterdir()] == ["lock"]


def test_discarding_leaves_nothing(tmp_path):
    folder = claim(tmp_path / "a")
    folder.write_note(note_of(tmp_path))
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_only_old_runs_that_nobody_holds_are_stale(tmp_path):
    for name in ("old", "held", "new"):
        folder = claim(tmp_path / name)
        folder.release()
    held = claim(tmp_path / "held")
    for name in ("old", "held"):
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".discarded-1").mkdir()
    found = list(stale(tmp_path))
    assert [folder.path.name for folder in found] == ["old"]
    assert not (tmp_path / ".discarded-1").exists()
    assert list(stale(tmp_path / "missing")) == []
    held.release()


def test_unfinished_runs_are_listed_the_latest_last_without_those_that_somebody_is_at(tmp_path):
    plans = {name: make_plan(prompt=name) for name in ("first", "second", "held")}
    for age, (name, plan) in enumerate(plans.items()):
        folder = claim(folder_of(tmp_path, plan))
        folder.write_note(note_of(tmp_path, plan))
        os.utime(folder.path, (age, age))
        if name != "held":
            folder.release()
    assert [note.plan.prompt for note in notes(tmp_path)] == ["first", "second"]
    assert notes(tmp_path / "missing") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission(tmp_path):
    from filmgate.spec import OutputError

    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        claim(tmp_path / "a")
