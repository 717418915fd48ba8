"""What the stages hand to one another.

Legend: C latent channels, T H W latent frames, rows and columns, S text rows, P rows of image features, K first latent
frames, F frames, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.camera.poses import CameraPath
from filmgate.engine.sampling.solvers import State
from filmgate.engine.sampling.step_cache import Branch, Remembered
from filmgate.spec import Progress

Tokenise = Callable[[str], Sequence[int]]
"""Text to token ids, cleaned, cut to the model's text length and ended as the text encoder was trained."""


@dataclass(frozen=True)
class ColourMap:
    """The mean colour of a latent's pixels as a linear function of the latent: ``factors`` C rows of RGB, ``bias`` RGB,
    for colours in -1 ... 1. Fitted to a VAE by whoever made it."""

    factors: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the transformer is told besides noise and time.

    Every task is a value of this: what a model does not read, or a request does not bring, is None.

    Attributes:
        text: Features of the prompt [S, text_dim], cut to its tokens, end mark included.
        negative: Those of the negative prompt; None where no step uses guidance.
        image: Features of pictures [P, image_dim], read beside the text.
        beside: Channels [C', T, H, W] that are read beside the latent's.
        held: The first latent frames [C, K, H, W]. They are what they are at every noise level, and the network is told
            so: their tokens have timestep 0.
        source: Latent [C, T, H, W] of the video that the walk begins from instead of pure noise.
        control: What the model's branch for it reads, if it has one: VACE's context [C, T, H, W], or the packed rays of
            a camera [24, T, h, w].
        control_scale: Strength of VACE's hints.
        references: Latent frames at the beginning that show reference pictures: the noise has them too, the video has
            not.
    """

    text: Tensor
    negative: Tensor | None = None
    image: Tensor | None = None
    beside: Tensor | None = None
    held: Tensor | None = None
    source: Tensor | None = None
    control: Tensor | None = None
    control_scale: float = 1.0
    references: int = 0

    def to(self, device: torch.device) -> Conditioning:
        """The same, its tensors on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a plan names as inputs. Pictures are uint8 RGB: stills [rows, columns, 3] as they are in their files,
    ``video`` [F, h, w, 3] at the plan's speed and size (smaller where the plan keeps it inside, shorter where it keeps
    it at an end). ``mask`` [F, h, w] is 255 where to paint, with F = 1 for all frames."""

    image: NDArray[np.uint8] | None = None
    last_image: NDArray[np.uint8] | None = None
    video: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    references: tuple[NDArray[np.uint8], ...] = ()
    path: CameraPath | None = None


@dataclass(frozen=True, eq=False)
class Walk:
    """Everything that the walk from noise to video knows between two steps.

    No generator of random numbers is part of it: noise is drawn by seed and by number of the step, never by what was
    drawn before.

    Attributes:
        state: The solver's: how many steps are done, the latent [C, T, H, W], and what it remembers, fp32.
        average: What the method of guidance remembers, where it remembers anything and the same expert goes on.
        difference: Between the two predictions of a guided step [C, T, H, W], where the next step keeps it.
        residuals: What the blocks added in computed steps, by branch, where later steps of the same expert ask for it.
            On several ranks each has its own.
    """

    state: State
    average: Tensor | None = None
    difference: Tensor | None = None
    residuals: Mapping[Branch, Remembered[Tensor]] = field(default_factory=dict)

    def to(self, device: torch.device) -> Walk:
        """The same, its tensors on a device."""
        done, x, guesses, origin = self.state
        moved = State(
            done,
            x.to(device),
            tuple(guess.to(device) for guess in guesses),
            None if origin is None else origin.to(device),
        )
        residuals = {
            branch: Remembered(kept.step, tuple(term.to(device) for term in kept.terms))
            for branch, kept in self.residuals.items()
        }
        average, difference = (None if one is None else one.to(device) for one in (self.average, self.difference))
        return Walk(moved, average, difference, residuals)


@dataclass(eq=False)
class Memory:
    """What goes from one step of an expert to the next beside the solver's state; see :class:`Walk`."""

    average: Tensor | None = None
    difference: Tensor | None = None
    residuals: dict[Branch, Remembered[Tensor]] = field(default_factory=dict)

    def walk(self, state: State) -> Walk:
        """All of it as a value."""
        return Walk(state, self.average, self.difference, dict(self.residuals))


@dataclass(frozen=True, eq=False)
class Denoised:
    """What a step led to. ``latent`` [C, T, H, W] is the video so far; ``clean`` is the network's present guess of the
    finished latent, x - sigma·velocity; both fp32. ``walk`` is what goes on to the next step."""

    index: int
    latent: Tensor
    clean: Tensor
    walk: Walk


@dataclass(frozen=True, eq=False)
class RunState:
    """How far a plan has been carried out: everything that must survive if it is to go on elsewhere.

    Attributes:
        encoded: How many of the encoders have done their work.
        conditioning: What they gave so far.
        walk: None before the first step.
        past: Progress so far, for the receipt's timings.
    """

    encoded: int = 0
    conditioning: Conditioning | None = None
    walk: Walk | None = None
    past: tuple[Progress, ...] = ()

    @property
    def done(self) -> int:
        """Steps that are finished."""
        return 0 if self.walk is None else self.walk.state.done
