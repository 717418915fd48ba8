"""Linear layers whose weights stay in few bits, in place of a module's own.

Legend: R rows (outputs) and C columns (inputs) of a weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.kernels.narrow import Narrow, widened


class NarrowLinear(nn.Module):
    """A linear layer that widens its weight whenever it is used, and computes as the layer that it stands for.

    What it holds are tensors of any format of torch, which are no parameters: nothing can be added to them, so that a
    LoRA goes beside (see :mod:`~.lora`).

    Args:
        weight: In few bits, [R, C].
        bias: [R], in the format of the arithmetic, or None.
        dtype: Of the arithmetic.
    """

    def __init__(self, weight: Narrow, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.columns, weight.numbers.shape[0]
        self.layout, self.dtype = weight.layout, dtype
        self.register_buffer("numbers", weight.numbers)
        self.register_buffer("scale", weight.scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.numbers: Tensor
        self.scale: Tensor | None

    @property
    def computes_in(self) -> torch.dtype:
        """What it rounds its input to."""
        return self.dtype

    @property
    def weight(self) -> Tensor:
        """[R, C] in the format of the arithmetic, made anew."""
        return widened(Narrow(self.layout, self.in_features, self.numbers, self.scale), self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., R]."""
        return F.linear(x.to(self.dtype), self.weight, self.bias)


def put_in_place(module: nn.Module, name: str, weight: Narrow, dtype: torch.dtype) -> NarrowLinear:
    """Replace the linear layer called ``name`` within ``module``; its bias goes over to the new layer.

    Args:
        module: The network.
        name: Of the layer, as in ``named_modules``.
        weight: What takes the place of its weight.
        dtype: Of the arithmetic.
    """
    parent, _, leaf = name.rpartition(".")
    layer = module.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    assert (layer.out_features, layer.in_features) == (weight.numbers.shape[0], weight.columns)
    bias = None if layer.bias is None else layer.bias.detach()
    narrow = NarrowLinear(weight, bias, dtype)
    setattr(module.get_submodule(parent), leaf, narrow)
    return narrow


def tensor_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all that a LoRA may change, by the names of a module whose weights are all wide."""
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    for name, part in module.named_modules():
        if isinstance(part, NarrowLinear):
            shapes[f"{name}.weight"] = (part.out_features, part.in_features)
    return shapes
