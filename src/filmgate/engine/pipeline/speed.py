"""What a plan says of speed, as choices, and how our networks take them: the only place that knows plans, networks and
:mod:`~filmgate.engine.runtime.prepare`, which puts the choices on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from filmgate.engine.kernels.block_attention import check_block_attention
from filmgate.engine.kernels.block_choice import ChoiceRule
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_layers import SelfAttention
from filmgate.engine.models.eight_bit import eight_bit_layers
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.cells import order_tokens
from filmgate.engine.pipeline.parallel import parallel_transformer
from filmgate.engine.pipeline.parallel_vae import parallel_tiles, parallel_vae
from filmgate.engine.runtime.attention_race import Races, attention_of
from filmgate.engine.runtime.eight_bit_linear import EightBitRule
from filmgate.engine.runtime.light_attention import LightRule
from filmgate.engine.runtime.parallel import ONE, Team
from filmgate.engine.runtime.prepare import Choices, NetworkKind
from filmgate.spec import Acceleration, EightBit, SparseAttention, SpeedPlan


def _self_attention(network: WanDiT) -> list[SelfAttention]:
    return [block.self_attn for block in network.text_blocks()]


def _divide_frames(network: WanVae, team: Team) -> WanVae:
    """By tiles where the autoencoder works in tiles, else by rows."""
    if isinstance(network, TiledVae):
        return parallel_tiles(network, team)
    return parallel_vae(network, team.everyone)


TRANSFORMER = NetworkKind(WanDiT.text_blocks, _self_attention, order_tokens, parallel_transformer)
"""How a transformer is prepared."""
AUTOENCODER = NetworkKind[WanVae](divide=_divide_frames)
"""How a video autoencoder is."""


def transformer_choices(
    network: WanDiT,
    speed: SpeedPlan,
    accelerations: Sequence[Acceleration] = (),
    races: Races | None = None,
    team: Team = ONE,
) -> Choices:
    """What a plan puts onto a transformer.

    Args:
        network: As it was loaded.
        speed: The plan's.
        accelerations: The plan's, for this network.
        races: What is known of the fastest attention, and where more goes.
        team: This process among those that share the work.

    Raises:
        DeviceError: the device has no such attention.
    """
    return Choices(
        attend=attention_of(speed.attention, network.patch_embedding.weight.device, races),
        light=light_rule(accelerations),
        forward=fused_block if speed.profile == "exact" else None,
        team=team,
        eight_bit=eight_bit_rule(network.config, accelerations),
    )


def autoencoder_choices(device: torch.device, team: Team = ONE) -> Choices:
    """What is put onto an autoencoder on a device, whatever the plan says: nothing of it changes what it computes but
    by rounding."""
    return Choices(channels_last=device.type == "cuda", team=team)


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
        DeviceError, InvalidRequest: as :func:`~filmgate.engine.runtime.prepare.prepare`.
    """
    rule = light_rule(accelerations)
    if rule is not None:
        check_block_attention(head_dim, dtype, device, eight_bit=rule.eight_bit)


def eight_bit_rule(config: DitConfig, accelerations: Sequence[Acceleration]) -> EightBitRule | None:
    """What accelerations make of a transformer's products; None: nothing."""
    wanted = next((use for use in accelerations if isinstance(use, EightBit) and use.linear), None)
    if wanted is None:
        return None
    return EightBitRule(tuple(eight_bit_layers(config)), wanted.protected, wanted.last)


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
