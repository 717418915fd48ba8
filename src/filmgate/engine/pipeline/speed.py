"""What a plan says of speed, applied to the networks: the only place that knows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from filmgate.engine.kernels.block_attention import check_block_attention
from filmgate.engine.kernels.block_choice import ChoiceRule
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.eight_bit import GROUPS, eight_bit_layers
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.cells import order_tokens
from filmgate.engine.runtime.attention_race import Races, attention_of
from filmgate.engine.runtime.eight_bit_linear import EightBitLinear, compute_in_eight_bits
from filmgate.engine.runtime.light_attention import LightAttention, LightRule, is_early
from filmgate.engine.runtime.pace import listen
from filmgate.engine.runtime.prepare import call_attention, channels_last, run_as
from filmgate.spec import Acceleration, EightBit, SparseAttention, SpeedPlan


def fast_transformer(
    network: WanDiT, speed: SpeedPlan, accelerations: Sequence[Acceleration] = (), races: Races | None = None
) -> WanDiT:
    """A transformer that calls the plan's attention, its blocks fused if the profile says so, and its self-attention
    light where an acceleration wants that. For inference.

    Args:
        network: As it was loaded.
        speed: The plan's.
        accelerations: The plan's, for this network.
        races: What is known of the fastest attention, and where more goes.

    Raises:
        DeviceError: the device has no kernel for an acceleration, or a package is missing.
        InvalidRequest: the model is not one for such a kernel.
    """
    call_attention(network, attention_of(speed.attention, network.patch_embedding.weight.device, races))
    rule = light_rule(accelerations)
    if rule is not None:
        lighten(network, rule)
    if speed.profile == "exact":
        run_as(network.text_blocks(), fused_block)
    return network


def check_lighter(
    head_dim: int, dtype: torch.dtype, device: torch.device, accelerations: Sequence[Acceleration]
) -> None:
    """Whether the attention that accelerations want is here, before anything is loaded.

    Args:
        head_dim: Width of the model's heads.
        dtype: Of its arithmetic.
        device: Where it computes.
        accelerations: Of one expert.

    Raises:
        DeviceError, InvalidRequest: as :func:`fast_transformer`.
    """
    rule = light_rule(accelerations)
    if rule is not None:
        check_block_attention(head_dim, dtype, device, eight_bit=rule.eight_bit)


def eight_bit_products(network: WanDiT, accelerations: Sequence[Acceleration]) -> list[EightBitLinear]:
    """Let a transformer compute its products in eight bits where an acceleration wants that: the last step, once the
    layers are what they will be (LoRAs merged).

    Returns:
        The layers that now do.
    """
    wanted = next((use for use in accelerations if isinstance(use, EightBit) and use.linear), None)
    if wanted is None:
        return []
    keep = wanted.protected > 0 or wanted.last > 0
    layers = compute_in_eight_bits(network, eight_bit_layers(network.config, GROUPS), keep=keep)

    def begin_step(index: int, count: int) -> None:
        wide = is_early(index, count, wanted.protected) or index >= count - wanted.last
        for layer in layers:
            layer.widen(wide)

    if keep:
        listen(network, begin_step)
    return layers


def light_rule(accelerations: Sequence[Acceleration]) -> LightRule | None:
    """What accelerations make of self-attention; None: nothing."""
    sparse = next((use for use in accelerations if isinstance(use, SparseAttention)), None)
    eight = next((use for use in accelerations if isinstance(use, EightBit) and use.attention), None)
    if sparse is None and eight is None:
        return None
    rule = LightRule()
    if sparse is not None:
        choice = ChoiceRule(sparse.budget, radial=sparse.radial, per_head=sparse.per_head)
        rule = replace(
            rule, choice=choice, dense_steps=sparse.protected, dense_layers=sparse.dense_blocks, refresh=sparse.refresh
        )
    if eight is not None:
        rule = replace(rule, eight_bit=True, wide_steps=eight.protected, last_wide=eight.last)
    return rule


def fast_vae(network: WanVae, device: torch.device) -> WanVae:
    """An autoencoder whose weights lie as the convolutions of the device like it."""
    if device.type == "cuda":
        channels_last(network)
    return network


def lighten(network: WanDiT, rule: LightRule) -> LightAttention:
    """Let the self-attention of all layers be light around the kernel that they call; tokens are put in its order if
    blocks are chosen.

    Raises:
        DeviceError, InvalidRequest: as :func:`fast_transformer`.
    """
    first = network.text_blocks()[0].self_attn
    weight = network.patch_embedding.weight
    check_block_attention(network.config.head_dim, first.v.computes_in, weight.device, eight_bit=rule.eight_bit)
    light = LightAttention(rule)
    if rule.choice is not None:
        order_tokens(network, light)
    listen(network, light.begin_step)
    for layer, block in enumerate(network.text_blocks()):
        block.self_attn.attend = light.attend(layer, block.self_attn.attend)
    return light
