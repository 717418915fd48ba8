"""Our own engine, on a device of this machine."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Generator, Hashable, Sequence
from contextlib import closing
from functools import cache as remembered_once
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from filmgate.backends.attention_races import known_races
from filmgate.backends.backend import Job
from filmgate.backends.energy import drawn_joules
from filmgate.backends.hardware import describe_device, hardware_line
from filmgate.backends.kept import Kept
from filmgate.backends.launch import Launch
from filmgate.backends.launch_watch import LaunchWatch
from filmgate.backends.measurements import remembered
from filmgate.backends.ranks import SILENCE, on_ranks
from filmgate.backends.recording import Frames, Origin, Past, perform, versions_of
from filmgate.camera.poses import read_poses
from filmgate.direction.controls import inner_size
from filmgate.direction.residency import shared_residency
from filmgate.engine.checkpoints.hashed_weights import file_states, weight_records
from filmgate.engine.checkpoints.lora_use import check_unchanged
from filmgate.engine.pipeline.batch import Clock, walk_all
from filmgate.engine.pipeline.render import Run, finish
from filmgate.engine.pipeline.residency import OnDemand, Shared
from filmgate.engine.pipeline.store import INTERVAL, DiskStore, MemoryStore, Store
from filmgate.engine.pipeline.values import Pictures
from filmgate.engine.runtime.attention_race import circumstances
from filmgate.engine.runtime.parallel import ONE, PATIENCE, Meeting, Team, meeting_of_launch
from filmgate.engine.runtime.place import choose_device, dtype_of, repeatable
from filmgate.media.inputs import read_clip, verified
from filmgate.media.pictures import Picture, cover, read_picture
from filmgate.spec import (
    Capabilities,
    DeviceDescription,
    Done,
    EightBit,
    Event,
    Failed,
    FilmgateError,
    InputRole,
    Plan,
    Preview,
    Progress,
    SparseAttention,
    Started,
)

_NCCL_PATIENCE = SILENCE + 3.0


class LocalBackend:
    """Loads the networks of a plan one at a time and runs them where the plan says.

    The same plan, weights, machine and versions give the same frames, bit by bit.

    Args:
        workspace: Where its files go.
        cache: Where hashes of weights are remembered; None: they are computed every time.
        state: Where the state of the run is kept between steps; None: nowhere.
        kept: Where networks that a plan lets stay wait for the next plan; None: they are let go of with the plan. Of a
            plan for several processes nothing is kept.
    """

    def __init__(
        self, workspace: Path, cache: Path | None = None, state: Path | None = None, kept: Kept | None = None
    ) -> None:
        self._workspace = workspace
        self._cache = cache
        self._state = state
        self._kept = kept

    def capabilities(self) -> Capabilities:
        """The device that is used where a request names none."""
        return Capabilities(backend="local", device=describe_device())

    def render(self, plan: Plan) -> Generator[Event, None, None]:
        """See :class:`~filmgate.backends.backend.Backend`. What several devices share is done by a process for each."""
        if plan.layout.ranks > 1:
            yield from _by_ranks(plan, self._workspace, self._cache, self._state)
            return
        origin, drawn = partial(origin_of, plan, self._cache), partial(drawn_joules, plan.device)
        events = perform(plan, self._workspace, self._work(plan), origin, drawn)
        yield from remembered(events, self._cache)

    @classmethod
    def batch(cls, jobs: Sequence[Job], cache: Path | None = None) -> Generator[tuple[int, Event], None, None]:
        """See :class:`~filmgate.backends.backend.BackendType`. Plans with the same networks share them, each loaded
        once; their walks are kept on disk between the turns where the jobs have a place for it."""
        clock = Clock([job.plan for job in jobs])
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for number, job in enumerate(jobs):
            if job.plan.layout.ranks == 1:
                groups[_shared(job.plan)].append(number)
                continue
            for event in _by_ranks(job.plan, job.workspace, cache, job.state):
                yield number, event
        for numbers in groups.values():
            for number, event in _together([jobs[number] for number in numbers], cache):
                told = numbers[number]
                if isinstance(event, Progress):
                    clock.note(told, event)
                    event = event.model_copy(update={"eta_seconds": clock.eta()})  # noqa: PLW2901 - the same, completed
                elif isinstance(event, Done | Failed):
                    clock.end(told)
                yield told, event

    def _work(self, plan: Plan) -> Generator[Progress | Preview | Frames | Past, None, None]:
        kept = Kept() if self._kept is None else self._kept
        key = networks_key(plan)
        networks = kept.take(key, lambda: open_networks(plan, self._cache))
        with repeatable(threads_for(plan.device)):
            pictures = read_inputs(plan)
            run = Run(plan, networks, lambda: pictures, store_of(plan, self._state, self._cache))
            yield Past(run.state.past)
            yield from finish(run)
        # Only what came to a good end: nobody knows what state the rest is in.
        kept.give(key, networks)


def _by_ranks(plan: Plan, workspace: Path, cache: Path | None, state: Path | None) -> Generator[Event, None, None]:
    """The events of a plan that several processes carry out together."""
    try:
        if (launch := Launch.here()) is not None:
            meeting = meeting_of_launch(launch.rank, launch.ranks)
            launch.announce(plan, meeting)
            work = rank_work(plan, workspace, cache, state, launch.rank, meeting, launch.local_rank)
            with watch_of(launch).work(), closing(work):
                yield from filter(None, work)
            return
        for rank in range(plan.layout.ranks):
            choose_device(device_name(device_of(plan, rank)))
        with closing(on_ranks(partial(rank_work, plan, workspace, cache, state), plan.layout.ranks)) as events:
            yield from events
    except FilmgateError as error:
        yield _failed(error)
    finally:
        # What a process was writing when it was ended.
        for unfinished in workspace.glob(".*.part"):
            unfinished.unlink(missing_ok=True)


@remembered_once
def watch_of(launch: Launch) -> LaunchWatch:
    """What watches over the processes of ``torchrun`` in this one."""
    return LaunchWatch(launch, meeting_of_launch(launch.rank, launch.ranks))


def dismiss(launch: Launch) -> None:
    """What the first process of ``torchrun`` does last: nobody must wait for a plan that does not come."""
    launch.dismiss(meeting_of_launch(launch.rank, launch.ranks))
    watch_of(launch).leave()


def accompany(launch: Launch, cache: Path | None) -> None:
    """What a process of ``torchrun`` does that is not the first: its part of the plan that the first one makes.

    Raises:
        FilmgateError: whatever goes wrong with the work.
    """
    watch = watch_of(launch)
    meeting = meeting_of_launch(launch.rank, launch.ranks)
    plan = launch.announced(meeting)
    if plan is None:
        watch.leave()
        return
    with watch.work(), tempfile.TemporaryDirectory(prefix="filmgate-") as nothing:
        for _ in rank_work(plan, Path(nothing), cache, None, launch.rank, meeting, launch.local_rank):
            pass


def rank_work(
    plan: Plan,
    workspace: Path,
    cache: Path | None,
    state: Path | None,
    rank: int,
    meeting: Meeting,
    place: int | None = None,
) -> Generator[Event | None, None, None]:
    """What the process of one rank does. The first one tells, writes and keeps the state; of the others there is
    nothing to see. ``place`` is its number on its machine, if there are several."""
    launched, place = place is not None, rank if place is None else place
    device = choose_device(device_name(device_of(plan, place)))
    # NCCL ends a process that waited in vain, without a word: those of torchrun find out before who is to blame.
    patience = _NCCL_PATIENCE if launched and device.type == "cuda" else PATIENCE
    team = Team.join(plan.layout, plan.model.dit.heads, meeting, rank, device=device, patience=patience)
    with repeatable(max(1, threads_for(plan.device) // plan.layout.ranks)):
        networks = open_networks(plan, cache, team, place)
        pictures = read_inputs(plan)
        store = store_of(plan, state, cache) if team.first else MemoryStore()
        run = Run(plan, networks, lambda: pictures, store, team)
        if team.first:

            def work() -> Generator[Progress | Preview | Frames | Past, None, None]:
                yield Past(run.state.past)
                yield from finish(run)

            yield from perform(plan, workspace, work(), partial(origin_of, plan, cache))
        else:
            for _ in finish(run):
                yield None


def device_of(plan: Plan, place: int) -> DeviceDescription:
    """The device of a process, by its number on its machine: GPUs begin with the plan's; all have the same CPU."""
    if plan.device.kind != "cuda":
        return plan.device
    return plan.device.model_copy(update={"index": plan.device.index + place})


