"""How fast a plan is carried out, and what that changes: values of the plan, so that they are repeated with it."""

from __future__ import annotations

from typing import Literal

from filmgate.spec.model import Precision
from filmgate.spec.shape import Frozen

SpeedProfile = Literal["plain", "exact", "balanced", "fast"]
"""What somebody asks for. ``plain``: the networks as they are written. ``exact``: the same mathematics in fewer passes
and by faster kernels; results differ by rounding alone. ``balanced``: exact, and work is skipped where a stored gate
shows that videos differ little and show the same. ``fast``: the same at wider limits; details may differ, what a prompt
says is still shown as often, within the gate's interval."""
KernelProfile = Literal["plain", "exact"]
"""How the networks are run, whatever is skipped."""
AttentionKernel = Literal["torch", "cudnn", "flash4", "fastest"]
"""Whose attention: that which torch takes where results must be repeatable (FlashAttention 2 on a GPU), cuDNN's, or
FlashAttention 4, which is a package of its own. ``fastest``: the one that is, tried at each shape when it first occurs;
a machine remembers which that was, another may find another, and with it other rounding."""
FLASH4 = "flash-attn-4"
"""The package of ``flash4``."""


class SpeedPlan(Frozen):
    """What makes a plan fast.

    ``profile`` says how the networks are run, ``attention`` which kernel the transformers call, ``vae_precision`` in
    what the autoencoder computes: the originals do in fp32; in bf16 it is several times as fast and a little less true.
    """

    profile: KernelProfile = "plain"
    attention: AttentionKernel = "torch"
    vae_precision: Precision = "fp32"
