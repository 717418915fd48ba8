"""Noise to a latent video.

Legend: C latent channels, T H W latent frames, rows and columns, S text rows, P rows of image features, B passes of the
network at once, K latent frames that are held, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.models.config import PATCH
from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.pipeline.attention_guidance import guided_attention
from filmgate.engine.pipeline.skipping import BOTH, CONDITIONAL, Skipper
from filmgate.engine.pipeline.values import Conditioning, Denoised, Memory, Walk
from filmgate.engine.runtime.eight_bit_linear import has_eight_bit_products
from filmgate.engine.runtime.lora import has_side_branches
from filmgate.engine.runtime.pace import begin_step
from filmgate.engine.sampling.guidance import stands_still
from filmgate.engine.sampling.solvers import Noise, State, resume
from filmgate.engine.sampling.steering import Point, steer
from filmgate.engine.sampling.step_cache import Branch, Skips
from filmgate.spec import ExpertName, GuidanceRule, LatentShape, NotFinite, Solver, Step

Predict = Callable[[Tensor, Step], Tensor]
PLAIN = GuidanceRule()
"""Classifier-free guidance."""


def draw_noise(shape: LatentShape, seed: int) -> Tensor:
    """Standard normal noise [C, T, H, W], fp32, drawn on the CPU so that it does not depend on the device.

    The original code draws in this shape too, but on the GPU, whose numbers for a seed are others.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape.channels, shape.frames, shape.height, shape.width, generator=generator)


def begin(noise: Tensor, source: Tensor | None, sigma: float) -> Tensor:
    """Where the walk begins at noise level ``sigma``: pure noise, or a video [C, T, H, W] under that much of it."""
    return noise if source is None else (1 - sigma) * source + sigma * noise


def denoise(
    steps: Sequence[Step],
    solver: Solver,
    conditioning: Conditioning,
    transformer: Callable[..., WanDiT],
    noise: Tensor | Walk,
    *,
    batched: bool,
    rule: GuidanceRule = PLAIN,
    fresh: Noise | None = None,
    skips: Skips | None = None,
) -> Generator[Denoised, None, None]:
    """Walk from noise to video. Nothing is computed before it is asked for; closing the iterator ends the walk.

    Args:
        steps: What to do, with sigmas, expert and guidance of each step.
        solver: Name of the method; one solver runs over the change of experts, its history kept.
        conditioning: What the network is told; held frames are put back before every step and after the last.
        transformer: Gives an expert by name; asked once whenever the expert changes. See :func:`wanted`.
        noise: See :func:`begin`, [C, T, H, W] fp32, on the device of the transformers; or a walk, which goes on from
            where it was left, to the same bits as if it had not been.
        batched: Run the two passes of guidance as one batch of two.
        rule: Method of guidance.
        fresh: Noise by step, for solvers that add some.
        skips: What need not be computed; None: all is.

    Yields:
        The state after every step that is left.

    Raises:
        NotFinite: a step ended in numbers that are not finite.
    """
    walk = noise if isinstance(noise, Walk) else Walk(State(0, noise))
    painter: tuple[ExpertName, bool] | None = None
    predict: Predict | None = None
    memory = Memory(walk.average, walk.difference, dict(walk.residuals))
    clean = walk.state.x

    def velocity(x: Tensor, index: int) -> Tensor:
        nonlocal painter, predict, clean
        step = steps[index]
        x = hold(x, conditioning.held)
        if stands_still(rule, index):
            clean = x
            return torch.zeros_like(x)
        if predict is None:
            network = wanted(transformer, step)()
            painter = (step.expert, step.adapted)
            predict = paced(
                network, predictor(network, conditioning, rule, memory, batched=batched, skips=skips), len(steps)
            )  # fmt: skip
        v = predict(x, step)
        clean = x - step.sigma * v
        return v

    sigmas = (*(step.sigma for step in steps), steps[-1].sigma_next)
    for state in resume(solver, velocity, walk.state, sigmas, fresh):
        index = state.done - 1
        if painter not in [(step.expert, step.adapted) for step in steps[index + 1 : index + 2]]:
            predict = None  # lets go of this expert, so that whoever loads the next one can do so without both
            memory = Memory()
        latent = hold(state.x, conditioning.held)
        check_finite(latent, steps, index)
        yield Denoised(index=index, latent=latent, clean=hold(clean, conditioning.held), walk=memory.walk(state))


def check_finite(latent: Tensor, steps: Sequence[Step], index: int) -> None:
    """Raise NotFinite if a step ended in NaN or infinity, which would be decoded to a black video."""
    if not torch.isfinite(latent).all():
        raise NotFinite(
            f"step {index + 1} of {len(steps)}, by the {steps[index].expert} expert, ended in numbers that are not "
            "finite: weights or a LoRA are damaged, or the precision overflows",
            allowed="sound weights, in a precision that is wide enough",
        )


def wanted(transformer: Callable[..., WanDiT], step: Step) -> Callable[[], WanDiT]:
    """The expert of a step, once it is called for; without its LoRAs (``adapted=False``) where the step says so."""
    options: dict[str, Any] = {} if step.adapted else {"adapted": False}
    return partial(transformer, step.expert, **options)


