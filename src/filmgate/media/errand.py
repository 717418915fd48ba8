"""One plan's way to its files, whatever happens on the way: a place to work in, delivery, and no rubbish left behind.

A process may be killed at any moment. Whatever it leaves is written down before it comes to be, or held by a lock that
ends with it, so that the next one puts things right: half a delivery is taken back, a whole one is found to be whole.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from filmgate.media.deliver import check_free, check_place, deliver, settle
from filmgate.media.manifest import manifest_path, read_take
from filmgate.media.publish import writable
from filmgate.media.run_folder import RunFolder, RunNote, claim, folder_of, read_note, stale
from filmgate.media.workspace import Workspace, half_delivered, open_workspace, sweep
from filmgate.spec import Failed, FilmgateError, NotFinite, OutputError, Plan, Take

_KEPT = "the finished steps are kept: begin the same video again, there or with another output, to go on"
_KEPT_BEHIND = "the finished steps are kept: move that file away, or begin the same video with another output, to go on"


class Errand:
    """A plan, the names of its files, and the directory in which its unfinished run is kept.

    Making one checks whether the files can be written; nothing is done before :meth:`begin`. Call :meth:`end` always.

    Args:
        plan: What is carried out.
        video: Name of the video, or of the picture.
        sheet: Name of the contact sheet; None: none.
        overwrite: Replace files that exist.
        runs: Where unfinished runs are kept; None: nothing of this one is.

    Raises:
        OutputError: the files cannot be written there, or exist.
    """

    def __init__(self, plan: Plan, video: Path, sheet: Path | None, *, overwrite: bool, runs: Path | None) -> None:
        self.notes: list[str] = []
        """What a person should know of it."""
        self._plan = plan
        self._video = video
        self._sheet = sheet
        self._overwrite = overwrite
        self._runs = runs
        self._folder: RunFolder | None = None
        self._workspace: Workspace | None = None
        self._delivered = False
        self._hopeless = False
        check_place(video, sheet)
        # What a killed process left of a delivery is in the way only until it is put right.
        begun = runs is not None and read_note(folder_of(runs, plan)) is not None
        if not begun and not half_delivered(video):
            self._check_free()

    @property
    def workspace(self) -> Path:
        """Where the files are made, beside the place that they will have."""
        if self._workspace is None:
            raise AssertionError("not begun")
        return self._workspace.path

    def works_in(self, folder: Path) -> bool:
        """Whether ``folder`` is the workspace of this errand."""
        return self._workspace is not None and self._workspace.path == folder

    @property
    def state(self) -> Path | None:
        """Where a backend may keep what it needs to go on later."""
        return None if self._folder is None else self._folder.path

    def begin(self, *, beside: bool = False) -> Take | None:
        """Make the workspace, and put right what a killed process left of the same plan or the same names.

        Args:
            beside: Another errand of this process carries out the same plan and keeps what there is to keep; this one
                waits for :meth:`deliver_copy` and has no workspace until then.

        Returns:
            The take, if that process had delivered all of it to the same names: then there is nothing to do.

        Raises:
            OutputError: the files cannot be written there, or exist.
        """
        self._folder = None if beside else self._claimed()
        before = None if self._folder is None else self._folder.note()
        finished = None if before is None else self._recovered(before)
        sweep(self._video)
        if finished is not None:
            self._delivered = True
            return finished
        try:
            self._check_free()
        except OutputError as error:
            raise self._telling(error, error.what, _KEPT_BEHIND) from error
        if beside:
            return None
        self._workspace = open_workspace(self._video)
        if self._folder is not None:
            try:
                self._folder.write_note(self._note(self.workspace))
            except OutputError as error:
                self.notes.append(f"where the files of this run go cannot be written down: {error}")
        return None

    def deliver(self, take: Take) -> Take:
        """Move the files of ``take`` from the workspace to their names.

        Raises:
            OutputError: the files cannot be moved.
        """
        try:
            final = deliver(take, self.workspace, self._video, self._sheet, overwrite=self._overwrite)
        except OutputError as error:
            raise self._telling(error, self._by_its_name(error.what), _KEPT) from error
        self._delivered = True
        if self._folder is not None:
            main = next(file for file in final.files if file.role != "sheet")
            place = manifest_path(self._video.parent / main.path)
            note = self._note(self.workspace)
            with suppress(OutputError):  # the files have their names: a disk for states that is full changes nothing
                self._folder.write_note(note.model_copy(update={"delivered": str(place.absolute())}))
        return final

    def deliver_copy(self, take: Take, source: Path) -> Take:
        """Deliver copies of the files of ``take``, which another errand has made in its workspace ``source``.

        Raises:
            OutputError: the files cannot be written.
        """
        self._workspace = open_workspace(self._video)
        for file in take.files:
            with writable(self._video):
                shutil.copyfile(source / file.path, self.workspace / file.path)
        return self.deliver(take)

    def explained(self, failed: Failed) -> Failed:
        """A failure as the caller can read it: a file that could not be written is called by the name that was asked
        for, not by that of the workspace, and what is kept of the run is said.

        Numbers that are not finite come again from the same plan and weights, and with others nothing can go on from
        this run: nothing of it is kept.
        """
        if failed.code == NotFinite.__name__:
            self._hopeless = True
        if failed.code != OutputError.__name__:
            return failed
        kept = f" {_KEPT[0].upper()}{_KEPT[1:]}." if self._holds_state else ""
        return failed.model_copy(update={"message": self._by_its_name(failed.message) + kept})

    def _telling(self, error: OutputError, what: str, kept: str) -> OutputError:
        """An error of files in other words, with those that say how to go on if there is something to go on from."""
        said = f"{what}; {kept}" if self._holds_state else what
        return OutputError(said, allowed=error.allowed, nearest=error.nearest)

    def _by_its_name(self, message: str) -> str:
        if self._workspace is None:
            return message
        pattern = re.escape(str(self.workspace)) + r"(?:[/\\][\w.-]*\w)?"
        return re.sub(pattern, lambda _: str(self._video), message)

    @property
    def _holds_state(self) -> bool:
        return self._folder is not None and self._folder.holds_state

    def end(self) -> None:
        """Take the workspace away, and the run's directory too if the run is finished or nothing was kept of it."""
        if self._workspace is not None:
            self._workspace.remove()
        folder, self._folder = self._folder, None
        if folder is None:
            return
        if self._delivered or self._hopeless or not folder.holds_state:
            folder.discard()
        else:
            folder.release()

    def _check_free(self) -> None:
        if not self._overwrite:
            check_free(self._video, self._sheet)

    def _claimed(self) -> RunFolder | None:
        """The run's directory, once rubbish among all runs is gone; None with a note if it cannot be had."""
        if self._runs is None:
            return None
        try:
            for old in stale(self._runs):
                note = old.note()
                if note is not None:
                    _put_right(note)
                old.discard()
            folder = claim(folder_of(self._runs, self._plan))
        except OutputError as error:
            self.notes.append(f"this run cannot be kept for going on later: {error}")
            return None
        if folder is None:
            self.notes.append("another process carries out the same plan; nothing of this run is kept beside its own")
        return folder

    def _recovered(self, before: RunNote) -> Take | None:
        """Put right what is left of an earlier process; its take, if that was delivered to the same names."""
        manifest = _put_right(before)
        asked = (str(self._video.absolute()), None if self._sheet is None else str(self._sheet.absolute()))
        if manifest is None or asked != (before.output, before.sheet):
            return None
        try:
            take = read_take(manifest)
        except FilmgateError:
            return None
        whole = all((manifest.parent / file.path).is_file() for file in take.files)
        return take if whole and take.plan_sha256 == self._plan.fingerprint else None

    def _note(self, workspace: Path) -> RunNote:
        sheet = None if self._sheet is None else str(self._sheet.absolute())
        return RunNote(
            plan=self._plan,
            output=str(self._video.absolute()),
            sheet=sheet,
            overwrite=self._overwrite,
            workspace=str(workspace.absolute()),
        )


def _put_right(note: RunNote) -> Path | None:
    """Take away a workspace that a killed process left, and take back half a delivery; the manifest of a whole one."""
    workspace = Path(note.workspace)
    manifest = settle(workspace)
    shutil.rmtree(workspace, ignore_errors=True)
    return Path(note.delivered) if note.delivered is not None else manifest
