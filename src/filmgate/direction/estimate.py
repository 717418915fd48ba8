"""How long a plan takes: counted operations and bytes over what the device reaches. Estimates to decide by.

Legend: N tokens of the video, S rows of text and image features, D F L width, feed-forward width and blocks of the
transformer (with those of VACE's branch), b bytes of a number.

Operations of one forward pass of the transformer (two per multiplication and addition):

    linear layers     L·(12·N·D² + 4·N·D·F)
    self-attention    4·L·N²·D
    cross-attention   4·L·N·S·D

Between them it reads and writes N·L·(249·D + 4·F) bytes (b = 2; 161·D + 8·F at b = 4), counted on our own blocks:
norms, modulation, rotation and changes of format each go through memory once. Fused they read and write N·L·52·D bytes
(76·D at b = 4). A pass takes the sum of these, or as long
as the copies of streamed blocks if that is more, or as its operators take to be started. Where device and host share
their memory nothing hides the reading of streamed blocks: it comes on top.

Where devices share the work, each makes its part of a pass, with as many operators to start, and exchanges (see
:mod:`~filmgate.direction.exchange`); together they lose at least what others report of such a division.

Operations of the VAE's decoder grow with the pixels of all frames, and with the size of the network in a way that was
fitted to two networks of each kind (the published one and a small one of about three million parameters).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from filmgate.direction.calibration import NOTHING_MEASURED, Correction
from filmgate.direction.devices import Speed, speed_of
from filmgate.direction.exchange import exchange_seconds
from filmgate.direction.layout import DECODING_EFFICIENCY, efficiency
from filmgate.direction.memory import BYTES, row_parts, text_parameters, transformer_of, vae_parameters
from filmgate.direction.workload import Workload
from filmgate.spec.estimates import TimeEstimate
from filmgate.spec.model import ModelDescription
from filmgate.spec.residency import ResidencyPlan
from filmgate.spec.shape import LatentShape, VideoShape

_GIGA = 1e9
DISK = 1.5 * _GIGA
"""Bytes of weights that are read in a second."""
_LAUNCHES, _FUSED_LAUNCHES, _LAUNCH = 60, 24, 9e-6
"""Operators of a block, as written and fused, and seconds until a GPU has been told one of them."""
_RAYS = 24
"""Channels of a camera's rays, at every pixel of a latent."""
_PATCH = 4
_OVERLAP, _LEAST_OVERLAP = 4, 2
"""Of a tile's side, one part in so many overlaps the next, but so many latent positions at least."""
_WIDE = 4


class _VaeKind(NamedTuple):
    """Decoder of a published VAE: ``operations`` per pixel and frame, with the exponent of the number of parameters by
    which other sizes differ. ``encoder`` is the part of the operations that the encoder needs for the same frames,
    counted on both; ``half`` how much faster than Wan 2.1's its wider convolutions are on a GPU in half precision."""

    parameters: float
    operations: float
    exponent: float
    encoder: float
    half: float


_VAE_21 = _VaeKind(126.9e6, 8.53e6, 0.815, 0.596, 1.0)
_VAE_22 = _VaeKind(704.7e6, 18.4e6, 0.962, 0.192, 2.0)
_COARSE = 16
"""Spatial factor of the Wan 2.2 VAE."""


class Operations(NamedTuple):
    """Of one forward pass: in matrix products, in attention, and bytes that go through memory beside them."""

    products: float
    attention: float
    traffic: float


def tokens_of(model: ModelDescription, latent: LatentShape) -> int:
    """N, the length of the transformer's sequence."""
    return model.compression.tokens(latent)


def forward_operations(model: ModelDescription, tokens: int) -> float:
    """Operations of one forward pass of one expert, for one text."""
    products, attention, _ = operations_of(model, tokens, model.dit.text_len)
    return products + attention


def operations_of(model: ModelDescription, tokens: int, rows: int, size: int = 2, *, fused: bool = False) -> Operations:
    """What one forward pass does for one text.

    Args:
        model: Whose.
        tokens: N.
        rows: S.
        size: b.
        fused: Whether what stands between products and attention is done in as few passes as can be.
    """
    dit = model.dit
    blocks = dit.layers + dit.branch_layers
    products = blocks * (12 * tokens * dit.dim * dit.dim + 4 * tokens * dit.dim * dit.ffn_dim)
    if dit.branch_layers:
        products += 2 * (dit.branch_layers + 1) * tokens * dit.dim * dit.dim
    if model.task == "camera":
        # One residual block of two 3×3 convolutions, and the patches of the rays.
        rays = _RAYS * model.compression.spatial**2 * _PATCH
        products += 36 * tokens * dit.dim * dit.dim + 2 * tokens * dit.dim * rays
    attention = blocks * 4 * tokens * (tokens + rows) * dit.dim
    per_token = (161 if size == _WIDE else 249) * dit.dim + 2 * size * dit.ffn_dim
    if fused:
        per_token = (76 if size == _WIDE else 52) * dit.dim
    return Operations(float(products), float(attention), float(blocks * tokens * per_token))


