"""What makes a network fast, put on from outside and in one fixed order; the network itself stays as it is written.

1. Weights of convolutions lie as the GPU's convolutions read them.
2. Attention: another kernel with the same result up to rounding (:mod:`~.attention_race`).
3. Where an acceleration says so, self-attention is light (:mod:`~.light_attention`), around that kernel, and tokens are
   put in its order.
4. Blocks run another form of their forward pass, fused or compiled.
5. Tokens and texts, or the rows of frames, are divided over ranks, around all of that.
6. Where an acceleration says so, layers compute in eight bits (:mod:`~.eight_bit_linear`).

:class:`Choices` has one field for each step, and :func:`prepare` is the only one who takes them. A network takes each
step once, and none after a later one: what was put on it, it remembers.

Loading, few bits and streaming come before: they change what a block's layers are, and these steps leave layers alone.

LoRA is no step. It comes before the sixth, which rounds the weights that it merges into, and nothing else depends on
it: one expert may be wanted without its LoRAs first and with them afterwards, in one run, without being loaded anew. So
whoever has LoRAs calls :func:`prepare` twice, with steps 1 to 5 when the network is loaded and with the sixth once its
weights are what they will be; :func:`~.lora.apply_lora` refuses layers that are in eight bits already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.kernels.block_attention import check_block_attention
from filmgate.engine.runtime.eight_bit_linear import EightBitLinear, EightBitRule, compute_in_eight_bits
from filmgate.engine.runtime.light_attention import LightAttention, LightRule
from filmgate.engine.runtime.pace import listen
from filmgate.engine.runtime.parallel import ONE, Team
from filmgate.engine.runtime.stream import is_streamed
from filmgate.spec.errors import InvalidRequest

Network = TypeVar("Network", bound=nn.Module)
_KEY = "_prepared_choices"


@dataclass(frozen=True)
class Choices:
    """What is put onto a network: a field for each step, in the order of the steps. By default none is taken.

    Attributes:
        channels_last: Whether weights of convolutions lie with their channels side by side.
        attend: The attention that all layers call; None: the one that they have.
        light: What self-attention leaves out or rounds; None: nothing.
        forward: What blocks run, ``forward(block, ...)``, in place of their own forward pass; hooks on them stay.
        team: This process among those that divide the work.
        eight_bit: Which layers compute in eight bits; None: none.
    """

    channels_last: bool = False
    attend: Attend | None = None
    light: LightRule | None = None
    forward: Callable[..., Any] | None = None
    team: Team = ONE
    eight_bit: EightBitRule | None = None


NOTHING = Choices()
"""Networks stay as they are written."""


class _Product(Protocol):
    """A linear layer."""

    @property
    def computes_in(self) -> torch.dtype:
        """What it rounds its input to."""


class AttentionLayer(Protocol):
    """A layer in which tokens attend to one another."""

    attend: Attend

    @property
    def heads(self) -> tuple[int, int]:
        """Their number and their width."""

    @property
    def v(self) -> _Product:
        """What makes its values."""


@dataclass(frozen=True)
class NetworkKind(Generic[Network]):
    """How networks of one kind take the steps that each kind takes in its own way. What is None it does not have, and a
    step that needs it is refused.

    Attributes:
        blocks: Of a network.
        self_attention: Of its blocks, in their order.
        order_tokens: Let blocks see tokens in the order that a light attention wants.
        divide: Let it do this rank's part.
    """

    blocks: Callable[[Network], Sequence[nn.Module]] | None = None
    self_attention: Callable[[Network], Sequence[AttentionLayer]] | None = None
    order_tokens: Callable[[Network, LightAttention], object] | None = None
    divide: Callable[[Network, Team], object] | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What was put onto a network, where somebody may want to look at it or to turn it.

    Attributes:
        light: The attention of all layers, if it is light.
        eight_bit: Layers that compute in eight bits.
    """

    light: LightAttention | None = None
    eight_bit: tuple[EightBitLinear, ...] = ()


def prepare(network: Network, choices: Choices, kind: NetworkKind[Network] | None = None) -> Prepared:
    """Put choices onto a network, in the order of the module. Everything is checked before the first step is taken, so
    that a network is left alone by what is refused. For inference, but for step 1.

    Args:
        network: It is changed.
        choices: What is put on.
        kind: How such networks take the steps; None: they have convolutions and attention, and nothing is known of
            their blocks.

    Raises:
        InvalidRequest: a step comes twice or after a later one, the network cannot take it, or it cannot be combined
            with another one.
        DeviceError: the device has no kernel for light attention, or a package is missing.
    """
    kind = kind or NetworkKind()
    before: Choices = network.__dict__.get(_KEY, NOTHING)
    _check_order(before, choices)
    _check_kind(choices, kind)
    together = replace(before, **{name: getattr(choices, name) for name in _steps(choices)})
    _check_together(network, together)
    if choices.light is not None and kind.self_attention is not None:
        _check_light(kind.self_attention(network), choices.light, network)
    if choices.channels_last:
        _put_channels_last(network)
    if choices.attend is not None:
        _call_attention(network, choices.attend)
    light = None if choices.light is None else _lighten(network, choices.light, kind)
    if choices.forward is not None and kind.blocks is not None:
        _run_as(kind.blocks(network), choices.forward)
    if choices.team != ONE and kind.divide is not None:
        kind.divide(network, choices.team)
    layers = [] if choices.eight_bit is None else compute_in_eight_bits(network, choices.eight_bit)
    network.__dict__[_KEY] = together
    return Prepared(light, tuple(layers))


