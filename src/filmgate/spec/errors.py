"""Every error that Filmgate raises on purpose.

An error says what was wrong, what is allowed and, where there is one, the nearest valid value, so that the person who
reads it can go on without opening the documentation. Each class carries the process exit code that the command line
uses for it: 2 for anything that the caller can mend by changing an input, 1 for the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FilmgateError(Exception):
    """Base of all deliberate errors.

    Args:
        what: One sentence that says what is wrong, with the offending value in it.
        allowed: What would have been accepted.
        nearest: The nearest valid value, ready to be typed.
    """

    exit_code: int = 1

    def __init__(self, what: str, *, allowed: str | None = None, nearest: str | None = None) -> None:
        self.what = what
        self.allowed = allowed
        self.nearest = nearest
        super().__init__(self.__str__())

    @property
    def code(self) -> str:
        """Stable machine name of the error: the class name."""
        return type(self).__name__

    def __str__(self) -> str:
        parts = [self.what.removesuffix(".") + "."]
        if self.allowed:
            parts.append(f"Allowed: {self.allowed.removesuffix('.')}.")
        if self.nearest:
            parts.append(f"Nearest valid: {self.nearest.removesuffix('.')}.")
        return " ".join(parts)


class InvalidRequest(FilmgateError):
    """A field of a request cannot be honoured. ``field`` is its name as the caller typed it."""

    exit_code = 2

    def __init__(self, field: str, what: str, *, allowed: str | None = None, nearest: str | None = None) -> None:
        self.field = field
        super().__init__(f"{field}: {what}", allowed=allowed, nearest=nearest)


_TELLING = 3
"""Letters from which on the beginning of a name says which is meant."""


class UnknownName(InvalidRequest):
    """A model, solver, profile or option that does not exist; suggests the names that look alike.

    ``noun`` says what it is a name of, where that is not the field.
    """

    def __init__(self, field: str, value: str, known: Iterable[str], *, noun: str | None = None) -> None:
        names = sorted(known)
        # Case is no difference, and what is only cut short comes before what looks alike: A100, a100-80.
        folded, wanted = {name.casefold(): name for name in names}, value.casefold()
        longer = [name for name in folded if len(wanted) >= _TELLING and name.startswith(wanted)]
        alike = [*longer, *difflib.get_close_matches(wanted, folded, n=3, cutoff=0.4)]
        close = [folded[name] for name in dict.fromkeys(alike)][:3]
        super().__init__(
            field,
            f"there is no {noun or field} named {value!r}",
            allowed=", ".join(names) if names else None,
            nearest=" or ".join(close) if close else None,
        )


class CheckpointError(FilmgateError):
    """A checkpoint cannot be used.

    Args:
        path: The file or directory.
        key: The tensor or configuration key at fault, if it is about one.
        expected: What the engine expected there.
        found: What it found.
    """

    exit_code = 2

    def __init__(
        self, path: object, what: str, *, key: str | None = None, expected: object = None, found: object = None
    ) -> None:
        self.path = str(path)
        self.key = key
        self.expected = expected
        self.found = found
        text = f"{self.path}: {what}"
        if key is not None:
            text += f" (key {key!r})"
        said = [f"{word} {value}" for word, value in (("expected", expected), ("found", found)) if value is not None]
        if said:
            text += "; " + ", ".join(said)
        super().__init__(text)


class MissingFile(CheckpointError):
    """A file or folder that belongs to the model is not there."""


class MissingTensor(CheckpointError):
    """A tensor that the architecture needs is not in the file."""


class UnexpectedTensor(CheckpointError):
    """The file holds a tensor that the architecture has no place for."""


class WrongShape(CheckpointError):
    """A tensor is there, with another shape."""


class WrongDtype(CheckpointError):
    """A tensor is there, with numbers of another kind."""


class DamagedFile(CheckpointError):
    """The file is truncated, its header lies, or it is not of the format that its name says."""


class WrongVariant(CheckpointError):
    """A sound checkpoint of another model than the one asked for."""


class UnsafeCheckpoint(CheckpointError):
    """Reading the file would execute code."""


class OutputError(FilmgateError):
    """The result cannot be written: the place does not exist, is not writable, or is full."""

    exit_code = 2


class DeviceError(FilmgateError):
    """The device asked for is absent, or gave up (out of memory, lost)."""


class BackendError(FilmgateError):
    """A backend failed for a reason of its own."""
