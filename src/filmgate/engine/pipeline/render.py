"""Plan to frames: the stages in their order, told as they go.

Legend: F frames of a chunk, h w pixels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.preview import preview
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.values import Conditioning
from filmgate.spec import DeviceError, Plan, Preview, Progress

RGB = NDArray[np.uint8]
Result = TypeVar("Result")
BATCHED_TOKENS = 8192
"""Up to this many tokens the two passes of guidance run as one batch: small models are bound by overhead, and large
videos by memory."""


def render(plan: Plan, networks: Residency) -> Generator[Progress | Preview | RGB, None, None]:
    """Carry out a plan with the networks of its model.

    Yields:
        Progress after every unit of work, previews as planned, and the frames uint8 RGB [F, h, w, 3] in order. Closing
        the generator cancels.

    Raises:
        DeviceError: the device ran out of memory.
        CheckpointError: a file of the model is damaged.
    """
    work = _Work(plan, networks)
    with _memory_reported(plan):
        conditioning = yield from _encode(work)
        latent = yield from _denoise(work, conditioning)
        yield from _decode(work, latent)


def _encode(work: _Work) -> Generator[Progress, None, Conditioning]:
    plan = work.plan
    encoder = yield from work.load("text_encoder", work.networks.text_encoder)
    guided = any(step.passes == 2 for step in plan.steps)
    start = work.now()
    conditioning = encode(plan.prompt, plan.negative if guided else None, work.networks.tokenise, encoder)
    del encoder
    work.networks.release("text_encoder")
    yield Progress(stage="encode", done=1, total=1, seconds=work.now() - start, eta_seconds=work.eta())
    return conditioning


def _denoise(work: _Work, conditioning: Conditioning) -> Generator[Progress | Preview, None, torch.Tensor]:
    plan, networks = work.plan, work.networks
    batched = plan.model.compression.tokens(plan.latent) <= BATCHED_TOKENS
    latent = draw_noise(plan.latent, plan.seed).to(networks.device)
    states = denoise(plan.steps, plan.solver, conditioning, networks.transformer, latent, batched=batched)
    for step in plan.steps:
        # Loaded here so that it is told, and does not count as part of the step.
        yield from work.load(step.expert, partial(networks.transformer, step.expert))
        start = work.now()
        state = next(states)
        latent = state.latent
        seconds = work.now() - start
        work.passes.extend([seconds / step.passes] * step.passes)
        done = step.index + 1
        yield Progress(
            stage="denoise",
            done=done,
            total=len(plan.steps),
            seconds=seconds,
            eta_seconds=work.eta(done),
            expert=step.expert,
        )
        if plan.preview_every and done % plan.preview_every == 0 and done < len(plan.steps):
            png = preview(state.clean, networks.colours, networks.vae, spatial=plan.model.compression.spatial)
            yield Preview(step=done, png=png)
    states.close()
    for expert in plan.model.experts:
        networks.release(expert.name)
    return latent


def _decode(work: _Work, latent: torch.Tensor) -> Generator[Progress | RGB, None, None]:
    vae = yield from work.load("vae", work.networks.vae)
    total, done, spent = work.plan.video.frames, 0, 0.0
    chunks = decode(latent, vae)
    while done < total:
        start = work.now()
        frames = next(chunks)
        seconds = work.now() - start
        done, spent = done + len(frames), spent + seconds
        yield frames
        yield Progress(
            stage="decode", done=done, total=total, seconds=seconds, eta_seconds=spent / done * (total - done)
        )
    del vae, chunks
    work.networks.release("vae")


class _Work:
    """A plan being carried out: what is loaded, and how long things take."""

    def __init__(self, plan: Plan, networks: Residency) -> None:
        self.plan = plan
        self.networks = networks
        self.passes: list[float] = []
        self._loaded = 0

    def now(self) -> float:
        """Seconds on a clock, after the device has done what it was told."""
        if self.networks.device.type == "cuda":
            torch.cuda.synchronize(self.networks.device)
        return time.perf_counter()

    def load(self, name: str, get: Callable[[], Result]) -> Generator[Progress, None, Result]:
        """A network, and progress if it has to be loaded."""
        if self.networks.holds(name):
            return get()
        start = self.now()
        network = get()
        self._loaded += 1
        total = 2 + len({step.expert for step in self.plan.steps})
        yield Progress(
            stage="load", done=min(self._loaded, total), total=total, seconds=self.now() - start, eta_seconds=self.eta()
        )
        return network

    def eta(self, done: int = 0) -> float:
        """Seconds until the last frame, after ``done`` steps: as planned at first, later by the measured passes.

        Decoding is given what the plan leaves for it beside the measured steps, at most as much as these.
        """
        every = sum(step.passes for step in self.plan.steps)
        if not self.passes:
            return self.plan.seconds
        one = statistics.median(self.passes)
        decoding = min(max(0.0, self.plan.seconds - one * every), one * every)
        return one * sum(step.passes for step in self.plan.steps[done:]) + decoding


@contextmanager
def _memory_reported(plan: Plan) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{plan.device.name} ran out of memory at {plan.video} in {plan.precision}",
            allowed="a smaller size, fewer frames, or a lower precision",
        ) from error
