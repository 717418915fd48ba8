"""A LoRA that is being trained, applied to a transformer from outside: its modules and files know nothing of it.

Legend: r rank, R rows and C columns of a layer's weight.

A forward hook adds scale·up·(down·x) to the output of a layer, whose own weight stays frozen in whatever format it has.
Factors are fp32 and are multiplied in the format that the layer computes in, as under autocast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.lora import MERGEABLE
from filmgate.engine.runtime.narrow_linear import NarrowLinear

Factors = dict[str, tuple[Tensor, Tensor]]
"""(down [r, C], up [R, r]) by layer."""


class Adapter(nn.Module):
    """Factors for some layers of a transformer: down as Kaiming draws it, up zero, so that at first nothing changes.

    Args:
        layers: Names with (R, C).
        rank: r.
        scale: What up·down is multiplied by.
        dropout: Share of the inputs that is dropped in training.
        seed: Of down.
        device: Where the factors are.
    """

    def __init__(
        self, layers: Mapping[str, tuple[int, int]], rank: int, scale: float, *, dropout: float = 0.0, seed: int = 0,
        device: torch.device | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = tuple(layers)
        self.scale, self.dropout = scale, dropout
        self.enabled = True
        # On the CPU, so that the numbers do not depend on the device.
        generator = torch.Generator("cpu").manual_seed(seed)
        downs, ups = [], []
        for rows, columns in layers.values():
            down = torch.empty(rank, columns)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
            downs.append(nn.Parameter(down.to(device)))
            ups.append(nn.Parameter(torch.zeros(rows, rank, device=device)))
        self.down, self.up = nn.ParameterList(downs), nn.ParameterList(ups)
        self._handles: list[RemovableHandle] = []

    def attach(self, network: nn.Module) -> None:
        """Add the change to the layers of a network from now on."""
        for index, name in enumerate(self.names):
            layer = network.get_submodule(name)
            self._handles.append(layer.register_forward_hook(partial(self._beside, index, arithmetic_of(layer))))

    def detach(self) -> None:
        """Leave the network as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def factors(self, values: Mapping[str, Tensor] | None = None) -> Factors:
        """The factors by layer: those of ``values`` (as ``named_parameters`` calls them), or the present ones."""
        found = dict(self.named_parameters()) if values is None else values
        return {
            name: (found[f"down.{index}"].detach(), found[f"up.{index}"].detach())
            for index, name in enumerate(self.names)
        }

    @contextmanager
    def using(self, values: Mapping[str, Tensor] | None, *, enabled: bool = True) -> Iterator[None]:
        """Without dropout, and with other factors (None: the present ones) or none at all, for as long as the body
        runs."""
        kept = {name: parameter.detach().clone() for name, parameter in self.named_parameters()} if values else {}
        was = self.training, self.enabled
        self.eval()
        self.enabled = enabled
        try:
            self._put(values or {})
            yield
        finally:
            self._put(kept)
            self.enabled = was[1]
            self.train(was[0])

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        parameters = dict(self.named_parameters())
        for name, value in values.items():
            parameters[name].copy_(value)

    def _beside(
        self, index: int, dtype: torch.dtype, _layer: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        """Called by torch after the layer: x [..., C] of ``inputs``, ``output`` [..., R]."""
        if not self.enabled:
            return output
        x = F.dropout(inputs[0].to(dtype), self.dropout, self.training and self.dropout > 0)
        low = F.linear(x, self.down[index].to(dtype))
        return output + (F.linear(low, self.up[index].to(dtype)) * self.scale).to(output.dtype)


def arithmetic_of(layer: nn.Module) -> torch.dtype:
    """In which format a linear layer computes."""
    if isinstance(layer, NarrowLinear):
        return layer.dtype
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.dtype if weight.dtype in MERGEABLE else torch.bfloat16


@contextmanager
def recomputed(network: WanDiT) -> Iterator[None]:
    """Within the body the blocks keep their inputs only, and are computed again on the way back."""

    def again(forward: Any, *inputs: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False)

    blocks = list(network.blocks)
    for block in blocks:
        block.forward = partial(again, block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the method of the class is there again
