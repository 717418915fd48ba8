"""The autoencoders at true size, ours and those of diffusers: parts of bench/forward.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from filmgate.engine.checkpoints.wan import DTYPES
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.runtime.prepare import Choices, prepare
from forward_measure import latent_of, let_go, peak, relative, row_of, seconds
from forward_profile import profile
from true_size_weights import materialised

VAES = {"vae21": "a14b-720p", "vae22": "ti2v-5b"}
"""The video that each decodes and encodes."""
PROFILED = 6
"""Latent frames of which the kernels are counted."""


def drain(work: Callable[[Tensor], Iterable[Tensor]], x: Tensor) -> None:
    """Compute all that ``work`` yields of ``x``."""
    for _ in work(x):
        pass


@torch.no_grad()
def vae(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding and encoding of a whole video by the stream, in bf16; fp32 beside it for the error of a few frames."""
    row = row_of(VAES[name], small=small)
    config, latent = row.sizes.vae, latent_of(row)
    draw = torch.Generator(device).manual_seed(0)
    z = torch.randn(1, config.z_dim, latent.frames, latent.height, latent.width, device=device, generator=draw)
    found: dict[str, Any] = {"frames": row.video.frames}
    decoded: dict[str, Tensor] = {}
    network = materialised(lambda: WanVae(config), device, lambda _: torch.float32)
    prepare(network, Choices(channels_last=True))
    for precision in ("fp32", "bf16"):
        network = network.to(DTYPES[precision])
        decoded[precision] = network.decode(z[:, :, :3])
        let_go(device)
        some, repeats = (z[:, :, :3], 1) if precision == "fp32" else (z, 2)
        taken = seconds(partial(drain, network.decode_chunks, some), device, repeats)
        found[f"decode_{precision}_{some.shape[2]}"] = taken
        found[f"decode_{precision}_peak_gib"] = peak(device)
    shape = (1, 3, row.video.frames, row.video.height, row.video.width)
    video = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    found["encode_bf16"] = seconds(partial(drain, network.encode_chunks, video), device, 1)
    found["kernels"] = profile(partial(drain, network.decode_chunks, z[:, :, :PROFILED]), device)
    found["relative_error"] = relative(decoded["bf16"], decoded["fp32"])
    return found


def peer_shape(config: VaeConfig) -> dict[str, Any]:
    """What diffusers calls the shape of an autoencoder."""
    return {
        "base_dim": config.dim, "decoder_base_dim": config.decoder_dim, "z_dim": config.z_dim,
        "dim_mult": list(config.dim_mult), "num_res_blocks": config.num_res_blocks,
        "temperal_downsample": list(config.temporal_downsample), "is_residual": config.level_shortcuts,
        "in_channels": config.pixel_channels, "out_channels": config.pixel_channels,
        "patch_size": None if config.patch == 1 else config.patch,
        "scale_factor_temporal": config.temporal_factor, "scale_factor_spatial": config.spatial_factor,
        "latents_mean": list(config.latents_mean), "latents_std": list(config.latents_std),
    }  # fmt: skip


@torch.no_grad()
def vae_peer(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding and encoding by diffusers, in bf16, with random weights of the same shape."""
    from diffusers import AutoencoderKLWan

    row = row_of(VAES[name], small=small)
    config, latent, video = row.sizes.vae, latent_of(row), row.video
    with torch.device("meta"):
        network = AutoencoderKLWan(**peer_shape(config))
    network = network.to(torch.bfloat16).to_empty(device=device).eval()
    for key, parameter in network.named_parameters():
        if "gamma" in key:
            parameter.fill_(1)
        elif parameter.ndim == 1:
            parameter.zero_()
        else:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
    z = torch.randn(1, config.z_dim, latent.frames, latent.height, latent.width, device=device).bfloat16()
    pixels = torch.randn(1, 3, video.frames, video.height, video.width, device=device).bfloat16()
    found: dict[str, Any] = {"decode": seconds(lambda: network.decode(z), device, 1)}
    found["peak_gib"] = peak(device)
    found["encode"] = seconds(lambda: network.encode(pixels), device, 1)
    return found
