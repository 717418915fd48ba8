"""Filmgate as a library: find models, plan, render, judge. The only place where rooms are wired together.

Nothing here loads torch; a backend does, when it renders.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from filmgate.media.deliver import check_free, check_place, deliver
from filmgate.media.publish import writable
from filmgate.spec import (
    Done,
    Event,
    InputFile,
    InputRole,
    InvalidRequest,
    LoraUse,
    ModelDescription,
    Plan,
    Report,
    Request,
    UnknownName,
)

if TYPE_CHECKING:
    from filmgate.backends.backend import Backend

BACKENDS = {
    "local": "filmgate.backends.local:LocalBackend",
    "fake": "filmgate.backends.fake:FakeBackend",
}
"""Backends by name: module and class, imported on use so that planning starts fast."""
_SHIPPED = "toybox"
_VIDEO, _PICTURE = ".mp4", ".png"


class Filmgate:
    """The whole of Filmgate.

    Args:
        model_paths: Models on disk: directories of Wan, of Diffusers or of single files, or directories of such.
        cache: Where shipped models are unpacked, once, and hashes of weights remembered; default: the user's cache
            directory.
        backend: Name of the backend that renders, a key of :data:`BACKENDS`.

    Raises:
        UnknownName: there is no such backend.
    """

    def __init__(
        self, model_paths: Iterable[str | Path] = (), cache: str | Path | None = None, backend: str = "local"
    ) -> None:
        if backend not in BACKENDS:
            raise UnknownName("backend", backend, BACKENDS)
        self._model_paths = tuple(Path(path) for path in model_paths)
        self._cache = Path(cache).absolute() if cache is not None else default_cache()
        self._backend = backend

    def models(self) -> tuple[ModelDescription, ...]:
        """Every model that can be used: the caller's own first, then the shipped ones. An id that comes twice counts
        once, the first time.

        Raises:
            InvalidRequest: a path of ``model_paths`` is not a directory with models.
            CheckpointError: a model is damaged.
            OutputError: the cache cannot be written.
        """
        found: dict[str, ModelDescription] = {}
        for model in (*self._own_models(), *self._shipped_models()):
            found.setdefault(model.id, model)
        return tuple(found.values())

    def model(self, name: str | None = None) -> ModelDescription:
        """A model by its id in :meth:`models`, or by the path of its directory or files; None: the first shipped one.

        Raises:
            InvalidRequest: there is no such directory, or no model at all (UnknownName: no such id).
            CheckpointError: the model is damaged.
            OutputError: the cache cannot be written.
        """
        from filmgate.engine.checkpoints.describe import describe
        from filmgate.engine.checkpoints.single_files import is_single

        if name is None:
            models = self._shipped_models() or self.models()
            if not models:
                raise InvalidRequest("model", "no model is installed", allowed="the path of a model directory")
            return models[0]
        if name and (Path(name).is_dir() or (is_single(Path(name)) and Path(name).is_file())):
            return describe(Path(name).absolute())
        if any(separator in name for separator in (os.sep, os.altsep) if separator):
            raise InvalidRequest(
                "model", f"{name} is not a directory, nor a file of weights",
                allowed="an id, a model directory, a transformer, or a TOML file that names a model's parts",
            )  # fmt: skip
        known = {model.id: model for model in self.models()}
        if name not in known:
            raise UnknownName("model", name, known)
        return known[name]

    def plan(self, request: Request) -> Plan:
        """Resolve every choice that ``request`` leaves open. Takes milliseconds, and longer only to read large inputs;
        loads no weights and writes nothing, except that a shipped model is unpacked into the cache the first time.

        ``request.model`` is what :meth:`model` takes.

        Raises:
            InvalidRequest: a value is out of range or a file is not there (UnknownName: a name that does not exist).
            CheckpointError: the model, a picture or a video is damaged.
            DeviceError: the device asked for is not here.
            OutputError: the cache cannot be written.
        """
        from filmgate.backends.hardware import describe_device
        from filmgate.direction.planner import plan

        model = self.model(request.model)
        device, loras = describe_device(request.device), resolve_loras(request, model, self._cache)
        return plan(request, model, device, token_counter(model), describe_inputs(request), loras)

    def render(
        self, plan: Plan, output: str | Path, *, sheet: str | Path | None = None, overwrite: bool = False
    ) -> Generator[Event, None, None]:
        """Make the video of ``plan``.

        The video appears at ``output`` (a plan of one frame may also be a picture, ``.png``), its manifest beside it
        (``clip.json`` for ``clip.mp4``) and, where asked for, its contact sheet at ``sheet``: all of them when Done is
        yielded, none before, and none ever if the work fails or the generator is closed. Names that are taken are
        refused at once unless ``overwrite``; if a name is taken only while the work goes on, ``-2``, ``-3``, ... is
        appended to all of them and the take says so.

        Raises:
            InvalidRequest: ``output`` does not end in ``.mp4``, or ``.png`` where there is one frame.
            OutputError: the files cannot be written there, or exist.
        """
        video, still = Path(output), None if sheet is None else Path(sheet)
        suffixes = (_VIDEO, _PICTURE) if plan.video.frames == 1 else (_VIDEO,)
        if video.suffix.lower() not in suffixes:
            nearest, names = str(video.with_suffix(_VIDEO)), " or ".join(suffixes)
            raise InvalidRequest(
                "output", f"{video.name!r} is not an MP4", allowed=f"a name in {names}", nearest=nearest
            )
        check_place(video, still)
        if not overwrite:
            check_free(video, still)
        return self._render(plan, video, still, overwrite=overwrite)

    def judge(self, file: str | Path, reference: str | Path | None = None) -> Report:
        """Measure a video file, whoever made it; with ``reference``, also how far the two are apart.

        Raises:
            InvalidRequest: there is no such file, or the two have different sizes.
            DamagedFile: it is not a video.
        """
        from filmgate.evaluation.facts import judge

        return judge(Path(file), None if reference is None else Path(reference))

    def _render(self, plan: Plan, video: Path, sheet: Path | None, *, overwrite: bool) -> Generator[Event, None, None]:
        make = resolve(self._backend)
        with writable(video):
            workspace = Path(tempfile.mkdtemp(prefix=f".{video.stem}.", suffix=".part", dir=video.parent))
        try:
            with closing(make(workspace, self._cache).render(plan)) as events:
                for event in events:
                    if isinstance(event, Done):
                        yield Done(take=deliver(event.take, workspace, video, sheet, overwrite=overwrite))
                    else:
                        yield event
        finally:
            shutil.rmtree(workspace, ignore_errors=True)

    def _own_models(self) -> Iterator[ModelDescription]:
        """Models at ``model_paths``, in that order; those of one directory by name."""
        from filmgate.engine.checkpoints.describe import describe
        from filmgate.engine.checkpoints.layout import model_directories

        for path in self._model_paths:
            directories = model_directories(path.absolute())
            if not directories:
                raise InvalidRequest(
                    "model_paths", f"there is no model in {path}",
                    allowed="a directory in the layout of the original Wan repositories, or one that holds such",
                )  # fmt: skip
            yield from map(describe, directories)

    def _shipped_models(self) -> tuple[ModelDescription, ...]:
        """Models inside the package, by name; unpacked now if they were not yet."""
        from filmgate.engine.checkpoints.describe import describe
        from filmgate.engine.checkpoints.packed import materialise

        return tuple(describe(materialise(folder, self._cache)) for folder in shipped_directories())


class _MakeBackend(Protocol):
    def __call__(self, workspace: Path, cache: Path, /) -> Backend: ...


def resolve(backend: str) -> _MakeBackend:
    """The class behind a name of :data:`BACKENDS`. It is imported here, and with it all that it needs.

    Raises:
        UnknownName: there is no such backend.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    module, _, name = BACKENDS[backend].partition(":")
    return cast(_MakeBackend, getattr(import_module(module), name))


