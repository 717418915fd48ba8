"""LoRA files and ways of guidance, as a wish and a plan name them."""

from __future__ import annotations

from typing import Literal

from filmgate.spec.shape import Frozen

GuidanceMethod = Literal["cfg", "cfg_zero_star", "apg", "nag"]


class LoraChoice(Frozen):
    """A LoRA file (or PEFT directory) that somebody wants, and how strongly: 1 as trained, 0 not at all."""

    path: str
    strength: float = 1.0


class LoraUse(Frozen):
    """A LoRA of a plan: its file by content, and the transformer that it changes.

    ``expert`` is the name of one transformer; a file for both experts is named twice. ``section`` is the part of the
    file that is meant for that expert where a file holds two, else empty. Of its ``changes`` those of ``left_out``, by
    the names of their tensors, have no place in the model. ``told`` is the expert that its name or its metadata speaks
    of, empty if neither does.
    """

    path: str
    sha256: str
    expert: Literal["high_noise", "low_noise", "dense"]
    strength: float
    section: Literal["", "transformer", "transformer_2"] = ""
    changes: int = 0
    left_out: tuple[str, ...] = ()
    told: Literal["", "high_noise", "low_noise"] = ""


class GuidanceRule(Frozen):
    """How the prompt is told from the negative prompt. Of the numbers, only those of the method count.

    ``cfg``: classifier-free guidance. ``cfg_zero_star`` (arXiv 2503.18886): the negative's velocity is scaled to fit
    first, and nothing moves in the first ``zero_steps`` steps. ``apg`` (arXiv 2410.02416): the part of the difference
    that is parallel to the prompt's guess counts ``eta``; the difference is averaged over steps with ``momentum`` and
    no longer than ``norm_threshold`` (0: any length). ``nag`` (arXiv 2505.21179): inside the cross-attention, in one
    pass, for models that were distilled to run without guidance.
    """

    method: GuidanceMethod = "cfg"
    zero_steps: int = 1
    eta: float = 0.0
    momentum: float = -0.5
    norm_threshold: float = 0.0
    nag_scale: float = 11.0
    nag_tau: float = 2.5
    nag_alpha: float = 0.25
