"""What a plan says of speed, applied to the networks: the only place that knows both."""

from __future__ import annotations

import torch

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.runtime.prepare import ATTENTION, call_attention, channels_last, run_as
from filmgate.spec import SpeedPlan


def fast_transformer(network: WanDiT, speed: SpeedPlan) -> WanDiT:
    """A transformer that calls the plan's attention, its blocks fused if the profile says so. For inference."""
    call_attention(network, ATTENTION[speed.attention])
    if speed.profile == "exact":
        run_as(network.text_blocks(), fused_block)
    return network


def fast_vae(network: WanVae, device: torch.device) -> WanVae:
    """An autoencoder whose weights lie as the convolutions of the device like it."""
    if device.type == "cuda":
        channels_last(network)
    return network
