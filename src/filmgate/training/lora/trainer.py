"""The training of a LoRA: encode once, then one expert after the other, told as it goes.

What a step sees follows from the seed and its number alone. A step has ``batch`` places, shared out to the processes in
turn; several processes therefore take the very steps that one would, up to the order of sums.

Legend: B clips of a micro-batch, C T H W latent.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.models.dit import WanDiT
from filmgate.media.publish import writable, write_bytes
from filmgate.spec.errors import DeviceError, InvalidRequest, NotFinite
from filmgate.spec.model import ExpertName
from filmgate.training.averaging import Average
from filmgate.training.curves import draw
from filmgate.training.lora.adapter import Adapter, recomputed
from filmgate.training.lora.encoding import Origins, Shelf, digest_of
from filmgate.training.lora.export import SAVED, write_lora
from filmgate.training.lora.job import PICTURE, STEPS, Job, read_rows
from filmgate.training.lora.manifest import described, lora_metadata, origin_of
from filmgate.training.lora.objective import Example, draws_of, fixed_losses, velocity_errors
from filmgate.training.lora.recipe import Judged, LoraRecipe, Noted, Stepped, TrainingEvent, Written
from filmgate.training.lora.samples import Easel
from filmgate.training.lora.state import load_state, save_state
from filmgate.training.ranks import Ranks

ALONE = Ranks()
LEVELS = 5
"""Noise levels that are measured at."""
BETAS = (0.9, 0.99)
_RECENT = 20
"""Steps that the time left follows."""


def train(job: Job, *, resume: bool = True, ranks: Ranks = ALONE) -> Iterator[TrainingEvent]:
    """Carry out a job. Nothing is done before the first event is asked for.

    Ctrl-C and SIGTERM end it after the step that is being taken, once its state is kept.

    Args:
        job: What :func:`~filmgate.training.lora.job.prepare` made.
        resume: Go on from the state in the output directory, if there is one; else begin anew.
        ranks: The processes that train together, on one file system.

    Yields:
        What happens, in order; only the first process's step numbers count.

    Raises:
        InvalidRequest: the state is of another run, or there are more processes than clips in a batch.
        CheckpointError, OutputError: a file cannot be read or written.
        NotFinite: the loss became infinite or none at all.
    """
    if ranks.count > job.recipe.batch:
        raise InvalidRequest(
            "batch", f"{job.recipe.batch} is less than the {ranks.count} processes", allowed=f"{ranks.count} or more"
        )
    origins = Origins.of(job.parts, job.cache)
    shelf = Shelf(
        job.cache / "training", job.model, origins, job.device, job.precision, pictured=job.pictured, cache=job.cache
    )
    yield from _encode(job, shelf, ranks)
    if not resume and ranks.first:
        for path in (job.output / STEPS, *map(job.curve_of, job.experts), *map(job.state_of, job.experts)):
            path.unlink(missing_ok=True)
    ranks.mean(0.0)  # nobody reads a state before it is gone
    with Interruption() as interruption, _memory_reported(job):
        for expert in job.experts:
            yield from Training(job, shelf, expert, ranks, interruption).run()
    if ranks.first:
        manifest = described(job, origins, shelf)
        write_bytes(job.output / f"{job.name}.training.json", json.dumps(manifest, indent=2).encode())
        yield from _drawn(job)


@contextmanager
def _memory_reported(job: Job) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{job.device} ran out of memory",
            allowed="checkpointing=true, micro_batch=1, a smaller size, fewer frames, weights=as_stored, a lower rank",
        ) from error


def _drawn(job: Job) -> Iterator[TrainingEvent]:
    """The curves as a picture, where the library for that is installed."""
    curves = [path for path in map(job.curve_of, job.experts) if read_rows(path)]
    try:
        if curves:
            draw(curves, job.output / PICTURE)
    except ModuleNotFoundError:
        yield Noted(f"{PICTURE} was not drawn: that needs pip install 'filmgate[train]'")


def _encode(job: Job, shelf: Shelf, ranks: Ranks) -> Iterator[TrainingEvent]:
    """Every process encodes its share of the clips, and waits for the others."""
    cuts = (*job.cuts, *job.held_out)
    texts = {text for cut in cuts for text in cut.clip.captions}
    texts |= {"", job.preset.negative, *job.recipe.sample_prompts}
    with writable(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    yield from shelf.encode(cuts[ranks.rank :: ranks.count], sorted(texts)[ranks.rank :: ranks.count])
    ranks.mean(0.0)


class Interruption:
    """Within the body Ctrl-C and SIGTERM are noted, so that a step can be finished; a second one is as usual."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread, where nobody interrupts
                return self
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._before[number])

    def end(self, kept: Path) -> None:
        """End the process as it was told to."""
        if self.number == signal.SIGTERM:
            raise SystemExit(128 + self.number)
        raise KeyboardInterrupt(
            f"The state after the last step is kept in {kept}: the same command goes on from there."
        )


