"""Data parallelism for the trainers: one process per GPU, started by ``torchrun``; one process alone needs nothing.

The networks are small, so gradients are averaged in one flat tensor after the backward pass: nothing wraps the module,
and what is compiled stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Ranks:
        """Meet the other processes that ``torchrun`` started, and take the GPU of this one's number."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if count == 1:
            return cls()
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), count)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def agree(self, value: float) -> float:
        """The first process's value, on every process."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(shared, 0)
        return shared.item()

    def mean(self, value: float) -> float:
        """The mean of everybody's values, on every process, once all of them are here."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(shared)
        return shared.item() / self.count

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)])

    def share(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite ``tensors`` with those of the first process."""
        if self.count == 1:
            return
        for name in sorted(tensors):
            held = tensors[name].detach()
            # Collectives want plain layouts; convolution kernels may be channels-last.
            plain = held.contiguous()
            dist.broadcast(plain, 0)
            held.copy_(plain)

    def leave(self) -> None:
        """Part from the others."""
        if self.count > 1:
            dist.destroy_process_group()
