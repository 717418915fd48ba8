"""Weight files to networks under their original names, whoever published them. Does not need torch.

Nothing is converted on disk or in memory: a record says where a tensor lies, what it is called there, what it must be
multiplied by, and which pieces it is made of. Reading it (:mod:`~.tensors`) does the rest, one tensor at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from filmgate.engine.checkpoints.names import PIECE
from filmgate.engine.checkpoints.records import TensorRecord, WeightRecords
from filmgate.engine.checkpoints.scales import with_scales
from filmgate.engine.checkpoints.spellings import AXES, BRANCH, SPELLINGS, Kind, Spelling
from filmgate.engine.checkpoints.unchanged import Unchanged
from filmgate.engine.checkpoints.weights import GGUF, PICKLES, SAFETENSORS, read_weights
from filmgate.spec.errors import DamagedFile, WrongShape, WrongVariant

PATCHES, PATCH = "patch_embedding.weight", (1, 2, 2)
"""A transformer's first layer, and the frames, rows and columns of its patches."""
_MAX_DIGITS = 6


@dataclass(frozen=True)
class Network:
    """A network in a weight file.

    Attributes:
        kind: What it is.
        publisher: Whose names its tensors have in the file.
        prefix: What stands in front of all of them there.
        records: Its tensors under their original names.
        marked: The file has ComfyUI's marker of scaled fp8.
    """

    kind: Kind
    publisher: str
    prefix: str
    records: WeightRecords
    marked: bool = False


def read_network(path: Path, kind: Kind) -> Network:
    """The network of that kind in a weight file, an index of shards, or a file that holds several networks. Headers of
    files that did not change since this process read them are not read again.

    Raises:
        WrongVariant: there is no such network in it.
        CheckpointError: it cannot be read; see :func:`~.layout.read_weights` and :func:`networks_in`.
    """
    return _known.get((path, kind), lambda: _read_network(path, kind))


def _read_network(path: Path, kind: Kind) -> Network:
    records = read_weights(path)
    found = networks_in(records)
    for network in found:
        if network.kind == kind:
            return network
    others = " and ".join(network.kind for network in found)
    raise WrongVariant(
        path, f"not a Wan {kind}", expected=f"its tensors, such as {_mark(kind)}", found=others or "none"
    )


def _files_of(network: Network) -> tuple[Path, ...]:
    return network.records.source, *network.records.files


_known = Unchanged(_files_of, most=8)
"""Networks of the last files: a pair with its other parts, and one more of the kind."""


def with_branch(records: WeightRecords, branch: WeightRecords) -> WeightRecords:
    """A transformer's tensors and those of a branch of VACE from a file of its own, as the whole that VACE's authors
    publish.

    Raises:
        WrongVariant: the transformer has such a branch already, or the branch is a pickle.
    """
    if double := sorted(records.tensors.keys() & branch.tensors.keys()):
        raise WrongVariant(
            branch.source, "a branch of VACE for a transformer that has one", expected="a transformer without",
            found=f"{double[0]} in {records.source}",
        )  # fmt: skip
    if any(file.suffix in PICKLES for file in branch.files):
        # Tensors of a pickle are found by the key of its file; two files would need two.
        raise WrongVariant(branch.source, "a branch of VACE in a pickle", expected=f"{SAFETENSORS} or {GGUF}")
    return replace(
        records, files=tuple(dict.fromkeys((*records.files, *branch.files))),
        tensors={**records.tensors, **branch.tensors},
    )  # fmt: skip


def networks_in(records: WeightRecords) -> tuple[Network, ...]:
    """Every network in a file, by its tensors; none if nothing of Wan is in it.

    Raises:
        DamagedFile, WrongShape, WrongDtype: tensors contradict each other or are of a format that cannot be read.
    """
    found: dict[Kind, tuple[Spelling, str]] = {}
    for spelling in SPELLINGS:
        for prefix in spelling.prefixes:
            if prefix + spelling.mark in records.tensors:
                found.setdefault(spelling.kind, (spelling, prefix))
                break
    if "transformer" in found:
        found.pop(BRANCH, None)  # a transformer with its branch is one network
    claimed = tuple(prefix for _, prefix in found.values() if prefix)
    return tuple(_network(records, *one, claimed) for one in found.values())


