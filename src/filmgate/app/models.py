"""Which models there are (the caller's own, those in the package, fetched ones), and which of them a name means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from filmgate.app.places import fetched_models, models_directory, shipped_directories
from filmgate.direction.published import PUBLISHED, not_here
from filmgate.direction.tasks import Unable, abilities, operation_of
from filmgate.spec import CheckpointError, InvalidRequest, ModelDescription, Request, UnknownName
from filmgate.spec.model import Operation


class Models:
    """Finds models by their names.

    Args:
        paths: The caller's own: directories of models, or directories of such.
        cache: Where shipped models are unpacked.
    """

    def __init__(self, paths: Iterable[Path], cache: Path) -> None:
        self._paths, self._cache = tuple(paths), cache

    def every(self, damaged: list[CheckpointError] | None = None) -> tuple[ModelDescription, ...]:
        """See :meth:`filmgate.app.Filmgate.models`."""
        found: dict[str, ModelDescription] = {}
        for model in (*self._own(), *self._shipped(), *fetched_models(damaged)):
            found.setdefault(model.id, model)
        return tuple(found.values())

    def named(self, name: str | None, operation: Operation = "t2v") -> ModelDescription:
        """See :meth:`filmgate.app.Filmgate.model`.

        Args:
            operation: Without a name, what it has to be able to do, if any shipped one is.
        """
        from filmgate.engine.checkpoints.single_files import is_single

        if name is None:
            if (shipped := _able(shipped_directories(), operation)) is not None:
                return self._described(shipped)
            models = self.every()
            if not models:
                raise InvalidRequest("model", "no model is installed", allowed="the path of a model directory")
            return models[0]
        if name and (Path(name).is_dir() or (is_single(Path(name)) and Path(name).is_file())):
            return self._described(Path(name).absolute())
        if any(separator in name for separator in (os.sep, os.altsep) if separator):
            fetched = models_directory() / name.split("/")[-1]  # where `filmgate fetch OWNER/NAME` puts it
            if name.count("/") == 1 and all(name.split("/")) and fetched.is_dir():
                return self._described(fetched)
            raise InvalidRequest(
                "model", f"{name} is not a directory, nor a file of weights, nor a repository that was fetched",
                allowed="an id, a model directory, a transformer, or a TOML file that names a model's parts",
            )  # fmt: skip
        for model in (*self._own(), *(self._described(path) for path in shipped_directories() if path.name == name)):
            if model.id == name:
                return model
        damaged: list[CheckpointError] = []
        known = {model.id: model for model in self.every(damaged)}
        if name in known:
            return known[name]
        if name in PUBLISHED:
            raise _damage_of(name, damaged) or not_here(name)
        raise damaged[0] if damaged else UnknownName("model", name, {**known, **PUBLISHED})

    def to_plan_with(self, request: Request) -> ModelDescription:
        """The model that a request names, here or as the description of a published one; if it names none, a shipped
        one that can do what it asks for.

        Raises:
            As :meth:`named`.
            InvalidRequest: the request names no model, and its inputs contradict each other.
        """
        name = request.model
        if name is None:
            return self.named(None, operation_of(request, request.frames or 0))
        if name not in PUBLISHED or Path(name).exists():
            return self.named(name)
        damaged: list[CheckpointError] = []
        if any(model.id == name for model in self.every(damaged)) or _damage_of(name, damaged):
            return self.named(name)
        from filmgate.direction.architectures import describe_published

        return describe_published(name, PUBLISHED[name].weight_bytes)

    def with_nearest(self, error: Unable) -> Unable:
        """The error, with a shipped model that can do it, if there is one."""
        found = _able(shipped_directories(), error.operation, otherwise=False)
        return error if found is None else Unable(error.model, error.operation, nearest=found.name)

    def _own(self) -> Iterator[ModelDescription]:
        """Models at ``model_paths``, in that order; those of one directory by name."""
        from filmgate.engine.checkpoints.layout import model_directories

        for path in self._paths:
            directories = model_directories(path.absolute())
            if not directories:
                raise InvalidRequest(
                    "model_paths", f"there is no model in {path}",
                    allowed="a directory in the layout of the original Wan repositories, or one that holds such",
                )  # fmt: skip
            yield from map(self._described, directories)

    def _shipped(self) -> tuple[ModelDescription, ...]:
        """Models inside the package, in their order."""
        return tuple(map(self._described, shipped_directories()))

    def _described(self, path: Path) -> ModelDescription:
        """A model on disk; a packed one is unpacked in the cache, if it was not yet."""
        from filmgate.engine.checkpoints.describe import describe, unpacked

        return describe(unpacked(path, self._cache))


def _able(shipped: Sequence[Path], operation: Operation, *, otherwise: bool = True) -> Path | None:
    """The first shipped model that can do it, else (``otherwise``) the first. Only that one has to be unpacked."""
    from filmgate.engine.checkpoints.sidecar import read_sidecar

    for path in shipped:
        sidecar = read_sidecar(path)
        if sidecar.task and sidecar.family and operation in abilities(sidecar.task, sidecar.family):
            return path
    return next(iter(shipped), None) if otherwise else None


def _damage_of(name: str, damaged: Sequence[CheckpointError]) -> CheckpointError | None:
    """Of what is wrong with fetched models that which is about a published one."""
    place = models_directory() / PUBLISHED[name].repository.split("/")[-1]
    return next((error for error in damaged if Path(error.path).is_relative_to(place)), None)
