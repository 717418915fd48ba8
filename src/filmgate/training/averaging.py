"""Exponential moving average of weights: what is evaluated and shipped."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Average of a module's parameters with decay ``min(decay, (1 + n) / (10 + n))`` after n updates (as TensorFlow's
    ExponentialMovingAverage has it), so that short runs are not dominated by their start."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {name: p.detach().clone().float() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one more sample of the module's parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        names = list(self.shadow)
        current = dict(module.named_parameters())
        torch._foreach_lerp_([self.shadow[n] for n in names], [current[n].detach().float() for n in names], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return {name: tensor.clone() for name, tensor in self.shadow.items()}

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the average into ``module``."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.shadow[name])
