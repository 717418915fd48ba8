"""How fast a plan may be: what a request leaves open is what changes nothing but rounding, and is fastest."""

from __future__ import annotations

from collections.abc import Iterator

from filmgate.direction.devices import profile_of
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import DeviceDescription, Precision
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.speed import AttentionKernel, KernelProfile, SpeedPlan


def asked_speed(request: Request, device: DeviceDescription, precision: Precision) -> SpeedPlan:
    """What a request asks for. Without fused kernels for the device ``exact`` is ``plain``, which it promises to equal;
    ``balanced`` and ``fast`` run the networks as ``exact`` does.

    Args:
        request: The wish.
        device: Where it is carried out.
        precision: Of the transformers.

    Raises:
        InvalidRequest: the device has no such kernel, or does not compute in the VAE's precision.
    """
    fused = device.kind == "cuda" and device.triton
    profile: KernelProfile = "exact" if fused and request.profile != "plain" else "plain"
    return SpeedPlan(
        profile=profile, attention=_attention(request, device, precision), vae_precision=_vae_precision(request, device)
    )


def speed_warnings(plan: Plan, request: Request) -> Iterator[str]:
    """What makes a plan slower than it need be."""
    if plan.device.kind == "cuda" and not plan.device.triton and request.profile != "plain":
        yield "Triton is not installed: networks run as they are written, which takes longer (pip install triton)"
    acceleration = plan.acceleration
    if acceleration.profile in ("balanced", "fast") and not acceleration.recipe:
        reasons = dict.fromkeys(choice.reason for choice in acceleration.considered)
        yield f"profile {acceleration.profile} skips nothing here and is exact: {'; '.join(reasons)}"


def _attention(request: Request, device: DeviceDescription, precision: Precision) -> AttentionKernel:
    possible = device.kind == "cuda" and device.bf16 and precision != "fp32"  # cuDNN's needs Ampere or later
    if request.attention is None:
        if not possible or request.profile == "plain":
            return "torch"
        # Who installed it has a card for it; whether it wins is found out at each shape.
        return "fastest" if device.flash4 else "cudnn" if profile_of(device).cudnn_attention else "torch"
    if request.attention != "torch" and not possible:
        whose = {"cudnn": "cuDNN's", "flash4": "FlashAttention 4", "fastest": "a choice of attention"}
        raise InvalidRequest(
            "attention",
            f"{whose[request.attention]} is for NVIDIA GPUs from Ampere on, in bf16 or fp16, not for {device.name} in "
            f"{precision}",
            allowed="torch", nearest="torch",
        )  # fmt: skip
    return request.attention


def _vae_precision(request: Request, device: DeviceDescription) -> Precision:
    asked = request.vae_precision or "fp32"
    if asked == "fp16" and device.kind == "cpu":
        raise InvalidRequest("vae_precision", "fp16 is not for CPUs", allowed="fp32 or bf16", nearest="bf16")
    if asked == "bf16" and not device.bf16:
        raise InvalidRequest("vae_precision", f"{device.name} has no bf16", allowed="fp32 or fp16", nearest="fp16")
    return asked
