"""Where models and what is worth remembering lie on this machine. Does not need torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from filmgate.spec import CheckpointError, ModelDescription

_SHIPPED, _FIRST = "toybox", "toybox-t2v"


def shipped_directories() -> tuple[Path, ...]:
    """Directories of the models inside the package, packed: what paints from words first, the others by name."""
    root = Path(str(files("filmgate"))) / _SHIPPED
    found = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return tuple(sorted(found, key=lambda path: (path.name != _FIRST, path.name)))


def shipped_evidence(model: ModelDescription) -> tuple[Path, ...]:
    """Directories inside the package that may hold what was measured with a model."""
    return tuple(path for path in shipped_directories() if path.name == model.id)


def fetched_models(damaged: list[CheckpointError] | None = None) -> Iterator[ModelDescription]:
    """Models of :func:`models_directory`, by name.

    Args:
        damaged: Errors of those that cannot be used are added here; None: the first is raised.

    Raises:
        CheckpointError: one is damaged.
    """
    from filmgate.engine.checkpoints.describe import describe
    from filmgate.engine.checkpoints.layout import model_directories

    for directory in model_directories(models_directory()):
        try:
            yield describe(directory)
        except CheckpointError as error:
            if damaged is None:
                raise
            damaged.append(error)


def models_directory() -> Path:
    """Where ``filmgate fetch`` puts models: ``$FILMGATE_MODELS``, else the user's directory for data."""
    chosen = os.environ.get("FILMGATE_MODELS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return default_cache().with_name("Models")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "filmgate" / "models"
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local" / "share") / "filmgate" / "models"


def default_cache() -> Path:
    """The user's cache directory: what the platform's conventions say, ``$XDG_CACHE_HOME`` first where it is one."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "filmgate" / "Cache"
    # The specification says that a relative path counts as none.
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen / "filmgate"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "filmgate"