def _network(records: WeightRecords, spelling: Spelling, prefix: str, claimed: tuple[str, ...]) -> Network:
    """One network's tensors; names without any prefix of the file's networks belong to the network without prefix."""
    own = {
        name.removeprefix(prefix): replace(record, stored=name)
        for name, record in records.tensors.items()
        if (name.startswith(prefix) if prefix else not name.startswith(claimed))
    }
    own = {name: record for name, record in own.items() if not spelling.ignored.match(name)}
    tensors = _translated(records.source, own, spelling)
    tensors, marked = with_scales(records, tensors)
    tensors = {name: _with_axes(name, record) for name, record in _joined(records.source, tensors).items()}
    for name, record in tensors.items():
        _check(name, record, len(tensors))
    return Network(spelling.kind, spelling.publisher, prefix, replace(records, tensors=tensors), marked)


def _translated(source: Path, own: Mapping[str, TensorRecord], spelling: Spelling) -> dict[str, TensorRecord]:
    """Tensors under their original names; what no rule knows keeps its name, so that loading it is refused by that."""
    naming = spelling.naming({name: record.shape for name, record in own.items()})
    if naming is None:
        return dict(own)
    aliases = {ours for ours, _ in naming.aliases}
    tensors: dict[str, TensorRecord] = {}
    for name, record in own.items():
        ours = naming.to_ours(name) or name
        if (twin := tensors.get(ours)) is not None:
            if not any(ours.startswith(alias) for alias in aliases) or twin.shape != record.shape:
                raise DamagedFile(source, "two tensors for one place", key=name, expected=ours, found=twin.stored)
            continue
        tensors[ours] = record
    return tensors


def _check(name: str, record: TensorRecord, tensors: int) -> None:
    """What an architecture must not be derived from: layers that the file is too small for, and sizes that cost it
    nothing."""
    numbers = (part for part in name.split(".") if part.isdecimal())
    if any(len(number) > _MAX_DIGITS or int(number) > tensors for number in numbers):
        raise DamagedFile(
            record.file, "counts more than the file has tensors", key=name[:120], expected=f"at most {tensors}"
        )
    if not record.elements:
        raise DamagedFile(
            record.file, "a tensor without numbers", key=name, expected="sizes of 1 or more", found=record.shape
        )


def _joined(source: Path, tensors: Mapping[str, TensorRecord]) -> dict[str, TensorRecord]:
    """Numbered pieces of a tensor as the tensor."""
    whole: dict[str, TensorRecord] = {}
    pieces: dict[str, dict[int, TensorRecord]] = {}
    for name, record in tensors.items():
        if match := re.fullmatch(rf"(.+){PIECE}(\d)(.*)", name):
            pieces.setdefault(match[1] + match[3], {})[int(match[2])] = record
        else:
            whole[name] = record
    for name, found in pieces.items():
        parts = tuple(found[index] for index in sorted(found))
        first = parts[0]
        if sorted(found) != list(range(3)) or any(part.shape != first.shape or not part.shape for part in parts):
            raise WrongShape(
                source, "pieces that do not make a tensor", key=name, expected="three of one shape",
                found=[part.shape for part in parts],
            )  # fmt: skip
        rows = sum(part.shape[0] for part in parts)
        whole[name] = replace(first, shape=(rows, *first.shape[1:]), stored=None, scale=None, pieces=parts)
    return whole


def _with_axes(name: str, record: TensorRecord) -> TensorRecord:
    if name == PATCHES and len(record.shape) == 2 and record.shape[1] % math.prod(PATCH) == 0:
        # TurboDiffusion's linear layer over the numbers of a patch, channel by channel, which is the same.
        return replace(record, shape=(record.shape[0], record.shape[1] // math.prod(PATCH), *PATCH))
    for end, axes in AXES:
        if (name == end or name.endswith(f".{end}")) and len(record.shape) < axes:
            return replace(record, shape=(1,) * (axes - len(record.shape)) + record.shape)
    return record


def _mark(kind: Kind) -> str:
    return " or ".join(spelling.mark for spelling in SPELLINGS if spelling.kind == kind)
