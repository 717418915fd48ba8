"""Facts about any weight file or directory: what it is, how large, and what it lacks. Without torch."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from filmgate.engine.checkpoints.layout import (
    INDEX,
    PAIR,
    PICKLES,
    SAFETENSORS,
    TEXT_ENCODER,
    VAE,
    WEIGHTS,
    find_layout,
    read_weights,
)
from filmgate.engine.checkpoints.sidecar import read_config
from filmgate.engine.checkpoints.variants import family_of, kind_of, prefix_of, size_of, task_of
from filmgate.engine.models.config import DitConfig
from filmgate.spec.errors import CheckpointError, FilmgateError, MissingFile
from filmgate.spec.shape import Frozen


class NetworkFacts(Frozen):
    """One weight file, or one index with its shards.

    ``guess`` says in words which published model has such tensors; ``dtypes`` counts elements by torch's name of their
    format; ``problems`` are complete sentences.
    """

    path: str
    kind: str
    format: str
    guess: str = ""
    files: int = 1
    tensors: int
    parameters: int
    bytes: int
    dtypes: dict[str, int]
    metadata: dict[str, str]
    problems: tuple[str, ...] = ()


class Inspection(Frozen):
    """What :func:`inspect` found. Printed, it is a report for people."""

    path: str
    complete: bool
    networks: tuple[NetworkFacts, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = "complete" if self.complete else "not complete"
        lines = [f"{self.path}: {'a model directory' if Path(self.path).is_dir() else 'one network'}, {state}"]
        for network in self.networks:
            path = Path(network.path)
            lines += ["", str(path if path == Path(self.path) else path.relative_to(self.path)), *_report(network)]
        if self.problems:
            lines += ["", "Problems", *(f"  {problem}" for problem in self.problems)]
        return "\n".join(lines)


def inspect(path: str | Path) -> Inspection:
    """Facts about a weight file, a shard index or a model directory.

    What is wrong with a directory's parts becomes a problem in the report, so that all of it is seen at once; a single
    file that cannot be read is an error.

    Raises:
        MissingFile: there is nothing at ``path``, or no weights in it.
        DamagedFile, UnsafeCheckpoint: it is a single file, and cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(path, "there is no such file or directory")
    if not path.is_dir():
        network = _network(path)
        return Inspection(path=str(path), complete=not network.problems, networks=(network,))
    networks, problems = [], []
    for weights in _weights(path):
        try:
            networks.append(_network(weights))
        except CheckpointError as error:
            problems.append(str(error))
    if not networks and not problems:
        raise MissingFile(path, "there are no weights in it", expected=", ".join((SAFETENSORS, *PICKLES)))
    try:
        find_layout(path)
    except CheckpointError as error:
        problems.append(str(error))
    complete = not problems and not any(network.problems for network in networks)
    return Inspection(
        path=str(path), complete=complete, networks=tuple(networks), problems=tuple(dict.fromkeys(problems))
    )


def _weights(root: Path) -> list[Path]:
    """Weight files of a model directory; a sharded network by its index, or by its shards if that is missing."""
    found: list[Path] = []
    for folder in (*(root / name for name in PAIR.values()), root):
        whole = [folder / f"{WEIGHTS}{suffix}" for suffix in (SAFETENSORS, INDEX)]
        shards = sorted(folder.glob(f"{WEIGHTS}-*{SAFETENSORS}"))
        found += next(([path] for path in whole if path.is_file()), shards)
    others = (path for pattern in (TEXT_ENCODER, VAE) for path in sorted(root.glob(pattern)))
    found += [path for path in others if path.suffix in (SAFETENSORS, *PICKLES)]
    return found or sorted(path for path in root.iterdir() if path.suffix in (SAFETENSORS, *PICKLES))


def _network(path: Path) -> NetworkFacts:
    records = read_weights(path)
    prefix = prefix_of(records.shapes)
    shapes = {name.removeprefix(prefix): shape for name, shape in records.shapes.items()}
    kind = kind_of(records.shapes)
    problems = _incomplete(shapes)
    guess = ""
    if kind == "transformer":
        try:
            guess = _guess(path, shapes, records.parameters)
        except FilmgateError as error:
            problems.append(str(error))
    elif kind == "VAE":
        guess = "Wan 2.2 VAE" if "decoder.upsamples.0.upsamples.0.residual.2.weight" in shapes else "Wan 2.1 VAE"
    elif kind == "text encoder":
        guess = "umT5"
    return NetworkFacts(
        path=str(path),
        kind=f"{kind}, in ComfyUI's single-file form" if prefix else kind,
        format=_format(path),
        guess=guess,
        files=len(records.files),
        tensors=len(records.tensors),
        parameters=records.parameters,
        bytes=records.bytes,
        dtypes=records.dtypes,
        metadata=dict(records.metadata),
        problems=tuple(problems),
    )


def _format(path: Path) -> str:
    if path.name.endswith(INDEX):
        return "sharded safetensors"
    return "safetensors" if path.suffix == SAFETENSORS else "torch.save archive"


def _guess(path: Path, shapes: dict[str, tuple[int, ...]], parameters: int) -> str:
    config = DitConfig.from_tensors(shapes, num_heads=_heads(path, shapes), source=path)
    task = task_of(shapes, config)
    pair = path.parent.name in PAIR.values()
    generation = family_of(task, config, pair=pair).removeprefix("wan")
    half = ", one expert of a pair" if pair else ""
    return f"Wan {generation} {task.upper()}, {size_of(config, parameters).upper()}{half}"


def _heads(path: Path, shapes: dict[str, tuple[int, ...]]) -> int | None:
    """Number of heads where config.json tells; for a stray file of another width than the published, any that fits."""
    stored = read_config(path.parent).num_heads
    width = shapes.get("head.modulation", (0,))[-1]
    return stored if stored is not None or width % 128 == 0 else 1


def _incomplete(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Blocks that lack tensors which the other blocks have: truncated conversions and lost shards show here."""
    blocks: dict[int, set[str]] = defaultdict(set)
    for name in shapes:
        if match := re.match(r"blocks\.(\d+)\.(.+)", name):
            blocks[int(match[1])].add(match[2])
    every = set().union(*blocks.values())
    problems = [f"Block {index} is missing." for index in range(max(blocks, default=-1)) if index not in blocks]
    for index, names in sorted(blocks.items()):
        if lacking := sorted(every - names):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            problems.append(f"Block {index} lacks {lacking[0]}{more}, which other blocks have.")
    return problems


def _report(network: NetworkFacts) -> list[str]:
    formats = ", ".join(f"{name} {count / network.parameters:.1%}" for name, count in network.dtypes.items())
    rows = [
        ("is", f"{network.kind}: {network.guess}" if network.guess else network.kind),
        ("format", network.format + (f", {network.files} files" if network.files > 1 else "")),
        ("tensors", f"{network.tensors:,}"),
        ("parameters", f"{network.parameters:,}"),
        ("bytes", f"{network.bytes:,}"),
        ("numbers", formats),
        *((f"metadata {key}", value) for key, value in network.metadata.items()),
        *(("problem", problem) for problem in network.problems),
    ]
    width = max(len(label) for label, _ in rows)
    return [f"  {label.ljust(width)}  {value}" for label, value in rows]
