"""From two predictions to one: guidance beyond the plain formula of :mod:`~filmgate.engine.sampling.guidance`.

Legend: velocities, guesses and latents are tensors of one sample, of any shape, fp32; z [..., S, N, Dh] is what S
tokens read in N heads of attention.

Everything here is a pure function. What a method remembers from step to step goes in and comes out as a value.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.kernels.fp64 import in_fp64
from filmgate.engine.sampling.guidance import guided
from filmgate.spec.adapters import GuidanceRule

_TINY = 1e-8


class Point(NamedTuple):
    """Where a step is: the latent and its noise level."""

    x: Tensor
    sigma: float


def steer(
    rule: GuidanceRule,
    conditional: Tensor,
    unconditional: Tensor,
    scale: float,
    point: Point,
    average: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The velocity to follow, by the method of ``rule``, and what the method remembers for the next step.

    Args:
        rule: ``nag`` steers inside the network; here its two passes are mixed as ``cfg`` does.
        conditional: Velocity with the prompt.
        unconditional: Velocity with the negative prompt.
        scale: 1 gives ``conditional``.
        point: Where both were asked for.
        average: What the last step of the same expert returned, None at the first.
    """
    if rule.method == "cfg_zero_star":
        return guided(conditional, unconditional * zero_star_scale(conditional, unconditional), scale), None
    if rule.method == "apg":
        return _projected(rule, conditional, unconditional, scale, point, average)
    return guided(conditional, unconditional, scale), None


def zero_star_scale(conditional: Tensor, unconditional: Tensor) -> Tensor:
    """The factor that brings ``unconditional`` nearest to ``conditional``: <c, u> / <u, u> (a number, fp32)."""
    c, u = conditional.float().flatten(), unconditional.float().flatten()
    return torch.dot(c, u) / (torch.dot(u, u) + _TINY)


def _projected(
    rule: GuidanceRule,
    conditional: Tensor,
    unconditional: Tensor,
    scale: float,
    point: Point,
    average: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Adaptive projected guidance. It is defined on guesses of the finished video, x - sigma·velocity."""
    guess = point.x - point.sigma * conditional
    difference = point.sigma * (unconditional - conditional)
    average = difference if average is None else difference + rule.momentum * average
    update = projected_update(average, guess, eta=rule.eta, norm_threshold=rule.norm_threshold)
    return conditional - update * ((scale - 1) / point.sigma), average


def projected_update(difference: Tensor, guess: Tensor, *, eta: float, norm_threshold: float = 0.0) -> Tensor:
    """A difference cut to a length, its part parallel to ``guess`` weighted.

    Args:
        difference: Guess with the prompt minus guess with the negative prompt.
        guess: With the prompt.
        eta: Weight of the parallel part, which oversaturates.
        norm_threshold: Longest Euclidean length; 0: any.
    """
    if norm_threshold > 0:
        difference = difference * min(1.0, norm_threshold / max(float(difference.norm()), _TINY))
    d, g = in_fp64(difference).flatten(), in_fp64(guess).flatten()
    parallel = g * (torch.dot(d, g) / torch.dot(g, g).clamp_min(_TINY**2))
    return (d + (eta - 1) * parallel).to(difference.dtype).to(difference.device).view_as(difference)


def nag(positive: Tensor, negative: Tensor, *, scale: float, tau: float, alpha: float) -> Tensor:
    """Normalised attention guidance: what tokens read of the prompt, pushed away from what they read of the negative.

    Args:
        positive, negative: z of the two texts.
        scale: 1 is no push.
        tau: How many times as long (sum of magnitudes over a token) the result may become.
        alpha: Share of the result, the rest is ``positive``; 0 switches it off.

    Returns:
        z, in the dtype of ``positive``.
    """
    p, n = positive.float(), negative.float()
    pushed = n + (p - n) * scale
    before, after = (z.abs().sum(dim=(-2, -1), keepdim=True) for z in (p, pushed))
    limit = (tau * before / after.clamp_min(_TINY)).clamp_max(1.0)
    return torch.lerp(p, pushed * limit, alpha).to(positive.dtype)
