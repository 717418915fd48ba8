"""Where the parts of a model lie in the directories that Wan publishes. Does not need torch.

```
high_noise_model/ low_noise_model/    transformers of a pair, or else at the top: config.json and
                                      diffusion_pytorch_model.safetensors, or shards with an .index.json
models_t5_umt5-*.pth                  text encoder          }
Wan2.1_VAE.pth                        video autoencoder     } .pth or .safetensors
models_clip_*.pth                     image encoder         }
google/umt5-xxl/tokenizer.json        tokenizer
generation.json                       ours, optional: what these formats leave to the code
```

Diffusers' directories are read in :mod:`~.diffusers_layout`, single files in :mod:`~.single_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filmgate.engine.checkpoints.evidence import expert_in, half_known, needs_a_pair
from filmgate.engine.checkpoints.networks import read_network
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.variants import check_runs
from filmgate.engine.checkpoints.weights import INDEX, PICKLES, SAFETENSORS, weight_files
from filmgate.spec.errors import CheckpointError, MissingFile, WrongVariant
from filmgate.spec.model import ExpertName

PAIR: Mapping[ExpertName, str] = {"high_noise": "high_noise_model", "low_noise": "low_noise_model"}
WEIGHTS = "diffusion_pytorch_model"
TOKENIZER = "google/umt5-xxl/tokenizer.json"
TEXT_ENCODER, VAE, IMAGE_ENCODER = "models_t5_umt5-*", "Wan2.?_VAE*", "models_clip_*"
MODEL_INDEX, MODEL_TOML, SIDECAR = "model_index.json", "model.toml", "generation.json"
TREE = ("diffusion_models", "unet", "checkpoints", "vae", "text_encoders", "clip", "clip_vision")
"""Folders of ComfyUI's ``models`` that hold parts of a model."""
Style = Literal["original", "diffusers", "files"]


@dataclass(frozen=True)
class Layout:
    """Files of a complete model.

    Attributes:
        root: The directory.
        experts: Weights of each transformer: a file, or the index of its shards.
        text_encoder, tokenizer: Files.
        vaes: Autoencoders that lie there; one of them fits the transformer.
        image_encoder: CLIP, of the models that look at pictures through it.
        style: Whose layout it is.
        branches: Weights of the branch of VACE of each transformer, where they are in a file of their own.
        configs: config.json of each transformer and, under ``vae`` and ``text_encoder``, of the others, if there.
    """

    root: Path
    experts: Mapping[ExpertName, Path]
    text_encoder: Path
    vaes: tuple[Path, ...]
    tokenizer: Path
    image_encoder: Path | None = None
    style: Style = "original"
    configs: Mapping[str, Path] = field(default_factory=dict)
    branches: Mapping[ExpertName, Path] = field(default_factory=dict)


def model_directories(path: Path) -> tuple[Path, ...]:
    """``path`` itself if it is a file or looks like a model, or else the directories in it that do, by name, or else
    ``path`` itself if there are weight files in it or in the folders of a model's parts."""
    if path.is_file() or _looks_like_a_model(path):
        return (path,)
    inside = sorted(path.iterdir()) if path.is_dir() else []
    found = tuple(folder for folder in inside if _looks_like_a_model(folder))
    return found or ((path,) if path.is_dir() and has_files(path) else ())


def _looks_like_a_model(path: Path) -> bool:
    """Whether there are transformers, complete or not; only describing the model tells whether it is sound."""
    pair = any((path / folder).is_dir() for folder in PAIR.values())
    described = any((path / name).is_file() for name in (MODEL_INDEX, MODEL_TOML))
    return pair or described or any(path.glob(f"{WEIGHTS}*{SAFETENSORS}*"))


def has_files(folder: Path) -> bool:
    """Whether weight files lie in a directory, or one level down: in ComfyUI's folders, or in one for each expert."""
    inside = [folder / name for name in TREE if (folder / name).is_dir()]
    return any(weight_files(one) for one in (folder, *inside, *halves_in(folder)))


def halves_in(folder: Path) -> list[Path]:
    """Folders inside that an expert has for its own, by name."""
    return [path for path in sorted(folder.iterdir()) if is_half(path)]


def is_half(folder: Path) -> bool:
    """Whether a directory is that of one expert, by its name."""
    return folder.is_dir() and expert_in(folder.name) is not None and folder.name not in TREE


