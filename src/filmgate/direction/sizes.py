"""How large a video becomes: what was asked for, what the model is used to, and what a picture's proportions leave."""

from __future__ import annotations

import math

from filmgate.spec.errors import InvalidRequest
from filmgate.spec.inputs import InputFile
from filmgate.spec.model import ModelDescription, Preset
from filmgate.spec.request import Request
from filmgate.spec.shape import Compression

Size = tuple[int, int]
"""(width, height) in pixels."""


def size_of(request: Request, model: ModelDescription, preset: Preset, guide: InputFile | None) -> Size:
    """Both sides of the video.

    Sides that were asked for count. A missing one comes from the picture that guides (the first picture, or the video);
    without one from a listed size with the other side, or else keeps the default's proportions. If both are missing, a
    picture's proportions are filled into the area, and without a picture the listed size of that area is taken.

    Raises:
        InvalidRequest: a side cannot be encoded, or a picture is too narrow.
    """
    shape = model.compression
    _check_sides(shape, width=request.width, height=request.height)
    if request.area is not None and (request.width is not None or request.height is not None):
        raise InvalidRequest("area", "was given together with a side", allowed="an area, or sides")
    if request.width is not None and request.height is not None:
        return request.width, request.height
    size = _listed(request, model, preset) if guide is None else _guided(request, model, preset, guide)
    _check_sides(shape, width=size[0], height=size[1])
    return size


def _check_sides(shape: Compression, **sides: int | None) -> None:
    for side, pixels in sides.items():
        if pixels is not None:
            shape.check_side(side, pixels)


def _listed(request: Request, model: ModelDescription, preset: Preset) -> Size:
    width, height = request.width, request.height
    default = preset.sizes[0]
    nearest = model.compression.nearest_side
    if width is not None:
        partner = next((h for w, h in preset.sizes if w == width), None)
        return width, partner or nearest(round(width * default[1] / default[0]))
    if height is not None:
        partner = next((w for w, h in preset.sizes if h == height), None)
        return partner or nearest(round(height * default[0] / default[1])), height
    if request.area is None:
        return default
    same = next((size for size in preset.sizes if size[0] * size[1] == request.area), None)
    return same or fill_area(default, request.area, model.compression)


def _guided(request: Request, model: ModelDescription, preset: Preset, guide: InputFile) -> Size:
    nearest = model.compression.nearest_side
    if request.width is not None:
        return request.width, nearest(round(request.width * guide.height / guide.width))
    if request.height is not None:
        return nearest(round(request.height * guide.width / guide.height)), request.height
    area = request.area or preset.max_area or preset.sizes[0][0] * preset.sizes[0][1]
    return (fit_area if model.task == "ti2v" else fill_area)(
        (guide.width, guide.height), area, model.compression, guide.role
    )


def fill_area(picture: Size, area: int, shape: Compression, field: str = "area") -> Size:
    """The sides that a picture's proportions give an area, each cut down to what can be encoded: as the originals size
    image to video, to the last bit (a picture of 832×480 makes 832×464 of that area, because its root is 479.99...).

    Raises:
        InvalidRequest: one side would vanish.
    """
    slope = picture[1] / picture[0]
    sides = (math.sqrt(area / slope), math.sqrt(area * slope))
    # In the originals' order of operations: to latents, then to patches, each cut.
    width, height = (round(side // shape.spatial // shape.patch * shape.patch) * shape.spatial for side in sides)
    if not width or not height:
        raise _vanishing(picture, shape, field)
    return width, height


def fit_area(picture: Size, area: int, shape: Compression, field: str = "area") -> Size:
    """The largest sides within an area whose proportions come closest to a picture's, of two candidates: width first or
    height first, as the original sizes TI2V-5B.

    Raises:
        InvalidRequest: one side would vanish.
    """
    unit, ratio = shape.multiple, picture[0] / picture[1]
    width = math.sqrt(area * ratio)
    candidates = []
    for side, width_first in ((width, True), (area / width, False)):
        one = int(side // unit * unit)
        other = int(area / one // unit * unit) if one else 0
        if one and other:
            candidates.append((one, other) if width_first else (other, one))
    if not candidates:
        raise _vanishing(picture, shape, field)
    # Of two equally good ones the original takes the second.
    return min(reversed(candidates), key=lambda size: max(ratio * size[1] / size[0], size[0] / size[1] / ratio))


def _vanishing(picture: Size, shape: Compression, field: str) -> InvalidRequest:
    return InvalidRequest(
        field, f"{picture[0]}x{picture[1]} is so narrow that a side would have less than {shape.multiple} pixels"
    )
