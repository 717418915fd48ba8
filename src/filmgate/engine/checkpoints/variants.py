"""Which of the published models a set of tensors is: by names and shapes, never by a file's name. Without torch.

The order of the questions follows what ComfyUI asks of single files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from filmgate.engine.models.config import DitConfig
from filmgate.spec.errors import WrongVariant
from filmgate.spec.model import Task

Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["wan2.1", "wan2.2"]

_MARKS = (
    ("vace_patch_embedding.weight", "vace"),
    ("control_adapter.conv.weight", "camera"),
    ("casual_audio_encoder.encoder.final_linear.weight", "s2v"),
    ("audio_proj.audio_proj_glob_1.layer.bias", "humo"),
    ("face_adapter.fuser_blocks.0.k_norm.weight", "animate"),
    ("face_adapter.0.to_k.weight", "animate"),  # in Diffusers' names, which are not translated
    ("img_emb.emb_pos", "flf2v"),
)
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "s2v": "Wan 2.2 S2V moves by sound, through an audio encoder that Filmgate does not have",
        "humo": "HuMo moves by sound, through an audio branch that Filmgate does not have",
        "animate": "Wan 2.2 Animate follows a body and a face, through encoders that Filmgate does not have",
        "control": "it reads channels (of a control video, or of VideoX-Fun's inpainting) that Filmgate does not fill",
    }
)
"""Kinds of transformers that are known and cannot run, and why."""
_SPARSE: Mapping[str, str] = MappingProxyType(
    {
        ".attn_op.local_attn.": "TurboDiffusion's weights need its sparse-linear attention, which Filmgate does not"
        " have",
        ".to_gate_compress.": "FastVideo's weights need its sparse attention (VSA), which Filmgate does not have; those"
        " called FullAttn do not",
    }
)
"""Parts of the names of other kinds of attention, and what they mean."""
_TEXT_CHANNELS, _CONDITIONED_CHANNELS, _SMALL_VAE_CHANNELS = 16, 36, 48
_SIZES = {(1536, 8960, 12, 30): "1.3b", (5120, 13824, 40, 40): "14b", (3072, 14336, 24, 30): "5b"}
_LORA = (".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", "_lora.down.weight", ".diff", ".diff_b")


def is_lora(shapes: Shapes) -> bool:
    """Whether the tensors change a network instead of being one."""
    return any(name.endswith(_LORA) for name in shapes)


def task_of(shapes: Shapes, config: DitConfig) -> str:
    """What a transformer was trained for: a :data:`~filmgate.spec.model.Task`, or the name of one that is not ours."""
    return _task(shapes, config.in_dim, config.out_dim, image=config.image_dim is not None)


def _task(shapes: Shapes, channels_in: int, channels_out: int, *, image: bool) -> str:
    marked = next((task for mark, task in _MARKS if mark in shapes), None)
    if marked is not None:
        return marked
    channels = (channels_in, channels_out)
    if channels == (_SMALL_VAE_CHANNELS, _SMALL_VAE_CHANNELS):
        return "ti2v"
    if channels == (_CONDITIONED_CHANNELS, _TEXT_CHANNELS):
        return "i2v"
    if channels_in == channels_out and not image:
        return "t2v"
    return "control"


def refusal(shapes: Shapes) -> str | None:
    """Why a transformer of these tensors cannot run at all, whatever lies beside it; None if it can, or if the tensors
    that would tell are not there."""
    for part, reason in _SPARSE.items():
        if any(part in name for name in shapes):
            return reason
    first, last = shapes.get("patch_embedding.weight", ()), shapes.get("head.head.weight", ())
    if len(first) != 5 or not last:
        return None
    return _REFUSED.get(_task(shapes, first[1], last[0] // 4, image="img_emb.proj.0.weight" in shapes))


def check_runs(path: Path, shapes: Shapes) -> None:
    """Raise WrongVariant if a transformer is of a kind that cannot run: before anything is missed beside it."""
    if (reason := refusal(shapes)) is not None:
        raise WrongVariant(path, reason, expected=f"a transformer for {', '.join(get_args(Task)[:-1])} or camera")


def family_of(task: str, config: DitConfig, *, pair: bool) -> Family:
    """Wan 2.2 has pairs, the small VAE's models, and pictures without CLIP; the rest is Wan 2.1."""
    newer = pair or task in ("ti2v", "s2v", "animate") or (task in ("i2v", "camera") and config.image_dim is None)
    return "wan2.2" if newer else "wan2.1"


def per_token(task: str, config: DitConfig) -> bool:
    """Whether a model was trained with a timestep per token: TI2V-5B, and the camera's model that was made of it."""
    return task == "ti2v" or (task == "camera" and config.out_dim == _SMALL_VAE_CHANNELS)


def size_of(config: DitConfig, parameters: int) -> str:
    """Name of a published size (``14b``), or else the number of parameters (``9m``)."""
    known = _SIZES.get((config.dim, config.ffn_dim, config.num_heads, config.num_layers))
    if known is not None:
        return known
    for unit, letter in ((1_000_000_000, "b"), (1_000_000, "m"), (1_000, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}".removesuffix(".0") + letter
    return str(parameters)


def variant_of(family: Family, task: str, size: str, *, pair: bool, hint: str = "") -> str:
    """Public name, such as ``wan2.2-t2v-a14b``.

    Args:
        family, task, size: See the functions above.
        pair: Two experts; written as an ``a`` before the size.
        hint: Name of the directory. Only the two Wan 2.1 image-to-video models, which have the same tensors, are told
            apart by it.
    """
    name = f"{family}-{task}-{'a' if pair else ''}{size}"
    resolution = next((word for word in ("480p", "720p") if word in hint.lower()), None)
    return f"{name}-{resolution}" if resolution and name == "wan2.1-i2v-14b" else name


def is_task(name: str) -> bool:
    """Whether a model for ``name`` can be described."""
    return name in get_args(Task)