class _Turn(NamedTuple):
    """A job of a batch whose networks are open."""

    number: int
    job: Job
    run: Run


def _shared(plan: Plan) -> Hashable:
    """What plans have in common that can use the same networks at the same time: what decides the experts and the text
    encoder, and what passes are made lighter by. Sizes, tiles and where the networks lie may differ."""
    networks = plan.residency.deciding.model_copy(update={"vae_tile": None})
    lighter = [use for use in plan.acceleration.recipe if isinstance(use.acceleration, EightBit | SparseAttention)]
    return (plan.model, plan.device, plan.precision, plan.loras, networks, plan.speed, *lighter)


def _together(jobs: Sequence[Job], cache: Path | None) -> Generator[tuple[int, Event], None, None]:
    """Jobs with the same networks."""
    for number, job in enumerate(jobs):
        yield number, Started(plan=job.plan)
    with repeatable(threads_for(jobs[0].plan.device)):
        turns = []
        try:
            residency = shared_residency([job.plan.residency for job in jobs])
            networks = open_networks(jobs[0].plan.model_copy(update={"residency": residency}), cache)
        except FilmgateError as error:
            yield from ((number, _failed(error)) for number in range(len(jobs)))
            return
        for number, job in enumerate(jobs):
            try:
                store = store_of(job.plan, job.state, cache)
                own = Shared(networks, job.plan.residency.vae_tile)
                turns.append(_Turn(number, job, Run(job.plan, own, partial(read_inputs, job.plan), store)))
            except FilmgateError as error:
                yield number, _failed(error)
        failed = set()
        for place, item in walk_all([turn.run for turn in turns]):
            if isinstance(item, FilmgateError):
                failed.add(place)
            yield turns[place].number, _failed(item) if isinstance(item, FilmgateError) else item
        turns = [turn for place, turn in enumerate(turns) if place not in failed]
        while turns:
            turn = turns.pop(0)
            yield from ((turn.number, event) for event in _frames_of(turn, cache))
        networks.release("vae")


