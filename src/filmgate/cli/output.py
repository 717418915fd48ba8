"""Where a video goes when the caller did not say, and where it went."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from filmgate.cli.text import columns, duration_text, passes_text
from filmgate.spec import Take

_SLUG_LENGTH = 48
_FILES = (".mp4", ".json", ".png")


def slug(prompt: str) -> str:
    """The first words of a prompt as a file name: letters and digits of any script, joined by hyphens."""
    name = ""
    for word in re.findall(r"\w+", prompt.lower().replace("_", " ")):
        if len(name) + len(word) > _SLUG_LENGTH:
            break
        name = f"{name}-{word}" if name else word
    return name or "video"


def choose_output(
    output: Path | None, prompt: str, *, overwrite: bool, suffix: str = ".mp4", begun: Path | None = None
) -> Path:
    """The path of the video or picture: the caller's, or in the caller's directory a name made of the prompt.

    A name of ours never collides with video, manifest or contact sheet of another: ``-2``, ``-3``, ... is appended. If
    an unfinished run was to write to ``begun``, in the same directory, that is still the name.
    """
    if output is not None and not output.is_dir():
        return output
    if begun is not None and begun.suffix == suffix and begun.parent == (output or Path()).absolute():
        return (output or Path()) / begun.name
    first = (output or Path()) / f"{slug(prompt)}{suffix}"
    if overwrite:
        return first
    names = itertools.chain([first], (first.with_stem(f"{first.stem}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not any(name.with_suffix(suffix).exists() for suffix in _FILES))


def describe_take(take: Take, folder: Path) -> str:
    """Where the files of a take are, and how long it took. ``folder`` is the one that its manifest lies in."""
    from filmgate.media.manifest import manifest_path

    paths = {file.role: folder / file.path for file in take.files}
    name, main = ("Video", paths["video"]) if "video" in paths else ("Picture", paths["picture"])
    rows = [(name, str(main))]
    if "sheet" in paths:
        rows.append(("Contact sheet", str(paths["sheet"])))
    rows.append(("Manifest", str(manifest_path(main))))
    if take.passes is not None:
        rows.append(("Skipped", passes_text(take.passes)))
    if take.timings is not None:
        rows.append(("Took", f"{duration_text(take.timings.total)} on {take.hardware}"))
    return columns(rows)
