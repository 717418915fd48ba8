"""Facts about any weight file or directory: what it is, what belongs with it, what is missing, and how to run it.

Read from headers and small text files only. Does not need torch.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from filmgate.engine.checkpoints.advice import (
    VAES,
    belongs_with,
    command,
    doubtful_name,
    doubtful_vae,
    part_of,
    precision_of,
)
from filmgate.engine.checkpoints.diffusers_layout import FOLDERS
from filmgate.engine.checkpoints.evidence import HALVES, Evidence, comes_in_pairs, evidence_of, words
from filmgate.engine.checkpoints.hashes import check_expert_by_hash, evidence_by_hash
from filmgate.engine.checkpoints.layout import (
    IMAGE_ENCODER,
    MODEL_INDEX,
    PAIR,
    TEXT_ENCODER,
    VAE,
    WEIGHTS,
    Layout,
)
from filmgate.engine.checkpoints.locations import is_folder_of_files
from filmgate.engine.checkpoints.lora import adapter_in, read_lora
from filmgate.engine.checkpoints.names import has_place
from filmgate.engine.checkpoints.networks import Network, networks_in
from filmgate.engine.checkpoints.packed_file import SUFFIX as PACKED
from filmgate.engine.checkpoints.packed_file import read_packed, read_packed_header
from filmgate.engine.checkpoints.parts import Parts, read_parts
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.sidecar import CONFIG, SIDECAR, read_config
from filmgate.engine.checkpoints.single_files import networks_around
from filmgate.engine.checkpoints.spellings import BRANCH
from filmgate.engine.checkpoints.variants import family_of, is_lora, refusal, size_of, task_of
from filmgate.engine.checkpoints.weights import (
    GGUF,
    INDEX,
    PICKLES,
    SAFETENSORS,
    SUFFIXES,
    read_weights,
    weight_files,
)
from filmgate.engine.models.config import DitConfig
from filmgate.spec.errors import CheckpointError, FilmgateError, MissingFile
from filmgate.spec.model import ExpertName
from filmgate.spec.shape import Frozen

_UNKNOWN_HALF = "one expert of a pair, and nothing tells which"
_NOT_OF_WAN = "no tensor in it is that of a network of Wan, or of a LoRA"
_MAX_VALUE = 200


class NetworkFacts(Frozen):
    """One network in a weight file, or in an index with its shards.

    ``guess`` says in words which published model has such tensors; ``family``, ``task``, ``expert`` and ``size`` are
    the same apart (``expert`` with what tells it). ``spelling`` says whose names the tensors have, ``dtypes`` counts
    elements by torch's name of their format, ``belongs`` says what it is used together with; ``problems`` are
    sentences.
    """

    path: str
    kind: str
    format: str
    spelling: str = ""
    guess: str = ""
    family: str | None = None
    task: str | None = None
    expert: str | None = None
    size: str | None = None
    precision: str = ""
    files: int = 1
    tensors: int
    parameters: int
    bytes: int
    dtypes: dict[str, int]
    metadata: dict[str, str]
    belongs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Inspection(Frozen):
    """What :func:`inspect` found. Printed, it is a report for people.

    ``complete`` says of a model whether it can run, of a single network whether it is sound; ``missing`` why a
    transformer cannot run as it lies there, and ``run`` what to type if it can. ``packed`` is the directory of packed
    files that was unpacked to ``path``.
    """

    path: str
    complete: bool
    networks: tuple[NetworkFacts, ...] = ()
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    run: str | None = None
    packed: str | None = None

    def __str__(self) -> str:
        path = Path(self.path)
        state = "sound" if path.is_file() and path.suffix != ".toml" else "complete"
        count = len(self.networks)
        what = "one network" if count == 1 else f"{count} networks"
        if self.networks and all(network.kind == "unknown" for network in self.networks):
            what = "nothing that runs here"
        if path.is_dir() and self.networks[:1] and self.networks[0].kind == "LoRA":
            what = "a LoRA"
        elif path.is_dir():
            what = "one network of a model" if count == 1 and not self.complete else "a model directory"
        elif path.suffix == ".toml":
            what = "a description of a model"
        lines = [f"{self.path}: {what}, {state if self.complete else f'not {state}'}"]
        if self.packed is not None:
            lines.insert(0, f"{self.packed}: packed by Filmgate for shipping, and unpacked in the cache:")
        for network in self.networks:
            lines += ["", _told_from(path, Path(network.path)), *_report(network)]
        for title, sentences in (("Problems", self.problems), ("Missing", self.missing)):
            if sentences:
                lines += ["", title, *(f"  {sentence}" for sentence in sentences)]
        if self.run:
            lines += ["", "To run it", f"  {self.run}"]
        return "\n".join(lines)


def inspect(path: str | Path, cache: Path | None = None) -> Inspection:
    """Facts about a weight file, a shard index, a model directory, or a TOML file that names a model's parts.

    What is wrong with a directory's parts becomes a problem in the report, so that all of it is seen at once; a single
    file that cannot be read is an error.

    Args:
        path: Where it lies.
        cache: Directory in which hashes are remembered: they may tell which expert a file is.

    Raises:
        MissingFile: there is nothing at ``path``, or no weights in it.
        DamagedFile, UnsafeCheckpoint, WrongDtype: it is a single file, and cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(path, "there is no such file or directory")
    if path.is_dir() and (adapter := adapter_in(path)) is not None:
        return _inspect_file(path, adapter, cache)
    return _inspect_model(path, cache) if path.is_dir() or path.suffix == ".toml" else _inspect_file(path, path, cache)


