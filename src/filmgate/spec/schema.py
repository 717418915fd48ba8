"""JSON Schema of all that crosses the border of a process: for clients in other languages, and for validators."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from filmgate.spec.acceleration import Calibration, Gate
from filmgate.spec.errors import UnknownName
from filmgate.spec.events import Done, Failed, Preview, Progress, Started
from filmgate.spec.model import Capabilities
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.take import Report, Take

DOCUMENTS = (
    Request, Plan, Take, Report, Capabilities, Calibration, Gate, Started, Progress, Preview, Done, Failed,
)  # fmt: skip
"""Nouns that travel by themselves; the others travel inside them."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One schema (draft 2020-12) whose ``$defs`` hold every noun by its class name, as it is written to JSON."""
    _, schema = models_json_schema(
        [(noun, "serialization") for noun in DOCUMENTS], title="Filmgate", ref_template="#/$defs/{model}"
    )
    return {"$schema": _DRAFT, **schema}


def document_schema(name: str) -> dict[str, Any]:
    """The schema of one noun of :data:`DOCUMENTS`, whose ``$defs`` hold that and all that travels inside it.

    A request is what others write, so that its schema is of what may be given; the others are as they are written.

    Args:
        name: The name of its class, in any case.

    Raises:
        UnknownName: there is no such noun.
    """
    nouns = {noun.__name__.lower(): noun for noun in DOCUMENTS}
    if name.lower() not in nouns:
        raise UnknownName("noun", name.lower(), nouns)
    noun = nouns[name.lower()]
    mode: JsonSchemaMode = "validation" if noun is Request else "serialization"
    _, schema = models_json_schema([(noun, mode)], title=noun.__name__, ref_template="#/$defs/{model}")
    return {"$schema": _DRAFT, "$ref": f"#/$defs/{noun.__name__}", **schema}
