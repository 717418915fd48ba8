"""Models made of single files: ComfyUI's, Kijai's and GGUF repackagings. Does not need torch.

A file says by its tensors what it is, but not what belongs with it. A small file may say that; nothing in it is needed
that can be found:

```toml
high_noise = "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
low_noise = "diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"
vae = "vae/wan_2.1_vae.safetensors"
text_encoder = "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
```

What is not named is looked for beside the transformer: in its folder, and in the neighbours of that folder that
ComfyUI's tree has. Every choice must be the only one possible; nothing is guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from filmgate.engine.checkpoints.evidence import (
    OTHER,
    Evidence,
    Half,
    comes_in_pairs,
    evidence_of,
    half_known,
    needs_a_pair,
    words,
)
from filmgate.engine.checkpoints.layout import (
    MODEL_TOML,
    TOKENIZER,
    TREE,
    Layout,
    halves_in,
    is_half,
    listing,
    shortened,
)
from filmgate.engine.checkpoints.networks import Network, networks_in, read_network
from filmgate.engine.checkpoints.records import file_size, read_json
from filmgate.engine.checkpoints.spellings import BRANCH, Kind, Shapes
from filmgate.engine.checkpoints.variants import check_runs
from filmgate.engine.checkpoints.weights import GGUF, INDEX, SUFFIXES, read_weights, weight_files
from filmgate.spec.errors import CheckpointError, DamagedFile, MissingFile, WrongVariant
from filmgate.spec.model import ExpertName

TRANSFORMERS: Mapping[str, ExpertName] = {"transformer": "dense", "high_noise": "high_noise", "low_noise": "low_noise"}
BRANCHES: Mapping[str, ExpertName] = {
    "vace": "dense", "vace_high_noise": "high_noise", "vace_low_noise": "low_noise",
}  # fmt: skip
PARTS: Mapping[str, Kind] = {"vae": "VAE", "text_encoder": "text encoder", "image_encoder": "image encoder"}
KEYS = (*TRANSFORMERS, *BRANCHES, *PARTS, "tokenizer")
TOKENIZERS = (TOKENIZER, "tokenizer/tokenizer.json", "umt5-xxl/tokenizer.json", "tokenizer.json", "spiece.model")
EMBEDDED_TOKENIZER = "spiece_model"
"""Tensor of ComfyUI's text encoders: the bytes of the SentencePiece model."""
_TEXT_WIDTH, _TEXT_DIM = "text_embedding.0.weight", "token_embedding.weight"
_MAX_TOML_BYTES = 1 << 16
_LEVELS_UP = 3
Fits = Callable[[Shapes], bool]


def is_single(path: Path) -> bool:
    """Whether a path can be a model by itself: a weight file, or a file that names the parts."""
    return path.suffix in (*SUFFIXES, ".toml") or path.name.endswith(INDEX)


def single_layout(path: Path) -> Layout:
    """The files of the model that ``path`` is or begins: a description in TOML, a transformer, or a folder of files.

    Raises:
        MissingFile: a part is not found.
        WrongVariant: what is named is something else, or one expert of a pair where a whole model is meant.
        CheckpointError: several files could be meant; or which expert a file is cannot be known.
        DamagedFile: the description cannot be read.
    """
    if path.is_dir() and (path / MODEL_TOML).is_file():
        path = path / MODEL_TOML
    named = read_description(path) if path.suffix == ".toml" else {}
    if named:
        experts = {expert: named[key] for key, expert in TRANSFORMERS.items() if key in named}
        if set(experts) not in ({"dense"}, {"high_noise", "low_noise"}):
            raise DamagedFile(
                path, "not the transformers of a model", expected="transformer, or high_noise and low_noise",
                found=", ".join(named),
            )  # fmt: skip
        _check_branches(path, named, experts)
        if "dense" in experts:
            _check_whole(experts["dense"])
        around = Surroundings(next(iter(experts.values())))
    else:
        around = Surroundings(path)
        experts = _experts_in(around) if path.is_dir() else _experts_from(path, around)
    if len(set(experts.values())) < len(experts):
        raise WrongVariant(
            path, "the same file as both experts", expected="two files", found=next(iter(experts.values()))
        )
    return _with_parts(path, experts, named, around)