def _inspect_file(path: Path, file: Path, cache: Path | None) -> Inspection:
    """Of a weight file at ``path``, or the only one of a directory."""
    networks = tuple(_facts(file, "dense", cache))
    sound = not any(network.problems for network in networks)
    model = next((network for network in networks if network.kind == "transformer"), None)
    missing: tuple[str, ...] = ()
    run = None
    if path.suffix == PACKED:
        missing = ("It is packed. A directory of packed files runs: name that, and it is unpacked in the cache.",)
    elif model is not None and sound:
        try:
            run = command(path, read_parts(file).task)
        except FilmgateError as error:
            missing = (str(error),)
    return Inspection(path=str(path), complete=sound, networks=networks, missing=missing, run=run)


def _inspect_model(path: Path, cache: Path | None) -> Inspection:
    networks: list[NetworkFacts] = []
    problems: list[str] = []
    parts = _parts(path, problems, cache)
    layout = None if parts is None else parts.layout
    named = {} if layout is None else {file: name for name, file in (*layout.experts.items(), *layout.branches.items())}
    for weights in _weights(path, layout):
        try:
            networks += _facts(weights, named.get(weights, "dense"), cache)
        except CheckpointError as error:
            problems.append(str(error))
    if not networks and not problems:
        raise MissingFile(path, "there are no weights in it", expected=", ".join(SUFFIXES))
    complete = parts is not None and not problems and not any(network.problems for network in networks)
    return Inspection(
        path=str(path),
        complete=complete,
        networks=tuple(networks),
        problems=_without(problems, networks),
        run=command(path, parts.task) if complete and parts is not None else None,
    )


def _without(problems: Iterable[str], networks: Iterable[NetworkFacts]) -> tuple[str, ...]:
    """Problems of the whole, each once: not those that the report of a network has already."""
    said = {problem for network in networks for problem in network.problems}
    return tuple(problem for problem in dict.fromkeys(problems) if not any(one in problem for one in said))


def _parts(path: Path, problems: list[str], cache: Path | None) -> Parts | None:
    """The parts of a model, or a problem: that of finding them, or else of fitting them together."""
    try:
        parts = read_parts(path)
        for name, records in parts.experts.items():
            check_expert_by_hash(name, records, cache)
    except FilmgateError as error:
        problems.append(str(error))
        return None
    if parts.dit.image_dim is not None and parts.image_encoder is None:
        problems.append("The image encoder (CLIP, models_clip_*.pth) is missing: the model sees pictures with it.")
    return parts


def _weights(root: Path, layout: Layout | None) -> list[Path]:
    """Weight files of a model; a sharded network by its index, or by its shards if that is missing."""
    if layout is not None and layout.style == "files":
        clip = () if layout.image_encoder is None else (layout.image_encoder,)
        transformers = (*layout.experts.values(), *layout.branches.values())
        return list(dict.fromkeys((*transformers, *layout.vaes, layout.text_encoder, *clip)))
    if root.is_file():
        return []
    if (root / MODEL_INDEX).is_file():
        return [path for name in FOLDERS if (root / name).is_dir() for path in weight_files(root / name)]
    if is_folder_of_files(root):
        # In the folders of a model's parts, most files may belong to other models.
        return weight_files(root) or networks_around(root)
    found: list[Path] = []
    for folder in (*(root / name for name in PAIR.values()), root):
        whole = [folder / f"{WEIGHTS}{suffix}" for suffix in (SAFETENSORS, INDEX)]
        shards = sorted(folder.glob(f"{WEIGHTS}-*{SAFETENSORS}"))
        found += next(([path] for path in whole if path.is_file()), shards)
    others = (path for pattern in (TEXT_ENCODER, VAE, IMAGE_ENCODER) for path in sorted(root.glob(pattern)))
    return found + [path for path in others if path.suffix in (SAFETENSORS, *PICKLES)]


