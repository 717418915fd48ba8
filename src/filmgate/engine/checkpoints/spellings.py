"""The spellings in which networks are published: which tensor betrays each, and what its names are translated with.

Does not need torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from filmgate.engine.checkpoints.names import (
    DIFFUSERS_DIT,
    HUGGING_FACE_CLIP,
    HUGGING_FACE_UMT5,
    LLAMA_CPP_UMT5,
    Naming,
    diffusers_vae,
)

Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal["transformer", "VAE", "text encoder", "image encoder", "VACE branch"]
NamesOf = Callable[[Shapes], Naming | None]
BRANCH: Kind = "VACE branch"
"""What VACE adds to a transformer for videos of text, in a file of its own (Kijai's ``*_VACE_module_*``)."""


@dataclass(frozen=True)
class Spelling:
    """One way to name the tensors of a network.

    Attributes:
        kind: Of the network.
        publisher: Whose names they are.
        mark: A tensor that every such network has, and no other.
        prefixes: What may stand in front of every name.
        naming: Translates the names, given the shapes without prefix; None: they are the original ones.
        ignored: Names that carry no weights that are needed.
    """

    kind: Kind
    publisher: str
    mark: str
    prefixes: tuple[str, ...] = ("",)
    naming: NamesOf = lambda _: None
    ignored: re.Pattern[str] = re.compile(r"(?!)")


def _vae_naming(shapes: Shapes) -> Naming:
    nested = any(name.startswith("encoder.down_blocks.0.resnets.") for name in shapes)
    return diffusers_vae(blocks=min(_count(shapes, "decoder.up_blocks.0.resnets."), _MOST_BLOCKS), nested=nested)


def _count(shapes: Shapes, prefix: str) -> int:
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in shapes)
    return len({match[1] for match in found if match})


_MOST_BLOCKS = 16
_TRANSFORMER = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "net.", "")
_VAE = ("first_stage_model.", "vae.", "model.", "")
_TEXT = (
    "text_encoders.umt5xxl.transformer.", "cond_stage_model.umt5xxl.transformer.", "text_encoder.", "umt5xxl.",
    "model.", "",
)  # fmt: skip
_CLIP_REST = re.compile(r"textual\.|log_scale$|logit_scale$|(visual_projection|head)(\.|$)|embeddings\.position_ids$")
_TEXT_REST = re.compile(r"(spiece_model|tokenizer_json|logit_scale)$")

SPELLINGS = (
    Spelling("transformer", "original", "head.modulation", _TRANSFORMER),
    Spelling(
        "transformer", "Diffusers", "condition_embedder.time_proj.weight", _TRANSFORMER, lambda _: DIFFUSERS_DIT
    ),
    Spelling("VAE", "original", "decoder.middle.0.residual.0.gamma", _VAE),
    Spelling("VAE", "Diffusers", "decoder.mid_block.resnets.0.norm1.gamma", _VAE, _vae_naming),
    Spelling("text encoder", "original", "blocks.0.pos_embedding.embedding.weight", _TEXT, ignored=_TEXT_REST),
    Spelling(
        "text encoder", "Hugging Face", "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight", _TEXT,
        lambda _: HUGGING_FACE_UMT5, _TEXT_REST,
    ),
    Spelling("text encoder", "llama.cpp", "enc.blk.1.attn_rel_b.weight", naming=lambda _: LLAMA_CPP_UMT5),
    Spelling("image encoder", "original", "cls_embedding", ("visual.", "model.visual.", ""), ignored=_CLIP_REST),
    Spelling(
        "image encoder", "Hugging Face", "embeddings.class_embedding", ("vision_model.", "model.vision_model.", ""),
        lambda _: HUGGING_FACE_CLIP, _CLIP_REST,
    ),
    Spelling(BRANCH, "original", "vace_patch_embedding.weight", _TRANSFORMER),
)  # fmt: skip
"""In the order of the questions: the first that fits is the answer."""

AXES: tuple[tuple[str, int], ...] = (("cls_embedding", 3), ("pos_embedding", 3), ("modulation", 3))
"""Tensors whose leading axes of length one some formats drop, by the end of their original name."""
