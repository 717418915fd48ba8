"""Does this device compute as it should? Tiny networks of known weights, compared with what they gave elsewhere.

Run as a program, ``python -m filmgate.engine.pipeline.self_test``, it prints one JSON object. Nothing is random:
weights and inputs are hashes of their names and places, in whole numbers. ``fingerprints.json`` holds what the CPU gave
in fp32, and how far each kind of device may be from it at each precision: the norm of the difference over the norm of
the reference. With ``--write`` it is made anew.

Everything is computed as renders compute it: under :func:`~filmgate.engine.runtime.place.repeatable`, so that fp32 is
not TF32, in the precisions that the device has, blocks fused where Triton is, and the autoencoder in fp32 alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.pipeline.speed import TRANSFORMER, transformer_choices
from filmgate.engine.runtime.place import DTYPES, devices, dtype_of, repeatable
from filmgate.engine.runtime.prepare import prepare
from filmgate.spec import DeviceError, Precision, SpeedPlan

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
DIT = DitConfig(dim=64, ffn_dim=96, num_heads=2, num_layers=2, text_len=12, text_dim=24, freq_dim=16)
VAE = VaeConfig(dim=8, dim_mult=(1, 2, 2, 2), num_res_blocks=1)
NETWORKS = ("transformer", "autoencoder")
ATTENTION = ("flash-attn-4", "nvidia-cudnn-frontend", "flash-attn", "sageattention", "xformers")
"""Packages with attention of their own, the first two of which are used: for ``--attention flash4``, and for sparse and
eight-bit attention."""
_MASK = 0xFFFF_FFFF
_KEPT = 64
"""Numbers that are kept of an output, evenly spread."""


def known(name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of values in [-1, 1) that depend on its name alone, fp32."""
    # Integers only: vectorised sines differ in their last bit from one library, and one first call, to the next.
    mixed = (torch.arange(math.prod(shape)) * 2654435761 + zlib.crc32(name.encode())) & _MASK
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & _MASK
    return ((mixed ^ (mixed >> 13)).double() * 2**-31 - 1).float().reshape(shape)


@torch.no_grad()
def fill(module: nn.Module) -> nn.Module:
    """Give every parameter known values, of a size that keeps what flows through about as large."""
    for name, parameter in module.named_parameters():
        values, last = known(name, tuple(parameter.shape)), name.rsplit(".", 1)[-1]
        if last == "gamma" or (last == "weight" and parameter.ndim == 1):
            values = 1 + 0.2 * values
        elif last == "weight":
            values = values * math.sqrt(3 / math.prod(parameter.shape[1:]))
        else:
            values = 0.2 * values
        parameter.copy_(values)
    return module.eval()


@torch.inference_mode()
def outputs(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """A velocity of the transformer and, in fp32, a video of the autoencoder: [64] each, float64 on the CPU."""
    dit = fill(WanDiT(DIT)).to(device, dtype)
    assert isinstance(dit, WanDiT)
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        prepare(dit, transformer_choices(dit, SpeedPlan(profile="exact")), TRANSFORMER)
    latent = known("latent", (1, 16, 2, 6, 6)).to(device)
    text, timestep = known("text", (1, 12, 24)).to(device, dtype), torch.tensor([500.0], device=device)
    found = {"transformer": _kept(dit(latent.to(dtype), timestep, text))}
    if dtype is torch.float32:
        vae = fill(WanVae(VAE)).to(device)
        assert isinstance(vae, WanVae)
        found["autoencoder"] = _kept(vae.decode(latent))
    return found


def _kept(x: Tensor) -> Tensor:
    flat = x.detach().cpu().double().flatten()
    return flat[torch.linspace(0, len(flat) - 1, _KEPT).long()]


def precisions(name: str) -> list[Precision]:
    """What a device may be asked to compute in: all but what renders refuse there."""
    found: list[Precision] = []
    for precision in DTYPES:
        with suppress(DeviceError):
            dtype_of(precision, torch.device(name))
            found.append(precision)
    return found


def compare(name: str) -> Iterator[dict[str, Any]]:
    """One result for each network and precision on a device: ``cpu``, ``mps``, ``cuda:1``.

    Yields:
        Device, precision, network, ``error`` (relative; None if it could not compute), ``allowed``, and ``why``, empty
        unless it could not compute.
    """
    stored = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))
    device = torch.device(name)
    for precision in precisions(name):
        try:
            with repeatable(torch.get_num_threads()):
                found = outputs(device, DTYPES[precision])
        except (RuntimeError, NotImplementedError, TypeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            found, why = {}, lines[0][:200]
        for network in NETWORKS if precision == "fp32" else NETWORKS[:1]:
            reference, allowed = stored["reference"][network], stored["allowed"][device.type][precision]
            result = {"device": name, "precision": precision, "network": network, "allowed": allowed}
            if network not in found:
                yield {**result, "error": None, "why": why}
                continue
            expected = torch.tensor(reference, dtype=torch.float64)
            distance = float((found[network] - expected).norm() / expected.norm())
            why = "" if math.isfinite(distance) else "it gives numbers that are not finite"
            yield {**result, "error": None if why else distance, "why": why}


def attention() -> list[str]:
    """Ways to compute attention that are here: torch's own kernels, and packages."""
    cuda = torch.backends.cuda
    own = {"flash": cuda.flash_sdp_enabled(), "memory-efficient": cuda.mem_efficient_sdp_enabled()}
    kernels = [name for name, on in own.items() if on and torch.cuda.is_available()]
    return [f"torch ({', '.join([*kernels, 'math'])})", *filter(None, map(_installed, ATTENTION))]


def _installed(package: str) -> str | None:
    """A package with its version."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _write() -> None:
    with repeatable(torch.get_num_threads()):
        found = outputs(torch.device("cpu"), torch.float32)
    reference = {name: [float(f"{x:.9g}") for x in kept.tolist()] for name, kept in found.items()}
    stored = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))
    FINGERPRINTS.write_text(json.dumps({**stored, "reference": reference}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        _write()
    results = [result for name in reversed(devices()) for result in compare(name)]
    print(json.dumps({"results": results, "attention": attention()}))  # noqa: T201  a program's answer
