"""VACE from pictures to pictures: diffusers' whole pipeline on the same random weights, noise and levels, fp32.

The levels and timesteps are diffusers' own, so that only what is done with them is compared; its timesteps are embedded
with exact angles (models/test_dit.py says why). References go in in reverse order there: see vace_context.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine.models.test_dit import exact_angles, randomise, zero_padded
from tests.engine.models.test_vace import diffusers_vace, tiny
from tests.engine.pipeline.test_vace_context import (
    FRAMES,
    HEIGHT,
    WIDTH,
    box_masks,
    diffusers_pipeline,
    pictures,
    random_vae,
    tensor_of,
)
from tests.parity.twins import largest

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.denoise import denoise
from filmgate.engine.pipeline.vace_context import vace_context, without_references
from filmgate.engine.pipeline.values import Conditioning
from filmgate.spec import Solver, Step

STEPS, GUIDANCE, SCALE, SHIFT = 4, 4.0, 0.7, 16.0
ROWS = 24
TOLERANCE = 5e-5
"""Of latents of about unit size after four guided steps."""
CODES = 0.5 + 255e-4
"""Of frames, before diffusers' are rounded."""
BOUNDARY, LOW_GUIDANCE = 0.875, 3.0
"""Of two experts."""


def scheduler_for(solver: Solver) -> Any:
    diffusers = pytest.importorskip("diffusers")
    if solver == "euler":
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT, num_train_timesteps=1000
    )


def steps_of(scheduler: Any) -> list[Step]:
    """The schedule that diffusers walks."""
    scheduler.set_timesteps(STEPS)
    levels, times = scheduler.sigmas.double().tolist(), scheduler.timesteps.tolist()
    return [
        Step(index=i, sigma=a, sigma_next=b, timestep=float(times[i]), expert="dense", guidance=GUIDANCE)
        for i, (a, b) in enumerate(pairwise(levels))
    ]


def halved(step: Step) -> Step:
    """A step as one of two experts, by diffusers' rule: the first above the boundary or at it."""
    high = step.timestep >= 1000 * BOUNDARY
    changes = {"expert": "high_noise" if high else "low_noise", "guidance": GUIDANCE if high else LOW_GUIDANCE}
    return step.model_copy(update=changes)


@pytest.mark.parametrize(
    ("solver", "references", "batched"), [("euler", 2, True), ("unipc", 1, False), ("unipc", 0, True)]
)
@torch.inference_mode()
def test_a_whole_walk_with_video_mask_and_references(
    record_property: Any, solver: Solver, references: int, batched: bool
) -> None:
    compare(record_property, solver, references, batched=batched)


@pytest.mark.parametrize(("solver", "references"), [("unipc", 1), ("euler", 0)])
@torch.inference_mode()
def test_a_whole_walk_of_two_experts(record_property: Any, solver: Solver, references: int) -> None:
    """VACE-Fun: each expert has a branch of its own, reads the same context, and is guided by its own scale."""
    compare(record_property, solver, references, batched=False, pair=True)


def twin_of(model: WanDiT) -> Any:
    twin = diffusers_vace(model)
    twin.condition_embedder.timesteps_proj.forward = exact_angles
    return twin


def compare(record_property: Any, solver: Solver, references: int, *, batched: bool, pair: bool = False) -> None:
    """One walk in both pipelines; ``pair`` takes another transformer, and another scale, below the boundary."""
    vae, model = random_vae(), tiny(vace_in_dim=96, text_len=ROWS)
    second = randomise(WanDiT(model.config), 23).requires_grad_(False)
    experts = {"high_noise": model, "low_noise": second} if pair else {"dense": model}
    video, masks = pictures(*[(WIDTH, HEIGHT)] * FRAMES), box_masks()
    shown = pictures((24, 56), (96, 40), seed=1)[:references]
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(16, references + 3, HEIGHT // 8, WIDTH // 8, generator=generator)
    texts = torch.randn(2, 9, 32, generator=generator)

    pipeline = diffusers_pipeline(vae, twin_of(model), scheduler_for(solver))
    if pair:
        pipeline.register_modules(transformer_2=twin_of(second))
        pipeline.register_to_config(boundary_ratio=BOUNDARY)
    prompts = zero_padded(texts, ROWS)
    settings = {
        "video": video, "mask": masks, "reference_images": shown or None, "prompt_embeds": prompts[:1],
        "negative_prompt_embeds": prompts[1:], "latents": noise[None], "height": HEIGHT, "width": WIDTH,
        "num_frames": FRAMES, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "conditioning_scale": SCALE,
        "guidance_scale_2": LOW_GUIDANCE if pair else None,
    }  # fmt: skip
    expected = pipeline(**settings, output_type="latent").frames[0]
    expected_frames = pipeline(**settings, output_type="np").frames[0]

    clip = torch.stack([tensor_of(frame) for frame in video], 1)
    mask = torch.stack([(tensor_of(frame)[0] + 1) / 2 for frame in masks])
    context = vace_context(vae.encode, clip, mask, [tensor_of(picture) for picture in reversed(shown)])
    conditioning = Conditioning(
        text=texts[0], negative=texts[1], control=context, control_scale=SCALE, references=references
    )
    steps = steps_of(scheduler_for(solver))
    if pair:
        steps = [halved(step) for step in steps]
        assert [step.expert for step in steps] == ["high_noise"] * 3 + ["low_noise"]
    states = list(denoise(steps, solver, conditioning, experts.__getitem__, noise, batched=batched))
    found = states[-1].latent
    difference = largest(found, expected)
    assert difference <= TOLERANCE
    if pair:
        exchanged = {"high_noise": second, "low_noise": model}
        *_, other = denoise(steps, solver, conditioning, exchanged.__getitem__, noise, batched=batched)
        assert largest(other.latent, expected) > 100 * TOLERANCE, "the experts are not the same"
    assert (found - expected).norm() / expected.norm() <= 2e-5
    frames = np.concatenate(list(decode(without_references(found, references), vae)))
    assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    off = float(np.abs(frames - 255 * expected_frames).max())
    assert off <= CODES, "rounded to codes, no more"
    for name, value in (("latent", difference), ("latent_bound", TOLERANCE), ("codes", off), ("codes_bound", CODES)):
        record_property(name, value)
    assert (states[-1].latent - noise).abs().mean() > 0.1
