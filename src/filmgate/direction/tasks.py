"""What can be done with which model, and which of it a request asks for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from filmgate.direction.controls import check_controls
from filmgate.direction.published import PUBLISHED
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import ModelDescription, Operation, Task
from filmgate.spec.request import Request

_ABILITIES: Mapping[Task, frozenset[Operation]] = MappingProxyType(
    {
        "t2v": frozenset({"t2v", "t2i", "v2v"}),
        "i2v": frozenset({"i2v", "flf2v"}),
        "flf2v": frozenset({"flf2v"}),
        "ti2v": frozenset({"t2v", "t2i", "i2v", "v2v"}),
        "vace": frozenset({"vace"}),
        "camera": frozenset({"camera"}),
    }
)
"""By what a model was trained for; what is not here the engine cannot do yet."""
_WITHOUT_LAST: Mapping[str, frozenset[Operation]] = MappingProxyType({"wan2.1": frozenset({"flf2v"})})
"""What a family's image-to-video model cannot: Wan 2.1 has one for first and last frames, and its plain one was never
shown two pictures."""
_WORDS: Mapping[Operation, str] = MappingProxyType(
    {
        "t2v": "make a video from a prompt alone",
        "t2i": "make a picture from a prompt alone",
        "i2v": "start from a picture",
        "flf2v": "go from a first picture to a last one",
        "v2v": "start from a video",
        "vace": "work by mask and references",
        "camera": "follow a camera's path",
    }
)


def operation_of(request: Request, frames: int) -> Operation:
    """What a request asks for, by what it brings along.

    Raises:
        InvalidRequest: its inputs contradict each other.
    """
    _check_inputs(request)
    if request.camera is not None:
        return "camera"
    if request.mask is not None or request.keep is not None or request.references:
        return "vace"
    if request.video is not None:
        return "v2v"
    if request.last_image is not None:
        return "flf2v"
    if request.image is not None:
        return "i2v"
    return "t2i" if frames == 1 else "t2v"


def _check_inputs(request: Request) -> None:
    if request.last_image is not None and request.image is None:
        raise InvalidRequest("last_image", "there is no first one", allowed="together with image")
    if request.strength is not None and request.video is None:
        raise InvalidRequest("strength", "there is no video that could change", allowed="together with video")
    if request.strength is not None and (request.mask is not None or request.references):
        raise InvalidRequest("strength", "a mask says what changes", allowed="a video without mask and references")
    if request.video is not None and request.image is not None:
        raise InvalidRequest("video", "was given together with image", allowed="one of the two")
    check_controls(request)


def abilities(task: Task, family: str) -> frozenset[Operation]:
    """Operations of the models of a task and family."""
    missing = _WITHOUT_LAST.get(family, frozenset()) if task == "i2v" else frozenset()
    return _ABILITIES[task] - missing


def able_models(operation: Operation) -> tuple[str, ...]:
    """Published models that can do it, those of Wan 2.2 first. VACE takes pictures too, as what is kept."""
    named = ((name, *name.split("-")[:2]) for name in PUBLISHED)
    wanted = {operation, "vace"} if operation in ("i2v", "flf2v") else {operation}
    able = [name for name, family, task in named if wanted & abilities_named(task, family)]
    return tuple(sorted(able, key=lambda name: not name.startswith("wan2.2")))


def abilities_named(task: str, family: str) -> frozenset[Operation]:
    """The same by a task's name; nothing where no model of ours has it."""
    return next((abilities(known, family) for known in _ABILITIES if known == task), frozenset())


class Unable(InvalidRequest):
    """A model that was named cannot do what a request asks for.

    Args:
        nearest: A model that can, and is here.
    """

    def __init__(self, model: str, operation: Operation, nearest: str | None = None) -> None:
        self.model, self.operation = model, operation
        others = ", ".join(able_models(operation))
        super().__init__(
            "model", f"{model} cannot {_WORDS[operation]}", allowed=others or "no model that runs here can, yet",
            nearest=nearest,
        )  # fmt: skip


def check_ability(model: ModelDescription, operation: Operation) -> None:
    """Raise InvalidRequest unless the model can do it: with what it lacks, or (Unable) with models that can."""
    able = abilities(model.task, model.family)
    if operation in able:
        return
    if operation in ("t2v", "t2i") and able & {"i2v", "flf2v"}:
        needed = "image" if "i2v" in able else "image and last_image"
        others = ", ".join(able_models(operation))
        raise InvalidRequest(
            "image", f"{model.id} needs {_pictures(able)} to start from", allowed=f"{needed}, or a model like {others}"
        )
    if operation == "i2v" and able == {"flf2v"}:
        raise InvalidRequest("last_image", f"{model.id} needs the last picture too", allowed="image and last_image")
    raise Unable(model.id, operation)


def _pictures(able: frozenset[Operation]) -> str:
    return "a picture" if "i2v" in able else "a first and a last picture"
