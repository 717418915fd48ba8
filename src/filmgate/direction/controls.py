"""What requests for VACE and for a camera's path leave of frames and sizes, and what in them contradicts itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from filmgate.spec.errors import InvalidRequest
from filmgate.spec.inputs import InputFile, InputRole
from filmgate.spec.model import ModelDescription, Operation
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.shape import Compression, VideoShape

Size = tuple[int, int]
"""(width, height) in pixels."""
_OWNERS: dict[InputRole, str] = {"video": "the video", "mask": "the mask", "camera": "the camera's path"}


def check_controls(request: Request) -> None:
    """Raise InvalidRequest if a mask, a part to keep, references or a path contradict the other inputs."""
    if request.mask is not None and request.video is None:
        raise InvalidRequest("mask", "there is no video that it covers", allowed="together with video")
    if request.keep is not None:
        if request.video is None:
            raise InvalidRequest("keep", "there is no video that could be kept", allowed="together with video")
        if request.mask is not None:
            raise InvalidRequest("keep", "the mask says what is kept", allowed="one of the two")
        if request.strength is not None:
            raise InvalidRequest("keep", "a video that is kept does not change", allowed="keep without strength")
    if request.camera is not None and (request.video is not None or request.references):
        raise InvalidRequest("camera", "was given together with a video or references", allowed="a path, and pictures")


def operation_with(model: ModelDescription, operation: Operation, request: Request) -> Operation:
    """What a model makes of an operation: VACE does all of its work by context, whatever it is given.

    Raises:
        InvalidRequest: a Control-Camera model is not given a path, or a last picture that it has no channel for.
    """
    if model.task == "vace" and operation != "camera" and request.strength is None:
        return "vace"
    if model.task == "camera":
        if operation != "camera":
            raise InvalidRequest(
                "camera", f"{model.id} follows a camera's path, and there is none", allowed="a pose file"
            )
        if request.last_image is not None and model.family == "wan2.1":
            raise InvalidRequest(
                "last_image", f"{model.id} reads a first picture only", allowed="image, or a model of Wan 2.2"
            )
    return operation


def control_scale(request: Request, operation: Operation) -> float:
    """How strongly VACE is held to what it is given.

    Raises:
        InvalidRequest: it is negative or no number, or there is nothing that it could be the strength of.
    """
    scale = request.control_scale
    if scale is None:
        return 1.0
    if operation != "vace":
        raise InvalidRequest("control_scale", "this model has no branch to scale", allowed="a model of VACE")
    if not (math.isfinite(scale) and scale >= 0):
        raise InvalidRequest("control_scale", f"{scale:g} is out of range", allowed="0 or more", nearest="1")
    return scale


def check_frames_given(request: Request, inputs: Sequence[InputFile], frames: int, fps: int, shape: Compression) -> int:
    """How many frames a video becomes of ``frames``, if they were not asked for: not more than its files have.

    Raises:
        InvalidRequest: more were asked for, or so few that nothing is left to paint after a video that is kept.
    """
    for file in inputs:
        owner = _OWNERS.get(file.role)
        still = file.role == "mask" and file.fps is None
        if owner is None or still:
            continue
        there = file.frames_at(fps)
        if file.role == "video" and request.keep in ("start", "end"):
            if there >= frames:
                nearest = shape.nearest_frames(there + shape.temporal)
                raise InvalidRequest(
                    "frames", f"{frames}, of which the video has {there}, leave none to paint",
                    allowed=f"more than {there}", nearest=str(nearest),
                )  # fmt: skip
            continue
        longest = 1 + (there - 1) // shape.temporal * shape.temporal
        if request.frames is not None and request.frames > there:
            raise InvalidRequest(
                "frames", f"{frames} are more than the {there} that {owner} has", allowed=f"up to {longest}",
                nearest=str(longest),
            )  # fmt: skip
        frames = min(frames, longest)
    return frames


def inner_size(picture: Size, video: VideoShape) -> Size:
    """The size that a video has inside a larger picture: its own if that fits, or else the largest in its proportions.

    Raises:
        InvalidRequest: it fills the picture, so that nothing is left to paint.
    """
    width, height = picture
    scale = min(1.0, video.width / width, video.height / height)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    if size == (video.width, video.height):
        raise InvalidRequest(
            "keep", f"a video of {width}x{height} fills {size[0]}x{size[1]}", allowed="another width or height"
        )
    return size


def control_warnings(plan: Plan) -> Iterator[str]:
    """What is allowed and probably not meant."""
    path = plan.input("camera")
    if path is not None and path.frames > plan.video.frames:
        yield f"the camera's path has {path.frames} poses; the first {plan.video.frames} are used"
    if plan.operation == "vace" and plan.input("video") is not None and (plan.input("mask"), plan.keep) == (None, None):
        yield "without a mask nothing of the video is kept: all of it is painted anew, and follows it"


def references(inputs: Sequence[InputFile]) -> int:
    """How many pictures of what shall appear there are; each takes a latent frame of its own."""
    return sum(file.role == "reference" for file in inputs)