# --------------------------------------------------------------------------------------------------------------- checks

_NAMES = {
    "channels_last": "the layout of convolutions", "attend": "a kernel of attention", "light": "light attention",
    "forward": "another form of blocks", "team": "the division over ranks", "eight_bit": "products in eight bits",
}  # fmt: skip
"""The steps in words, by field of the choices and in their order."""


def _steps(choices: Choices) -> list[str]:
    """Those that are chosen, in their order."""
    return [name for name in _NAMES if getattr(choices, name) != getattr(NOTHING, name)]


def _check_order(before: Choices, choices: Choices) -> None:
    done, wanted, order = _steps(before), _steps(choices), list(_NAMES)
    if not done or not wanted or order.index(wanted[0]) > order.index(done[-1]):
        return
    last, first = done[-1], wanted[0]
    what = "is on it already" if last == first else f"must come before {_NAMES[last]}, which is on it already"
    raise InvalidRequest(
        first, f"a network cannot take this step: {_NAMES[first]} {what}",
        allowed=", ".join(order[order.index(last) + 1 :]) or "nothing more: load it anew",
    )  # fmt: skip


def _check_kind(choices: Choices, kind: NetworkKind[Any]) -> None:
    chooses = choices.light is not None and choices.light.choice is not None
    lacks = (
        ("light", choices.light is not None and kind.self_attention is None, "self-attention"),
        ("light", chooses and kind.order_tokens is None, "tokens that could be put in order"),
        ("forward", choices.forward is not None and kind.blocks is None, "blocks"),
        ("team", choices.team != ONE and kind.divide is None, "work that ranks could divide"),
    )
    for name, missing, what in lacks:
        if missing:
            raise InvalidRequest(name, f"{_NAMES[name]} is for networks with {what}; nothing is known of this one's")


def _check_together(network: nn.Module, choices: Choices) -> None:
    if choices.light is not None and choices.team.ring.handle is not None:
        raise InvalidRequest(
            "light", "attention that goes round in a ring of ranks reads every block, and none in eight bits",
            allowed="ranks that divide the heads, or no light attention",
        )  # fmt: skip
    if choices.eight_bit is None:
        return
    if unknown := set(choices.eight_bit.layers) - {name for name, _ in network.named_modules()}:
        raise InvalidRequest("eight_bit", f"the network has no layers {', '.join(sorted(unknown))}")
    if is_streamed(network):
        raise InvalidRequest(
            "eight_bit", "products in eight bits of weights that are streamed or sharded are not implemented",
            allowed="a network that stays on its device",
        )  # fmt: skip


def _check_light(layers: Sequence[AttentionLayer], rule: LightRule, network: nn.Module) -> None:
    first = layers[0]
    device = next(network.parameters()).device
    check_block_attention(first.heads[1], first.v.computes_in, device, eight_bit=rule.eight_bit)


# ---------------------------------------------------------------------------------------------------------------- steps


def _put_channels_last(network: nn.Module) -> None:
    """Let the weights of convolutions lie with their channels side by side, as GPUs read them; values stay."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def _call_attention(network: nn.Module, attend: Attend) -> None:
    """Let every layer of a network that attends call ``attend``."""
    for layer in network.modules():
        if hasattr(layer, "attend"):
            setattr(layer, "attend", attend)  # noqa: B010  (a module's attributes have no types)


def _lighten(network: Network, rule: LightRule, kind: NetworkKind[Network]) -> LightAttention:
    """Let the self-attention of all layers be light around the kernel that they call; tokens are put in its order if
    blocks are chosen."""
    light = LightAttention(rule)
    if rule.choice is not None and kind.order_tokens is not None:
        kind.order_tokens(network, light)
    listen(network, light.begin_step)
    for place, layer in enumerate(kind.self_attention(network) if kind.self_attention is not None else ()):
        layer.attend = light.attend(place, layer.attend)
    return light


def _run_as(blocks: Iterable[nn.Module], forward: Callable[..., Any]) -> None:
    """Let blocks run ``forward(block, ...)`` in place of their own forward pass; hooks on them stay."""
    for block in blocks:
        block.forward = partial(forward, block)
