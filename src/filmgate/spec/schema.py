"""JSON Schema of all that crosses the border of a process: for clients in other languages, and for validators."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from filmgate.spec.events import Done, Failed, Preview, Progress, Started
from filmgate.spec.model import Capabilities
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.take import Report, Take

DOCUMENTS = (Request, Plan, Take, Report, Capabilities, Started, Progress, Preview, Done, Failed)
"""Nouns that travel by themselves; the others travel inside them."""


def json_schema() -> dict[str, Any]:
    """One schema (draft 2020-12) whose ``$defs`` hold every noun by its class name, as it is written to JSON."""
    _, schema = models_json_schema(
        [(noun, "serialization") for noun in DOCUMENTS], title="Filmgate", ref_template="#/$defs/{model}"
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
