"""Plan to frames: the stages in their order, told as they go.

A run is a row of phases, each of which needs one network: the encoders, the experts, the VAE that decodes. Between two
phases, and between any two steps of an expert, everything that matters is a value
(:class:`~filmgate.engine.pipeline.values.RunState`), so that a run can stop there and go on later, elsewhere, or after
others have had their turn with the same network.

Legend: F frames of a chunk, h w pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.controls import with_camera, with_vace
from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.denoise import begin, denoise, draw_noise, hold, wanted
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.eta import remaining_seconds
from filmgate.engine.pipeline.pictures import first_frame, frames_beside, look, read_video
from filmgate.engine.pipeline.preview import preview
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.store import MemoryStore, Store
from filmgate.engine.pipeline.vace_context import without_references
from filmgate.engine.pipeline.values import Conditioning, Denoised, Pictures, RunState, Walk
from filmgate.engine.runtime.parallel import ONE, Team
from filmgate.engine.sampling.guidance import PAIRED_TOKENS
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.solvers import State
from filmgate.engine.sampling.step_cache import skips_of
from filmgate.spec import DeviceError, InvalidRequest, Plan, Preview, Progress, Stage, Step

RGB = NDArray[np.uint8]
Result = TypeVar("Result")
NO_PICTURES = Pictures()
_ENCODERS = ("text_encoder", "image_encoder", "vae_encoder")
_EXPERTS = ("high_noise", "dense", "low_noise")
DECODE = "decode"
_HOST = torch.device("cpu")


class Phase(NamedTuple):
    """A part of a run that needs one network. Phases of different runs are alike if they are equal; they come in the
    order of :attr:`rank`."""

    name: str
    adapted: bool = True

    @property
    def network(self) -> str:
        """What a residency calls it."""
        return "vae" if self.name in (DECODE, "vae_encoder") else self.name

    @property
    def rank(self) -> tuple[int, bool]:
        """Place among the phases of all runs."""
        return ((*_ENCODERS, *_EXPERTS, DECODE).index(self.name), self.adapted)


def render(
    plan: Plan, networks: Residency, pictures: Pictures = NO_PICTURES, store: Store | None = None
) -> Generator[Progress | Preview | RGB, None, None]:
    """Carry out a plan with the networks of its model, and with the pictures of its inputs.

    Args:
        plan: What to do.
        networks: Of the plan's model.
        pictures: What the plan's inputs show.
        store: Where the state is kept, and whether there is one to go on from; None: nothing outlives the generator.

    Yields:
        Progress after every unit of work, previews as planned, and the frames uint8 RGB [F, h, w, 3] in order. Closing
        the generator cancels.

    Raises:
        DeviceError: the device ran out of memory.
        CheckpointError: a file of the model is damaged.
        NotFinite: a step ended in numbers that are not finite, or a decoded frame has such.
    """
    yield from finish(Run(plan, networks, lambda: pictures, store or MemoryStore()))


def finish(run: Run) -> Generator[Progress | Preview | RGB, None, None]:
    """Carry out what is left of a run; see :func:`render`."""
    yield from run.told()
    while (phase := run.phase) is not None:
        yield from run.advance()
        if run.phase is None or run.phase.network != phase.network:
            run.networks.release(phase.network)


class Run:
    """A plan being carried out, phase by phase; see :func:`render` for all of them in a row.

    Args:
        plan: What to do.
        networks: Of the plan's model; whoever calls :meth:`advance` releases them.
        pictures: Reads what the plan's inputs show.
        store: Where the state is kept; of several ranks it is the first one's that counts.
        team: This process among those that carry the plan out together. All of them go through the same phases; only
            the first encodes texts and looks at pictures, and all of them make latents of pictures.
    """

    def __init__(
        self, plan: Plan, networks: Residency, pictures: Callable[[], Pictures], store: Store, team: Team = ONE
    ) -> None:
        self.plan = plan
        self.networks = networks
        self._read = pictures
        self._store = store
        self._team = team
        self._decoded = False
        self._loaded = 0
        self._met: Phase | None = None
        self._state: RunState | None = None
        self._passes = [
            unit.seconds / passes
            for unit in self.state.past
            if unit.stage == "denoise" and (passes := plan.passes_of(unit.done - 1))
        ]

    @property
    def state(self) -> RunState:
        """How far the run is."""
        if self._state is None:
            self._state = self._team.shared(self._store.state() if self._team.first else None)
        return self._state

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """What has to be encoded, in this order: text, pictures for the transformer's image branch, pictures as
        latents."""
        pictures = self._read()
        stills = pictures.image is not None or pictures.last_image is not None
        seen = stills and self.plan.model.dit.image_dim is not None
        latents = stills or pictures.video is not None or self.plan.operation == "vace"
        return tuple(name for name, wanted in zip(_ENCODERS, (True, seen, latents), strict=True) if wanted)

    @property
    def phase(self) -> Phase | None:
        """What comes next; None: all frames were there."""
        state = self.state
        if state.conditioning is None or state.encoded < len(self.needed):
            return Phase(self.needed[state.encoded] if state.encoded else _ENCODERS[0])
        if state.done < len(self.plan.steps):
            step = self.plan.steps[state.done]
            return Phase(step.expert, step.adapted)
        return None if self._decoded else Phase(DECODE)

    def told(self) -> Generator[Progress, None, None]:
        """What a person should know before the work goes on, if there is anything."""
        notes = self._store.notes()
        if notes:
            yield Progress(
                stage="load", done=0, total=self._loads, seconds=0.0, eta_seconds=self.eta(), note="; ".join(notes)
            )

    def advance(self) -> Generator[Progress | Preview | RGB, None, None]:
        """Carry out the next phase. Errors as :func:`render`."""
        phase = self.phase
        with _memory_reported(self.plan):
            if phase is None:
                return
            if phase.name == DECODE:
                yield from self._decode()
            elif phase.name in _ENCODERS:
                yield from self._encode(phase)
            else:
                yield from self._denoise(phase)

    def put_aside(self) -> None:
        """Let go of what memory holds of the state, where the store has it."""
        if self._store.keep(self.state, due=True):
            self._state = None

    def eta(self) -> float:
        """Seconds until the last frame: as planned at first, later by the measured passes."""
        state = self.state
        encoded = state.conditioning is not None and state.encoded >= len(self.needed)
        return remaining_seconds(self.plan, self._passes, state.done, encoded=encoded)

    # ------------------------------------------------------------------------------------------------------ the phases

    def _encode(self, phase: Phase) -> Generator[Progress, None, None]:
        start = self._now()
        together = self._team.layout.ranks == 1 or phase.network == "vae"
        if self._team.first or together:
            start, told = yield from self._encoded(phase)
            told = told if together else self._team.shared(told.to(_HOST)).to(self.networks.device)
        else:
            told = self._team.shared(None).to(self.networks.device)
        done = self.state.encoded + 1
        self._state = replace(self.state, encoded=done, conditioning=told)
        yield self._unit("encode", done, len(self.needed), self._now() - start, due=done == len(self.needed))

    def _encoded(self, phase: Phase) -> Generator[Progress, None, tuple[float, Conditioning]]:
        """What an encoder makes of its inputs beside what is there already, and when it began."""
        plan, networks, state = self.plan, self.networks, self.state
        if phase.name == "text_encoder" or state.conditioning is None:
            encoder = yield from self._load("text_encoder", networks.text_encoder)
            start = self._now()
            told = encode(plan.prompt, plan.negative if plan.reads_negative else None, networks.tokenise, encoder)
        elif phase.name == "image_encoder":
            clip = yield from self._load("image_encoder", networks.image_encoder)
            start, pictures = self._now(), self._read()
            stills = [picture for picture in (pictures.image, pictures.last_image) if picture is not None]
            told = replace(state.conditioning, image=look(stills, clip))
        else:
            vae = yield from self._load("vae", networks.vae)
            self._team.meet()
            start = self._now()
            told = _with_latents(plan, self._read(), state.conditioning.to(networks.device), vae)
        done = state.encoded + 1
        if done == len(self.needed) and plan.operation == "camera" and phase.name != "vae_encoder":
            told = with_camera(told, self._read(), plan, None)
        return start, told

    def _denoise(self, phase: Phase) -> Generator[Progress | Preview, None, None]:
        plan, networks, state = self.plan, self.networks, self.state
        if state.conditioning is None:
            raise AssertionError("an expert before the encoders")
        conditioning = state.conditioning.to(networks.device)
        states = self._walk(conditioning, state.walk)
        while self.phase == phase:
            step = plan.steps[self.state.done]
            # Loaded here so that it is told, and does not count as part of the step.
            yield from self._load(step.expert, wanted(networks.transformer, step))
            if self._met != phase:
                self._team.meet()
                self._met = phase
            start = self._now()
            found = next(states)
            seconds = self._now() - start
            passes = plan.passes_of(step.index)
            self._passes.extend([seconds / max(1, passes)] * passes)
            self._state = replace(self.state, walk=found.walk)
            yield self._unit("denoise", step.index + 1, len(plan.steps), seconds, due=self.phase != phase, expert=step)
            done = self.state.done
            if plan.preview_every and done % plan.preview_every == 0 and done < len(plan.steps):
                yield self._preview(found, conditioning.references)
        states.close()

    def _walk(self, conditioning: Conditioning, walk: Walk | None) -> Generator[Denoised, None, None]:
        """The steps that are left."""
        plan, networks = self.plan, self.networks
        shape = plan.latent.model_copy(update={"frames": conditioning.references + plan.latent.frames})
        # Ranks divide the texts of one batch.
        batched = self._team.layout.cfg > 1 or plan.model.compression.tokens(shape) <= PAIRED_TOKENS
        noise = draw_noise(shape, plan.seed).to(networks.device) * plan.noise_scale
        first = walk or Walk(State(0, begin(noise, conditioning.source, plan.steps[0].sigma)))
        return denoise(
            plan.steps, plan.solver, conditioning, networks.transformer, first.to(networks.device),
            batched=batched, rule=plan.guidance_rule, fresh=fresh_noise(noise, plan.seed),
            skips=skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work),
        )  # fmt: skip

    def _preview(self, found: Denoised, references: int) -> Preview:
        clean, networks = without_references(found.clean, references), self.networks
        png = preview(clean, networks.colours, networks.vae, spatial=self.plan.model.compression.spatial)
        return Preview(step=found.index + 1, png=png)

    def _decode(self) -> Generator[Progress | RGB, None, None]:
        walk, conditioning = self.state.walk, self.state.conditioning
        if walk is None or conditioning is None:
            raise AssertionError("frames before the last step")
        conditioning = conditioning.to(walk.state.x.device)
        latent = without_references(hold(walk.state.x, conditioning.held), conditioning.references)
        vae = yield from self._load("vae", self.networks.vae)
        self._team.meet()
        total, done, spent = self.plan.video.frames, 0, 0.0
        chunks = decode(latent, vae)
        while done < total:
            start = self._now()
            frames = next(chunks)
            seconds = self._now() - start
            done, spent = done + len(frames), spent + seconds
            yield frames
            # In tiles all frames are done when the first ones come.
            left = 0.0 if self.plan.residency.vae_tile else spent / done * (total - done)
            yield Progress(stage="decode", done=done, total=total, seconds=seconds, eta_seconds=left)
        self._decoded = True

    # ---------------------------------------------------------------------------------------------------- what is told

    def _unit(
        self, stage: Stage, done: int, total: int, seconds: float, *, due: bool, expert: Step | None = None
    ) -> Progress:
        """That a unit of work is finished. It is part of the state, which is kept if that is due or was long ago."""
        name = None if expert is None else expert.expert
        work = None if expert is None or not self.plan.acceleration.work else self.plan.work_of(expert.index)
        progress = Progress(
            stage=stage, done=done, total=total, seconds=seconds, eta_seconds=self.eta(), expert=name, work=work
        )
        self._state = replace(self.state, past=(*self.state.past, progress))
        # What blocks added is on several ranks in parts: a run goes on from where nobody asks for it.
        if self._team.layout.ranks == 1 or self.state.walk is None or not self.state.walk.residuals:
            self._store.keep(self.state, due=due)
        notes = self._store.notes()
        return progress.model_copy(update={"note": "; ".join(notes)}) if notes else progress

    @property
    def _loads(self) -> int:
        """How many networks the whole run has to load."""
        return 1 + len(self.needed) + len({step.expert for step in self.plan.steps})

    def _load(self, name: str, get: Callable[[], Result]) -> Generator[Progress, None, Result]:
        """A network, and progress if it has to be loaded."""
        if self.networks.holds(name):
            return get()
        start = self._now()
        network = get()
        self._loaded += 1
        progress = Progress(
            stage="load", done=min(self._loaded, self._loads), total=self._loads, seconds=self._now() - start,
            eta_seconds=self.eta(),
        )  # fmt: skip
        self._state = replace(self.state, past=(*self.state.past, progress))
        yield progress
        return network

    def _now(self) -> float:
        """Seconds on a clock, after the device has done what it was told."""
        if self.networks.device.type == "cuda":
            torch.cuda.synchronize(self.networks.device)
        return time.perf_counter()


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


@contextmanager
def _memory_reported(plan: Plan) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{plan.device.name} ran out of memory at {plan.video} in {plan.precision}",
            allowed="memory streamed, a VAE in tiles, a smaller size, fewer frames, or a lower precision",
        ) from error
