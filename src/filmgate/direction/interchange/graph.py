"""A ComfyUI workflow in API format as a graph: nodes by number, whose inputs are values or links to other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filmgate.direction.interchange.report import Ledger
from filmgate.direction.interchange.values import parse_object, section, words
from filmgate.spec.errors import InvalidRequest, UnknownName

LONGEST = 64
"""Longest chain of nodes that is followed."""


@dataclass(frozen=True)
class Node:
    """A node: its number, its class, and its inputs."""

    id: str
    kind: str
    inputs: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """An input that must be there and must not be a link."""
        if name not in self.inputs:
            raise InvalidRequest(f"node {self.id}", f"{self.kind} has no input {name}", allowed=f"{name}, as a value")
        found = self.inputs[name]
        if isinstance(found, list):
            raise InvalidRequest(
                f"node {self.id}",
                f"{name} of {self.kind} comes from another node",
                allowed="a value: convert the input to a widget, and save again",
            )
        return found


class Graph:
    """The nodes of a workflow.

    Raises:
        InvalidRequest: the text is not a workflow in API format.
    """

    def __init__(self, text: str) -> None:
        given = parse_object(text, "workflow")
        if isinstance(given.get("prompt"), dict):
            given = given["prompt"]
        if "nodes" in given and "links" in given:
            raise InvalidRequest(
                "workflow", "it is in the format of the editor", allowed="API format: Workflow, Export (API)"
            )
        self._nodes = {id: self._node(id, entry) for id, entry in given.items()}

    @staticmethod
    def _node(id: str, entry: Any) -> Node:
        found = section(f"node {id}", entry)
        kind = words(f"class_type of node {id}", found.get("class_type"))
        return Node(id, kind, section(f"inputs of node {id}", found.get("inputs", {})))

    def of_kind(self, *kinds: str) -> list[Node]:
        """The nodes of some classes."""
        return [node for node in self._nodes.values() if node.kind in kinds]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All of them."""
        return tuple(self._nodes.values())

    def note_files(self, loaders: Mapping[str, tuple[str, str]], ledger: Ledger) -> None:
        """Say of files that the model brings itself here that they need not be the same.

        Args:
            loaders: Classes of nodes, and of each the input that names a file and the part of the model that it is.
            ledger: Where it is said.
        """
        found = [(part, node.inputs.get(name)) for kind, (name, part) in loaders.items() for node in self.of_kind(kind)]
        for part, file in dict.fromkeys((part, file) for part, file in found if isinstance(file, str)):
            reason = "the model's own is used, which need not be this file nor as precise"
            ledger.note(part, "approximated", file, "the model's own", reason)

    def source(self, node: Node, name: str, kinds: tuple[str, ...]) -> Node:
        """The node that an input comes from.

        Raises:
            InvalidRequest: there is no link, or it leads nowhere (UnknownName: to a node of a class that is not in
                ``kinds``, so that its meaning is not known).
        """
        link = node.inputs.get(name)
        where = f"node {node.id}"
        if not (isinstance(link, list) and len(link) == 2 and isinstance(link[0], str) and isinstance(link[1], int)):
            raise InvalidRequest(where, f"{name} of {node.kind} is {link!r:.80}", allowed='a link, as ["4", 0]')
        if link[0] not in self._nodes:
            raise InvalidRequest(
                where, f"{name} leads to node {link[0]!r:.40}, which is missing", allowed="a complete file"
            )
        found = self._nodes[link[0]]
        if found.kind not in kinds:
            raise UnknownName(f"class for {name} of {node.kind}", found.kind, kinds)
        return found

    def chain(self, node: Node, name: str, links: tuple[str, ...], ends: tuple[str, ...]) -> Iterator[Node]:
        """The nodes behind an input, each of ``links`` followed by the same input, up to one of ``ends``.

        Raises:
            InvalidRequest: they form a cycle, or there are too many.
        """
        seen = {node.id}
        while True:
            node = self.source(node, name, links + ends)
            if node.id in seen:
                raise InvalidRequest(
                    f"node {node.id}", f"{name} leads back to itself", allowed="a graph without cycles"
                )
            seen.add(node.id)
            if len(seen) > LONGEST:
                raise InvalidRequest(f"node {node.id}", f"{name} goes through too many nodes", allowed=str(LONGEST))
            yield node
            if node.kind in ends:
                return


def note_second(field: str, texts: Sequence[str], ledger: Ledger) -> None:
    """Say that the low-noise expert is told something else, where it is."""
    if texts[-1] != texts[0]:
        ledger.dropped(f"{field} of the low-noise expert", texts[-1], "a request has the same words for both")
