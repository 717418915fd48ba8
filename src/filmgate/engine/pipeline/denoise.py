"""Noise to a latent video.

Legend: C latent channels, T H W latent frames, rows and columns, S text rows, B passes of the network at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.pipeline.values import Conditioning, Denoised
from filmgate.engine.sampling.guidance import guided
from filmgate.engine.sampling.solvers import solve
from filmgate.spec import ExpertName, LatentShape, Solver, Step

Predict = Callable[[Tensor, Step], Tensor]


def draw_noise(shape: LatentShape, seed: int) -> Tensor:
    """Standard normal noise [C, T, H, W], fp32, drawn on the CPU so that it does not depend on the device.

    The original code draws in this shape too, but on the GPU, whose numbers for a seed are others.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape.channels, shape.frames, shape.height, shape.width, generator=generator)


def denoise(
    steps: Sequence[Step],
    solver: Solver,
    conditioning: Conditioning,
    transformer: Callable[[ExpertName], WanDiT],
    noise: Tensor,
    *,
    batched: bool,
) -> Generator[Denoised, None, None]:
    """Walk from noise to video. Nothing is computed before it is asked for; closing the iterator ends the walk.

    Args:
        steps: What to do, with sigmas, expert and guidance of each step.
        solver: Name of the method; one solver runs over the change of experts, its history kept.
        conditioning: Text features.
        transformer: Gives an expert by name; asked once whenever the expert changes.
        noise: [C, T, H, W] fp32, on the device of the transformers.
        batched: Run the two passes of guidance as one batch of two.

    Yields:
        The state after every step.
    """
    expert: ExpertName | None = None
    predict: Predict | None = None
    clean = noise

    def velocity(x: Tensor, index: int) -> Tensor:
        nonlocal expert, predict, clean
        step = steps[index]
        if predict is None:
            expert, predict = step.expert, predictor(transformer(step.expert), conditioning, batched=batched)
        v = predict(x, step)
        clean = x - step.sigma * v
        return v

    sigmas = (*(step.sigma for step in steps), steps[-1].sigma_next)
    for index, latent in enumerate(solve(solver, velocity, noise, sigmas)):
        if expert not in [step.expert for step in steps[index + 1 : index + 2]]:
            predict = None  # lets go of this expert, so that whoever loads the next one can do so without both
        yield Denoised(index=index, latent=latent, clean=clean)


def predictor(network: WanDiT, conditioning: Conditioning, *, batched: bool) -> Predict:
    """The velocity [C, T, H, W] of one expert, with guidance, as a function of latent and step.

    Text is projected here, once for all steps. Two texts in one batch share the latent and what the network does before
    it looks at the text.
    """
    positive, negative = conditioning.text, conditioning.negative
    alone = project_text(network, [positive])
    if negative is None:
        passes = []
    elif batched:
        passes = [project_text(network, [positive, negative])]
    else:
        passes = [alone, project_text(network, [negative])]

    @torch.no_grad()
    def predict(x: Tensor, step: Step) -> Tensor:
        timestep = torch.tensor([step.timestep], dtype=torch.float32, device=x.device)
        if step.passes == 1:
            velocity: Tensor = network(x[None], timestep, text_cache=alone)[0]
            return velocity
        both = torch.cat([network(x[None], timestep, text_cache=cache) for cache in passes])
        steered: Tensor = guided(both[0], both[1], step.guidance)
        return steered

    return predict


@torch.no_grad()
def project_text(network: WanDiT, texts: Sequence[Tensor]) -> TextCache:
    """What the network keeps of texts [S, D] of any lengths. Short texts are folded on the CPU, where that pays."""
    rows = max(len(text) for text in texts)
    context = torch.stack([F.pad(text, (0, 0, 0, rows - len(text))) for text in texts])
    if context.device.type == "cpu" and rows < network.config.head_dim:
        return network.fold_text(context)
    return network.text_keys_values(context)
