"""Devices that plans are made for, as data: what they hold, and how fast they really are.

Peaks are those of the manufacturers' data sheets, without sparsity, and for bf16 with sums in fp32 (GeForce cards do
half of what their sheets say for sums in fp16). What is reached of them comes from timed kernels, or from whole videos
that others timed, or is taken over from a card of the same generation; every profile says which. One measured step puts
it right, see :mod:`~filmgate.direction.calibration`.

Sources: NVIDIA's architecture papers and data sheets of GA102, GA100, AD102, GH100, GB100 and GB202; Apple's newsroom
pages for the M series; FlashAttention-2 (arXiv 2307.08691, figures 4 to 6) for attention on A100 and H100.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from filmgate.spec.errors import UnknownName
from filmgate.spec.model import DeviceDescription, Precision
from filmgate.spec.speed import SpeedPlan

_TERA, _GIGA, _GIB = 1e12, 1e9, 2**30


class Reached(NamedTuple):
    """Part of a peak that is reached: of ``half`` in matrix products, in torch's attention, in cuDNN's attention (0: no
    faster than torch's) and in the VAE in half precision, of ``single`` in fp32 matrix products and in the VAE in fp32
    (without TF32), of the bandwidth in everything else."""

    products: float
    attention: float
    single: float
    vae: float
    bandwidth: float = 0.8
    cudnn: float = 0.0
    half_vae: float = 0.2


class DeviceProfile(NamedTuple):
    """One kind of device.

    Attributes:
        name: What ``--device-profile`` takes.
        title: As the driver says it.
        kind: As torch says it.
        memory: GiB that programs see.
        half, fp8, single: Peak of bf16, of fp8 (0: none) and of fp32, in 10¹² operations per second.
        bandwidth: Of its memory, in 10⁹ bytes per second.
        copies: From page-locked memory of the host, in 10⁹ bytes per second; 0 where they share memory.
        reached: Of the peaks.
        names: Parts of the driver's name by which it is recognised.
        source: Where ``reached`` comes from.
        bf16: Whether it multiplies matrices in bf16; cards before NVIDIA's Ampere (compute capability 8.0) do not.
    """

    name: str
    title: str
    kind: Literal["cpu", "cuda", "mps"]
    memory: float
    half: float
    fp8: float
    single: float
    bandwidth: float
    copies: float
    reached: Reached
    names: tuple[str, ...]
    source: str
    bf16: bool = True

    @property
    def cudnn_attention(self) -> bool:
        """Whether cuDNN's attention is faster than torch's."""
        return self.reached.cudnn > self.reached.attention

    @property
    def link(self) -> float:
        """To another of its kind in the same machine, one way, in 10⁹ bytes per second: by NVLink, what NCCL makes of
        it; else by PCIe, for GeForce cards by way of the host's memory, which is copied twice."""
        if self.name in NVLINK:
            return NVLINK[self.name] * _NVLINK_REACHED
        return self.copies / 2 if "GeForce" in self.title else self.copies

    @property
    def description(self) -> DeviceDescription:
        """The device that a plan is made for."""
        return DeviceDescription(
            kind=self.kind, name=self.title, memory_bytes=round(self.memory * _GIB), bf16=self.bf16
        )


_AMPERE = Reached(products=0.80, attention=0.62, single=0.75, vae=0.45)
_ADA = Reached(products=0.85, attention=0.85, single=0.75, vae=0.40)
_GEFORCE_AMPERE = Reached(products=0.85, attention=0.80, single=0.70, vae=0.40)
_HOPPER = Reached(products=0.76, attention=0.35, single=0.75, vae=0.41, bandwidth=0.66, cudnn=0.554, half_vae=0.23)
_BLACKWELL = Reached(products=0.68, attention=0.17, single=0.75, vae=0.45)
_THROTTLED = Reached(products=0.55, attention=0.50, single=0.50, vae=0.30)
_APPLE = Reached(products=0.65, attention=0.30, single=0.65, vae=0.30, bandwidth=0.7)
_OLD = Reached(products=0.60, attention=0.35, single=0.70, vae=0.40)
_LIGHT_HOPPER = Reached(products=0.90, attention=0.85, single=0.75, vae=0.45, cudnn=0.90)
_LARGE_ADA = Reached(products=0.70, attention=0.60, single=0.75, vae=0.40)
_PASSES = (
    "passes of 13 models and their decoding on an H200 with torch 2.11, attention by FlashAttention 2 and by cuDNN"
)
_PUBLISHED = "the original code's published times (Wan2.2, assets/comp_effic.png)"
_SHEET = "data sheet; reached as on others of its generation"
_WATTS = "data sheet; held back by its power limit"

AS_OF = {_PASSES: "2026-11-30", _PUBLISHED: "2025-07-28"}
"""When the speeds were found that profiles rest on, by source. Those of a data sheet were not found at all: what is
reached of them was taken over from others."""


def _nvidia(
    name: str,
    title: str,
    memory: float,
    peaks: tuple[float, float, float],
    bandwidth: float,
    copies: float,
    reached: Reached,
    *names: str,
    source: str = _SHEET,
    bf16: bool = True,
) -> DeviceProfile:
    """``peaks`` are those of bf16, or of fp16 where there is no bf16, of fp8 and of fp32."""
    full = f"NVIDIA {title}"
    return DeviceProfile(name, full, "cuda", memory, *peaks, bandwidth, copies, reached, names, source, bf16)


def _apple(name: str, chip: str, memory: float, peak: float, bandwidth: float) -> DeviceProfile:
    """A GPU that does as much in half precision as in single, in memory that it shares with the processor."""
    title = f"Apple {chip} GPU"
    return DeviceProfile(name, title, "mps", memory, peak, 0, peak, bandwidth, 0, _APPLE, (chip,), _SHEET)


PROFILES: tuple[DeviceProfile, ...] = (
    _nvidia("b200", "B200", 179, (2250, 4500, 75), 7700, 52, _BLACKWELL, "B200"),
    _nvidia("h200", "H200", 139.8, (989, 1979, 67), 4800, 52, _HOPPER, "H200", source=_PASSES),
    _nvidia("h100-pcie", "H100 PCIe", 79.6, (756, 1513, 51), 2000, 52, _HOPPER, "H100 PCIe", source=_PASSES),
    _nvidia("h100", "H100 80GB HBM3", 79.2, (989, 1979, 67), 3350, 52, _HOPPER, "H100", source=_PASSES),
    _nvidia("h20", "H20", 95.6, (148, 296, 44), 4000, 52, _LIGHT_HOPPER, "H20", source=_PUBLISHED),
    _nvidia("a100-40", "A100-SXM4-40GB", 39.4, (312, 0, 19.5), 1555, 24, _AMPERE, "A100-SXM4-40GB", "A100-PCIE-40GB",
            source=_PUBLISHED),
    _nvidia("a100-80", "A100-SXM4-80GB", 79.2, (312, 0, 19.5), 2039, 24, _AMPERE, "A100", source=_PUBLISHED),
    _nvidia("rtx6000-ada", "RTX 6000 Ada Generation", 47.4, (364, 728, 91), 960, 24, _LARGE_ADA, "RTX 6000 Ada"),
    _nvidia("l40s", "L40S", 44.4, (362, 733, 91.6), 864, 24, _LARGE_ADA, "L40S"),
    _nvidia("l40", "L40", 44.4, (181, 362, 90.5), 864, 24, _ADA, "L40"),
    _nvidia("l4", "L4", 22, (121, 242, 30.3), 300, 24, _THROTTLED, "L4", source=_WATTS),
    _nvidia("a6000", "RTX A6000", 47.5, (154.8, 0, 38.7), 768, 24, _GEFORCE_AMPERE, "A6000"),
    _nvidia("a10", "A10G", 22, (125, 0, 31), 600, 24, _THROTTLED, "A10", source=_WATTS),
    _nvidia("rtx5090", "GeForce RTX 5090", 31.4, (209.5, 419, 104.8), 1792, 50, _ADA, "RTX 5090"),
    _nvidia("rtx4090", "GeForce RTX 4090", 23.5, (165.2, 330.3, 82.6), 1008, 24, _ADA, "RTX 4090", source=_PUBLISHED),
    _nvidia("rtx4080", "GeForce RTX 4080", 15.6, (97.5, 195, 48.7), 717, 24, _ADA, "RTX 4080"),
    _nvidia("rtx4070ti-super", "GeForce RTX 4070 Ti SUPER", 15.6, (88.2, 176, 44.1), 672, 24, _ADA,
            "RTX 4070 Ti SUPER"),
    _nvidia("rtx3090", "GeForce RTX 3090", 23.6, (71.2, 0, 35.6), 936, 24, _GEFORCE_AMPERE, "RTX 3090"),
    _nvidia("rtx3060", "GeForce RTX 3060", 11.6, (25.5, 0, 12.7), 360, 24, _GEFORCE_AMPERE, "RTX 3060"),
    _nvidia("v100", "V100-SXM2-32GB", 31.7, (125, 0, 15.7), 900, 11, _OLD, "V100", bf16=False),
    _nvidia("t4", "T4", 14.6, (65, 0, 8.1), 320, 11, _OLD, "T4", bf16=False),
    _apple("m3-ultra", "M3 Ultra", 512, 28.2, 819),
    _apple("m2-ultra", "M2 Ultra", 192, 27.2, 800),
    _apple("m4-max", "M4 Max", 128, 18.4, 546),
    _apple("m3-max", "M3 Max", 128, 14.2, 400),
    _apple("m4-pro", "M4 Pro", 64, 9.2, 273),
    _apple("m1-max", "M1 Max", 64, 10.4, 400),
)  # fmt: skip
"""The first of which a name is part of the device's; longer names stand before shorter ones that they contain."""
NVLINK = {"b200": 900, "h200": 450, "h100": 450, "h20": 450, "a100-80": 300, "a100-40": 300, "v100": 150}
"""10⁹ bytes per second and direction, by the data sheets: all links of a card that a switch joins to every other one.
Bridges that join two cards are left out."""
_NVLINK_REACHED = 0.78
"""What NCCL's exchange of large messages reaches of it, as others report. Not measured here."""
_LOOPBACK = 1.0 * _GIGA
"""Bytes per second between processes of one CPU. A guess."""
PLAIN = SpeedPlan()
"""Networks as they are written."""
CPU = "cpu"
"""The profile that is this machine's own processor."""
_UNKNOWN_GPU = DeviceProfile("", "an unknown GPU", "cuda", 0, 100, 0, 30, 500, 12, _OLD, (), "a guess")
_APPLE_GPU = DeviceProfile("", "Apple's GPU", "mps", 0, 5, 0, 5, 120, 0, _APPLE, ("Apple",), "a guess")
_CORE_PRODUCTS, _CORE_VAE = 38 * _GIGA, 60 * _GIGA
"""Operations per second of one core of a server's CPU; two were measured."""


class Speed(NamedTuple):
    """What a device really does in a second: operations in matrix products, in attention and in the VAE, bytes moved
    inside its memory and bytes copied from the host's, 0 for these two where they cost nothing extra; and bytes sent to
    another device."""

    products: float
    attention: float
    vae: float
    traffic: float = 0.0
    copies: float = 0.0
    link: float = 0.0


def profile_named(name: str) -> DeviceProfile:
    """A profile by its name or title, however it is written: ``rtx4090``, ``RTX 4090``, ``RTX-4090`` and ``NVIDIA
    GeForce RTX 4090`` are one card.

    Raises:
        UnknownName: there is none.
    """
    wanted = _folded(name)
    for profile in PROFILES:
        if wanted in (_folded(profile.name), _folded(profile.title)):
            return profile
    raise UnknownName("device_profile", name, [CPU, *(profile.name for profile in PROFILES)], noun="device profile")


def _folded(name: str) -> str:
    """A name without what people write differently: case, spaces and hyphens, and the maker before it."""
    bare = re.sub(r"^(?:\s*(?:nvidia|geforce|tesla|quadro|apple)\b[\s_-]*)+", "", name.casefold())
    return re.sub(r"[\s_-]+", "", bare)


def profile_of(device: DeviceDescription) -> DeviceProfile:
    """The profile of a GPU, by the name that its driver gives it; that of a middling one where the name is unknown."""
    other = _APPLE_GPU if device.kind == "mps" else _UNKNOWN_GPU
    name = device.name.lower()
    return next((found for found in PROFILES if any(part.lower() in name for part in found.names)), other)


def speed_of(device: DeviceDescription, precision: Precision, speed: SpeedPlan = PLAIN) -> Speed:
    """What a device does per second, by its name or its cores."""
    if device.kind == "cpu":
        products = _CORE_PRODUCTS * device.cores
        return Speed(products, products, _CORE_VAE * device.cores, link=_LOOPBACK)
    profile = profile_of(device)
    reached, single = profile.reached, profile.single * _TERA
    if precision == "fp32":
        products, attention = single * reached.single, single * reached.single
    else:
        half = profile.half * _TERA
        kernel = reached.cudnn if speed.attention != "torch" and reached.cudnn else reached.attention
        products, attention = half * reached.products, half * kernel
    vae = single * reached.vae if speed.vae_precision == "fp32" else profile.half * _TERA * reached.half_vae
    traffic = profile.bandwidth * _GIGA * reached.bandwidth
    return Speed(products, attention, vae, traffic, profile.copies * _GIGA, profile.link * _GIGA)
