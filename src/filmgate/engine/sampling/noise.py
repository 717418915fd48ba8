"""Fresh noise for the solvers that add some, by the number of the step."""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.engine.sampling.solvers import Noise

_STRIDE = 0x9E3779B1
"""Between the seeds of two steps: an odd number near 2³² over the golden ratio. Torch's generator on the CPU keeps the
lower 32 bits of a seed, so that all steps of a run have different ones."""


def fresh_noise(like: Tensor, seed: int) -> Noise:
    """Standard normal noise of the shape of ``like``, fp32 on its device, by step.

    Drawn on the CPU, so that it does not depend on the device, and from a generator of its own for every step, so that
    a run can be resumed anywhere. It is not the noise that a run with the same seed starts from.
    """

    def noise(index: int) -> Tensor:
        generator = torch.Generator("cpu").manual_seed((seed + (index + 1) * _STRIDE) % 2**63)
        return torch.randn(like.shape, generator=generator).to(like.device)

    return noise
