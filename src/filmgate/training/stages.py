"""What has to be trained for the whole family, in which order, from what, and how long on one H200: a table.

The order is that of the pilot (docs/toybox.md): text to video first, which needs one encoding a clip and of which
everything else is made; then one set of weights for text and for pictures; then its two experts; then what stands on
them. Nothing of it runs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from filmgate.spec.errors import InvalidRequest, UnknownName


@dataclass(frozen=True)
class Kind:
    """A buffer of encoded clips: whose, by which VAE, how many, and how many are filled a second.

    Attributes:
        share: Of what is left of a sitting, compilation apart, it may take so much.
    """

    member: str
    vae: str
    clips: int
    rate: float
    share: float = 0.13


@dataclass(frozen=True)
class Stage:
    """A training.

    Attributes:
        program: Module of ``filmgate.training``.
        seconds: Of training, for its part of the schedule.
        weights: What it leaves in the directory of the run.
        options: Of the program, as they are.
        needs: Stages whose weights it reads, and the options that take them; a ``--partner`` may be missing.
        kind: Buffer that it trains on.
        world: Whose captions its clips have.
        start, stop: Its part of a schedule.
        overhead: Seconds of compiling, starting, judging and painting sheets, about.
        beside: Trains beside the first of these slots that there is: stages, or the filling of a buffer.
        rate: What it does a second: steps, or clips.
        only: How the names of the tensors begin that are its own; none: all are.
    """

    name: str
    program: str
    seconds: float
    weights: str
    options: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    kind: str | None = None
    world: str = "rich"
    start: float = 0.0
    stop: float = 1.0
    overhead: float = 45.0
    beside: tuple[str, ...] = ()
    rate: float = 4200.0
    only: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "rich": Kind("toybox-camera", "vae", 90_000, 220),
        "large": Kind("toybox-ti2v", "small_vae", 60_000, 110, share=0.2),
    }
)
"""``rich`` has known frames and paths for all who read them, and is captioned anew for who knows fewer words. Rates are
guesses until a sitting has measured them. Of four times the pixels fewer clips are rendered in the same time, so that
``large`` takes longer: what learns from 10,000 clips learns them by heart."""

_GENTLE = ("--rate", "3e-4", "--matrix-rate", "8e-4", "--decay", "0.8")
_PAIR = (("vae", "--vae"), ("text", "--text"))
_CAMERA = ("dit.control_adapter.", "dit.blocks.0.", "dit.blocks.1.")
"""What a camera's model learns: what reads the rays, and the first quarter of the blocks, which make motion of it. The
auxiliary head learns along, since published experts bring none: where objects come to lie is what a camera decides."""


def _expert(name: str, partner: str, seconds: float) -> Stage:
    return Stage(
        f"{name}_noise", "diffusion", seconds, f"{name}_noise/{name}_noise.safetensors",
        ("--member", "toybox-i2v", "--name", f"{name}_noise", "--seed", "2", "--refresh-every", "128", *_GENTLE),
        (*_PAIR, ("mixed", "--resume"), (partner, "--partner")), "rich", overhead=30,
    )  # fmt: skip


def _camera(name: str, partner: str) -> Stage:
    return Stage(
        f"camera_{name}", "diffusion", 240, f"camera_{name}/{name}_noise.safetensors",
        ("--member", "toybox-camera", "--name", f"{name}_noise", "--learn", *_CAMERA, "head.", "--batch", "256",
         "--refresh-every", "0", "--seed", "3", *_GENTLE),
        (*_PAIR, (f"{name}_noise", "--resume"), (f"{partner}_noise", "--partner")), "rich", world="unspoken",
        rate=3000, only=_CAMERA,
    )  # fmt: skip


def _few(name: str) -> Stage:
    return Stage(
        f"few_{name}", "distillation", 240, f"few/{name}_noise.safetensors",
        ("--member", "toybox-i2v", "--name", f"{name}_noise", "--guidance-high", "6", "--guidance-low", "4"),
        (*_PAIR, ("high_noise", "--high"), ("low_noise", "--low")), "rich", rate=900, overhead=60,
        beside=() if name == "high" else ("few_high",),
    )  # fmt: skip


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Stage("vae", "autoencoder", 400, "vae/vae.safetensors", overhead=120, rate=7.7),
            Stage(
                "text", "text_encoder", 150, "text/text.safetensors", beside=("vae", "fill rich"), overhead=30, rate=14
            ),
            Stage(
                "base", "diffusion", 1100, "base/base.safetensors",
                ("--member", "toybox-t2v", "--name", "base", "--short", "0.05", "--decay", "0.4"), _PAIR, "rich",
                stop=0.65,
            ),
            Stage(
                "mixed", "diffusion", 600, "mixed/base.safetensors",
                ("--member", "toybox-i2v", "--name", "base", "--decay", "0.4"), (*_PAIR, ("base", "--resume")), "rich",
                start=0.65,
            ),
            _expert("high", "mixed", 360),
            _expert("low", "high_noise", 540),
            _few("high"),
            _few("low"),
            _camera("high", "low"),
            _camera("low", "high"),
            Stage(
                "plain", "diffusion", 1100, "plain/dense.safetensors",
                ("--member", "toybox-2.1", "--name", "dense", "--short", "0.05", "--decay", "0.4", "--seed", "4"),
                _PAIR, "rich", world="unadorned",
            ),
            Stage(
                "small_vae", "autoencoder", 480, "small_vae/vae.safetensors", ("--member", "toybox-ti2v"), overhead=120,
                rate=5,
            ),
            Stage(
                "ti2v", "diffusion", 1000, "ti2v/dense.safetensors",
                ("--member", "toybox-ti2v", "--name", "dense", "--short", "0.05", "--decay", "0.4", "--seed", "5"),
                (("small_vae", "--vae"), ("text", "--text")), "large", rate=5000,
            ),
            Stage(
                "dense", "diffusion", 900, "dense/dense.safetensors",
                ("--member", "toybox-i2v", "--name", "dense", "--seed", "2", "--refresh-every", "128", *_GENTLE),
                (*_PAIR, ("mixed", "--resume")), "rich",
            ),
            Stage(
                "deep", "diffusion", 1800, "deep/dense.safetensors",
                ("--member", "toybox-deep-i2v", "--name", "dense", "--seed", "2", "--refresh-every", "128", *_GENTLE),
                (*_PAIR, ("mixed", "--resume")), "rich", rate=2200,
            ),
            Stage(
                "decoder", "autoencoder", 150, "decoder/vae.safetensors",
                ("--decoder-only", "--rate", "5e-4", "--matrix-rate", "1e-3"), (("vae", "--resume"),), overhead=120,
                rate=9,
            ),
            Stage("reader", "read_training", 420, "readers/reader.safetensors", needs=(("vae", "--vae"),),
                  overhead=110, rate=12),
        )
    }
)  # fmt: skip
"""By name, in their order."""


@dataclass(frozen=True)
class Slot:
    """A stage, or the filling of a buffer, within a sitting: when it begins, seconds of training and of the rest, the
    share of its schedule that it reaches, and what it trains beside; the next one begins when both have ended."""

    name: str
    begins: float
    training: float
    other: float
    reaches: float
    beside: str = ""

    @property
    def ends(self) -> float:
        """When it is over."""
        return self.begins + self.training + self.other


@dataclass(frozen=True)
class State:
    """What there is: how far stages are (share of their schedule), buffers on this machine, and measured rates."""

    progress: Mapping[str, float]
    buffers: frozenset[str] = frozenset()
    rates: Mapping[str, float] = field(default_factory=dict)


ANEW = ("text_encoder", "read_training")
"""Programs that begin anew where they were cut off: they are short, and begun only where there is time for all."""
SHORTEST: Mapping[str, float] = MappingProxyType({"read_training": 0.7})
"""The share of its time that a program makes do with, of those that shorten their schedule to what they are given."""
LEAST = 20.0
"""Seconds of training that are worth starting for."""
ENOUGH = 36_000
"""Clips of which a buffer should have half at least, if there are so many."""
STARTING = 15.0
"""Seconds until a buffer begins to be filled, without compiling."""
_HALVINGS, _CLOSE = 40, 1e-6
"""How closely the share is looked for by which stages are shortened, and what still counts as the whole of one."""


def finished(stage: Stage, progress: float) -> bool:
    """Whether a stage has reached the end of its part of the schedule."""
    return progress >= stage.stop - 1e-3


def required(stage: Stage) -> tuple[str, ...]:
    """Stages without whose weights it cannot begin."""
    return tuple(need for need, option in stage.needs if option != "--partner")


def left_of(stage: Stage, progress: float) -> float:
    """Seconds of training until a stage is finished."""
    return stage.seconds * max(0.0, stage.stop - max(progress, stage.start)) / (stage.stop - stage.start)


def clips_for(kind: Kind, rate: float, seconds: float) -> int:
    """Clips of a buffer that may take its share of ``seconds``, compilation apart."""
    return max(1024, min(kind.clips, int(rate * kind.share * seconds)))


def divided(
    wanted: Mapping[str, Stage], state: State, seconds: float, *, finish: bool = False, least: float = LEAST
) -> list[Slot]:
    """What a sitting of ``seconds`` does, in order: all of a stage before the next one.

    Args:
        wanted: Stages to train, of which those that are finished are left out.
        finish: Rather shorten all of them in proportion than leave any unfinished. Where that would leave one of them
            less than ``least``, none is shortened, and what does not fit is left out.
        least: Seconds of training that are worth starting for.
    """
    open_ = [stage for stage in wanted.values() if not finished(stage, state.progress.get(stage.name, 0.0))]
    if finish:
        fits, share, step = 0.0, 1.0, 0.5
        for _ in range(_HALVINGS):
            if all_end(open_, _sequence(open_, state, seconds, share, 0.0, whole=True)):
                fits, share = share, min(1.0, share + step)
            else:
                share -= step
            step /= 2
        plan = _sequence(open_, state, seconds, fits, least, whole=True)
        if all_end(open_, plan):
            return plan
    plan = _sequence(open_, state, seconds, 1.0, least)
    # Nobody waits for a neighbour that does not come today.
    return plan or _sequence(open_, state, seconds, 1.0, least, alone=True)


def all_end(stages: Sequence[Stage], slots: Sequence[Slot]) -> bool:
    """Whether slots bring all of these stages to their end."""
    return len(_ended(slots, stages)) == len(stages)


def host_of(stage: Stage, open_: list[Stage], state: State) -> str | None:
    """The slot that a stage trains beside, if there will be one."""
    names = {other.name for other in open_}
    names |= {f"fill {other.kind}" for other in open_ if other.kind and other.kind not in state.buffers}
    return next((host for host in stage.beside if host in names), None)


def _sequence(
    stages: list[Stage], state: State, seconds: float, share: float, least: float, *, alone: bool = False,
    whole: bool = False,
) -> list[Slot]:  # fmt: skip
    """Slots, each stage trained for ``share`` of what it needs: ``alone`` without any beside others, ``whole``
    without parts of that, and with buffers that are small and late."""
    slots: list[Slot] = []
    now, filled = 0.0, set(state.buffers)
    hosts = {} if alone else {stage.name: host for stage in stages if (host := host_of(stage, stages, state))}
    unfinished = {stage.name for stage in stages}

    def placed(stage: Stage, begins: float, beside: str = "") -> Slot | None:
        progress = max(state.progress.get(stage.name, 0.0), stage.start)
        all_of_it = left_of(stage, progress)
        need = all_of_it * share
        training = min(need, seconds - begins - stage.overhead)
        undivided = whole or stage.program in ANEW
        enough = need * SHORTEST.get(stage.program, 1 - _CLOSE)
        fewest = max(enough if undivided else 0.0, min(least, all_of_it / 2 if whole else need))
        if training < fewest or training <= 0:
            return None
        reaches = stage.stop if training >= enough else progress + (stage.stop - progress) * training / need
        return Slot(stage.name, begins, training, stage.overhead, reaches, beside)

    def together(host: Slot) -> list[Slot]:
        others = [stage for stage in stages if hosts.get(stage.name) == host.name]
        return [host, *filter(None, (placed(stage, host.begins, host.name) for stage in others))]

    for stage in stages:
        if stage.name in hosts:
            continue
        kind = KINDS[stage.kind] if stage.kind and stage.kind not in filled else None
        group: list[Slot] = []
        if kind is not None:
            rate = state.rates.get(f"fill {stage.kind}", kind.rate)
            clips = clips_for(kind, rate, seconds - now)
            if clips < min(kind.clips, ENOUGH) / 2 and now > seconds / 2 and not whole:
                break  # a small buffer would be trained on again and again by what comes after this sitting
            fill = STARTING + state.rates.get(f"compile {stage.kind}", 115.0) + clips / rate
            group = together(Slot(f"fill {stage.kind}", now, 0.0, fill, 1.0))
        begins = max((slot.ends for slot in group), default=now)
        own = placed(stage, begins)
        missing = unfinished - _ended(group, stages)
        if own is None or missing & set(required(stage)):
            break
        group += together(own)
        slots += group
        now, filled = max(slot.ends for slot in group), filled | ({stage.kind} if stage.kind else set())
        unfinished -= _ended(group, stages)
        if stage.name in unfinished:
            break
    return slots


def _ended(slots: Sequence[Slot], stages: Sequence[Stage]) -> set[str]:
    """Names of the stages that slots bring to their end."""
    reached = {slot.name: slot.reaches for slot in slots}
    return {stage.name for stage in stages if finished(stage, reached.get(stage.name, 0.0))}


def chosen(names: str | None, changes: Mapping[str, float]) -> dict[str, Stage]:
    """Stages by their names, separated by commas (None: all), with other seconds where ``changes`` has them.

    Raises:
        UnknownName: there is no such stage.
        InvalidRequest: seconds are not positive.
    """
    listed = list(STAGES) if names is None else [name for name in names.split(",") if name]
    for name in (*listed, *changes):
        if name not in STAGES:
            raise UnknownName("stage", name, STAGES)
    for name, value in changes.items():
        if value <= 0:
            raise InvalidRequest(name, f"{value:g} seconds", allowed="more than 0", nearest=f"{STAGES[name].seconds:g}")
    order = [name for name in STAGES if name in listed]
    return {name: replace(STAGES[name], seconds=changes.get(name, STAGES[name].seconds)) for name in order}
