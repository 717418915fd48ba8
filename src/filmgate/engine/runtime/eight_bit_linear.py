"""Linear layers that compute in eight bits, in place of a module's own.

Legend: B batch, L tokens, C inputs, R outputs, N heads, Dh head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filmgate.engine.kernels.eight_bit_product import E4M3, Rounded, eight_bit_product, rounded_rows, rounded_weight
from filmgate.engine.kernels.narrow import PLAIN
from filmgate.engine.runtime.light_attention import is_early
from filmgate.engine.runtime.narrow_linear import NarrowLinear
from filmgate.engine.runtime.pace import listen
from filmgate.spec.errors import InvalidRequest

SIDES = 16
"""What inputs and outputs must be multiples of for the product on a GPU."""


@dataclass(frozen=True)
class EightBitRule:
    """Which layers compute in eight bits, and when.

    Attributes:
        layers: Their names in the network.
        wide_steps: The share of all steps, from the first on, in which they do not.
        last_wide: How many steps at the end they do not either.
    """

    layers: tuple[str, ...]
    wide_steps: float = 0.0
    last_wide: int = 0

    @property
    def keep(self) -> bool:
        """Whether layers are needed as they were, too."""
        return self.wide_steps > 0 or self.last_wide > 0


class EightBitLinear(nn.Module):
    """A linear layer whose weight and input are rounded to e4m3, with a scale for each output and for each token.

    Args:
        layer: Which it stands for: a linear layer, or a narrow one that is in e4m3 already, whose numbers are taken as
            they are.
        keep: Keep that layer, for steps in which nothing shall be rounded. Costs its memory.
    """

    def __init__(self, layer: nn.Module, *, keep: bool) -> None:
        super().__init__()
        if isinstance(layer, NarrowLinear):
            assert layer.scale is not None
            weight, self.dtype = Rounded(layer.numbers, layer.scale.float().view(-1, 1)), layer.dtype
        else:
            assert isinstance(layer, nn.Linear)
            weight, self.dtype = rounded_weight(layer.weight.detach()), layer.weight.dtype
        self.out_features, self.in_features = weight.numbers.shape
        self.register_buffer("numbers", weight.numbers)
        self.register_buffer("scale", weight.scale)
        self.numbers: Tensor
        self.scale: Tensor
        found = layer.bias
        self.bias = None if not isinstance(found, Tensor) else nn.Parameter(found.detach(), requires_grad=False)
        self.original = layer if keep else None
        self.wide = False

    @property
    def computes_in(self) -> torch.dtype:
        """What it rounds its input to."""
        return self.dtype if self.wide else E4M3

    @property
    def weight(self) -> Tensor:
        """[R, C] as it is rounded, in the format of the layer that it stands for."""
        return Rounded(self.numbers, self.scale).wide().to(self.dtype)

    def widen(self, wide: bool) -> None:
        """Compute as the original layer from now on, or in eight bits.

        Raises:
            InvalidRequest: the original was not kept.
        """
        if wide and self.original is None:
            raise InvalidRequest("eight_bit", "the original weights were not kept", allowed="keep=True when it is made")
        self.wide = wide

    def forward(self, x: Tensor | Rounded) -> Tensor:
        """[B, L, C] to [B, L, R]; what is rounded already is taken as it is."""
        if self.wide and self.original is not None:
            result: Tensor = self.original(x)
            return result
        rounded = x if isinstance(x, Rounded) else rounded_rows(x)
        return eight_bit_product(rounded, Rounded(self.numbers, self.scale), self.bias, self.dtype)


def compute_in_eight_bits(network: nn.Module, rule: EightBitRule) -> list[EightBitLinear]:
    """Put :class:`EightBitLinear` in the place of layers; each is told when a step begins.

    Layers with hooks (a LoRA beside them) stay as they are, and so do those whose weights are in other few bits, and
    those with sides that the product does not take.

    Args:
        network: It is changed.
        rule: Which layers, and when.

    Returns:
        The new layers.
    """
    made = []
    for name in rule.layers:
        layer = network.get_submodule(name)
        if not _fits(layer):
            continue
        parent, _, leaf = name.rpartition(".")
        new = EightBitLinear(layer, keep=rule.keep)
        setattr(network.get_submodule(parent), leaf, new)
        made.append(new)

    def begin_step(index: int, count: int) -> None:
        wide = is_early(index, count, rule.wide_steps) or index >= count - rule.last_wide
        for layer in made:
            layer.widen(wide)

    if rule.keep:
        listen(network, begin_step)
    return made


def has_eight_bit_products(module: nn.Module) -> bool:
    """Whether some layer's weight is one thing in some steps and another in others, so that nobody may use it in the
    layer's place."""
    return any(isinstance(part, EightBitLinear) for part in module.modules())


def _fits(layer: nn.Module) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks or not isinstance(layer, nn.Linear | NarrowLinear):
        return False
    if layer.in_features % SIDES or layer.out_features % SIDES:
        return False
    if isinstance(layer, nn.Linear):
        return layer.weight.dtype in (torch.float32, torch.bfloat16)
    by_row = layer.scale is not None and layer.scale.numel() == layer.out_features
    return layer.layout == PLAIN and layer.numbers.dtype == E4M3 and by_row