def _frames_of(turn: _Turn, cache: Path | None) -> Generator[Event, None, None]:
    """The end of a job whose walk is done: its frames, its files, its take."""

    def work() -> Generator[Progress | Preview | Frames | Past, None, None]:
        yield Past(turn.run.state.past)
        yield from turn.run.advance()

    plan = turn.job.plan
    with closing(perform(plan, turn.job.workspace, work(), partial(origin_of, plan, cache))) as events:
        yield from (event for event in events if not isinstance(event, Started))


def _failed(error: FilmgateError) -> Failed:
    return Failed(code=error.code, message=str(error))


def open_networks(plan: Plan, cache: Path | None, team: Team = ONE, place: int = 0) -> OnDemand:
    """The networks of a plan on the device of a process, none of them loaded yet.

    Raises:
        DeviceError: the plan's device is not here, or cannot compute in the plan's precision.
        CheckpointError: the model or a LoRA is gone, damaged or another than when the plan was made.
    """
    device = choose_device(device_name(device_of(plan, place)))
    dtype_of(plan.precision, device)
    check_unchanged(plan.loras, cache)
    return OnDemand(
        plan.model, device, plan.precision, plan.loras, plan.residency, plan.speed, team, plan.acceleration.recipe,
        known_races(cache, circumstances(device), keeps=team.first),
    )  # fmt: skip