def read_description(path: Path) -> dict[str, Path]:
    """Files by their part, from a description in TOML; relative to its folder.

    Raises:
        MissingFile: it is not there, or names a file that is not.
        DamagedFile: it cannot be read, or says something that is not a file's part, or names a directory.
    """
    if (size := file_size(path)) > _MAX_TOML_BYTES:
        raise DamagedFile(path, "too large for a description", expected=f"at most {_MAX_TOML_BYTES} bytes", found=size)
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, "cannot be read", expected="TOML", found=str(error)[:120]) from error
    files: dict[str, Path] = {}
    for key, value in entries.items():
        if key not in KEYS or not isinstance(value, str) or not value or "\0" in value:
            raise DamagedFile(
                path, "not a part of a model", key=key, expected=f"a file under one of {', '.join(KEYS)}",
                found=repr(value)[:80],
            )  # fmt: skip
        files[key] = path.parent / value
        if files[key].is_dir():
            raise DamagedFile(
                path, "names a directory", key=key, expected=f"a file, such as one of {listing(files[key])}",
                found=value,
            )  # fmt: skip
        if not files[key].is_file():
            raise MissingFile(files[key], f"the {key} that {path.name} names is missing")
    if not files:
        raise DamagedFile(path, "names no part of a model", expected=f"files under {', '.join(KEYS)}", found="nothing")
    return files


@dataclass(frozen=True)
class Found:
    """A network in a file."""

    path: Path
    network: Network

    @property
    def shapes(self) -> Shapes:
        """By original names."""
        return self.network.records.shapes

    @property
    def evidence(self) -> Evidence | None:
        """Which expert it is, as far as anything tells."""
        return evidence_of(self.path, self.network.records.metadata) if comes_in_pairs(self.shapes) else None


@dataclass(frozen=True)
class Surroundings:
    """What lies in the folder of a path, or in the folder that it is, and in its neighbours in ComfyUI's tree."""

    path: Path

    @property
    def folder(self) -> Path:
        """Where the search begins."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def networks(self) -> tuple[tuple[Found, ...], ...]:
        """Networks by nearness: those of the folder, then those of its neighbours. Files that are none, or damaged, are
        left out: most of what lies in such folders belongs to other models."""
        return tuple(tuple(_networks_of(folders)) for folders in ([self.folder], self.neighbours) if folders)

    @cached_property
    def neighbours(self) -> list[Path]:
        """Folders of the same tree; for an expert in a folder of its own, the folder beside it; for a folder that is
        the model itself, the experts' folders in it."""
        beside = [path for path in sorted(self.folder.parent.iterdir()) if is_half(path) and path != self.folder]
        if not is_half(self.folder):
            beside = halves_in(self.folder) if self.path.is_dir() else []
        ancestors = [self.folder, *self.folder.parents][:_LEVELS_UP]
        tree = next((folder.parent for folder in ancestors if folder.name in TREE), None)
        if tree is None:
            inside = [self.folder / name for name in TREE if (self.folder / name).is_dir()]
            return [*beside, *(self.folder.parent,) * is_half(self.folder), *inside]
        return [*beside, *(tree / name for name in TREE if (tree / name).is_dir() and tree / name != self.folder)]

    def of_kind(self, kind: Kind) -> tuple[tuple[Found, ...], ...]:
        """Networks of a kind, by nearness."""
        return tuple(tuple(found for found in group if found.network.kind == kind) for group in self.networks)


def networks_around(folder: Path) -> list[Path]:
    """Files with networks of Wan in a folder and in those of its parts."""
    return list(dict.fromkeys(found.path for group in Surroundings(folder).networks for found in group))


def _networks_of(folders: Iterable[Path]) -> Iterable[Found]:
    for folder in folders:
        for path in weight_files(folder):
            try:
                networks = _networks_at(path, path.stat().st_size, path.stat().st_mtime_ns)
            except (CheckpointError, OSError):
                continue
            yield from (Found(path, network) for network in networks)


@lru_cache(maxsize=256)
def _networks_at(path: Path, size: int, changed_ns: int) -> tuple[Network, ...]:  # noqa: ARG001, for the cache
    """What is in a file, remembered until it changes: a model is looked for several times while a video is made, and
    the folders may be full. What was found is read again before it is used."""
    return networks_in(read_weights(path))


