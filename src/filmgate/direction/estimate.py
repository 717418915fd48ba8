"""How much memory and time a plan takes: estimates to decide by, not promises.

Legend: N tokens of the video, S text rows, D F L width, feed-forward width and layers of the transformer (with those of
VACE's branch), b bytes of a number.

Operations of one forward pass of the transformer (two per multiplication and addition):

    linear layers     L·(12·N·D² + 4·N·D·F)
    self-attention    4·L·N²·D
    cross-attention   4·L·N·S·D

Its working memory per token was measured on our own transformer: 8·D bytes for what is kept in fp32, 5·D·b around the
attention and 3·F·b in the feed-forward network. Beside it lie the keys and values of both texts, 4·L·S·D·b.

Memory and operations of the VAE's decoder grow with the pixels of a frame, and with the size of the network in a way
that was fitted to two networks of each kind (the published one and a small one of about three million parameters); the
VAE runs in fp32. Networks are in memory one at a time, so that the largest of the stages decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from filmgate.engine.sampling.guidance import PAIRED_TOKENS
from filmgate.spec.model import DeviceDescription, ModelDescription, Precision
from filmgate.spec.plan import MemoryEstimate, Step
from filmgate.spec.shape import LatentShape, VideoShape

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
_TERA, _GIGA = 1e12, 1e9
_DISK = 1.5 * _GIGA
"""Bytes of weights that are read in a second."""


class Speed(NamedTuple):
    """Operations per second that a device really does in the transformer and in the VAE."""

    transformer: float
    vae: float


class _Gpu(NamedTuple):
    """Peak of a GPU without sparsity, 10¹² operations per second, from its data sheet; ``half`` is bf16, or fp16 where
    there is no bf16."""

    name: str
    half: float
    single: float


_GPUS = (
    _Gpu("B200", 2250, 75),
    _Gpu("H200", 989, 67),
    _Gpu("H100 PCIe", 756, 51),
    _Gpu("H100", 989, 67),
    _Gpu("H20", 148, 44),
    _Gpu("A100", 312, 19.5),
    _Gpu("RTX 6000 Ada", 364, 91),
    _Gpu("L40S", 362, 92),
    _Gpu("L40", 181, 91),
    _Gpu("L4", 121, 30),
    _Gpu("A6000", 155, 39),
    _Gpu("A10", 125, 31),
    _Gpu("RTX 5090", 209, 105),
    _Gpu("RTX 4090", 165, 83),
    _Gpu("RTX 3090", 71, 36),
    _Gpu("V100", 125, 15.7),
    _Gpu("T4", 65, 8.1),
)
"""The first whose name is part of the device's; longer names stand before shorter ones."""
_UNKNOWN_GPU = _Gpu("an unknown GPU", 100, 30)
_APPLE_GPU = _Gpu("Apple's GPU", 10, 5)
_HALF_USED, _SINGLE_USED, _VAE_USED = 0.5, 0.6, 0.08
"""Part of the peak that is reached. Half of the bf16 peak is what one H200 did at 480p and at 720p, and what the
published times of A14B on H100 and A100 come to; the VAE is bound by memory."""
_CORE = Speed(38 * _GIGA, 60 * _GIGA)
"""One core of a server's CPU; two were measured."""


class _VaeKind(NamedTuple):
    """Decoder of a published VAE: ``operations`` per pixel and frame, ``memory`` in bytes per pixel, with the exponents
    of the number of parameters by which other sizes differ. ``encoder`` is the part of the operations that the encoder
    needs for the same frames, counted on both."""

    parameters: float
    operations: float
    operations_exponent: float
    memory: float
    encoder: float
    memory_exponent: float = 0.38


_VAE_21 = _VaeKind(126.9e6, 8.53e6, 0.815, 24_500, 0.596)
_VAE_22 = _VaeKind(704.7e6, 18.4e6, 0.962, 18_500, 0.192)
_COARSE = 16
"""Spatial factor of the Wan 2.2 VAE."""


def tokens_of(model: ModelDescription, latent: LatentShape) -> int:
    """N, the length of the transformer's sequence."""
    return model.compression.tokens(latent)


