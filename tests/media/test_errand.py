"""A plan's way to its files, and what the next process makes of what a killed one left."""

import shutil
from pathlib import Path

import pytest
from tests.takes import make_plan, make_take

from filmgate.media import deliver as delivery
from filmgate.media.errand import Errand
from filmgate.media.run_folder import RunFolder, claim, folder_of, read_note
from filmgate.spec import Failed, FileRecord, OutputError

PLAN = make_plan()
FILES = [
    FileRecord(role="video", path="video.mp4", bytes=9, sha256="a" * 64),
    FileRecord(role="sheet", path="sheet.png", bytes=9, sha256="b" * 64),
]
OLD = {"clip.mp4": b"old video", "clip.json": b"old manifest", "clip.png": b"new sheet"}
"""Files of the caller's, one of them the same as the new one."""


class Killed(BaseException):
    """Ends a process as SIGKILL does: whoever catches this stands for the next process."""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def begin(tmp_path, place):
    def made(*, overwrite=False, resume=True, name="clip", plan=PLAN):
        runs = tmp_path / "runs" if resume else None
        return Errand(plan, place / f"{name}.mp4", place / f"{name}.png", overwrite=overwrite, runs=runs)

    return made


def work(errand):
    (errand.workspace / "video.mp4").write_bytes(b"new video")
    (errand.workspace / "sheet.png").write_bytes(b"new sheet")
    return errand.deliver(make_take(PLAN, files=FILES))


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def dies_in_move(monkeypatch, number, *, before):
    """Make the ``number``-th file that gets its name the last thing that happens, without any tidying up."""
    claim_name, calls = delivery._claim, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == number and before:
            raise Killed
        claim_name(source, target)
        if len(calls) == number:
            raise Killed

    monkeypatch.setattr(delivery, "_claim", killed)
    monkeypatch.setattr(delivery, "_move", plain_moves)


def plain_moves(moves, workspace, overwrite):
    """What ``_move`` does, up to where it is killed: nothing is taken back."""
    for number, (source, target) in enumerate(moves):
        if overwrite and target.exists():
            shutil.move(target, workspace / f"old-{number}")
        delivery._claim(source, target)


def abandoned(errand):
    """A process that is killed gives back its lock and nothing else."""
    errand._folder.release()


def test_all_is_well_and_nothing_is_left(begin, place, tmp_path):
    errand = begin()
    assert errand.begin() is None
    (errand.state / "walk.safetensors").touch()
    work(errand)
    errand.end()
    errand.end()
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert names(tmp_path / "runs") == []


def test_without_resuming_nothing_is_kept(begin, tmp_path):
    errand = begin(resume=False)
    errand.begin()
    assert errand.state is None
    errand.end()
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_keeps_its_state_and_no_files(begin, place):
    errand = begin()
    errand.begin()
    (errand.state / "walk.safetensors").touch()
    errand.end()
    assert names(place) == []
    again = begin()
    again.begin()
    assert (again.state / "walk.safetensors").exists()
    again.end()


def test_a_place_that_refuses_leaves_nothing_of_a_run(begin, place, tmp_path, monkeypatch):
    errand = begin()
    monkeypatch.setattr(Path, "mkdir", refusing(Path.mkdir))
    with pytest.raises(OutputError, match=r"place/clip\.mp4 cannot be written"):
        errand.begin()
    errand.end()
    assert names(place) == []
    assert names(tmp_path / "runs") == []


def test_a_place_that_refuses_changes_nothing_of_a_run_that_was_to_go_elsewhere(begin, place, monkeypatch):
    first = begin()
    first.begin()
    (first.state / "walk.safetensors").touch()
    first.end()
    errand = begin(name="other")
    monkeypatch.setattr(Path, "mkdir", refusing(Path.mkdir))
    with pytest.raises(OutputError, match=r"place/other\.mp4"):
        errand.begin()
    assert (errand.state / "walk.safetensors").exists()
    errand.end()
    assert read_note(folder_of(place.parent / "runs", PLAN)).output == str(place / "clip.mp4")


def refusing(mkdir):
    """As it is where permissions promise more than the file system keeps."""

    def refused(path, *rest, **options):
        if path.suffix == ".part":
            raise PermissionError(1, "Operation not permitted")
        mkdir(path, *rest, **options)

    return refused


def full(errand, file="video.mp4"):
    return Failed(code="OutputError", message=f"{errand.workspace / file} cannot be written: No space left on device.")


@pytest.mark.parametrize("file", ["video.mp4", "sheet.png"])
def test_a_disk_that_became_full_is_told_by_the_name_that_was_asked_for(begin, place, file):
    errand = begin()
    errand.begin()
    told = f"{place / 'clip.mp4'} cannot be written: No space left on device."
    assert errand.explained(full(errand, file)).message == told
    (errand.state / "walk.safetensors").touch()
    kept = " The finished steps are kept: begin the same video again, there or with another output, to go on."
    assert errand.explained(full(errand, file)).message == told + kept
    other = Failed(code="DeviceError", message="out of memory")
    assert errand.explained(other) is other
    errand.end()


@pytest.mark.parametrize(("code", "kept"), [("NotFinite", False), ("DeviceError", True)])
def test_a_run_that_would_only_fail_again_is_not_kept(begin, tmp_path, code, kept):
    errand = begin()
    errand.begin()
    (errand.state / "walk.safetensors").touch()
    failed = Failed(code=code, message="it broke")
    assert errand.explained(failed) is failed
    errand.end()
    assert bool(names(tmp_path / "runs")) == kept


