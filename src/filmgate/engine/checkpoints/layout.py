"""Where the parts of a model lie in the directories that Wan publishes. Does not need torch.

```
high_noise_model/ low_noise_model/    transformers of a pair, or else at the top: config.json and
                                      diffusion_pytorch_model.safetensors, or shards with an .index.json
models_t5_umt5-*.pth                  text encoder          } .pth or .safetensors
Wan2.1_VAE.pth                        video autoencoder     }
google/umt5-xxl/tokenizer.json        tokenizer
generation.json                       ours, optional: what these formats leave to the code
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.pickled import read_pth
from filmgate.engine.checkpoints.records import TensorRecord, WeightRecords, read_json
from filmgate.spec.errors import (
    CheckpointError,
    DamagedFile,
    MissingFile,
    MissingTensor,
    UnexpectedTensor,
    WrongVariant,
)
from filmgate.spec.model import ExpertName

PAIR: Mapping[ExpertName, str] = {"high_noise": "high_noise_model", "low_noise": "low_noise_model"}
WEIGHTS = "diffusion_pytorch_model"
TOKENIZER = "google/umt5-xxl/tokenizer.json"
SAFETENSORS, INDEX, PICKLES = ".safetensors", ".safetensors.index.json", (".pth", ".pt")
TEXT_ENCODER, VAE = "models_t5_umt5-*", "Wan2.?_VAE*"


@dataclass(frozen=True)
class Layout:
    """Files of a complete model directory.

    Attributes:
        root: The directory.
        experts: Weights of each transformer: a file, or the index of its shards.
        text_encoder, tokenizer: Files.
        vaes: Autoencoders that lie there; one of them fits the transformer.
    """

    root: Path
    experts: Mapping[ExpertName, Path]
    text_encoder: Path
    vaes: tuple[Path, ...]
    tokenizer: Path


def model_directories(path: Path) -> tuple[Path, ...]:
    """``path`` itself if it looks like a model, or else the directories in it that do, by name."""
    if _looks_like_a_model(path):
        return (path,)
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return tuple(folder for folder in inside if _looks_like_a_model(folder))


def _looks_like_a_model(path: Path) -> bool:
    """Whether there are transformers, complete or not; only describing the model tells whether it is sound."""
    pair = any((path / folder).is_dir() for folder in PAIR.values())
    return pair or any(path.glob(f"{WEIGHTS}*{SAFETENSORS}*"))


def find_layout(root: Path) -> Layout:
    """The files of the model in ``root``.

    Raises:
        MissingFile: there is no such directory, or a part is missing.
        WrongVariant: it is a model in another layout.
        CheckpointError: it is not clear which of several files is meant.
    """
    if not root.is_dir():
        raise MissingFile(root, "there is no such directory")
    if (root / "model_index.json").is_file():
        raise WrongVariant(root, "a model of another layout", expected="the original Wan layout", found="Diffusers")
    experts = find_experts(root)
    text_encoder = _only(root, _candidates(root, TEXT_ENCODER), f"{TEXT_ENCODER}.pth or .safetensors", "text encoder")
    vaes = _candidates(root, VAE)
    if not vaes:
        raise MissingFile(root, "the video autoencoder is missing", expected="Wan2.1_VAE.pth or .safetensors")
    tokenizer = root / TOKENIZER
    if not tokenizer.is_file():
        raise MissingFile(tokenizer, "the tokenizer is missing")
    return Layout(root, experts, text_encoder, tuple(vaes), tokenizer)


def find_experts(root: Path) -> dict[ExpertName, Path]:
    """Weights of the transformers in ``root``, by name.

    Raises:
        MissingFile: there are none, or one of a pair is missing.
    """
    if not any((root / folder).is_dir() for folder in PAIR.values()):
        return {"dense": expert_weights(root)}
    for folder in PAIR.values():
        if not (root / folder).is_dir():
            raise MissingFile(root / folder, "an expert is missing", expected=" and ".join(PAIR.values()), found="one")
    return {name: expert_weights(root / folder) for name, folder in PAIR.items()}


def expert_weights(folder: Path) -> Path:
    """Weights of the transformer in a folder: a file, or the index of its shards.

    Raises:
        MissingFile: there are none, or shards without their index.
    """
    for suffix in (SAFETENSORS, INDEX):
        if (path := folder / f"{WEIGHTS}{suffix}").is_file():
            return path
    if shards := sorted(folder.glob(f"{WEIGHTS}-*{SAFETENSORS}")):
        raise MissingFile(
            folder / f"{WEIGHTS}{INDEX}", "the index of the shards is missing", found=f"{len(shards)} shards"
        )
    raise MissingFile(
        folder,
        "the weights of the transformer are missing",
        expected=f"{WEIGHTS}{SAFETENSORS}, or shards with {WEIGHTS}{INDEX}",
        found=_listing(folder),
    )


def read_weights(path: Path) -> WeightRecords:
    """What a weight file, or the index of a sharded one, says of its tensors.

    Raises:
        MissingFile: it is not there, or a shard is not.
        DamagedFile, UnsafeCheckpoint: see the readers of the two formats.
        MissingTensor, UnexpectedTensor: index and shards contradict each other.
    """
    if path.name.endswith(INDEX):
        return _read_shards(path)
    if path.suffix == SAFETENSORS:
        return read_safetensors(path)
    if path.suffix in PICKLES:
        return read_pth(path)
    raise DamagedFile(
        path, "not a weight file by its name", expected=", ".join((SAFETENSORS, INDEX, *PICKLES)), found=path.name
    )


def _read_shards(index: Path) -> WeightRecords:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise DamagedFile(index, "not an index", key="weight_map", expected="file names by tensor", found=type(places))
    for name, place in places.items():
        if not isinstance(place, str) or place in ("", ".", "..") or Path(place).name != place or "\\" in place:
            raise DamagedFile(
                index, "a shard outside the directory", key=name, expected="a file name", found=repr(place)[:80]
            )
    names = sorted(set(places.values()))
    tensors: dict[str, TensorRecord] = {}
    for shard in names:
        if not (index.parent / shard).is_file():
            raise MissingFile(index.parent / shard, "a shard is missing", expected=f"{len(names)} shards")
        for name, record in read_safetensors(index.parent / shard).tensors.items():
            if places.get(name) != shard:
                raise UnexpectedTensor(
                    record.file, "a tensor that the index has elsewhere", key=name, found=places.get(name)
                )
            tensors[name] = record
    for name, place in places.items():
        if name not in tensors:
            raise MissingTensor(index.parent / place, "a tensor of the index is not in its shard", key=name)
    return WeightRecords(index, tuple(index.parent / shard for shard in names), tensors, {})


def _candidates(root: Path, pattern: str) -> list[Path]:
    """Weight files of that name; of the same name in both formats, the safetensors file."""
    found: dict[str, Path] = {}
    for suffix in (*PICKLES, SAFETENSORS):
        found |= {path.stem: path for path in sorted(root.glob(f"{pattern}{suffix}")) if path.is_file()}
    return [found[name] for name in sorted(found)]


def _only(root: Path, found: list[Path], expected: str, part: str) -> Path:
    if not found:
        raise MissingFile(root, f"the {part} is missing", expected=expected, found=_listing(root))
    if len(found) > 1:
        raise CheckpointError(
            root, f"more than one {part}", expected="one", found=", ".join(path.name for path in found)
        )
    return found[0]


def _listing(folder: Path, limit: int = 8) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(_shortened(names, limit)) or "an empty directory"


def _shortened(names: list[str], limit: int) -> Iterable[str]:
    return names if len(names) <= limit else [*names[:limit], f"and {len(names) - limit} more"]
