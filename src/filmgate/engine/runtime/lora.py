"""LoRA on a module, from outside: merged into its weights, or beside them.

Legend: R rows and C columns of a weight, r rank.

Merged, a weight becomes round(W + Σ scale·up·down): everything is summed in fp32 and rounded once, to the weight's own
format. The old tensor is not written to, so that a file which it maps stays as it is, and taking the LoRA away gives
the very bits back. Unmerged, a linear layer keeps its weight, in whatever format that is, and the product is added to
its output; this is what weights need that cannot be added to (fp8, quantised). Small tensors are always merged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from filmgate.engine.runtime.eight_bit_linear import EightBitLinear
from filmgate.engine.runtime.narrow_linear import NarrowLinear
from filmgate.engine.runtime.stream import BlockStream, Patch
from filmgate.spec.errors import InvalidRequest, MissingTensor, WrongShape

MERGEABLE = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Formats that a sum may be rounded to. Eight bits are not enough: most changes would round to nothing."""


@dataclass(frozen=True, eq=False)
class Delta:
    """What is added to one tensor: ``scale`` times ``up`` [R, r] times ``down`` [r, C], or times ``full``.

    Attributes:
        target: Name of the tensor in the module.
        scale: All factors in one, strength included.
        up, down: Factors; of a convolution they may have more axes.
        full: A difference as large as the tensor.
    """

    target: str
    scale: float
    up: Tensor | None = None
    down: Tensor | None = None
    full: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.up is None) != (self.down is None) or (self.full is None) == (self.up is None):
            raise InvalidRequest("delta", f"{self.target} has {self._parts()}", allowed="up and down, or full")

    def _parts(self) -> str:
        return ", ".join(name for name in ("up", "down", "full") if getattr(self, name) is not None) or "nothing"

    def on(self, device: torch.device) -> Delta:
        """The same with its tensors on a device, in their own formats."""
        up, down, full = (None if part is None else part.to(device) for part in (self.up, self.down, self.full))
        return Delta(self.target, self.scale, up, down, full)

    def factors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """(scale·up [R, r], down [r, C]) in fp32; a full difference is its own factor beside the identity."""
        if self.up is not None and self.down is not None:
            up, down = (factor.to(device, torch.float32).flatten(1) for factor in (self.up, self.down))
            return up * self.scale, down
        assert self.full is not None
        full = self.full.to(device, torch.float32).flatten(1) * self.scale
        return full, torch.eye(full.shape[1], device=device)

    def add_to(self, total: Tensor) -> None:
        """Add it to ``total``, fp32, in place."""
        if self.up is not None and self.down is not None:
            up, down = (factor.to(total.device, torch.float32).flatten(1) for factor in (self.up, self.down))
            total.view(total.shape[0], -1).addmm_(up, down, alpha=self.scale)
        elif self.full is not None:
            total.add_(self.full.to(total.device, torch.float32).view(total.shape), alpha=self.scale)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise WrongShape unless it can be added to a tensor of that shape."""
        if self.up is not None and self.down is not None:
            found: tuple[int, ...] = (self.up.shape[0], math.prod(self.down.shape[1:]))
            fits = (
                len(shape) > 1
                and found == (shape[0], math.prod(shape[1:]))
                and self.up.flatten(1).shape[1] == self.down.shape[0]
            )
        else:
            found = tuple(self.full.shape) if self.full is not None else ()
            fits = math.prod(found) == math.prod(shape) and [n for n in found if n > 1] == [n for n in shape if n > 1]
        if not fits:
            raise WrongShape("LoRA", "a change does not fit", key=self.target, expected=shape, found=found)


class SideBranch:
    """A forward hook that adds up·(down·x) to what a linear layer returns."""

    def __init__(self, deltas: Sequence[Delta], device: torch.device, dtype: torch.dtype) -> None:
        pairs = [delta.factors(device) for delta in deltas]
        # Several LoRAs are one of the sum of their ranks.
        self.up = torch.cat([up for up, _ in pairs], dim=1).to(dtype)
        self.down = torch.cat([down for _, down in pairs], dim=0).to(dtype)

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Called by torch after the layer: x [..., C] of ``inputs``, ``output`` [..., R]."""
        x = inputs[0].to(self.down.dtype)
        return output + F.linear(F.linear(x, self.down), self.up).to(output.dtype)


class Applied:
    """What was done to a module, so that it can be undone; made by :func:`apply_lora`.

    Attributes:
        merged: Names of tensors that were replaced.
        beside: Names of weights beside which a product is added.
    """

    def __init__(self, module: nn.Module, stream: BlockStream | None = None) -> None:
        self.merged: list[str] = []
        self.beside: list[str] = []
        self._module = module
        self._stream = stream
        self._originals: dict[str, Tensor] | None = {}
        self._handles: list[RemovableHandle] = []

    def remove(self) -> None:
        """Give the module its own tensors back, bit for bit. A second call does nothing.

        Raises:
            InvalidRequest: the originals were not kept.
        """
        if self._originals is None:
            raise InvalidRequest("lora", "the original weights were not kept", allowed="keep=True when it is applied")
        for handle in self._handles:
            handle.remove()
        if self._stream is not None:
            self._stream.patch({})
        parameters = dict(self._module.named_parameters())
        for name, original in self._originals.items():
            parameters[name].data = original.to(parameters[name].device)
        self._handles.clear()
        self._originals.clear()

    def forget(self) -> None:
        """Let go of the originals: the change stays."""
        self._originals = None

    def _merge(self, name: str, parameter: nn.Parameter, deltas: Sequence[Delta], offload: torch.device | None) -> None:
        if self._originals is not None:
            self._originals[name] = parameter.data if offload is None else parameter.data.to(offload)
        parameter.data = changed(parameter.detach(), deltas)
        self.merged.append(name)

    def _add_beside(self, name: str, layer: nn.Module, deltas: Sequence[Delta], dtype: torch.dtype) -> None:
        first = next(iter((*layer.parameters(), *layer.buffers())))
        device = first.device if self._stream is None else self._stream.device
        self._handles.append(layer.register_forward_hook(SideBranch(deltas, device, dtype)))
        self.beside.append(name)