def test_a_disk_that_is_full_at_the_delivery_is_told_so_too(begin, place, monkeypatch):
    errand = begin()
    errand.begin()
    (errand.state / "walk.safetensors").touch()

    def no_room(moves, workspace):
        raise OutputError(f"{workspace / 'delivery.json'} cannot be written: No space left", allowed="free space")

    monkeypatch.setattr(delivery, "_write_journal", no_room)
    with pytest.raises(OutputError) as caught:
        work(errand)
    assert str(caught.value) == (
        f"{place / 'clip.mp4'} cannot be written: No space left; the finished steps are kept: begin the same video"
        " again, there or with another output, to go on. Allowed: free space."
    )
    errand.end()
    assert names(place) == []


@pytest.mark.parametrize("written", [0, 1])
def test_a_disk_for_states_that_is_full_does_not_end_the_work(begin, place, tmp_path, monkeypatch, written):
    write_note, calls = RunFolder.write_note, []

    def filling_up(folder, note):
        calls.append(note)
        if len(calls) > written:
            raise OutputError(f"{folder.path / 'run.json'} cannot be written: No space left", allowed="free space")
        write_note(folder, note)

    monkeypatch.setattr(RunFolder, "write_note", filling_up)
    errand = begin()
    errand.begin()
    assert [note.partition(": ")[0] for note in errand.notes] == (
        [] if written else ["where the files of this run go cannot be written down"]
    )
    work(errand)
    errand.end()
    assert len(calls) == 2
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert names(tmp_path / "runs") == []


def test_a_run_without_state_leaves_no_directory(begin, tmp_path):
    errand = begin()
    errand.begin()
    errand.end()
    assert names(tmp_path / "runs") == []


def test_the_workspace_of_a_killed_process_goes(begin, place):
    errand = begin()
    errand.begin()
    (errand.workspace / "half.mp4").touch()
    abandoned(errand)
    again = begin()
    again.begin()
    assert names(place) == [again.workspace.name]
    again.end()
    assert names(place) == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_half_a_delivery_is_taken_back(begin, place, monkeypatch, number, before, overwrite):
    if overwrite:
        for name, data in OLD.items():
            (place / name).write_bytes(data)
    errand = begin(overwrite=overwrite)
    errand.begin()
    (errand.state / "walk.safetensors").touch()
    with monkeypatch.context() as patch:
        dies_in_move(patch, number, before=before)
        with pytest.raises(Killed):
            work(errand)
    abandoned(errand)
    again = begin(overwrite=overwrite)
    finished = again.begin()
    if number == 3 and not before:
        assert finished is not None, "the video has its name, and with it all have"
        assert [file.path for file in finished.files] == ["clip.mp4", "clip.png"]
    else:
        assert finished is None
        left = {path.name: path.read_bytes() for path in place.iterdir() if path != again.workspace}
        assert left == (OLD if overwrite else {})
        work(again)
    again.end()
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert (place / "clip.mp4").read_bytes() == b"new video"


def test_a_delivery_that_was_whole_is_found_to_be(begin, place, tmp_path):
    errand = begin()
    errand.begin()
    take = work(errand)
    shutil.rmtree(errand.workspace)
    abandoned(errand)
    again = begin()
    assert again.begin() == take
    again.end()
    assert names(tmp_path / "runs") == []
    with pytest.raises(OutputError, match="exists already"):
        begin()


def test_for_other_names_the_work_goes_on(begin, place):
    errand = begin()
    errand.begin()
    work(errand)
    abandoned(errand)
    again = begin(name="other")
    assert again.begin() is None
    work(again)
    again.end()
    assert names(place) == ["clip.json", "clip.mp4", "clip.png", "other.json", "other.mp4", "other.png"]


def test_a_name_that_somebody_took_while_a_run_was_unfinished_is_refused(begin, place):
    errand = begin()
    errand.begin()
    (errand.state / "walk.safetensors").touch()
    errand.end()
    (place / "clip.json").write_text("somebody else's")
    again = begin()
    with pytest.raises(OutputError, match="exists already; the finished steps are kept: move that file away") as caught:
        again.begin()
    assert (caught.value.allowed, Path(caught.value.nearest).name) == ("another name, or --overwrite", "clip-2.mp4")
    again.end()
    assert (place / "clip.json").read_text() == "somebody else's"
    (place / "clip.json").unlink()
    freed = begin()
    assert freed.begin() is None
    assert (freed.state / "walk.safetensors").exists()
    freed.end()


def test_beside_another_process_nothing_is_kept_and_it_is_said(begin, tmp_path):
    other = claim(folder_of(tmp_path / "runs", PLAN))
    errand = begin()
    errand.begin()
    assert errand.state is None
    assert "another" in errand.notes[0]
    work(errand)
    errand.end()
    assert other.path.is_dir()
    other.release()


def test_a_place_for_runs_that_cannot_be_written_is_no_reason_to_fail(begin, tmp_path, place):
    (tmp_path / "runs").write_text("a file")
    errand = begin()
    errand.begin()
    assert errand.state is None
    assert "cannot be kept" in errand.notes[0]
    work(errand)
    errand.end()


def test_old_runs_go_with_all_that_they_left(begin, tmp_path, place):
    import os

    errand = begin(name="old", plan=make_plan(seed=99))
    errand.begin()
    (errand.state / "walk.safetensors").touch()
    folder = errand.state
    abandoned(errand)
    os.utime(folder, (0, 0))
    new = begin()
    new.begin()
    assert names(place) == [new.workspace.name]
    assert names(tmp_path / "runs") == [new.state.name]
    new.end()