def decode_operations(model: ModelDescription, video: VideoShape) -> float:
    """Operations of decoding a video."""
    kind = _vae_kind(model)
    scale: float = (vae_parameters(model) / kind.parameters) ** kind.exponent
    return kind.operations * scale * video.frames * video.height * video.width


def compute_seconds(load: Workload) -> float:
    """Seconds of a device's part of one forward pass for one text, all weights being where they are needed."""
    speed = speed_of(load.device, load.precision, load.speed)
    fused = load.speed.profile == "exact"
    work = operations_of(load.model, load.tokens, load.context_rows, BYTES[load.precision], fused=fused)
    part = _part(load)
    seconds = part * (work.products / speed.products + work.attention / speed.attention)
    if not speed.traffic:
        return seconds
    blocks = load.model.dit.layers + load.model.dit.branch_layers
    starting = blocks * (_FUSED_LAUNCHES if fused else _LAUNCHES) * _LAUNCH / (2 if load.paired else 1)
    return max(seconds + part * work.traffic / speed.traffic, starting)


def _part(load: Workload) -> float:
    """Of a pass that a device makes. Processes of one CPU gain nothing: together they have its cores."""
    return 1.0 if load.device.kind == "cpu" else load.own_tokens / load.tokens


def together_seconds(load: Workload, forward: float = 1.0) -> float:
    """The same as long as it takes all of them, with what they exchange.

    Args:
        load: What is done.
        forward: How many times as long as expected a device computes.
    """
    alone = forward * compute_seconds(load)
    if load.layout.ranks == 1 or load.device.kind == "cpu":
        return alone + exchanged_seconds(load)
    return max(alone + exchanged_seconds(load), alone / efficiency(load.layout.sequence))


def exchanged_seconds(load: Workload) -> float:
    """What of it is exchange."""
    if load.layout.ranks == 1:
        return 0.0
    speed = speed_of(load.device, load.precision, load.speed)
    work = operations_of(load.model, load.tokens, load.context_rows, BYTES[load.precision])
    return exchange_seconds(load, speed, _part(load) * work.attention / speed.attention)


def estimate_seconds(
    load: Workload, residency: ResidencyPlan, correction: Correction = NOTHING_MEASURED
) -> TimeEstimate:
    """Seconds of every stage, from reading the weights to the last frame.

    Args:
        load: What is done.
        residency: Where the networks lie.
        correction: What this device has shown.
    """
    speed = speed_of(load.device, load.precision, load.speed)
    forward = forward_seconds(load, residency, correction)
    whole = decode_operations(load.model, load.video) * repeated(load, residency) / speed.vae
    if load.speed.vae_precision != "fp32":
        whole /= _vae_kind(load.model).half
    text = 2 * text_parameters(load.model) * load.text_tokens / _text_speed(residency, speed)
    reading = whole * _vae_kind(load.model).encoder * load.encoded_frames / load.video.frames
    return TimeEstimate(
        load=_loading(load),
        encode=text + correction.decode * reading * _coded_part(load, residency),
        denoise=load.turns * forward,
        decode=correction.decode * whole * _coded_part(load, residency),
        forward=forward * load.turns / load.forwards if load.forwards else forward,
        exchange=load.turns * exchanged_seconds(load),
        basis=correction.basis,
    )


def forward_seconds(load: Workload, residency: ResidencyPlan, correction: Correction = NOTHING_MEASURED) -> float:
    """Seconds of one forward pass for one text, with what it waits for: copies that are longer than the work, or, where
    nothing is copied while the device computes, all that is read."""
    compute = together_seconds(load, correction.forward)
    if residency.mode == "sharded":  # parts of blocks go over the link that the ranks exchange by
        compute -= exchanged_seconds(load)
        if load.device.kind != "cuda":
            return compute + gathering_seconds(load, residency) + exchanged_seconds(load)
        return max(compute + exchanged_seconds(load), linked_seconds(load, residency))
    copies = correction.copies * copy_seconds(load, residency, speed_of(load.device, load.precision))
    return max(compute, copies) if load.device.kind == "cuda" else compute + copies


