"""Shapes of every tensor that a transformer of some architecture has, by its original name. Does not need torch.

Legend: D model dimension, F hidden width of the feed-forward network.
"""

from __future__ import annotations

from collections.abc import Mapping

from filmgate.engine.models.config import PATCH, RAY_CHANNELS, DitConfig

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(config: DitConfig) -> Shapes:
    """Name to shape of all tensors of a :class:`~filmgate.engine.models.dit.WanDiT`."""
    dim = config.dim
    shapes: Shapes = {
        "patch_embedding.weight": (dim, config.in_dim, *PATCH),
        "patch_embedding.bias": (dim,),
        **_linear("text_embedding.0", config.text_dim, dim),
        **_linear("text_embedding.2", dim, dim),
        **_linear("time_embedding.0", config.freq_dim, dim),
        **_linear("time_embedding.2", dim, dim),
        **_linear("time_projection.1", dim, 6 * dim),
        **_linear("head.head", dim, config.out_dim * PATCH[0] * PATCH[1] * PATCH[2]),
        "head.modulation": (1, 2, dim),
    }
    if config.image_dim is not None:
        shapes |= _image_embedding(config.image_dim, dim, config.image_positions)
    block = _block(config)
    for index in range(config.num_layers):
        shapes |= _inside(f"blocks.{index}", block)
    if config.vace_layers:
        shapes |= {
            "vace_patch_embedding.weight": (dim, config.vace_in_dim, *PATCH),
            "vace_patch_embedding.bias": (dim,),
        }
        shapes |= _linear("vace_blocks.0.before_proj", dim, dim)
        for index in range(len(config.vace_layers)):
            shapes |= _inside(f"vace_blocks.{index}", block | _linear("after_proj", dim, dim))
    if config.camera_scale is not None:
        shapes |= _camera_adapter(dim, config.camera_scale, config.camera_blocks)
    return shapes


def _block(config: DitConfig) -> Shapes:
    dim = config.dim
    shapes: Shapes = {"modulation": (1, 6, dim), "norm3.weight": (dim,), "norm3.bias": (dim,)}
    for attention in ("self_attn", "cross_attn"):
        for part in "qkvo":
            shapes |= _linear(f"{attention}.{part}", dim, dim)
        shapes |= {f"{attention}.norm_{part}.weight": (dim,) for part in "qk"}
    if config.image_dim is not None:
        shapes |= _linear("cross_attn.k_img", dim, dim) | _linear("cross_attn.v_img", dim, dim)
        shapes["cross_attn.norm_k_img.weight"] = (dim,)
    return shapes | _linear("ffn.0", dim, config.ffn_dim) | _linear("ffn.2", config.ffn_dim, dim)


def _image_embedding(width: int, dim: int, positions: int | None) -> Shapes:
    shapes = _linear("img_emb.proj.1", width, width) | _linear("img_emb.proj.3", width, dim)
    for norm, size in (("img_emb.proj.0", width), ("img_emb.proj.4", dim)):
        shapes |= {f"{norm}.weight": (size,), f"{norm}.bias": (size,)}
    return shapes if positions is None else shapes | {"img_emb.emb_pos": (1, positions, width)}


def _camera_adapter(dim: int, scale: int, blocks: int) -> Shapes:
    shapes: Shapes = {
        "control_adapter.conv.weight": (dim, RAY_CHANNELS * scale**2, *PATCH[1:]),
        "control_adapter.conv.bias": (dim,),
    }
    for index in range(blocks):
        for part in ("conv1", "conv2"):
            name = f"control_adapter.residual_blocks.{index}.{part}"
            shapes |= {f"{name}.weight": (dim, dim, 3, 3), f"{name}.bias": (dim,)}
    return shapes


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _inside(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    return {f"{name}.{part}": shape for part, shape in shapes.items()}