def hold(x: Tensor, held: Tensor | None) -> Tensor:
    """A latent [C, T, H, W] with its first frames replaced by those that are held [C, K, H, W].

    A solver works on every number of a latent by itself, so that what it makes of these frames reaches no others.
    """
    return x if held is None else torch.cat([held, x[:, held.shape[1] :]], dim=1)


def clock(timestep: float, x: Tensor, held: Tensor | None) -> Tensor:
    """What the network is told of the time: one number [1], or with held frames one per token [1, L], 0 for theirs."""
    if held is None:
        return torch.tensor([timestep], dtype=torch.float32, device=x.device)
    _, frames, rows, columns = x.shape
    per_frame = rows // PATCH[1] * (columns // PATCH[2])
    times = torch.full((frames // PATCH[0], per_frame), timestep, dtype=torch.float32, device=x.device)
    times[: held.shape[1]] = 0
    return times.flatten()[None]


def predictor(
    network: WanDiT,
    conditioning: Conditioning,
    rule: GuidanceRule = PLAIN,
    memory: Memory | None = None,
    *,
    batched: bool,
    skips: Skips | None = None,
) -> Predict:
    """The velocity [C, T, H, W] of one expert, with guidance, as a function of latent and step.

    Text and image features are projected here, once for all steps. Two texts in one batch share the latent and what the
    network does before it looks at the text. What ``skips`` names is not computed.
    """
    positive, negative, image = conditioning.text, conditioning.negative, conditioning.image
    beside, held = conditioning.beside, conditioning.held
    control = None if conditioning.control is None else conditioning.control[None]
    forward = partial(network, control=control, control_scale=conditioning.control_scale)
    alone = project_text(network, [positive], image)
    remembered = memory or Memory()
    skipper = Skipper(network, skips, remembered)
    both_texts: TextCache | None = None
    kept = 0 if held is None else held.shape[1]
    if negative is None:
        passes = []
    elif batched:
        passes = [project_text(network, [positive, negative], image)]
    else:
        passes = [alone, project_text(network, [negative], image)]
    if rule.method == "nag" and negative is not None:
        with torch.no_grad():
            both_texts = network.text_keys_values(*stacked([positive, negative], image))

    @torch.no_grad()
    def predict(x: Tensor, step: Step) -> Tensor:
        timestep = clock(step.timestep, x, held)
        seen = (x if beside is None else torch.cat([x, beside]))[None]

        def made(cache: TextCache, *branches: Branch) -> Tensor:
            return skipper.velocities(branches, partial(forward, seen, timestep, text_cache=cache), step.index)

        skipper.begin(step.index)
        if step.passes == 1:
            with nullcontext() if both_texts is None else guided_attention(network, rule):
                velocity = made(both_texts or alone, *CONDITIONAL)[0]
            skipper.end(step.index)
            return velocity
        if (difference := skipper.difference(step.index)) is not None:
            c = made(alone, *CONDITIONAL)[0]
            both = torch.stack([c, c - difference])
        elif batched:
            both = made(passes[0], *BOTH)
        else:
            both = torch.cat([made(cache, branch) for cache, branch in zip(passes, BOTH, strict=True)])
        skipper.end(step.index, lambda: both[0] - both[1])
        # What a method measures over a whole latent, it must not measure over frames that are put back anyway.
        c, u = both[:, :, kept:]
        point = Point(x[:, kept:], step.sigma)
        steered, remembered.average = steer(rule, c, u, step.guidance, point, remembered.average)
        return torch.cat([both[0][:, :kept], steered], dim=1)

    return predict


def paced(network: WanDiT, predict: Predict, count: int) -> Predict:
    """``predict`` of a walk of ``count`` steps, which tells what acts on the network from outside where the walk is."""
    begin_step(network, -1, count)

    def told(x: Tensor, step: Step) -> Tensor:
        begin_step(network, step.index, count)
        return predict(x, step)

    return told


@torch.no_grad()
def project_text(network: WanDiT, texts: Sequence[Tensor], image: Tensor | None = None) -> TextCache:
    """What the network keeps of texts [S, D] of any lengths, each beside the same image features [P, D].

    Short texts without image features are folded on the CPU, where that pays.
    """
    context, images = stacked(texts, image)
    short = context.device.type == "cpu" and context.shape[1] < network.config.head_dim
    # Folding puts the weight of a layer in its place, which is not all of it where a LoRA stands beside, and not always
    # the same where products are in eight bits.
    if image is None and short and not has_side_branches(network) and not has_eight_bit_products(network):
        return network.fold_text(context)
    return network.text_keys_values(context, images)


def stacked(texts: Sequence[Tensor], image: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Texts [S, D] of any lengths as one tensor, padded with zeros, and the image features of each."""
    rows = max(len(text) for text in texts)
    context = torch.stack([F.pad(text, (0, 0, 0, rows - len(text))) for text in texts])
    return context, None if image is None else image.expand(len(texts), -1, -1)