def describe_inputs(request: Request) -> tuple[InputFile, ...]:
    """The files that a request names, by what is in them, in the order of the request's fields.

    Raises:
        InvalidRequest: one is not there.
        DamagedFile: it is not what its field is for.
    """
    fields: list[tuple[InputRole, str | None]] = [
        ("image", request.image),
        ("last_image", request.last_image),
        ("video", request.video),
        ("mask", request.mask),
        *(("reference", path) for path in request.references),
        ("camera", request.camera),
    ]
    named = [(role, path) for role, path in fields if path is not None]
    if not named:
        return ()
    from filmgate.media.inputs import describe_input

    files = [describe_input(role, path) for role, path in named]
    return tuple(_with_poses(file) if file.role == "camera" else file for file in files)


def _with_poses(file: InputFile) -> InputFile:
    """A camera's path, with as many frames as it has poses."""
    from filmgate.camera.poses import read_poses

    return file.model_copy(update={"frames": len(read_poses(Path(file.path)))})


def resolve_loras(request: Request, model: ModelDescription, cache: Path | None = None) -> tuple[LoraUse, ...]:
    """The LoRAs that a request names, compared with the transformers that they are for.

    Args:
        request: The wish.
        model: What they are for.
        cache: Directory in which hashes are remembered.

    Raises:
        InvalidRequest: there is no such expert.
        CheckpointError: a file is missing or damaged, is no LoRA, or has nothing for the model.
    """
    wishes = {"lora": request.lora, "lora_high": request.lora_high, "lora_low": request.lora_low}
    if not any(wishes.values()):
        return ()
    from filmgate.engine.checkpoints.lora_use import use_loras
    from filmgate.engine.checkpoints.parts import read_parts

    experts = read_parts(Path(model.path)).experts
    return use_loras(wishes, {name: records.shapes for name, records in experts.items()}, cache)


def token_counter(model: ModelDescription) -> Callable[[str], int]:
    """Counts the tokens of a text as ``model`` does, end mark included.

    Raises:
        CheckpointError: the model's tokenizer is missing or damaged.
    """
    from filmgate.engine.checkpoints.tokenizer import load_tokenizer

    return load_tokenizer(model).count


def shipped_directories() -> tuple[Path, ...]:
    """Directories of the models inside the package, packed."""
    root = Path(str(files("filmgate"))) / _SHIPPED
    return tuple(sorted(path for path in root.iterdir() if path.is_dir())) if root.is_dir() else ()


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
