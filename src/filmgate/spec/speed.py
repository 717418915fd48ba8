"""How fast a plan is carried out, and what that changes: values of the plan, so that they are repeated with it."""

from __future__ import annotations

from typing import Literal

from filmgate.spec.model import Precision
from filmgate.spec.shape import Frozen

SpeedProfile = Literal["plain", "exact"]
"""``plain``: the networks as they are written. ``exact``: the same mathematics in fewer passes and by faster kernels;
results differ by rounding alone."""
AttentionKernel = Literal["torch", "cudnn"]
"""Whose attention: that which torch takes where results must be repeatable (FlashAttention 2 on a GPU), or cuDNN's."""


class SpeedPlan(Frozen):
    """What makes a plan fast.

    ``profile`` says what is promised, ``attention`` which kernel the transformers call, ``vae_precision`` in what the
    autoencoder computes: the originals do in fp32; in bf16 it is several times as fast and a little less true.
    """

    profile: SpeedProfile = "plain"
    attention: AttentionKernel = "torch"
    vae_precision: Precision = "fp32"