def _coded_part(load: Workload, residency: ResidencyPlan) -> float:
    """Of a video's decoding or encoding that a device does, as long as it takes: some of the rows, or of the tiles."""
    if load.layout.ranks == 1 or load.device.kind == "cpu":
        return 1.0
    if residency.vae_tile is not None:
        count = tile_count(load, residency)
        return -(-count // load.layout.ranks) / count
    count = row_parts(load, residency)
    rows = load.video.height // load.model.compression.spatial
    return 1.0 if count == 1 else -(-rows // count) / rows / DECODING_EFFICIENCY


def repeated(load: Workload, residency: ResidencyPlan) -> float:
    """How often the VAE works on a pixel: more than once where tiles overlap, by a quarter of their side."""
    if residency.vae_tile is None:
        return 1.0
    worked, tile = 1.0, residency.vae_tile // load.model.compression.spatial
    for length, count in _tiles(load, residency):
        if count > 1:
            worked *= count * tile / length
    return worked


def tile_count(load: Workload, residency: ResidencyPlan) -> int:
    """How many tiles the VAE works in; 1 where it works on whole frames."""
    return prod(count for _, count in _tiles(load, residency))


def _tiles(load: Workload, residency: ResidencyPlan) -> Iterator[tuple[int, int]]:
    """Along both sides of a frame: its length in latent positions, and how many tiles cover it."""
    unit = load.model.compression.spatial
    tile = max(1, (residency.vae_tile or 0) // unit)
    overlap = max(_LEAST_OVERLAP, tile // _OVERLAP)
    for pixels in (load.video.height, load.video.width):
        length = pixels // unit
        whole = residency.vae_tile is None or length <= tile
        yield length, 1 if whole else -(-(length - overlap) // (tile - overlap))


def copy_seconds(load: Workload, residency: ResidencyPlan, speed: Speed) -> float:
    """Seconds that copying streamed blocks takes in a forward pass for one text; both texts of a pair share it."""
    if residency.mode != "streamed" or (residency.host == "pinned" and not speed.copies):
        return 0.0
    expert = transformer_of(load, residency.weights)
    moved = expert.block * max(0, expert.blocks - residency.kept_blocks)
    rate = speed.copies if residency.host == "pinned" else min(speed.copies or DISK, DISK)
    return moved / rate / (2 if load.paired else 1)


def gathering_seconds(load: Workload, residency: ResidencyPlan) -> float:
    """Seconds that putting sharded blocks together takes in a forward pass for one text; a pair shares it."""
    link = speed_of(load.device, load.precision).link
    return gathered_bytes(load, residency) / link / (2 if load.paired else 1) if link else 0.0


def linked_seconds(load: Workload, residency: ResidencyPlan) -> float:
    """Seconds of a forward pass for one text in which the link to the others is busy, whatever hides that: parts of
    blocks wait for keys and values that go round, and these for them."""
    speed = speed_of(load.device, load.precision, load.speed)
    return gathering_seconds(load, residency) + exchange_seconds(load, speed, 0.0)


def gathered_bytes(load: Workload, residency: ResidencyPlan) -> float:
    """Bytes of blocks that a device gets from the others in a pass: all that it has not, where they are sharded."""
    if residency.mode != "sharded":
        return 0.0
    expert, ranks = transformer_of(load, residency.weights), load.layout.ranks
    return expert.block * max(0, expert.blocks - residency.kept_blocks) * (ranks - 1) / ranks


def _text_speed(residency: ResidencyPlan, speed: Speed) -> float:
    """Operations per second of the text encoder; a CPU beside a GPU does about a hundredth of them."""
    return speed.products / 100 if residency.text_encoder == "cpu" and speed.traffic else speed.products


def _loading(load: Workload) -> float:
    """Seconds of reading every network that is used, once."""
    model = load.model
    used = {step.expert for step in load.steps}
    weights = sum(expert.bytes for expert in model.experts if expert.name in used)
    return (weights + model.text_encoder_bytes + model.vae_bytes + model.image_encoder_bytes) / DISK


def _vae_kind(model: ModelDescription) -> _VaeKind:
    return _VAE_22 if model.compression.spatial == _COARSE else _VAE_21