def networks_key(plan: Plan) -> Hashable:
    """What two plans must have in common so that one can use the networks that the other has opened: all that they are
    opened with, and the files as they are on disk at this moment.

    Raises:
        CheckpointError: a file of the model is gone or damaged.
    """
    return (
        plan.model, plan.device, plan.precision, plan.loras, plan.residency, plan.speed, plan.acceleration.recipe,
        file_states(plan.model, [Path(use.path) for use in plan.loras]),
    )  # fmt: skip


def store_of(plan: Plan, state: Path | None, cache: Path | None) -> Store:
    """Where the state of a run is kept: in ``state``, if it has a place at all.

    Raises:
        CheckpointError: a file of weights is gone or changes while it is read.
    """
    if state is None:
        return MemoryStore()
    origin = origin_of(plan, cache)
    facts = {"plan": plan.fingerprint, "machine": origin.hardware, "threads": str(threads_for(plan.device))}
    weights = {file.path: file.sha256 for file in origin.weights}
    return DiskStore(state, {**facts, **origin.versions, **weights}, len(plan.steps), interval=INTERVAL)


def origin_of(plan: Plan, cache: Path | None) -> Origin:
    """Of the machine as it is, which may be another than the plan was made on."""
    return Origin(
        weights=weight_records(plan.model, cache),
        versions=versions_of("torch", "numpy", "tokenizers", "av"),
        hardware=hardware_line(describe_device(device_name(plan.device))),
    )


def read_inputs(plan: Plan) -> Pictures:
    """The pictures of a plan's inputs, as the engine takes them.

    Raises:
        InvalidRequest: a file is gone, is another than when the plan was made, or is too short.
        DamagedFile: it cannot be read.
    """
    path = plan.input("camera")
    return Pictures(
        image=_still(plan, "image"),
        last_image=_still(plan, "last_image"),
        video=_clip(plan),
        mask=_mask(plan),
        references=tuple(read_picture(verified(file)) for file in plan.inputs if file.role == "reference"),
        path=None if path is None else read_poses(verified(path)),
    )


def _clip(plan: Plan) -> NDArray[np.uint8] | None:
    """The video among the inputs: as long and large as the result, or as the part of it that is kept."""
    video, shape = plan.input("video"), plan.video
    if video is None:
        return None
    frames = video.frames_at(plan.fps) if plan.keep in ("start", "end") else shape.frames
    size = inner_size((video.width, video.height), shape) if plan.keep == "inside" else (shape.width, shape.height)
    return read_clip(verified(video), fps=plan.fps, frames=frames, width=size[0], height=size[1])


def _mask(plan: Plan) -> NDArray[np.uint8] | None:
    """The mask among the inputs, [F, h, w] with F = 1 for a picture. It is grey: one colour is enough."""
    mask, shape = plan.input("mask"), plan.video
    if mask is None:
        return None
    if mask.fps is None:
        return cover(read_picture(verified(mask)), shape.width, shape.height)[None, ..., 0]
    clip = read_clip(verified(mask), fps=plan.fps, frames=shape.frames, width=shape.width, height=shape.height)
    return clip[..., 0]


def _still(plan: Plan, role: InputRole) -> Picture | None:
    file = plan.input(role)
    return None if file is None else read_picture(verified(file))


def device_name(device: DeviceDescription) -> str:
    """What torch and the command line call a device."""
    return f"cuda:{device.index}" if device.kind == "cuda" else device.kind


def threads_for(device: DeviceDescription) -> int:
    """Threads on the CPU: as many as the plan's own machine used, so that a repetition sums in the same order, but not
    more than this one has cores."""
    cores = describe_device("cpu").cores
    return min(device.cores, cores) if device.kind == "cpu" else cores
