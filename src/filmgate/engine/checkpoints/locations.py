"""Where the parts of a model lie, whatever kind of place it is. Does not need torch."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from filmgate.engine.checkpoints.diffusers_layout import FOLDERS, diffusers_layout
from filmgate.engine.checkpoints.layout import (
    MODEL_INDEX,
    MODEL_TOML,
    PAIR,
    WEIGHTS,
    Layout,
    has_files,
    original_layout,
)
from filmgate.engine.checkpoints.single_files import is_single, single_layout
from filmgate.engine.checkpoints.weights import SAFETENSORS
from filmgate.spec.errors import MissingFile, WrongVariant


def find_layout(path: Path) -> Layout:
    """The files of the model at ``path``: a directory of Wan, of Diffusers, or of single files; a transformer in a
    single file; or a TOML file that names the parts.

    Raises:
        MissingFile: there is nothing at ``path``, or a part is missing.
        WrongVariant: it is something else than a model.
        CheckpointError: it is not clear which of several files is meant; see the three layouts.
    """
    if path.is_file() and is_single(path):
        if _in_pipeline(path.parent):
            _refuse_part(path.parent)
        return single_layout(path)
    if path.is_file():
        raise WrongVariant(
            path, "not a model by its name", expected="a directory, a weight file, or a TOML file that names the parts",
            found=path.name,
        )  # fmt: skip
    if not path.is_dir():
        raise MissingFile(path, "there is no such file or directory")
    if (path / MODEL_INDEX).is_file():
        return diffusers_layout(path)
    if is_part(path):
        _refuse_part(path)
    return single_layout(path) if is_folder_of_files(path) else original_layout(path)


def is_part(folder: Path) -> bool:
    """Whether a directory is a part of a pipeline of Diffusers, or of a pair of experts, inside the model's own."""
    above = folder.absolute().parent
    return _in_pipeline(folder) or (
        folder.name in PAIR.values() and all((above / name).is_dir() for name in PAIR.values())
    )


def _in_pipeline(folder: Path) -> bool:
    return folder.name in FOLDERS and (folder.absolute().parent / MODEL_INDEX).is_file()


def _refuse_part(folder: Path) -> NoReturn:
    raise WrongVariant(
        folder, "a part of a model", expected=f"the directory of the whole, {folder.absolute().parent}",
        found=f"its {folder.name}",
    )  # fmt: skip


def is_folder_of_files(folder: Path) -> bool:
    """Whether a directory is described by a TOML file, or holds single files and nothing of the original layout; the
    files may lie in ComfyUI's folders, or in a folder for each expert."""
    if (folder / MODEL_TOML).is_file():
        return True
    original = any((folder / name).is_dir() for name in PAIR.values()) or any(folder.glob(f"{WEIGHTS}*{SAFETENSORS}*"))
    return not original and has_files(folder)