def _facts(path: Path, named: ExpertName, cache: Path | None) -> Iterable[NetworkFacts]:
    """Facts about every network in a file, which a description may name as an expert."""
    records = read_packed(path) if path.suffix == PACKED else read_weights(path)
    networks = networks_in(records)
    for network in networks:
        hint = evidence_by_hash(network.records, cache) if network.kind in ("transformer", BRANCH) else None
        if hint is None and named != "dense":
            hint = Evidence(named, "place in the description alone: nothing else tells")
        yield _network_facts(path, network, hint)
    if not networks:
        yield _lora_facts(path, records) if is_lora(records.shapes) else _unknown_facts(path, records)


def _unknown_facts(path: Path, records: WeightRecords) -> NetworkFacts:
    return _described(path, "unknown", records, guess=_NOT_OF_WAN)


def _lora_facts(path: Path, records: WeightRecords) -> NetworkFacts:
    """What changes a network instead of being one; :mod:`~.lora_inspection` knows more."""
    facts: dict[str, object] = {"belongs": ("a transformer; `filmgate lora inspect` says which",)}
    try:
        lora = read_lora(path)
    except CheckpointError as error:
        facts["problems"] = (str(error),)
    else:
        ranks = sorted({change.rank for change in lora.changes if change.rank is not None})
        told = evidence_of(path, records.metadata)
        facts |= {
            "guess": f"{lora.dialect}, rank {', '.join(map(str, ranks))}" if ranks else f"{lora.dialect}, no factors",
            "expert": f"{words(told.expert)}, by its {told.by}" if told is not None and not lora.sections else None,
        }
    return _described(path, "LoRA", records, **facts)


def _described(path: Path, kind: str, records: WeightRecords, **facts: object) -> NetworkFacts:
    return NetworkFacts.model_validate(
        {
            "path": str(path), "kind": kind, "format": _format(path), "files": len(records.files),
            "tensors": len(records.tensors), "parameters": records.parameters, "bytes": records.bytes,
            "dtypes": records.dtypes, "metadata": dict(records.metadata), **facts,
        }
    )  # fmt: skip


def _network_facts(path: Path, network: Network, hint: Evidence | None) -> NetworkFacts:
    """Facts about a network; ``hint`` says which expert it is where nothing in or around the file does."""
    records, shapes = network.records, network.records.shapes
    facts: dict[str, object] = {"spelling": _spelling(network), "precision": precision_of(network)}
    if network.kind == "transformer":
        # A kind that cannot run has tensors of its own, and needs no other reason.
        refused = refusal(shapes)
        problems = _misplaced(shapes) if refused is None else [f"{refused[0].upper()}{refused[1:]}."]
        try:
            facts |= _transformer_facts(path, records, hint)
        except FilmgateError as error:
            problems.append(str(error))
        doubt = None if refused is not None else doubtful_name(path, str(facts.get("task")))
    elif network.kind == "VAE":
        channels = shapes.get("conv2.weight", (0,))[0]
        facts |= {
            "guess": VAES.get(channels, f"VAE with {channels} latent channels"),
            "belongs": part_of("VAE", channels),
        }
        problems, doubt = [], doubtful_vae(path, channels)
    elif network.kind == BRANCH:
        problems, doubt = _misplaced(shapes), None
        facts |= _branch_facts(path, records, hint)
    else:
        problems = _incomplete(shapes)
        facts |= {"guess": "umT5" if network.kind == "text encoder" else "CLIP", "belongs": part_of(network.kind)}
        doubt = None
    problems += [] if doubt is None else [doubt]
    return _described(path, network.kind, records, **facts, problems=tuple(problems))


def _branch_facts(path: Path, records: WeightRecords, hint: Evidence | None) -> dict[str, object]:
    """What a branch of VACE in a file of its own is for."""
    width = records.shapes["vace_patch_embedding.weight"][0]
    told = evidence_of(path, records.metadata) or hint
    expert = None if told is None else f"{words(told.expert)}, by its {told.by}"
    return {"guess": f"without its transformer, width {width}", "expert": expert, "belongs": part_of(BRANCH)}


def _transformer_facts(path: Path, records: WeightRecords, hint: Evidence | None) -> dict[str, object]:
    shapes = records.shapes
    config = DitConfig.from_tensors(shapes, num_heads=_heads(path, shapes), source=path)
    task = task_of(shapes, config)
    told = _told_expert(path, records) or hint
    # No model of Wan 2.1 makes videos of pictures without an image branch.
    halved = task == "i2v" and config.image_dim is None and not _stands_alone(path)
    family = family_of(task, config, pair=told is not None or halved)
    size = size_of(config, records.parameters)
    guess = f"Wan {family.removeprefix('wan')} {task.upper()}, {size.upper()}"
    if told is not None or halved:
        guess += ", one expert of a pair"
    elif task == "t2v" and config.out_dim == 16 and not _stands_alone(path) and size == "14b":
        guess += ", or one expert of Wan 2.2 T2V-A14B: the tensors are alike and nothing tells"
    expert = f"{words(told.expert)}, by its {told.by}" if told is not None else _UNKNOWN_HALF if halved else None
    return {
        "guess": guess, "family": family, "task": task, "size": size, "expert": expert,
        "belongs": belongs_with(config, told, pair=halved),
    }  # fmt: skip


