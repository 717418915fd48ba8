"""Shape of a causal video VAE of the Wan family, and how to read it off a checkpoint's tensors. Does not need torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from filmgate.spec.errors import InvalidRequest, MissingTensor, WrongShape, WrongVariant
from filmgate.spec.shape import Compression

Shape = tuple[int, ...]

WAN21_LATENTS_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
WAN21_LATENTS_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
WAN22_LATENTS_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
    0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
    -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)  # fmt: skip
WAN22_LATENTS_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)  # fmt: skip


@dataclass(frozen=True)
class VaeConfig:
    """Architecture of a :class:`~filmgate.engine.models.vae.WanVae`; the defaults are the Wan 2.1 VAE.

    Attributes:
        dim: Width of the encoder's unit; level i has ``dim · dim_mult[i]`` channels.
        dim_mult: One factor per resolution level, finest first.
        num_res_blocks: Residual blocks per level of the encoder; the decoder has one more.
        z_dim: Latent channels.
        temporal_downsample: Whether each of the downsamplings (one fewer than levels) also halves time.
        latents_mean, latents_std: Per-channel statistics that turn raw latents into the transformer's units.
        decoder_dim: Width of the decoder's unit where it differs from ``dim``.
        patch: Side of the pixel blocks that are folded into channels before the encoder (Wan 2.2: 2).
        level_shortcuts: Whether every level has a parameter-free shortcut around it (Wan 2.2).

    Raises:
        InvalidRequest: the values contradict each other.
    """

    dim: int = 96
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_dim: int = 16
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = WAN21_LATENTS_MEAN
    latents_std: tuple[float, ...] = WAN21_LATENTS_STD
    decoder_dim: int | None = None
    patch: int = 1
    level_shortcuts: bool = False

    def __post_init__(self) -> None:
        for name in ("dim", "num_res_blocks", "z_dim", "patch"):
            if getattr(self, name) < 1:
                raise InvalidRequest(name, f"{getattr(self, name)} is too small", allowed="1 or more", nearest="1")
        downsamplings = len(self.dim_mult) - 1
        for name, expected in (
            ("temporal_downsample", downsamplings),
            ("latents_mean", self.z_dim),
            ("latents_std", self.z_dim),
        ):
            found = len(getattr(self, name))
            if found != expected:
                raise InvalidRequest(name, f"there are {found} values", allowed=f"{expected} values")
        if not all(value > 0 for value in self.latents_std):
            raise InvalidRequest("latents_std", "a standard deviation is not positive", allowed="values above 0")

    @property
    def decoder_width(self) -> int:
        """Width of the decoder's unit."""
        return self.dim if self.decoder_dim is None else self.decoder_dim

    @property
    def pixel_channels(self) -> int:
        """Channels that the encoder sees and the decoder makes: RGB of every pixel of a patch."""
        return 3 * self.patch * self.patch

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent, along each side."""
        return self.patch << len(self.temporal_downsample)

    @property
    def temporal_factor(self) -> int:
        """Frames per latent frame after the first."""
        return 1 << sum(self.temporal_downsample)

    @property
    def compression(self) -> Compression:
        """The same as a noun of :mod:`filmgate.spec`."""
        return Compression(temporal=self.temporal_factor, spatial=self.spatial_factor, channels=self.z_dim)


WAN21_VAE = VaeConfig()
WAN22_VAE = VaeConfig(
    dim=160,
    decoder_dim=256,
    z_dim=48,
    latents_mean=WAN22_LATENTS_MEAN,
    latents_std=WAN22_LATENTS_STD,
    patch=2,
    level_shortcuts=True,
)


def vae_config_from_shapes(
    shapes: Mapping[str, Shape],
    *,
    latents_mean: tuple[float, ...] | None = None,
    latents_std: tuple[float, ...] | None = None,
    source: object = "VAE checkpoint",
) -> VaeConfig:
    """Derive the architecture from the shapes of tensors with original key names.

    Looks only at what it needs; whether every other tensor fits is for the loader to check.

    Args:
        shapes: Tensor name to shape.
        latents_mean, latents_std: Latent statistics; a checkpoint has none. Left out, they are the official ones of the
            VAE with that number of latent channels (16: Wan 2.1, 48: Wan 2.2).
        source: File name for error messages.

    Raises:
        MissingTensor, WrongShape, WrongVariant: these are not the tensors of a Wan VAE.
        InvalidRequest: no statistics are given and none are official for this number of latent channels.
    """
    nested = "encoder.downsamples.0.downsamples.0.residual.2.weight" in shapes
    pixels = _shape(shapes, "encoder.conv1.weight", source)
    dim, z_dim = pixels[0], _shape(shapes, "conv2.weight", source)[0]
    patch = math.isqrt(pixels[1] // 3)
    if 3 * patch * patch != pixels[1]:
        raise WrongShape(source, "not RGB", key="encoder.conv1.weight", expected="3·n² input channels", found=pixels[1])
    levels = _levels_nested(shapes) if nested else _levels_flat(shapes)
    if not levels:
        raise MissingTensor(source, "no encoder levels", key="encoder.downsamples.0.residual.2.weight")
    ends = [level.halves_time is None for level in levels]
    if len({len(level.widths) for level in levels}) != 1 or ends != [False] * (len(levels) - 1) + [True]:
        raise WrongVariant(
            source, "encoder levels", expected="equally many blocks per level and a downsampling after all but the last"
        )
    widths = [level.widths[-1] for level in levels]
    if any(width % dim for width in widths):
        raise WrongVariant(source, "level widths", expected=f"multiples of {dim}", found=widths)
    top = _shape(shapes, "decoder.conv1.weight", source)[0]
    factor = widths[-1] // dim
    if top % factor:
        raise WrongShape(source, "width", key="decoder.conv1.weight", expected=f"multiple of {factor}", found=top)
    if latents_mean is None or latents_std is None:
        latents_mean, latents_std = _official_statistics(z_dim)
    return VaeConfig(
        dim=dim,
        dim_mult=tuple(width // dim for width in widths),
        num_res_blocks=len(levels[0].widths),
        z_dim=z_dim,
        temporal_downsample=tuple(bool(level.halves_time) for level in levels[:-1]),
        latents_mean=latents_mean,
        latents_std=latents_std,
        decoder_dim=None if top // factor == dim else top // factor,
        patch=patch,
        level_shortcuts=nested,
    )


@dataclass(frozen=True)
class _Level:
    """Widths of the residual blocks of an encoder level, and whether its downsampling halves time (``None``: it has no
    downsampling)."""

    widths: tuple[int, ...]
    halves_time: bool | None


def _levels_flat(shapes: Mapping[str, Shape]) -> list[_Level]:
    """Levels of ``encoder.downsamples.i``, where each downsampling ends one."""
    levels: list[_Level] = []
    widths: list[int] = []
    for index in count():
        prefix = f"encoder.downsamples.{index}"
        if (kernel := shapes.get(f"{prefix}.residual.2.weight")) is not None:
            widths.append(kernel[0])
            continue
        last = f"{prefix}.resample.1.weight" not in shapes
        if widths:
            levels.append(_Level(tuple(widths), None if last else f"{prefix}.time_conv.weight" in shapes))
            widths = []
        if last:
            return levels
    raise AssertionError("unreachable: count() does not end")


def _levels_nested(shapes: Mapping[str, Shape]) -> list[_Level]:
    """Levels of ``encoder.downsamples.i.downsamples.j``."""
    levels: list[_Level] = []
    for index in count():
        prefix = f"encoder.downsamples.{index}."
        inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        level = _levels_flat({f"encoder.{name}": shape for name, shape in inner.items()})
        if not level:
            return levels
        levels.extend(level[:1])
    raise AssertionError("unreachable: count() does not end")


def _shape(shapes: Mapping[str, Shape], key: str, source: object) -> Shape:
    if key not in shapes:
        raise MissingTensor(source, "a Wan VAE needs this tensor", key=key)
    if len(shapes[key]) != 5:
        raise WrongShape(source, "not the kernel of a 3-D convolution", key=key, expected="5 axes", found=shapes[key])
    return shapes[key]


def _official_statistics(z_dim: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for known in (WAN21_VAE, WAN22_VAE):
        if known.z_dim == z_dim:
            return known.latents_mean, known.latents_std
    raise InvalidRequest(
        "latents_mean",
        f"latent statistics must be given for a VAE with {z_dim} latent channels",
        allowed="one mean and one standard deviation per channel",
    )
