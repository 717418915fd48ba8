"""How the tensors of the Wan networks are called elsewhere: tables between the original names and all others.

The original names are the canonical ones. A rule is a pair of templates, ours and theirs, in which ``{}`` stands for a
number; it renames a module or a tensor together with all that lies in it, so that ``.weight``, ``.bias``, the scales of
a quantised layer and the halves of a LoRA follow. A name is renamed by one rule as a whole, never by replacing parts of
it: Diffusers' ``norm2`` and the original's ``norm2`` are different modules. Does not need torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

Rule = tuple[str, str]
PIECE = "#"
"""In our templates: a numbered part of a tensor that is whole in the original and in parts elsewhere."""


@dataclass(frozen=True)
class Naming:
    """A table of rules, usable in both directions.

    Attributes:
        rules: Pairs of templates (ours, theirs). Of several that fit a name, the first counts.
        aliases: Second names that some files have for tensors which they also have under the first.
    """

    rules: tuple[Rule, ...]
    aliases: tuple[Rule, ...] = ()

    def to_ours(self, name: str) -> str | None:
        """The original name of a tensor or module that is called ``name`` there; None if no rule fits."""
        return _renamed(name, self._theirs)

    def to_theirs(self, name: str) -> str | None:
        """What a tensor or module is called there; None if no rule fits."""
        return _renamed(name, self._ours)

    @cached_property
    def _theirs(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        return tuple((_pattern(theirs), ours) for ours, theirs in (*self.rules, *self.aliases))

    @cached_property
    def _ours(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        return tuple((_pattern(ours), theirs) for ours, theirs in self.rules)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)") + r"(?=\.|$)")


def _renamed(name: str, table: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in table:
        if match := pattern.match(name):
            return template.format(*match.groups()) + name[match.end() :]
    return None


def inside(ours: str, theirs: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules of a module's parts as rules of the whole."""
    return tuple((f"{ours}.{mine}", f"{theirs}.{other}") for mine, other in rules)


# -------------------------------------------------------------------------------------------------------- transformers

_ATTENTION: tuple[Rule, ...] = (
    ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k"),
    ("k_img", "add_k_proj"), ("v_img", "add_v_proj"), ("norm_k_img", "norm_added_k"),
)  # fmt: skip
_BLOCK: tuple[Rule, ...] = (
    *inside("self_attn", "attn1", _ATTENTION),
    *inside("cross_attn", "attn2", _ATTENTION),
    ("norm3", "norm2"),  # the only normalisation with parameters; Diffusers counts in the order of execution
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("modulation", "scale_shift_table"),
)
_EMBEDDERS: tuple[Rule, ...] = (
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
    ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
    ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
    ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
    ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
)
DIFFUSERS_DIT = Naming(
    (
        ("patch_embedding", "patch_embedding"),
        *_EMBEDDERS,
        ("head.modulation", "scale_shift_table"),
        ("head.head", "proj_out"),
        *inside("blocks.{}", "blocks.{}", _BLOCK),
        ("vace_patch_embedding", "vace_patch_embedding"),
        ("vace_blocks.{}.before_proj", "vace_blocks.{}.proj_in"),
        ("vace_blocks.{}.after_proj", "vace_blocks.{}.proj_out"),
        *inside("vace_blocks.{}", "vace_blocks.{}", _BLOCK),
    )
)
"""``WanTransformer3DModel`` and ``WanVACETransformer3DModel``."""

_CAMERA_ADAPTER = ("conv", "residual_blocks.{}.conv1", "residual_blocks.{}.conv2")
_PLACES = frozenset({ours for ours, _ in DIFFUSERS_DIT.rules} | {f"control_adapter.{part}" for part in _CAMERA_ADAPTER})
_NUMBERED = re.compile(r"^((?:vace_)?blocks|control_adapter\.residual_blocks)\.\d+\.")
_BARE = ("modulation", "emb_pos")


def has_place(name: str) -> bool:
    """Whether a transformer that runs here can have a tensor of that original name."""
    template = _NUMBERED.sub(r"\1.{}.", name)
    module, _, end = template.rpartition(".")
    return (template if end in _BARE else module) in _PLACES and end in ("weight", "bias", *_BARE)


# -------------------------------------------------------------------------------------------------- video autoencoders

_RESIDUAL: tuple[Rule, ...] = (
    ("residual.0", "norm1"), ("residual.2", "conv1"), ("residual.3", "norm2"), ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
)  # fmt: skip
_RESAMPLE: tuple[Rule, ...] = (("resample.1", "resample.1"), ("time_conv", "time_conv"))
_MIDDLE: tuple[Rule, ...] = (
    *inside("middle.0", "mid_block.resnets.0", _RESIDUAL),
    ("middle.1", "mid_block.attentions.0"),
    *inside("middle.2", "mid_block.resnets.1", _RESIDUAL),
)
_VAE_ENDS: tuple[Rule, ...] = (
    ("conv1", "quant_conv"),
    ("conv2", "post_quant_conv"),
    *(
        rule
        for half in ("encoder", "decoder")
        for rule in inside(half, half, (("conv1", "conv_in"), *_MIDDLE, ("head.0", "norm_out"), ("head.2", "conv_out")))
    ),
)
_MOST_LEVELS = 8