def _told_expert(path: Path, records: WeightRecords) -> Evidence | None:
    """What tells the expert; in a pipeline of Diffusers, the order of its transformers."""
    root = path.parent.parent
    if path.parent.name in FOLDERS and (root / MODEL_INDEX).is_file():
        pair = (root / "transformer_2").is_dir()
        return Evidence(HALVES["low" if path.parent.name.endswith("2") else "high"], "folder") if pair else None
    return evidence_of(path, records.metadata) if comes_in_pairs(records.shapes) else None


def _stands_alone(path: Path) -> bool:
    """Whether a transformer lies in a directory of its model, which would say if it were one of two. A folder that was
    taken out of one says nothing."""
    folder = path.parent
    whole = (folder / SIDECAR).is_file() or any(folder.glob(TEXT_ENCODER))
    return path.name.startswith(WEIGHTS) and (whole or (folder.parent / MODEL_INDEX).is_file())


def _heads(path: Path, shapes: dict[str, tuple[int, ...]]) -> int | None:
    """Number of heads where config.json tells; for a stray file of another width than the published, any that fits."""
    stored = read_config(path.parent / CONFIG).num_heads if path.name.startswith(WEIGHTS) else None
    width = shapes.get("head.modulation", (0,))[-1]
    return stored if stored is not None or width % 128 == 0 else 1


def _misplaced(shapes: Iterable[str]) -> list[str]:
    """Tensors of a transformer that have no place in it, and blocks that lack some."""
    placed = [name for name in shapes if has_place(name)]
    stray = [name for name in shapes if not has_place(name)]
    if not stray:
        return _incomplete(placed)
    more = f" and {len(stray) - 1} more" if len(stray) > 1 else ""
    return [f"No model of Wan here has a place for {stray[0]}{more}.", *_incomplete(placed)]


def _incomplete(shapes: Iterable[str]) -> list[str]:
    """Blocks that lack tensors which the other blocks have: truncated conversions and lost shards show here."""
    blocks: dict[int, set[str]] = defaultdict(set)
    for name in shapes:
        if match := re.match(r"(?:blocks|transformer)\.(\d+)\.(.+)", name):
            blocks[int(match[1])].add(match[2])
    every = set().union(*blocks.values())
    problems = [f"Block {index} is missing." for index in range(max(blocks, default=-1)) if index not in blocks]
    for index, names in sorted(blocks.items()):
        if lacking := sorted(every - names):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            problems.append(f"Block {index} lacks {lacking[0]}{more}, which other blocks have.")
    return problems


def _spelling(network: Network) -> str:
    names = "original names" if network.publisher == "original" else f"{network.publisher} names"
    return f"{names} after {network.prefix!r}" if network.prefix else names


def _format(path: Path) -> str:
    if path.name.endswith(INDEX):
        return "sharded safetensors"
    if path.suffix == PACKED:
        header = read_packed_header(path)
        bits = f"{header.mantissa_bits}-bit mantissas"
        return f"safetensors, packed in {path.stat().st_size:,} of {header.bytes:,} bytes, {bits}"
    return {SAFETENSORS: "safetensors", GGUF: "GGUF"}.get(path.suffix, "torch.save archive")


def _told_from(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path != root and path.is_relative_to(root) else path)


def _report(network: NetworkFacts) -> list[str]:
    formats = ", ".join(f"{name} {count / max(network.parameters, 1):.1%}" for name, count in network.dtypes.items())
    rows = [
        ("is", f"{network.kind}: {network.guess}" if network.guess else network.kind),
        ("expert", network.expert or ""),
        ("format", network.format + (f", {network.files} files" if network.files > 1 else "")),
        ("spelling", network.spelling),
        ("precision", network.precision),
        ("tensors", f"{network.tensors:,}"),
        ("parameters", f"{network.parameters:,}"),
        ("bytes", f"{network.bytes:,}"),
        ("numbers", formats),
        *((f"metadata {key}", " ".join(value.split())[:_MAX_VALUE]) for key, value in network.metadata.items()),
        *(("belongs with", part) for part in network.belongs),
        *(("problem", problem) for problem in network.problems),
    ]
    rows = [(label, value) for label, value in rows if value]
    width = max(len(label) for label, _ in rows)
    return [f"  {label.ljust(width)}  {value}" for label, value in rows]