def _experts_in(around: Surroundings) -> dict[ExpertName, Path]:
    """The only model among the transformers of a folder."""
    groups = around.of_kind("transformer")
    found = next((group for group in groups if group), ())
    halves = [item.evidence.expert for item in found if item.evidence is not None]
    if len(found) == 1 and not halves:
        check_runs(found[0].path, found[0].shapes)
        if needs_a_pair(found[0].shapes):
            raise _untold(found[0].path)
        return {"dense": found[0].path}
    if len(found) == 2 and sorted(halves) == ["high_noise", "low_noise"]:
        return _pair(dict(zip(halves, (item.path for item in found), strict=True)))
    if not found:
        raise MissingFile(
            around.folder, "there is no transformer of Wan in it", expected=f"weights ({', '.join(SUFFIXES)})",
            found=listing(around.folder),
        )  # fmt: skip
    names = shortened([f"{item.path.name} ({_told(item)})" for item in found])
    raise CheckpointError(
        around.folder, "which transformers make a model cannot be known",
        expected=f"one, a high-noise and a low-noise one; or name one of the files, or a {MODEL_TOML} that names them",
        found=", ".join(names),
    )  # fmt: skip


def _told(found: Found) -> str:
    return "expert unknown" if found.evidence is None else words(found.evidence.expert)


def _experts_from(path: Path, around: Surroundings) -> dict[ExpertName, Path]:
    """The model that a file is the transformer of: itself, or itself and the other expert of its pair."""
    networks = networks_in(read_weights(path))
    own = next((Found(path, network) for network in networks if network.kind == "transformer"), None)
    if own is None and any(network.kind == BRANCH for network in networks):
        raise WrongVariant(
            path, "a branch of VACE without its transformer",
            expected=f"a {MODEL_TOML} that names both, the branch as {' or '.join(BRANCHES)}", found=path.name,
        )  # fmt: skip
    if own is None:
        kinds = " and ".join(network.kind for network in networks)
        raise WrongVariant(path, "not a transformer of Wan", expected="a transformer", found=kinds or "something else")
    check_runs(path, own.shapes)
    told = own.evidence
    if told is None:
        if needs_a_pair(own.shapes):
            raise _untold(path)
        return {"dense": path}
    other = OTHER[told.expert]
    for group in around.of_kind("transformer"):
        partners = [
            item for item in group
            if item.evidence is not None and item.evidence.expert == other and item.shapes == own.shapes
        ]  # fmt: skip
        twins = [item for item in partners if _unmarked(item.path) == _unmarked(path)]
        for choice in (twins, partners):
            if len(choice) == 1:
                return _pair({told.expert: path, other: choice[0].path})
        if partners:
            raise _several(path, words(other), [item.path for item in partners])
    raise MissingFile(
        around.folder, f"the {words(other)} is missing",
        expected=f"the partner of {path.name}, beside it or in a TOML file",
        found=listing(around.folder),
    )  # fmt: skip


def _untold(path: Path) -> CheckpointError:
    """For a file that must be one of two, where only its owner can say which."""
    return CheckpointError(
        path, "one expert of a pair, and whether the high-noise or the low-noise one cannot be known",
        expected=f"the other file too, and high_noise or low_noise in the names, or a {MODEL_TOML} that names both",
        found=path.name,
    )  # fmt: skip


def _check_whole(path: Path) -> None:
    """A file that is named as the only transformer must not be known as one of two."""
    known = half_known(path, read_network(path, "transformer").records)
    if known is not None:
        raise WrongVariant(
            path, f"named as a whole model, but it is {known}",
            expected="both files, named as high_noise and low_noise", found="one, named as transformer",
        )  # fmt: skip


def _check_branches(path: Path, named: Mapping[str, Path], experts: Mapping[ExpertName, Path]) -> None:
    """Branches must be named for the transformers that are named, and for all of them."""
    branches = {expert: named[key] for key, expert in BRANCHES.items() if key in named}
    keys = [key for key, expert in BRANCHES.items() if expert in experts]
    if branches and set(branches) != set(experts):
        raise DamagedFile(
            path, "branches of VACE for other transformers than it names", expected=" and ".join(keys),
            found=" and ".join(key for key in BRANCHES if key in named),
        )  # fmt: skip
    if len(set(branches.values())) < len(branches):
        raise WrongVariant(path, "the same branch of VACE for both experts", expected="two files", found=named[keys[0]])


def _pair(files: dict[Half, Path]) -> dict[ExpertName, Path]:
    return {"high_noise": files["high_noise"], "low_noise": files["low_noise"]}