def forward_operations(model: ModelDescription, tokens: int) -> float:
    """Operations of one forward pass of one expert, for one text."""
    dit = model.dit
    linear = 12 * tokens * dit.dim * dit.dim + 4 * tokens * dit.dim * dit.ffn_dim
    attention = 4 * tokens * tokens * dit.dim + 4 * tokens * dit.text_len * dit.dim
    return float((dit.layers + dit.branch_layers) * (linear + attention))


def decode_operations(model: ModelDescription, video: VideoShape) -> float:
    """Operations of decoding a video."""
    kind = _vae_kind(model)
    scale: float = (_vae_parameters(model) / kind.parameters) ** kind.operations_exponent
    return kind.operations * scale * video.frames * video.height * video.width


def speed_of(device: DeviceDescription, precision: Precision) -> Speed:
    """What a device does per second, by its name or its cores."""
    if device.kind == "cpu":
        return Speed(_CORE.transformer * device.cores, _CORE.vae * device.cores)
    gpu = _APPLE_GPU if device.kind == "mps" else _known_gpu(device.name)
    used = gpu.single * _SINGLE_USED if precision == "fp32" else gpu.half * _HALF_USED
    return Speed(used * _TERA, gpu.half * _VAE_USED * _TERA)


def estimate_memory(
    model: ModelDescription, video: VideoShape, latent: LatentShape, precision: Precision, *, guided: bool
) -> MemoryEstimate:
    """Bytes at the worst moment. Not in it: the interpreter and its libraries, some 0.3 GiB, and the driver's own.

    ``weights`` are those of the network that is in memory at that moment; ``activations`` belong to the transformer,
    ``vae`` is the VAE with what it works on.
    """
    size, tokens, dit = BYTES[precision], tokens_of(model, latent), model.dit
    texts = 2 if guided else 1
    batch = texts if tokens <= PAIRED_TOKENS else 1
    per_token = 8 * dit.dim + 5 * dit.dim * size + 3 * dit.ffn_dim * size
    activations = (
        batch * tokens * per_token + 2 * texts * (dit.layers + dit.branch_layers) * dit.text_len * dit.dim * size
    )
    kind = _vae_kind(model)
    scale: float = (_vae_parameters(model) / kind.parameters) ** kind.memory_exponent
    vae_weights = 4 * _vae_parameters(model)
    vae_work = round(kind.memory * scale * video.height * video.width)
    text_weights = size * _text_parameters(model)
    expert_weights = size * max((expert.parameters for expert in model.experts), default=0)
    stages = ((text_weights, 0), (expert_weights, activations), (vae_weights, vae_work))
    weights, work = max(stages, key=sum)
    return MemoryEstimate(weights=weights, activations=activations, vae=vae_weights + vae_work, peak=weights + work)


def estimate_seconds(
    model: ModelDescription,
    video: VideoShape,
    latent: LatentShape,
    steps: Sequence[Step],
    device: DeviceDescription,
    precision: Precision,
    *,
    text_tokens: int,
    encoded_frames: int = 0,
) -> float:
    """Seconds from reading the weights to the last frame.

    ``text_tokens`` are those of all texts together, ``encoded_frames`` what the VAE reads before it writes.
    """
    speed = speed_of(device, precision)
    forwards = sum(step.passes for step in steps)
    used = {step.expert for step in steps}
    weights = sum(expert.bytes for expert in model.experts if expert.name in used)
    loading = (weights + model.text_encoder_bytes + model.vae_bytes + model.image_encoder_bytes) / _DISK
    encoding = 2 * _text_parameters(model) * text_tokens / speed.transformer
    painting = forwards * forward_operations(model, tokens_of(model, latent)) / speed.transformer
    coding = decode_operations(model, video) * (1 + _vae_kind(model).encoder * encoded_frames / video.frames)
    return loading + encoding + painting + coding / speed.vae


def _known_gpu(name: str) -> _Gpu:
    return next((gpu for gpu in _GPUS if gpu.name.lower() in name.lower()), _UNKNOWN_GPU)


def _vae_kind(model: ModelDescription) -> _VaeKind:
    return _VAE_22 if model.compression.spatial == _COARSE else _VAE_21


def _vae_parameters(model: ModelDescription) -> int:
    return model.vae_parameters or model.vae_bytes // BYTES["fp32"]  # the originals publish it in fp32


def _text_parameters(model: ModelDescription) -> int:
    return model.text_encoder_parameters or model.text_encoder_bytes // BYTES["bf16"]  # and this one in bf16
