"""Shapes of the transformer and of the encoders of text and pictures, and how to read them off a checkpoint's tensors.

Nothing here needs torch: a directory can be described without loading it. Patches are always 1×2×2; the formats never
store that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filmgate.spec.errors import CheckpointError, InvalidRequest, MissingTensor, WrongShape

PATCH = (1, 2, 2)
"""Latent frames, rows and columns of one token."""
RAY_CHANNELS = 24
"""Channels of a camera's rays: six coordinates of four frames each."""
RELEASED_HEAD_DIM = 128
RELEASED_TEXT_LEN = 512
RELEASED_CLIP_HEAD_DIM = 80


def _positive(config: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise InvalidRequest(name, f"{getattr(config, name)} is not a size", allowed="at least 1")


def _divisible(name: str, value: int, heads: int, unit: int) -> None:
    if value % (heads * unit):
        raise InvalidRequest(
            name,
            f"{value} does not divide into {heads} heads of a multiple of {unit}",
            allowed=f"a multiple of {heads * unit}",
            nearest=str(max(1, round(value / (heads * unit))) * heads * unit),
        )


def _shape(shapes: Mapping[str, tuple[int, ...]], key: str, axes: int, source: object) -> tuple[int, ...]:
    if key not in shapes:
        raise MissingTensor(source, "not a checkpoint of this architecture: a tensor is missing", key=key)
    shape = tuple(shapes[key])
    if len(shape) != axes:
        raise WrongShape(source, "a tensor has the wrong number of axes", key=key, expected=axes, found=len(shape))
    return shape


def _layers(shapes: Mapping[str, tuple[int, ...]], name: str = "blocks") -> int:
    found = (re.match(rf"{re.escape(name)}\.(\d+)\.", key) for key in shapes)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _ascending(vace_layers: tuple[int, ...], layers: int) -> bool:
    """Whether they begin with the first block, where the branch reads the video, and go up from there."""
    return vace_layers[:1] == (0,) and vace_layers == tuple(sorted({*vace_layers})) and vace_layers[-1] < layers


def _vace_layers(count: int, layers: int, source: object) -> tuple[int, ...]:
    """The blocks that ``count`` blocks of VACE hint to where the checkpoint does not say: evenly spaced from the first
    on, as in all released models."""
    found = tuple(range(0, layers, math.ceil(layers / count)))
    if len(found) != count:
        raise CheckpointError(
            source, "vace_layers are not stored, and cannot be evenly spaced", key="vace_layers",
            expected=f"{count} of {layers} layers", found=f"{len(found)} at the nearest spacing",
        )  # fmt: skip
    return found


def _camera_scale(channels: int, source: object) -> int:
    """Pixels per latent on a side, by the channels that the adapter's first convolution reads."""
    scale = math.isqrt(channels // RAY_CHANNELS)
    if scale < 1 or RAY_CHANNELS * scale**2 != channels:
        raise WrongShape(
            source, "not the adapter of a camera's rays", key="control_adapter.conv.weight",
            expected=f"{RAY_CHANNELS}·s² channels in", found=channels,
        )  # fmt: skip
    return scale


@dataclass(frozen=True)
class DitConfig:
    """Architecture of a :class:`~filmgate.engine.models.dit.WanDiT`.

    Attributes:
        dim: Model dimension D.
        ffn_dim: Hidden width of the feed-forward networks.
        num_heads: Attention heads; the released models have 128 dimensions per head.
        num_layers: Blocks.
        in_dim: Latent channels in: noise, then what conditions it (16 for text to video, 36 for image to video).
        out_dim: Latent channels of the velocity.
        text_len: Rows to which every text is padded with zeros; the padding is attended to.
        text_dim: Width of the text encoder.
        freq_dim: Width of the sinusoid that encodes the timestep.
        eps: Of every normalisation in the blocks.
        image_dim: Width of the image features of Wan 2.1 image to video (1280), or none for models without that branch.
        image_positions: Learned positions added to the image features: 514 of first-last-frame models, else none.
        per_token_timestep: The model was trained with a timestep per token (TI2V-5B).
        vace_layers: Blocks that VACE's branch gives a hint to; none for models without it.
        vace_in_dim: Channels of VACE's context: twice those of the latent, and a mask folded 8×8.
        camera_scale: Pixels per latent on a side, for models that read a camera's rays; none for others.
        camera_blocks: Residual blocks of the camera's adapter.
    """

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_dim: int = 16
    out_dim: int = 16
    text_len: int = RELEASED_TEXT_LEN
    text_dim: int = 4096
    freq_dim: int = 256
    eps: float = 1e-6
    image_dim: int | None = None
    image_positions: int | None = None
    per_token_timestep: bool = False
    vace_layers: tuple[int, ...] = ()
    vace_in_dim: int = 96
    camera_scale: int | None = None
    camera_blocks: int = 1

    def __post_init__(self) -> None:
        _positive(
            self,
            ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "text_len", "text_dim", "freq_dim"),
        )
        self._check_branches()
        _divisible("dim", self.dim, self.num_heads, 2)
        _divisible("freq_dim", self.freq_dim, 1, 2)
        if self.image_positions is not None and self.image_dim is None:
            raise InvalidRequest("image_positions", "given without image_dim", allowed="both or neither")

    def _check_branches(self) -> None:
        layers = self.vace_layers
        if layers and not _ascending(layers, self.num_layers):
            raise InvalidRequest(
                "vace_layers", f"{layers} of {self.num_layers} layers", allowed="0, then others in ascending order"
            )
        if layers and (self.image_dim, self.camera_scale) != (None, None):
            raise InvalidRequest("vace_layers", "given with another branch", allowed="no image and no camera branch")
        if self.camera_scale is not None:
            _positive(self, ("camera_scale", "camera_blocks"))

    @property
    def head_dim(self) -> int:
        """Dimensions per attention head."""
        return self.dim // self.num_heads

    @classmethod
    def from_tensors(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        num_heads: int | None = None,
        text_len: int = RELEASED_TEXT_LEN,
        eps: float = 1e-6,
        per_token_timestep: bool = False,
        vace_layers: tuple[int, ...] | None = None,
        source: object = "checkpoint",
    ) -> DitConfig:
        """Derive the architecture from the shapes of tensors under their original names.

        Args:
            shapes: Tensor name to shape.
            num_heads: Where it is stored; shapes do not tell it, the released models' is dim / 128.
            text_len, eps, per_token_timestep: As in the attributes; shapes do not tell them either.
            vace_layers: Where they are stored; None: evenly spaced, as in the released models.
            source: What to call the checkpoint in an error.

        Raises:
            MissingTensor, WrongShape: These are not the tensors of a Wan transformer.
            CheckpointError: The number of heads or VACE's layers are unknown.
        """
        dim, in_dim, *patch = _shape(shapes, "patch_embedding.weight", 5, source)
        if tuple(patch) != PATCH:
            raise WrongShape(
                source, "patches of another size", key="patch_embedding.weight", expected=PATCH, found=tuple(patch)
            )
        if num_heads is None:
            if dim % RELEASED_HEAD_DIM:
                raise CheckpointError(
                    source,
                    "the number of heads is not stored",
                    expected=f"num_heads, or a width that is a multiple of {RELEASED_HEAD_DIM}",
                    found=f"a width of {dim}",
                )
            num_heads = dim // RELEASED_HEAD_DIM
        head = _shape(shapes, "head.head.weight", 2, source)[0]
        image = "img_emb.proj.0.weight" in shapes
        return cls(
            dim=dim,
            ffn_dim=_shape(shapes, "blocks.0.ffn.0.weight", 2, source)[0],
            num_heads=num_heads,
            num_layers=_layers(shapes),
            in_dim=in_dim,
            out_dim=head // (PATCH[0] * PATCH[1] * PATCH[2]),
            text_len=text_len,
            text_dim=_shape(shapes, "text_embedding.0.weight", 2, source)[1],
            freq_dim=_shape(shapes, "time_embedding.0.weight", 2, source)[1],
            eps=eps,
            image_dim=_shape(shapes, "img_emb.proj.0.weight", 1, source)[0] if image else None,
            image_positions=_shape(shapes, "img_emb.emb_pos", 3, source)[1] if "img_emb.emb_pos" in shapes else None,
            per_token_timestep=per_token_timestep,
            **_branches(shapes, vace_layers, source),
        )


def _branches(
    shapes: Mapping[str, tuple[int, ...]], vace_layers: tuple[int, ...] | None, source: object
) -> dict[str, Any]:
    """Those of the attributes of :class:`DitConfig` that describe VACE's branch and the camera's adapter."""
    found: dict[str, Any] = {}
    blocks = _layers(shapes, "vace_blocks")
    if blocks or "vace_patch_embedding.weight" in shapes:
        found["vace_in_dim"] = _shape(shapes, "vace_patch_embedding.weight", 5, source)[1]
        _shape(shapes, "vace_blocks.0.before_proj.weight", 2, source)
        layers = _layers(shapes)
        found["vace_layers"] = _vace_layers(blocks, layers, source) if vace_layers is None else vace_layers
        if len(found["vace_layers"]) != blocks or not _ascending(found["vace_layers"], layers):
            raise WrongShape(
                source, "the blocks of VACE are not those of its configuration", key="vace_layers",
                expected=found["vace_layers"], found=f"{blocks} blocks beside {layers}",
            )  # fmt: skip
    if "control_adapter.conv.weight" in shapes:
        channels = _shape(shapes, "control_adapter.conv.weight", 4, source)[1]
        found["camera_scale"] = _camera_scale(channels, source)
        found["camera_blocks"] = _layers(shapes, "control_adapter.residual_blocks")
    return found


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Architecture of a :class:`~filmgate.engine.models.clip.ClipEncoder`; the defaults are CLIP ViT-H/14.

    Attributes:
        dim: Width of the residual stream and of the features.
        dim_ffn: Hidden width of the feed-forward networks.
        heads: Attention heads.
        layers: Blocks of the published tower; the features leave it before the last one.
        patch: Side of a patch in pixels.
        grid: Patches along each side of the square picture.
    """

    dim: int = 1280
    dim_ffn: int = 5120
    heads: int = 16
    layers: int = 32
    patch: int = 14
    grid: int = 16

    def __post_init__(self) -> None:
        _positive(self, ("dim", "dim_ffn", "heads", "patch", "grid"))
        _divisible("dim", self.dim, self.heads, 1)
        if self.layers < 2:
            raise InvalidRequest("layers", f"{self.layers} leaves no block before the last", allowed="2 or more")

    @property
    def pixels(self) -> int:
        """Side of the square picture that it looks at."""
        return self.patch * self.grid

    @property
    def positions(self) -> int:
        """Rows of features: one for the whole picture, then one per patch."""
        return 1 + self.grid * self.grid

    def reads(self, name: str) -> bool:
        """Whether a tensor of the published tower is one of those that make the features: not the last block, nor what
        comes behind it."""
        last = f"transformer.{self.layers - 1}."
        return not (name.startswith((last, "post_norm.")) or name == "head")

    @classmethod
    def from_tensors(
        cls, shapes: Mapping[str, tuple[int, ...]], *, source: object = "checkpoint"
    ) -> ImageEncoderConfig:
        """Derive the architecture from the shapes of tensors under their original names, without ``visual`` in front.

        Raises:
            MissingTensor, WrongShape: These are not the tensors of a CLIP tower.
            CheckpointError: The number of heads is unknown, or the patches do not make a square.
        """
        dim, _, patch, _ = _shape(shapes, "patch_embedding.weight", 4, source)
        _, positions, _ = _shape(shapes, "pos_embedding", 3, source)
        grid = math.isqrt(positions - 1)
        if 1 + grid * grid != positions or dim % RELEASED_CLIP_HEAD_DIM:
            raise CheckpointError(
                source,
                "not an image encoder that Wan was trained with",
                expected=f"a square of patches and a width that is a multiple of {RELEASED_CLIP_HEAD_DIM}",
                found=f"{positions} positions, a width of {dim}",
            )
        found = (re.match(r"transformer\.(\d+)\.", key) for key in shapes)
        return cls(
            dim=dim,
            dim_ffn=_shape(shapes, "transformer.0.mlp.0.weight", 2, source)[0],
            heads=dim // RELEASED_CLIP_HEAD_DIM,
            layers=1 + max((int(match[1]) for match in found if match), default=-1),
            patch=patch,
            grid=grid,
        )


@dataclass(frozen=True)
class TextEncoderConfig:
    """Architecture of a :class:`~filmgate.engine.models.umt5.Umt5Encoder`; the defaults are umT5-XXL.

    Attributes:
        vocab: Rows of the token embedding.
        dim: Width of the residual stream and of the output.
        dim_attn: Width of queries, keys and values, all heads together.
        dim_ffn: Hidden width of the gated feed-forward networks.
        heads: Attention heads.
        layers: Blocks.
        buckets: Relative distances that a head tells apart, both directions together.
        max_distance: Tokens apart beyond which all distances look the same.
        text_len: Longest text, in tokens, end mark included.
    """

    vocab: int = 256_384
    dim: int = 4096
    dim_attn: int = 4096
    dim_ffn: int = 10_240
    heads: int = 64
    layers: int = 24
    buckets: int = 32
    max_distance: int = 128
    text_len: int = RELEASED_TEXT_LEN

    def __post_init__(self) -> None:
        _positive(self, ("vocab", "dim", "dim_attn", "dim_ffn", "heads", "layers", "max_distance", "text_len"))
        _divisible("dim_attn", self.dim_attn, self.heads, 1)
        _divisible("buckets", self.buckets, 1, 4)

    @classmethod
    def from_tensors(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        max_distance: int = 128,
        text_len: int = RELEASED_TEXT_LEN,
        source: object = "checkpoint",
    ) -> TextEncoderConfig:
        """Derive the architecture from the shapes of tensors under their original names.

        Args:
            shapes: Tensor name to shape.
            max_distance, text_len: As in the attributes; shapes do not tell them.
            source: What to call the checkpoint in an error.

        Raises:
            MissingTensor, WrongShape: These are not the tensors of a umT5 encoder.
        """
        vocab, dim = _shape(shapes, "token_embedding.weight", 2, source)
        buckets, heads = _shape(shapes, "blocks.0.pos_embedding.embedding.weight", 2, source)
        return cls(
            vocab=vocab,
            dim=dim,
            dim_attn=_shape(shapes, "blocks.0.attn.q.weight", 2, source)[0],
            dim_ffn=_shape(shapes, "blocks.0.ffn.fc1.weight", 2, source)[0],
            heads=heads,
            layers=_layers(shapes),
            buckets=buckets,
            max_distance=max_distance,
            text_len=text_len,
        )
