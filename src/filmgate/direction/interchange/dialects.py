"""Which dialect a text is in, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from filmgate.direction.interchange.comfyui import import_comfyui
from filmgate.direction.interchange.comfyui_export import export_comfyui
from filmgate.direction.interchange.diffusers import export_diffusers, import_diffusers
from filmgate.direction.interchange.lightx2v import export_lightx2v, import_lightx2v
from filmgate.direction.interchange.official import export_official, import_official
from filmgate.direction.interchange.report import Exported, Imported
from filmgate.direction.interchange.values import parse_object
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.request import Request

IMPORTERS: Mapping[str, Callable[[str], Imported]] = MappingProxyType(
    {
        "comfyui": import_comfyui,
        "diffusers": import_diffusers,
        "lightx2v": import_lightx2v,
        "official": import_official,
    }
)
EXPORTERS: Mapping[str, Callable[[Request, str | None], Exported]] = MappingProxyType(
    {
        "comfyui": export_comfyui,
        "diffusers": export_diffusers,
        "lightx2v": export_lightx2v,
        "official": export_official,
    }
)


def dialect_of(text: str) -> str:
    """The dialect of a text.

    Raises:
        InvalidRequest: it is of none of them, or not readable.
    """
    if not text.lstrip().startswith("{"):
        if "generate.py" in text:
            return "official"
        if "diffusers" in text and "import" in text:
            return "diffusers"
        raise InvalidRequest("settings", "they are in no dialect that is known", allowed=", ".join(IMPORTERS))
    given = parse_object(text, "settings")
    if "nodes" in given and "links" in given:
        return "comfyui"  # which says how to export it
    inner = given["prompt"] if isinstance(given.get("prompt"), dict) else given
    if inner and all(isinstance(node, dict) and "class_type" in node for node in inner.values()):
        return "comfyui"
    if "_class_name" in given and "call" in given:
        return "diffusers"
    if {"model_cls", "infer_steps", "target_video_length"} & given.keys():
        return "lightx2v"
    raise InvalidRequest("settings", "they are in no dialect that is known", allowed=", ".join(IMPORTERS))


def import_settings(text: str, dialect: str | None = None) -> Imported:
    """The request of another tool's settings; ``dialect=None`` finds out whose they are."""
    name = dialect_of(text) if dialect is None else dialect
    if name not in IMPORTERS:
        raise UnknownName("dialect", name, IMPORTERS)
    return IMPORTERS[name](text)


def export_settings(request: Request, dialect: str, variant: str | None = None) -> Exported:
    """A request in another tool's words; ``variant`` is the published model where the request's does not tell."""
    if dialect not in EXPORTERS:
        raise UnknownName("dialect", dialect, EXPORTERS)
    return EXPORTERS[dialect](request, variant)
