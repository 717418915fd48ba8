"""Plan to frames: the stages in their order, told as they go.

Legend: F frames of a chunk, h w pixels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.controls import with_camera, with_vace
from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.denoise import begin, denoise, draw_noise, wanted
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.pictures import first_frame, frames_beside, look, read_video
from filmgate.engine.pipeline.preview import preview
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.vace_context import without_references
from filmgate.engine.pipeline.values import Conditioning, Pictures
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.spec import DeviceError, InvalidRequest, Plan, Preview, Progress

RGB = NDArray[np.uint8]
Result = TypeVar("Result")
BATCHED_TOKENS = 8192
"""Up to this many tokens the two passes of guidance run as one batch: small models are bound by overhead, and large
videos by memory."""


NO_PICTURES = Pictures()


def render(
    plan: Plan, networks: Residency, pictures: Pictures = NO_PICTURES
) -> Generator[Progress | Preview | RGB, None, None]:
    """Carry out a plan with the networks of its model, and with the pictures of its inputs.

    Yields:
        Progress after every unit of work, previews as planned, and the frames uint8 RGB [F, h, w, 3] in order. Closing
        the generator cancels.

    Raises:
        DeviceError: the device ran out of memory.
        CheckpointError: a file of the model is damaged.
        BackendError: a step ended in numbers that are not finite.
    """
    work = _Work(plan, networks, pictures)
    with _memory_reported(plan):
        conditioning = yield from _encode(work)
        latent = yield from _denoise(work, conditioning)
        yield from _decode(work, latent)


def _encode(work: _Work) -> Generator[Progress, None, Conditioning]:
    plan = work.plan
    encoder = yield from work.load("text_encoder", work.networks.text_encoder)
    start = work.now()
    conditioning = encode(plan.prompt, plan.negative if plan.reads_negative else None, work.networks.tokenise, encoder)
    del encoder
    work.networks.release("text_encoder")
    yield work.encoded(start)
    if "image_encoder" in work.needed:
        clip = yield from work.load("image_encoder", work.networks.image_encoder)
        start = work.now()
        conditioning = replace(conditioning, image=look(work.stills, clip))
        del clip
        work.networks.release("image_encoder")
        yield work.encoded(start)
    if "vae_encoder" in work.needed:
        vae = yield from work.load("vae", work.networks.vae)
        start = work.now()
        conditioning = _with_latents(plan, work.pictures, conditioning, vae)
        del vae
        work.networks.release("vae")
        yield work.encoded(start)
    elif plan.operation == "camera":
        conditioning = with_camera(conditioning, work.pictures, plan, None)
    return conditioning


def _with_latents(plan: Plan, pictures: Pictures, conditioning: Conditioning, vae: WanVae) -> Conditioning:
    """Pictures as the model reads them: as a video to begin from, in channels beside the noise, or as its first frame.

    Which of them follows from the operation, and from the channels that the transformer has.
    """
    if plan.operation == "vace":
        return with_vace(conditioning, pictures, plan, vae)
    if plan.operation == "camera":
        return with_camera(conditioning, pictures, plan, vae)
    if pictures.video is not None:
        return replace(conditioning, source=read_video(pictures.video, vae))
    image, dit = pictures.image, plan.model.dit
    if image is None:
        raise InvalidRequest("image", "there is a last one only", allowed="a first one too")
    if dit.in_channels > dit.out_channels:
        return replace(conditioning, beside=frames_beside(image, pictures.last_image, plan.video, vae))
    return replace(conditioning, held=first_frame(image, plan.video, vae))


def _denoise(work: _Work, conditioning: Conditioning) -> Generator[Progress | Preview, None, torch.Tensor]:
    plan, networks = work.plan, work.networks
    references = conditioning.references
    shape = plan.latent.model_copy(update={"frames": references + plan.latent.frames})
    batched = plan.model.compression.tokens(shape) <= BATCHED_TOKENS
    noise = draw_noise(shape, plan.seed).to(networks.device) * plan.noise_scale
    latent = begin(noise, conditioning.source, plan.steps[0].sigma)
    states = denoise(
        plan.steps, plan.solver, conditioning, networks.transformer, latent,
        batched=batched, rule=plan.guidance_rule, fresh=fresh_noise(noise, plan.seed),
    )  # fmt: skip
    for step in plan.steps:
        # Loaded here so that it is told, and does not count as part of the step.
        yield from work.load(step.expert, wanted(networks.transformer, step))
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
            clean = without_references(state.clean, references)
            png = preview(clean, networks.colours, networks.vae, spatial=plan.model.compression.spatial)
            yield Preview(step=done, png=png)
    states.close()
    for expert in plan.model.experts:
        networks.release(expert.name)
    return without_references(latent, references)


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


def _encoders(plan: Plan, pictures: Pictures) -> tuple[str, ...]:
    """What has to be encoded, in this order: text, pictures for the transformer's image branch, pictures as latents."""
    stills = pictures.image is not None or pictures.last_image is not None
    seen = stills and plan.model.dit.image_dim is not None
    latents = stills or pictures.video is not None or plan.operation == "vace"
    return ("text_encoder", *(("image_encoder",) if seen else ()), *(("vae_encoder",) if latents else ()))


class _Work:
    """A plan being carried out: what is loaded, and how long things take."""

    def __init__(self, plan: Plan, networks: Residency, pictures: Pictures) -> None:
        self.plan = plan
        self.networks = networks
        self.pictures = pictures
        self.stills = [picture for picture in (pictures.image, pictures.last_image) if picture is not None]
        self.needed = _encoders(plan, pictures)
        self.passes: list[float] = []
        self._loaded = self._encoded = 0

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
        total = 1 + len(self.needed) + len({step.expert for step in self.plan.steps})
        yield Progress(
            stage="load", done=min(self._loaded, total), total=total, seconds=self.now() - start, eta_seconds=self.eta()
        )
        return network

    def encoded(self, start: float) -> Progress:
        """That one more of the encoders has done its work, begun at ``start``."""
        self._encoded += 1
        seconds, total = self.now() - start, len(self.needed)
        return Progress(stage="encode", done=self._encoded, total=total, seconds=seconds, eta_seconds=self.eta())

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