def original_layout(root: Path) -> Layout:
    """The files of the model in ``root``, as Wan publishes them.

    Raises:
        WrongVariant: the transformer is of a kind that cannot run, or one expert of a pair.
        MissingFile: a part is missing.
        CheckpointError: it is not clear which of several files is meant.
    """
    experts = find_experts(root)
    _check_experts(root, experts)
    if not any(True for pattern in (TEXT_ENCODER, VAE) for _ in root.glob(pattern)):
        raise MissingFile(
            root, f"only {'a transformer is' if len(experts) == 1 else 'transformers are'} in it",
            expected=f"{TEXT_ENCODER}, {VAE} and {TOKENIZER} beside, or a {MODEL_TOML} that names all parts",
            found=listing(root),
        )  # fmt: skip
    text_encoder = only(root, candidates(root, TEXT_ENCODER), f"{TEXT_ENCODER}.pth or .safetensors", "text encoder")
    vaes = candidates(root, VAE)
    if not vaes:
        raise MissingFile(root, "the video autoencoder is missing", expected="Wan2.1_VAE.pth or .safetensors")
    tokenizer = root / TOKENIZER
    if not tokenizer.is_file():
        raise MissingFile(tokenizer, "the tokenizer is missing")
    clip = candidates(root, IMAGE_ENCODER)
    return Layout(
        root,
        experts,
        text_encoder,
        tuple(vaes),
        tokenizer,
        only(root, clip, f"{IMAGE_ENCODER}.pth or .safetensors", "image encoder") if clip else None,
        configs={name: path.parent / "config.json" for name, path in experts.items()},
    )


def _check_experts(root: Path, experts: Mapping[ExpertName, Path]) -> None:
    """What makes parts beside the transformers beside the point: asked before any is missed."""
    networks = {name: read_network(path, "transformer").records for name, path in experts.items()}
    for name, path in experts.items():
        check_runs(path, networks[name].shapes)
    if "dense" in networks:
        _check_whole(root, experts["dense"], networks["dense"])


def _check_whole(root: Path, path: Path, records: WeightRecords) -> None:
    """A transformer alone in a directory must not be one of two. A name may mislead where all other parts lie there,
    and whoever wrote a generation.json has said what the model is; but tensors do not mislead."""
    if (root / SIDECAR).is_file() or "control_adapter.conv.weight" in records.shapes:
        return
    known = half_known(path, records)
    if known is not None and (needs_a_pair(records.shapes) or not any(root.glob(TEXT_ENCODER))):
        raise WrongVariant(
            root, f"not a whole model, but {known}",
            expected=f"the directory that has {' and '.join(PAIR.values())}, or a {MODEL_TOML} that names both files",
            found=listing(root),
        )  # fmt: skip


def find_experts(root: Path) -> dict[ExpertName, Path]:
    """Weights of the transformers in ``root``, by name.

    Raises:
        MissingFile: there are none, or one of a pair is missing.
    """
    if not any((root / folder).is_dir() for folder in PAIR.values()):
        return {"dense": network_weights(root)}
    for folder in PAIR.values():
        if not (root / folder).is_dir():
            raise MissingFile(root / folder, "an expert is missing", expected=" and ".join(PAIR.values()), found="one")
    return {name: network_weights(root / folder) for name, folder in PAIR.items()}


def network_weights(folder: Path, stem: str = WEIGHTS, part: str = "transformer") -> Path:
    """Weights of the network in a folder: a file, or the index of its shards.

    Raises:
        MissingFile: there are none, or shards without their index.
    """
    for suffix in (SAFETENSORS, INDEX):
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    if shards := sorted(folder.glob(f"{stem}-*{SAFETENSORS}")):
        raise MissingFile(
            folder / f"{stem}{INDEX}", "the index of the shards is missing", found=f"{len(shards)} shards"
        )
    raise MissingFile(
        folder,
        f"the weights of the {part} are missing",
        expected=f"{stem}{SAFETENSORS}, or shards with {stem}{INDEX}",
        found=listing(folder),
    )


def candidates(root: Path, pattern: str) -> list[Path]:
    """Weight files of that name; of the same name in both formats, the safetensors file."""
    found: dict[str, Path] = {}
    for suffix in (*PICKLES, SAFETENSORS):
        found |= {path.stem: path for path in sorted(root.glob(f"{pattern}{suffix}")) if path.is_file()}
    return [found[name] for name in sorted(found)]


def only(root: Path, found: list[Path], expected: str, part: str) -> Path:
    """The one file that was found.

    Raises:
        MissingFile: there is none.
        CheckpointError: there are several.
    """
    if not found:
        raise MissingFile(root, f"the {part} is missing", expected=expected, found=listing(root))
    if len(found) > 1:
        raise CheckpointError(
            root, f"more than one {part}", expected="one", found=", ".join(path.name for path in found)
        )
    return found[0]


def listing(folder: Path, limit: int = 8) -> str:
    """The first names in a folder, for a message."""
    if not folder.is_dir():
        return "no such directory"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(shortened(names, limit)) or "an empty directory"


def shortened(names: list[str], limit: int = 8) -> list[str]:
    """Names for a message: the first, and how many more there are."""
    return names if len(names) <= limit else [*names[:limit], f"and {len(names) - limit} more"]