def apply_lora(
    module: nn.Module,
    deltas: Iterable[Delta],
    *,
    merge: bool = True,
    keep: bool = True,
    offload: torch.device | None = None,
    dtype: torch.dtype | None = None,
    stream: BlockStream | None = None,
) -> Applied:
    """Apply changes to a module. All are checked before the first is applied.

    Args:
        module: Anything with parameters of these names.
        deltas: Several may be for one tensor; those of scale 0 change nothing, not even a bit.
        merge: Into every weight that can be added to; False: leave the weights of linear layers alone, and add beside.
        keep: The originals of what is merged, for :meth:`Applied.remove`. They need as much memory as the new tensors.
        offload: Where originals are kept; None: where they are.
        dtype: In which products beside a weight are computed; None: in the weight's, or bf16 where it has fewer bits.
        stream: Brings the module's blocks to the device. What is merged into their tensors is so whenever they arrive;
            nothing of that needs originals.

    Raises:
        MissingTensor: the module has no such tensor, and no linear layer in its place.
        WrongShape: a change does not fit.
        InvalidRequest: a layer computes in eight bits already: its weight was rounded without the change.
    """
    grouped: dict[str, list[Delta]] = {}
    for delta in deltas:
        if delta.scale:
            grouped.setdefault(delta.target, []).append(delta)
    parameters, layers = dict(module.named_parameters()), dict(module.named_modules())
    places = {
        name: _place(name, parameters.get(name), layers.get(name.rpartition(".")[0]), merge=merge) for name in grouped
    }
    for name, place in places.items():
        for delta in grouped[name]:
            delta.check(_shape_of(place))
    applied = Applied(module, stream)
    if not keep:
        applied.forget()
    streamed = set() if stream is None else stream.names
    patches: dict[str, Patch] = {}
    for name, place in places.items():
        if stream is not None and isinstance(place, nn.Parameter) and name in streamed:
            patches[name] = _Merge([delta.on(stream.device) for delta in grouped[name]])
            applied.merged.append(name)
        elif isinstance(place, nn.Parameter):
            applied._merge(name, place, grouped[name], offload)
        else:
            applied._add_beside(name, place, grouped[name], dtype or _arithmetic_of(place))
    if stream is not None:
        stream.patch(patches)
    return applied


def changed(weight: Tensor, deltas: Iterable[Delta]) -> Tensor:
    """A weight with everything added to it: summed in fp32, rounded once to its own format."""
    total = weight.to(torch.float32, copy=True)
    for delta in deltas:
        delta.add_to(total)
    return total.to(weight.dtype)


class _Merge:
    """Changes a weight in place, as it arrives on the device."""

    def __init__(self, deltas: Sequence[Delta]) -> None:
        self.deltas = deltas

    def __call__(self, weight: Tensor) -> None:
        weight.copy_(changed(weight, self.deltas))


def _arithmetic_of(layer: nn.Module) -> torch.dtype:
    """In which format a linear layer computes."""
    if isinstance(layer, NarrowLinear):
        return layer.dtype
    weight = getattr(layer, "weight", None)
    return weight.dtype if isinstance(weight, Tensor) and weight.dtype in MERGEABLE else torch.bfloat16


def has_side_branches(module: nn.Module) -> bool:
    """Whether some layer's output is not that of its weight alone, so that nobody may use the weight in its place."""
    return any(isinstance(hook, SideBranch) for part in module.modules() for hook in part._forward_hooks.values())


def _place(
    name: str, parameter: nn.Parameter | None, layer: nn.Module | None, *, merge: bool
) -> nn.Parameter | nn.Module:
    """The parameter to merge into, or the linear layer to add beside."""
    if isinstance(layer, EightBitLinear):
        raise InvalidRequest("lora", f"{name} is in eight bits already", allowed="LoRAs before products in eight bits")
    linear = name.endswith(".weight") and hasattr(layer, "in_features")
    if parameter is not None and parameter.dtype in MERGEABLE and (merge or not linear):
        return parameter
    if linear and layer is not None:
        return layer
    found = "nothing" if parameter is None else parameter.dtype
    raise MissingTensor("LoRA", "nothing that could be changed", key=name, expected="a weight", found=found)


def _shape_of(place: nn.Parameter | nn.Module) -> tuple[int, ...]:
    if isinstance(place, nn.Parameter):
        return tuple(place.shape)
    return (int(place.out_features), int(place.in_features))  # type: ignore[arg-type]