def _unmarked(path: Path) -> str:
    """A file's name without what tells the expert: equal for the two files of a pair."""
    return path.name.lower().replace("high", "*").replace("low", "*")


def _with_parts(path: Path, experts: dict[ExpertName, Path], named: dict[str, Path], around: Surroundings) -> Layout:
    main = next(iter(experts.values()))
    first = next((one for one in networks_in(read_weights(main)) if one.kind == "transformer"), None)
    shapes = {} if first is None else first.records.shapes
    check_runs(main, shapes)
    width, channels = shapes.get(_TEXT_WIDTH, (0, 0))[-1], shapes.get("head.head.weight", (0,))[0] // 4
    fits: dict[Kind, Fits] = {
        "VAE": lambda found: found.get("conv2.weight", (0,))[0] == channels,
        "text encoder": lambda found: found.get(_TEXT_DIM, (0, 0))[-1] == width,
    }
    if "img_emb.proj.0.weight" in shapes:
        fits["image encoder"] = lambda _: True
    parts = {kind: named.get(key) for key, kind in PARTS.items()}
    parts |= {kind: _choose(path, around, kind, fit) for kind, fit in fits.items() if parts[kind] is None}
    vae, text, clip = (parts[kind] for kind in PARTS.values())
    folders = [around.folder, *around.neighbours, *([] if text is None else [text.parent])]
    tokenizer = named.get("tokenizer") or _tokenizer(text, folders)
    if vae is None or text is None or tokenizer is None or ("image encoder" in fits and clip is None):
        wanted: dict[str, Path | None] = {kind: parts[kind] for kind in fits} | {"tokenizer": tokenizer}
        raise _missing(around.folder, [part for part, file in wanted.items() if file is None])
    configs: dict[str, Path] = {
        name: config for name, file in experts.items() if (config := _config_beside(file)) is not None
    }  # fmt: skip
    root = path if path.is_dir() else path.parent
    branches = {expert: named[key] for key, expert in BRANCHES.items() if key in named}
    return Layout(root, experts, text, (vae,), tokenizer, clip, "files", configs, branches)


def _missing(folder: Path, parts: list[str]) -> MissingFile:
    """All that is missing, so that nobody has to come back for each."""
    *first, last = [f"the {part}" for part in parts]
    expected = f"beside the transformer, in ComfyUI's folders, or named in a {MODEL_TOML}"
    if "tokenizer" in parts:
        expected += f"; the tokenizer as {' or '.join(TOKENIZERS)}"
    return MissingFile(
        folder, f"{', '.join(first)} and {last} are missing" if first else f"{last} is missing",
        expected=f"{'them' if first else 'it'} {expected}", found=listing(folder),
    )  # fmt: skip


def _choose(path: Path, around: Surroundings, kind: Kind, fits: Fits) -> Path | None:
    """The only network of a kind that fits, in the nearest place that has any; None if none has."""
    every: list[Path] = []
    for group in around.of_kind(kind):
        fitting = [item.path for item in group if fits(item.shapes)]
        every += [item.path for item in group]
        if len(fitting) > 1:
            raise _several(path, kind, fitting)
        if fitting:
            return fitting[0]
    return every[0] if every else None  # one of another model: describing them together says why


def _several(path: Path, what: str, found: list[Path]) -> CheckpointError:
    return CheckpointError(
        path, f"more than one {what}", expected=f"one, or a {MODEL_TOML} that names it",
        found=", ".join(item.name for item in found),
    )  # fmt: skip


def _config_beside(file: Path) -> Path | None:
    """config.json in the folder of a transformer, if it is one of a transformer of Wan."""
    path = file.parent / "config.json"
    if file.suffix == GGUF or not path.is_file():
        return None
    name = read_json(path).get("_class_name")
    return path if isinstance(name, str) and name.startswith("Wan") else None


def _tokenizer(text_encoder: Path | None, folders: list[Path]) -> Path | None:
    """A tokenizer's file, or the text encoder if it carries one; None without any."""
    for folder in folders:
        for name in TOKENIZERS:
            if (folder / name).is_file():
                return folder / name
    carried = text_encoder is not None and any(
        name.endswith(EMBEDDED_TOKENIZER) for name in read_weights(text_encoder).tensors
    )
    return text_encoder if carried else None