def rate_at(step: int, recipe: LoraRecipe) -> float:
    """Learning rate of a step, from 0: it rises to its highest, then follows a cosine to a hundredth or stays."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    if recipe.schedule == "constant":
        return recipe.rate
    progress = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class Place:
    """A clip's turn in the run: which clip, how often it had its turn before, and the share of noise levels below."""

    number: int
    clip: int
    turn: int
    stratum: tuple[int, int]


def places_of(step: int, batch: int, clips: int, seed: int) -> list[Place]:
    """What a step sees: every clip once before any comes again, in an order of its own each time; noise levels are
    spread over the step."""
    found = []
    orders: dict[int, list[int]] = {}
    for index in range(batch):
        number = step * batch + index
        turn, position = divmod(number, clips)
        if turn not in orders:
            orders[turn] = torch.randperm(clips, generator=draws_of(seed, -1 - turn)).tolist()
        found.append(Place(number, orders[turn][position], turn, (index, batch)))
    return found


class Training:
    """The training of one expert.

    Args:
        job: The run.
        shelf: Has the clips, encoded.
        expert: Which transformer.
        ranks: The processes that train together.
        interruption: Says when to end early.
    """

    def __init__(self, job: Job, shelf: Shelf, expert: ExpertName, ranks: Ranks, interruption: Interruption) -> None:
        self.job, self.recipe, self.shelf, self.expert = job, job.recipe, shelf, expert
        self.ranks, self.interruption = ranks, interruption
        self.range = job.levels(expert)
        self.adapter = Adapter(
            job.layers, self.recipe.rank, self.recipe.scale, dropout=self.recipe.dropout, seed=self.recipe.seed,
            device=job.device,
        )  # fmt: skip
        self.optimiser = torch.optim.AdamW(
            self.adapter.parameters(), self.recipe.rate, betas=BETAS, weight_decay=self.recipe.weight_decay
        )
        self.average = Average(self.adapter, self.recipe.average)
        self.origin = origin_of(job, expert, digest_of(job.parts.experts[expert], job.cache), shelf)

    def run(self) -> Iterator[TrainingEvent]:
        """Train and write the LoRA."""
        job, state = self.job, self.job.state_of(self.expert)
        state.parent.mkdir(parents=True, exist_ok=True)
        done = load_state(state, self.adapter, self.optimiser, self.average, self.origin)
        if done:
            yield Noted(f"{self.expert.replace('_', '-')}: goes on after step {done} of {self.recipe.steps}")
        if self.ranks.first:
            for path in (job.output / STEPS, job.curve_of(self.expert)):
                keep_rows(path, self.expert, done)
        if done < self.recipe.steps:
            network = load_dit(
                job.model, self.expert, device=job.device, precision=job.precision, weights=self.recipe.weights
            )
            self.adapter.attach(network)
            with ExitStack() as stack:
                stack.callback(self.adapter.detach)
                if job.recomputes:
                    stack.enter_context(recomputed(network))
                yield from self._steps(network, done)
        if self.ranks.first:
            self._write()
            yield Written(self.expert, job.file_of(self.expert))
        self.ranks.mean(0.0)  # nobody goes on before it is there

    def _steps(self, network: WanDiT, done: int) -> Iterator[TrainingEvent]:
        recipe, judge = self.recipe, None
        if self.ranks.first:
            judge = Judge(self, network)
            if not done:
                yield judge.look(0, paint=False)
        self.ranks.mean(0.0)  # the others wait here, not in a collective of their GPUs, which would give up
        durations: list[float] = []
        for step in range(done, recipe.steps):
            began = time.perf_counter()
            for group in self.optimiser.param_groups:
                group["lr"] = rate_at(step, recipe)
            loss, gradient = self.step(network, step)
            durations.append(self._seconds(began))
            row = {
                "expert": self.expert, "step": step + 1, "loss": loss, "rate": rate_at(step, recipe),
                "gradient": gradient, "seconds": round(durations[-1], 4),
            }  # fmt: skip
            stopping = bool(self.ranks.agree(self.interruption.number))
            last = step + 1 == recipe.steps
            if self.ranks.first:
                append_row(self.job.output / STEPS, row)
            yield Stepped(
                self.expert,
                step + 1,
                recipe.steps,
                loss,
                rate_at(step, recipe),
                gradient,
                durations[-1],
                self._left(step, durations),
            )
            due = last or self._due(step)
            if not stopping and (due or (step + 1) % recipe.judge_every == 0):
                if judge is not None:
                    yield judge.look(step + 1, paint=due)
                self.ranks.mean(0.0)
            if self.ranks.first and (last or stopping or (step + 1) % recipe.save_every == 0):
                save_state(
                    self.job.state_of(self.expert), self.adapter, self.optimiser, self.average, step + 1, self.origin
                )
            if stopping and not last:
                self.interruption.end(self.job.output)

    def step(self, network: WanDiT, step: int) -> tuple[float, float]:
        """One step of the optimiser; returns the loss and the length of its gradient."""
        loss = self.gradients(network, step)
        norm = nn.utils.clip_grad_norm_(self.adapter.parameters(), self.recipe.clip_norm)
        if not math.isfinite(loss) or not torch.isfinite(norm):
            raise NotFinite(
                f"step {step + 1} of {self.recipe.steps}, {self.expert} expert: the loss is {loss:g} and its gradient"
                f" {norm.item():g}",
                allowed="a lower rate, sound weights, clips without damage; the state before is kept",
            )
        self.optimiser.step()
        self.average.update(self.adapter)
        return loss, norm.item()

    def gradients(self, network: WanDiT, step: int) -> float:
        """Gradients of a step on the factors, the same on every process; returns its mean loss."""
        recipe, total = self.recipe, 0.0
        self.optimiser.zero_grad(set_to_none=True)
        places = places_of(step, recipe.batch, len(self.job.cuts), recipe.seed)
        for group in self._grouped(places[self.ranks.rank :: self.ranks.count]):
            drawn = [self._drawn(place, example) for place, example in group]
            if recipe.dropout:
                torch.manual_seed((recipe.seed * 1_000_003 + group[0][0].number) % (1 << 63))  # of the masks
            errors = velocity_errors(
                network, [d.example for d in drawn], [d.level for d in drawn],
                torch.stack([d.noise for d in drawn]).to(self.job.device), [d.held for d in drawn],
            )  # fmt: skip
            # Processes have shares of a step that may differ by one clip: weighted by the whole, then summed.
            share = errors.sum() / recipe.batch
            (share * self.ranks.count).backward()
            total += share.item()
        self.ranks.average_gradients(self.adapter.parameters())
        return self.ranks.mean(total) * self.ranks.count

    def _grouped(self, places: Sequence[Place]) -> Iterator[list[tuple[Place, Example]]]:
        """Micro-batches of clips of one shape."""
        by_shape: dict[Any, list[Place]] = {}
        for place in places:
            by_shape.setdefault(self.job.cuts[place.clip].video, []).append(place)
        for alike in by_shape.values():
            for start in range(0, len(alike), self.recipe.micro_batch):
                yield [(place, self._example(place)) for place in alike[start : start + self.recipe.micro_batch]]

    def _example(self, place: Place) -> Example:
        cut = self.job.cuts[place.clip]
        captions = cut.clip.captions
        return self.shelf.example(cut, captions[place.turn % len(captions)])

    def _drawn(self, place: Place, example: Example) -> Drawn:
        """Noise, level and what is hidden, by the place alone."""
        recipe, generator = self.recipe, draws_of(self.recipe.seed, place.number)
        share, silent, known = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        noise = torch.randn(example.latents.shape, generator=generator)
        index, count = place.stratum
        if silent < recipe.no_text:
            example = Example(example.latents, self.shelf.text(""), example.beside, example.image)
        clocked = self.job.parts.dit.per_token_timestep and example.latents.shape[1] > 1
        return Drawn(example, self.range.level((index + share) / count), noise, clocked and known < recipe.first_frame)

    def _write(self) -> None:
        job, recipe = self.job, self.recipe
        dtype = SAVED[recipe.save_as or job.precision]
        write_lora(
            job.file_of(self.expert), self.adapter.factors(self.average.shadow), rank=recipe.rank,
            alpha=recipe.scale * recipe.rank, dialect=recipe.dialect, dtype=dtype,
            metadata=lora_metadata(job, self.expert, self.origin),
        )  # fmt: skip

    def _due(self, step: int) -> bool:
        return bool(self.recipe.sample_every) and (step + 1) % self.recipe.sample_every == 0

    def _seconds(self, began: float) -> float:
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        return time.perf_counter() - began

    def _left(self, step: int, durations: Sequence[float]) -> float:
        recent = durations[-_RECENT:]
        later = len(self.job.experts) - 1 - self.job.experts.index(self.expert)
        return sum(recent) / len(recent) * (self.recipe.steps * (1 + later) - step - 1)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A clip as a step sees it."""

    example: Example
    level: float
    noise: Tensor
    held: bool


class Judge:
    """Measures what the averaged weights reach, and paints with them; only the first process has one."""

    def __init__(self, training: Training, network: WanDiT) -> None:
        self._training, self._network = training, network
        job, shelf = training.job, training.shelf
        self._levels = [training.range.level((i + 0.5) / LEVELS) for i in range(LEVELS)]
        self._examples = [shelf.example(cut, cut.clip.captions[0]) for cut in job.judged]
        self._easel = Easel(job, shelf, training.expert, network)
        with training.adapter.using(None, enabled=False):
            self._base = self._losses()
            if not self._easel.idle:
                self._easel.base()

    def look(self, step: int, *, paint: bool) -> Judged:
        """Measure, note it, and paint a sheet if asked."""
        training, job = self._training, self._training.job
        sheet = None
        with training.adapter.using(training.average.shadow):
            losses = self._losses() if step else self._base
            if paint and not self._easel.idle:
                sheet = job.output / "samples" / f"{training.expert}-{step:06d}.png"
                self._easel.sheet(sheet, f"step {step}")
        mean, base = sum(losses) / LEVELS, sum(self._base) / LEVELS
        row = {
            "expert": training.expert, "step": step, "fixed_noise": mean, "base": base, "levels": self._levels,
            "losses": losses, "of": "held-out clips" if job.held_out else "training clips",
        }  # fmt: skip
        append_row(job.curve_of(training.expert), row)
        return Judged(training.expert, step, mean, base, sheet)

    def _losses(self) -> list[float]:
        return fixed_losses(self._network, self._examples, self._levels, self._training.job.device)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def keep_rows(path: Path, expert: ExpertName, done: int) -> None:
    """Forget what was noted after the state that a run goes on from."""
    if path.is_file():
        rows = read_rows(path)
        kept = [row for row in rows if row["expert"] != expert or (done and row["step"] <= done)]
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
