"""Where networks lie, as far as a request says: what it leaves open is what was always done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import DeviceDescription, ModelDescription
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.residency import MemoryMode, ResidencyPlan, TextEncoderPlace, WeightFormat

_FRUGAL: tuple[MemoryMode, ...] = ("streamed", "sharded", "one_expert", "resident")
_NARROW: tuple[WeightFormat, ...] = ("fp8", "int8", "int4")
_SPARING: tuple[TextEncoderPlace, ...] = ("cpu", "freed", "device")
SMALLEST_TILE = 8
"""Positions of a latent on the side of a tile, at least: fewer see too little of what is around them."""


def asked_residency(request: Request, model: ModelDescription, device: DeviceDescription) -> ResidencyPlan:
    """What a request asks for; one network at a time where it says nothing.

    Raises:
        InvalidRequest: the VAE cannot work in tiles of that size, the device has no such format of weights, or there is
            no other device that could have a part of them.
    """
    if request.memory == "sharded" and request.gpus in (None, 1):
        raise InvalidRequest(
            "memory", "one device has nobody to share an expert with", allowed="sharded with several GPUs (--gpus)",
            nearest="streamed",
        )  # fmt: skip
    mode = request.memory or "one_expert"
    place = request.text_encoder or ("device" if mode == "resident" else "freed")
    tile = _tile(request.vae_tile, model.compression.spatial) if request.vae_tile else None
    weights = request.weights or "as_computed"
    _check_weights(weights, model, device)
    return ResidencyPlan(mode=mode, text_encoder=place, weights=weights, vae_tile=tile)


def narrow_formats(device: DeviceDescription) -> tuple[WeightFormat, ...]:
    """Formats of few bits that a device can hold, the widest first."""
    return tuple(weights for weights in _NARROW if weights != "fp8" or device.kind != "mps")


def shared_residency(residencies: Sequence[ResidencyPlan]) -> ResidencyPlan:
    """One way for plans that share their networks: of each choice that does not decide the picture the one that takes
    the least memory. They must agree on those that do, but for tiles: the first one's are kept.
    """
    first, mode = residencies[0], min((one.mode for one in residencies), key=_FRUGAL.index)
    alike = [one for one in residencies if one.mode == mode]
    return first.model_copy(
        update={
            "mode": mode,
            "text_encoder": min((one.text_encoder for one in residencies), key=_SPARING.index),
            "host": "mapped" if any(one.host == "mapped" for one in alike) else "pinned",
            "kept_blocks": min(one.kept_blocks for one in alike),
        }
    )


def residency_warnings(plan: Plan) -> Iterator[str]:
    """What is allowed and of little use on this device."""
    if plan.residency.mode == "streamed" and plan.device.kind != "cuda":
        yield f"{plan.device.kind} does not copy while it computes: streamed blocks save memory and take longer"


def _check_weights(weights: WeightFormat, model: ModelDescription, device: DeviceDescription) -> None:
    """fp8, asked for or lying in the file, is not for every device."""
    stored = weights == "as_stored" and any(expert.dtype.startswith("float8") for expert in model.experts)
    if (weights == "fp8" or stored) and "fp8" not in narrow_formats(device):
        kept = f", in which {model.id} is stored" if stored else ""
        raise InvalidRequest(
            "weights", f"{device.name} has no fp8{kept}", allowed="as_computed, bf16, int8 or int4", nearest="int8"
        )


def _tile(pixels: int, spatial: int) -> int:
    """A tile's side, if it is a whole number of latent positions and not too few."""
    least = SMALLEST_TILE * spatial
    if pixels < least or pixels % spatial:
        raise InvalidRequest(
            "vae_tile", f"{pixels} pixels are no tile", allowed=f"multiples of {spatial} from {least}, or 0",
            nearest=str(max(least, round(pixels / spatial) * spatial)),
        )  # fmt: skip
    return pixels
