"""Muon (Keller Jordan et al. 2024, "Muon: An optimizer for hidden layers") for matrices and convolution kernels.

The momentum of each weight, flattened to [out, rest], is replaced by the nearest semi-orthogonal matrix (five
Newton-Schulz steps), scaled to the root mean square that an Adam update has (Liu et al. 2025, arXiv 2502.16982).
Weights of equal shape are orthogonalised in one batch: a network of small layers would otherwise drown in kernel
launches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from filmgate.training.precision import multiplies_bf16


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices of a batch [N, R, C], approximately (singular values in about 0.7 ... 1.2)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16() if multiplies_bf16(matrices.device) else matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result.to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. ``lr`` is comparable to AdamW's (updates have rms 0.2·lr)."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 (torch calls it so)
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[(p.shape[0], p[0].numel())].append(p)
            for (rows, columns), members in by_shape.items():
                weights: list[Tensor] = list(members)
                gradients = [p.grad for p in members if p.grad is not None]
                momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in members]
                torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
                stacked = torch.stack([g.reshape(rows, columns) for g in ahead])
                update = orthogonalise(stacked) * (-group["lr"] * 0.2 * max(rows, columns) ** 0.5)
                if group["weight_decay"]:
                    torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                directions = [u.reshape(p.shape) for p, u in zip(members, update.unbind(), strict=True)]
                torch._foreach_add_(weights, directions)
