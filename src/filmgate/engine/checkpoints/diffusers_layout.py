"""Where the parts of a model lie in Diffusers' directories. Does not need torch.

```
model_index.json                      which class each part is; [null, null] for a part that the model does not have
transformer/ transformer_2/           the only transformer, or the high-noise and the low-noise expert
vae/ text_encoder/ image_encoder/     config.json and weights
tokenizer/tokenizer.json              tokenizer
```

That the first transformer is the high-noise one is Diffusers' own rule; VideoX-Fun calls them the other way round.
"""

from __future__ import annotations

from pathlib import Path

from filmgate.engine.checkpoints.layout import MODEL_INDEX, Layout, network_weights
from filmgate.engine.checkpoints.networks import read_network
from filmgate.engine.checkpoints.records import read_json
from filmgate.engine.checkpoints.variants import check_runs
from filmgate.spec.errors import MissingFile, WrongVariant
from filmgate.spec.model import ExpertName

HIGH, LOW = "transformer", "transformer_2"
TOKENIZERS = ("tokenizer/tokenizer.json", "tokenizer/spiece.model")
FOLDERS = (HIGH, LOW, "vae", "text_encoder", "image_encoder")
"""Folders of a pipeline with weights in them."""
TRANSFORMERS_STEM = "model"
"""Transformers' name for weights, where Diffusers has its own."""


def diffusers_layout(root: Path) -> Layout:
    """The files of the model in ``root``, as Diffusers saves pipelines.

    Raises:
        MissingFile: a part is missing.
        WrongVariant: it is not a pipeline of Wan, or of a kind that cannot run.
        DamagedFile: model_index.json cannot be read.
    """
    index = read_json(root / MODEL_INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or not name.startswith("Wan"):
        raise WrongVariant(
            root / MODEL_INDEX, "a pipeline of another family", key="_class_name", expected="Wan...", found=name
        )
    experts = _experts(root, index)
    for path in experts.values():
        check_runs(path, read_network(path, "transformer").records.shapes)
    vae, text_encoder = (
        network_weights(root / "vae", part="video autoencoder"),
        network_weights(root / "text_encoder", TRANSFORMERS_STEM, "text encoder"),
    )
    tokenizer = next((root / place for place in TOKENIZERS if (root / place).is_file()), None)
    if tokenizer is None:
        raise MissingFile(root / "tokenizer", "the tokenizer is missing", expected=" or ".join(TOKENIZERS))
    clip = (
        network_weights(root / "image_encoder", TRANSFORMERS_STEM, "image encoder")
        if _has(index, "image_encoder")
        else None
    )
    files: list[tuple[str, Path]] = [*experts.items(), ("vae", vae), ("text_encoder", text_encoder)]
    return Layout(
        root, experts, text_encoder, (vae,), tokenizer, clip, "diffusers",
        {part: path.parent / "config.json" for part, path in files},
    )  # fmt: skip


def _experts(root: Path, index: dict[str, object]) -> dict[ExpertName, Path]:
    if not _has(index, HIGH):
        raise MissingFile(root / HIGH, "the transformer is missing", expected=f"{HIGH} in {MODEL_INDEX}", found="null")
    first = network_weights(root / HIGH)
    if not _has(index, LOW):
        return {"dense": first}
    return {"high_noise": first, "low_noise": network_weights(root / LOW)}


def _has(index: dict[str, object], part: str) -> bool:
    """Whether a pipeline has a part: optional ones are written as ``[null, null]``."""
    stated = index.get(part)
    return isinstance(stated, list) and any(stated)
