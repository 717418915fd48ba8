"""What bench/true_size.py runs: every published model at its official sizes, as data. Does not need torch.

Architectures are those that plans are made with, :mod:`filmgate.direction.architectures`; numbers of frames and all of
sampling come from the presets.

Legend: N tokens, D F width and feed-forward width of the transformer, S P rows of text and of image features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from filmgate.direction.architectures import describe_published
from filmgate.direction.presets import PRESETS
from filmgate.engine.models.config import PATCH, RAY_CHANNELS, DitConfig, ImageEncoderConfig, TextEncoderConfig
from filmgate.engine.models.vae_config import WAN21_VAE, WAN22_VAE, VaeConfig
from filmgate.spec import (
    DitDimensions,
    ExpertDescription,
    ExpertName,
    ModelDescription,
    Operation,
    UnknownName,
    VideoShape,
)

SMALL, LARGE, LARGE_5B = (832, 480), (1280, 720), (1280, 704)
"""(width, height) of the official 480p, 720p and 704p."""
TINY = (64, 32)
STEPS = 2
_FIRST = 3
"""So many rows come before the encoders."""
_IMAGE_ROWS = 257
"""Rows of image features of a picture."""
_SPEED, _VAE_SPEED, _BESIDE = 450e12, 40e12, 6.0
"""By which --budget decides: operations per second of the transformer and of the VAE, and seconds to build networks."""
_VAE_OPERATIONS = {WAN21_VAE.z_dim: 8.53e6, WAN22_VAE.z_dim: 18.4e6}
"""Of the decoder per pixel and frame, by latent channels; the encoder has fewer."""


@dataclass(frozen=True)
class Sizes:
    """The networks of a model: of true size, or tiny for a trial on the CPU."""

    dit: DitConfig
    vae: VaeConfig
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    clip: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)


@dataclass(frozen=True)
class Row:
    """One model at one size.

    Attributes:
        name: What claims call it: ``variant``, and what it starts from where a model has several tasks.
        variant: Key of the presets.
        operation: What is done.
        sizes: Architectures.
        video: What is made.
    """

    name: str
    variant: str
    operation: Operation
    sizes: Sizes
    video: VideoShape

    @property
    def key(self) -> str:
        """The row in claims: ``wan2.2-t2v-a14b.1280x720x81``."""
        return f"{self.name}.{self.video}"

    @property
    def experts(self) -> tuple[ExpertName, ...]:
        """Transformers of the model."""
        return ("dense",) if PRESETS[self.variant].boundary is None else ("high_noise", "low_noise")

    @property
    def image_rows(self) -> int:
        """Rows of image features that the transformer reads beside the text."""
        if self.sizes.dit.image_dim is None:
            return 0
        return self.sizes.clip.positions * (2 if self.operation == "flf2v" else 1)

    @property
    def references(self) -> int:
        """Reference pictures, each a latent frame."""
        return 1 if self.operation == "vace" else 0

    @property
    def tokens(self) -> int:
        """N, references included."""
        shape = self.sizes.vae.compression
        latent = shape.latent(self.video)
        return shape.tokens(latent.model_copy(update={"frames": latent.frames + self.references}))

    @property
    def encoded_frames(self) -> int:
        """Frames that the VAE reads before it writes."""
        if self.operation == "vace":
            return 2 * self.video.frames + self.references
        if self.operation == "t2v":
            return 0
        dit = self.sizes.dit
        unmasked = self.operation == "camera" and dit.in_dim == 2 * dit.out_dim
        return 1 if unmasked or (self.operation == "i2v" and dit.per_token_timestep) else self.video.frames


def forward_operations(config: DitConfig, tokens: int, image_rows: int = 0) -> float:
    """Operations (two per multiplication and addition) of one forward pass for one text, text projections not counted:
    they are made once per video."""
    n, d = tokens, config.dim
    context = config.text_len + image_rows
    block = 12 * n * d * d + 4 * n * d * config.ffn_dim + 4 * n * n * d + 4 * n * context * d
    patch = PATCH[0] * PATCH[1] * PATCH[2]
    total = config.num_layers * block + 2 * n * d * patch * (config.in_dim + config.out_dim)
    if config.vace_layers:
        projections = (len(config.vace_layers) + 1) * 2 * n * d * d
        total += len(config.vace_layers) * block + projections + 2 * n * d * patch * config.vace_in_dim
    if config.camera_scale is not None:
        rays = RAY_CHANNELS * config.camera_scale**2
        total += 2 * n * d * patch * rays + config.camera_blocks * 2 * 2 * n * 9 * d * d
    return float(total)


def seconds_expected(row: Row) -> float:
    """Seconds that a row will take on an H200, at most as a rule: to decide whether to begin it."""
    passes = 2 * STEPS * forward_operations(row.sizes.dit, row.tokens, row.image_rows)
    pixels = row.video.width * row.video.height * (row.video.frames + row.encoded_frames)
    coding = _VAE_OPERATIONS[row.sizes.vae.z_dim] * pixels
    return passes / _SPEED + coding / _VAE_SPEED + _BESIDE


def describe(row: Row, parameters: dict[str, int]) -> ModelDescription:
    """The model of a row as the planner knows it; ``parameters`` by network (``dit``, ``vae``, ``text_encoder``, and
    ``image_encoder`` where there is one)."""
    dit, shape = row.sizes.dit, row.sizes.vae.compression
    family, task, *_ = row.variant.split("-")
    one, vae, text, image = (parameters.get(name, 0) for name in ("dit", "vae", "text_encoder", "image_encoder"))
    return ModelDescription.model_validate(
        {
            "id": row.variant, "title": row.variant, "variant": row.variant, "family": family, "task": task,
            "path": ".",
            "dit": DitDimensions(
                dim=dit.dim, ffn_dim=dit.ffn_dim, heads=dit.num_heads, layers=dit.num_layers, in_channels=dit.in_dim,
                out_channels=dit.out_dim, text_len=dit.text_len, text_dim=dit.text_dim, freq_dim=dit.freq_dim,
                image_dim=dit.image_dim, branch_layers=len(dit.vace_layers),
            ),
            "compression": shape,
            "experts": tuple(
                ExpertDescription(name=name, path=name, parameters=one, bytes=2 * one, dtype="bfloat16")
                for name in row.experts
            ),
            "text_encoder_parameters": text,
            "text_encoder_bytes": 2 * text,
            "vae_parameters": vae,
            "vae_bytes": 4 * vae,
            "image_encoder_parameters": image,
            "image_encoder_bytes": 2 * image,
        }
    )  # fmt: skip


def _row(variant: str, size: tuple[int, int], operation: Operation | None = None) -> Row:
    described = describe_published(variant)
    made: Operation = operation or ("t2v" if described.task == "ti2v" else described.task)
    name = variant + ("-from-image" if operation else "")
    video = VideoShape(frames=PRESETS[variant].frames, width=size[0], height=size[1])
    vae = WAN22_VAE if described.compression.channels == WAN22_VAE.z_dim else WAN21_VAE
    return Row(name, variant, made, Sizes(_network(described), vae), video)


def _network(described: ModelDescription) -> DitConfig:
    """The transformer of a description, with what the code of each kind adds to its dimensions."""
    dit = described.dit
    return DitConfig(
        dim=dit.dim, ffn_dim=dit.ffn_dim, num_heads=dit.heads, num_layers=dit.layers,
        in_dim=dit.in_channels, out_dim=dit.out_channels, image_dim=dit.image_dim,
        image_positions=2 * _IMAGE_ROWS if described.task == "flf2v" else None,
        per_token_timestep=dit.out_channels == WAN22_VAE.z_dim,
        # VACE's branch sees every second block of the small model, every fifth of the large ones.
        vace_layers=tuple(range(0, dit.layers, dit.layers // dit.branch_layers)) if dit.branch_layers else (),
        camera_scale=described.compression.spatial if described.task == "camera" else None,
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    _row("wan2.2-t2v-a14b", LARGE),
    _row("wan2.2-ti2v-5b", LARGE_5B),
    _row("wan2.1-t2v-1.3b", SMALL),
    _row("wan2.2-ti2v-5b", LARGE_5B, "i2v"),
    _row("wan2.2-i2v-a14b", SMALL),
    _row("wan2.1-i2v-14b-480p", SMALL),
    _row("wan2.1-vace-1.3b", SMALL),
    _row("wan2.2-camera-a14b", SMALL),
    _row("wan2.2-camera-5b", LARGE_5B),
    _row("wan2.1-camera-1.3b", SMALL),
    _row("wan2.1-camera-14b", SMALL),
    _row("wan2.1-flf2v-14b", SMALL),
    _row("wan2.1-t2v-14b", SMALL),
    _row("wan2.1-vace-14b", SMALL),
    _row("wan2.2-vace-a14b", SMALL),
    _row("wan2.2-t2v-a14b", SMALL),
    _row("wan2.2-i2v-a14b", LARGE),
    _row("wan2.1-i2v-14b-720p", LARGE),
    _row("wan2.1-t2v-14b", LARGE),
    _row("wan2.1-flf2v-14b", LARGE),
    _row("wan2.1-vace-14b", LARGE),
    _row("wan2.2-vace-a14b", LARGE),
)
"""The most important first; then every model at the smaller size, then the larger one."""
ENCODERS = ("umt5-xxl", "clip-vit-h")
"""Rows of their own: encoders that several models share."""


def tiny(row: Row) -> Row:
    """The same model with tiny networks and a tiny video: what runs is the same, only smaller."""
    dit, vae = row.sizes.dit, row.sizes.vae
    small = replace(
        dit, dim=32, ffn_dim=48, num_heads=2, num_layers=2, text_len=16, text_dim=32, freq_dim=16,
        image_dim=None if dit.image_dim is None else 80, vace_layers=(0,) if dit.vace_layers else (),
    )  # fmt: skip
    text = TextEncoderConfig(vocab=64, dim=32, dim_attn=32, dim_ffn=48, heads=2, layers=2, text_len=16)
    clip = ImageEncoderConfig(dim=80, dim_ffn=96, heads=1, layers=2, patch=2, grid=16)
    coder = replace(vae, dim=8, decoder_dim=None if vae.decoder_dim is None else 8)
    video = VideoShape(frames=9, width=TINY[0], height=TINY[1])
    return replace(row, sizes=Sizes(small, coder, text, clip), video=video)


def chosen(names: Iterable[str], order: str) -> list[Row | str]:
    """Rows and encoders to measure.

    Args:
        names: Of rows, with or without generation and size (``t2v-a14b``, ``wan2.2-t2v-a14b.832x480x81``), or of
            encoders; none: all.
        order: ``important`` or ``cheap-first``.

    Raises:
        UnknownName: there is no such row.
    """
    wanted = set(names)
    calls = {row.key: _names(row) for row in ROWS}
    known = {*ENCODERS, *(name for spellings in calls.values() for name in spellings)}
    for name in sorted(wanted - known):
        raise UnknownName("only", name, sorted(known))
    rows = [row for row in ROWS if not wanted or wanted & calls[row.key]]
    encoders = [name for name in ENCODERS if not wanted or name in wanted]
    if order == "cheap-first":
        return [*encoders, *sorted(rows, key=seconds_expected)]
    return [*rows[:_FIRST], *encoders, *rows[_FIRST:]]


def _names(row: Row) -> set[str]:
    return {spelling for name in (row.name, row.key) for spelling in (name, name.split("-", 1)[1])}