def diffusers_vae(*, blocks: int, nested: bool) -> Naming:
    """``AutoencoderKLWan``.

    Args:
        blocks: Residual blocks per level of the decoder. Diffusers counts blocks within a level where the Wan 2.1 VAE
            counts them through.
        nested: The Wan 2.2 VAE, which has levels in both.
    """
    return Naming((*_VAE_ENDS, *(_nested_levels(blocks) if nested else _flat_levels(blocks))))


def _nested_levels(blocks: int) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    # The encoder has one block less per level than the decoder, and what follows the blocks changes the resolution.
    for half, ours, theirs, last, count in (
        ("encoder", "downsamples", "down_blocks", "downsampler", blocks - 1),
        ("decoder", "upsamples", "up_blocks", "upsampler", blocks),
    ):
        level = (f"{half}.{ours}.{{}}.{ours}", f"{half}.{theirs}.{{}}")
        rules += inside(f"{level[0]}.{count}", f"{level[1]}.{last}", _RESAMPLE)
        rules += inside(f"{level[0]}.{{}}", f"{level[1]}.resnets.{{}}", _RESIDUAL)
    return tuple(rules)


def _flat_levels(blocks: int) -> tuple[Rule, ...]:
    rules = [*inside("encoder.downsamples.{}", "encoder.down_blocks.{}", (*_RESIDUAL, *_RESAMPLE))]
    for level in range(_MOST_LEVELS):
        first, theirs = level * (blocks + 1), f"decoder.up_blocks.{level}"
        for index in range(blocks):
            rules += inside(f"decoder.upsamples.{first + index}", f"{theirs}.resnets.{index}", _RESIDUAL)
        rules += inside(f"decoder.upsamples.{first + blocks}", f"{theirs}.upsamplers.0", _RESAMPLE)
    return tuple(rules)


# ------------------------------------------------------------------------------------------------------- text encoders

HUGGING_FACE_UMT5 = Naming(
    (
        ("token_embedding", "shared"),
        ("norm", "encoder.final_layer_norm"),
        *inside(
            "blocks.{}",
            "encoder.block.{}",
            (
                ("norm1", "layer.0.layer_norm"),
                ("norm2", "layer.1.layer_norm"),
                ("pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias"),
                *((f"attn.{x}", f"layer.0.SelfAttention.{x}") for x in "qkvo"),
                ("ffn.gate.0", "layer.1.DenseReluDense.wi_0"),
                ("ffn.fc1", "layer.1.DenseReluDense.wi_1"),
                ("ffn.fc2", "layer.1.DenseReluDense.wo"),
            ),
        ),
    ),
    aliases=(("token_embedding", "encoder.embed_tokens"),),
)
"""``UMT5EncoderModel``, and ComfyUI's files."""
LLAMA_CPP_UMT5 = Naming(
    (
        ("token_embedding", "token_embd"),
        ("norm", "enc.output_norm"),
        *inside(
            "blocks.{}",
            "enc.blk.{}",
            (
                ("norm1", "attn_norm"),
                ("norm2", "ffn_norm"),
                ("pos_embedding.embedding", "attn_rel_b"),
                *((f"attn.{x}", f"attn_{x}") for x in "qkvo"),
                ("ffn.gate.0", "ffn_gate"),
                ("ffn.fc1", "ffn_up"),
                ("ffn.fc2", "ffn_down"),
            ),
        ),
    )
)
"""GGUF files of llama.cpp."""

# ------------------------------------------------------------------------------------------------------ image encoders

HUGGING_FACE_CLIP = Naming(
    (
        ("cls_embedding", "embeddings.class_embedding"),
        ("pos_embedding", "embeddings.position_embedding.weight"),
        ("patch_embedding", "embeddings.patch_embedding"),
        ("pre_norm", "pre_layrnorm"),
        ("post_norm", "post_layernorm"),
        *inside(
            "transformer.{}",
            "encoder.layers.{}",
            (
                ("norm1", "layer_norm1"),
                ("norm2", "layer_norm2"),
                *((f"attn.to_qkv{PIECE}{index}", f"self_attn.{x}_proj") for index, x in enumerate("qkv")),
                ("attn.proj", "self_attn.out_proj"),
                ("mlp.0", "mlp.fc1"),
                ("mlp.2", "mlp.fc2"),
            ),
        ),
    )
)
"""``CLIPVisionModel``, and ComfyUI's ``clip_vision_h``; ours are the names inside the original's ``visual``."""
