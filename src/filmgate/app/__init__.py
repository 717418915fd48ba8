"""Filmgate as a library: find models, plan, render, judge. The only place where rooms are wired together.

Nothing here loads torch; a backend does, when it renders.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from filmgate.app.models import Models
from filmgate.app.places import default_cache
from filmgate.app.wishes import describe_inputs, resolve_loras, token_counter
from filmgate.backends.kept import Kept
from filmgate.direction.published import not_here
from filmgate.media.run_folder import RunNote, folder_of, notes, read_note
from filmgate.spec import (
    BackendError,
    Calibration,
    CheckpointError,
    Done,
    Event,
    Failed,
    FilmgateError,
    Gate,
    InvalidRequest,
    ModelDescription,
    Plan,
    Progress,
    Report,
    Request,
    SpeedProfile,
    Started,
    Take,
    UnknownName,
)

if TYPE_CHECKING:
    from filmgate.app.trials import TrialBench
    from filmgate.backends.backend import BackendType
    from filmgate.backends.launch import Launch
    from filmgate.direction.gating import Forecast
    from filmgate.media.errand import Errand

BACKENDS = {
    "local": "filmgate.backends.local:LocalBackend",
    "fake": "filmgate.backends.fake:FakeBackend",
}
"""Backends by name: module and class, imported on use so that planning starts fast."""
_VIDEO, _PICTURE = ".mp4", ".png"
_RUNS = "runs"
_TOGETHER = BACKENDS["local"].partition(":")[0]
"""What processes of ``torchrun`` do together; imported on use too."""


class Order(NamedTuple):
    """A plan and where its files go, for :meth:`Filmgate.render_batch`."""

    plan: Plan
    output: Path
    sheet: Path | None = None
    overwrite: bool = False


class Filmgate:
    """The whole of Filmgate.

    Args:
        model_paths: Models on disk: directories of Wan, of Diffusers or of single files, or directories of such.
        cache: Where shipped models are unpacked, once, and hashes of weights remembered; default: the user's cache
            directory.
        backend: Name of the backend that renders, a key of :data:`BACKENDS`.
        keep: Whether networks that a plan lets stay (``memory`` resident, ``text_encoder`` device) stay for the next
            plan of :meth:`render` too, so that a worker's second request loads nothing; until :meth:`close`.

    Raises:
        UnknownName: there is no such backend.
    """

    def __init__(
        self,
        model_paths: Iterable[str | Path] = (),
        cache: str | Path | None = None,
        backend: str = "local",
        *,
        keep: bool = False,
    ) -> None:
        if backend not in BACKENDS:
            raise UnknownName("backend", backend, BACKENDS)
        self._cache = Path(cache).absolute() if cache is not None else default_cache()
        self._models = Models(map(Path, model_paths), self._cache)
        self._backend = backend
        self._kept = Kept() if keep else None

    def close(self) -> None:
        """Let go of networks that were kept; afterwards the next plan loads its own again."""
        if self._kept is not None:
            self._kept.close()

    def models(self, damaged: list[CheckpointError] | None = None) -> tuple[ModelDescription, ...]:
        """Every model that can be used: the caller's own first, then the shipped and the fetched ones. An id that comes
        twice counts once, the first time.

        Args:
            damaged: What is wrong with fetched models that cannot be used is added here, and the others are listed.
                None: the first of them is raised.

        Raises:
            InvalidRequest: a path of ``model_paths`` is not a directory with models.
            CheckpointError: a model is damaged.
            OutputError: the cache cannot be written.
        """
        return self._models.every(damaged)

    def model(self, name: str | None = None) -> ModelDescription:
        """A model by its id in :meth:`models`, by the path of its directory or files, or by the name of the repository
        that it was fetched from; None: the shipped one that paints from words.

        Raises:
            InvalidRequest: there is no such directory, no model at all, or it is a published one whose files are not
                here (UnknownName: no such id).
            CheckpointError: the model is damaged.
            OutputError: the cache cannot be written.
        """
        return self._models.named(name)

    def plan(self, request: Request, *, device_profile: str | None = None, host_memory: int | None = None) -> Plan:
        """Resolve every choice that ``request`` leaves open. Takes milliseconds, and longer only to read large inputs;
        loads no weights and writes nothing, except that a shipped model is unpacked into the cache the first time.

        Args:
            request: ``request.model`` is what :meth:`model` takes, or the name of a published model that is not here,
                which is planned from its description; None: a shipped one that can do what is asked for.
            device_profile: Plan for this device, whether it is here or not: a name of
                :data:`filmgate.direction.devices.PROFILES`.
            host_memory: Plan for a machine with this many bytes of its own memory; None: for this one, or, with a
                profile, for one that has enough.

        Raises:
            InvalidRequest: a value is out of range, a file is not there (UnknownName: a name that does not exist), or
                the device has too little memory.
            CheckpointError: the model, a picture or a video is damaged.
            DeviceError: the device asked for is not here.
            OutputError: the cache cannot be written.
        """
        from filmgate.app.trials import evidence_of
        from filmgate.backends.hardware import check_gpus, describe_device, free_memory, profiled_device
        from filmgate.backends.measurements import this_machine
        from filmgate.direction.acceleration import NO_EVIDENCE
        from filmgate.direction.distilled import as_shipped
        from filmgate.direction.planner import plan
        from filmgate.direction.tasks import Unable

        if device_profile is not None and request.device is not None:
            raise InvalidRequest("device_profile", "was given together with device", allowed="one of the two")
        device = describe_device(request.device) if device_profile is None else profiled_device(device_profile)
        if device_profile is None:
            check_gpus(request.gpus, device)
        if host_memory is not None and device.kind != "cuda":
            device = device.model_copy(update={"memory_bytes": host_memory})  # they are one
        model = self._models.to_plan_with(request)
        request = as_shipped(request, model)
        loras = resolve_loras(request, model, self._cache)
        elsewhere = 0 if device_profile is not None else None
        free = free_memory(device) if device_profile is None else 0
        machine = this_machine(self._cache, elsewhere if host_memory is None else host_memory, free)
        evidence = evidence_of(model, self._cache) if request.profile in ("balanced", "fast") else NO_EVIDENCE
        count = token_counter(model)
        try:
            return plan(request, model, device, count, describe_inputs(request), loras, machine, evidence)
        except Unable as error:
            raise self._models.with_nearest(error) from None

    def measure(self, plan: Plan) -> None:
        """Do two steps of ``plan`` and decode what they give, so that the next plan of its model and size goes by what
        the device does. Nothing is kept but the measurement, in the cache.

        Raises:
            BackendError: the work failed; says why.
            InvalidRequest: the model is not here.
        """
        if not plan.model.here:
            raise not_here(plan.model.id)
        short = plan.model_copy(update={"steps": plan.steps[:2], "preview_every": 0})
        with tempfile.TemporaryDirectory(prefix="filmgate-") as folder:
            make = resolve(self._backend)
            with closing(make(Path(folder), self._cache, None).render(short)) as events:
                for event in events:
                    if isinstance(event, Failed):
                        raise BackendError(event.message)

    def calibrate(self, request: Request, *, prompts: int = 4) -> Generator[Progress | Calibration, None, None]:
        """Measure how the magnitude of what a model's blocks add changes from step to step, which MagCache needs, and
        store it in the cache for plans of the same scope.

        Args:
            request: Model, size and schedule; its prompt and seed do not count.
            prompts: How many of the fixed prompts are walked through.

        Prompts that were walked through are kept at once: after a kill the next call goes on from there.

        Yields:
            Progress by step, and last what was stored.

        Raises:
            InvalidRequest: the model is not here, or is no model of text to video.
            CheckpointError, DeviceError: it cannot be loaded.
            OutputError: the cache cannot be written.
        """
        return self._bench().calibrate(request, prompts)

    def gate(
        self,
        request: Request,
        profile: SpeedProfile,
        *,
        prompts: int = 8,
        readers: Path | None = None,
        clips: int = 60,
    ) -> Generator[Progress | Gate, None, None]:
        """Measure what a profile may skip with a model, and store the verdicts in the cache.

        Velocities and latents are compared for every recipe of the profile. Those within its limits that save most are
        then compared as videos, where ``readers`` can read what they show.

        Args:
            request: Model, size and schedule; its prompt and seed do not count.
            profile: Whose recipes and limits.
            prompts: How many of the fixed prompts velocities and latents are compared on; what passes on fewer than 8
                is stored and switches nothing on.
            readers: Weights of a reader of the toy world, for models of it.
            clips: How many held-out prompts are read.

        What a prompt shows of a recipe is kept at once in the cache: after a kill the next call goes on from there.
        Recipes that cannot be carried out on this machine are left out, and notes say why.

        Yields:
            Progress by step, and every gate when it is stored.

        Raises:
            As :meth:`calibrate`.
        """
        return self._bench().gate(request, profile, prompts, readers, clips)

    def gate_forecast(
        self,
        request: Request,
        profile: SpeedProfile,
        *,
        prompts: int = 4,
        readers: Path | None = None,
        clips: int = 60,
    ) -> Forecast:
        """How many passes :meth:`gate` would make, about how long that takes, and what it would leave out.

        Raises:
            As :meth:`calibrate`.
        """
        return self._bench().forecast(request, profile, prompts, readers, clips)

    def place_of(self, document: Gate | Calibration) -> Path:
        """The file of a gate or a calibration that was measured here."""
        from filmgate.backends.evidence import place_of

        return place_of(document, self._cache)

    def _bench(self) -> TrialBench:
        from filmgate.app.trials import TrialBench

        return TrialBench(self.plan, self.model, self._cache)

    def render(
        self,
        plan: Plan,
        output: str | Path,
        *,
        sheet: str | Path | None = None,
        overwrite: bool = False,
        state: str | Path | None = None,
        resume: bool = True,
    ) -> Generator[Event, None, None]:
        """Make the video of ``plan``.

        The video appears at ``output`` (a plan of one frame may also be a picture, ``.png``), its manifest beside it
        (``clip.json`` for ``clip.mp4``) and, where asked for, its contact sheet at ``sheet``: all of them when Done is
        yielded, none before, and none ever if the work fails or the generator is closed. Names that are taken are
        refused at once unless ``overwrite``; if a name is taken only while the work goes on, ``-2``, ``-3``, ... is
        appended to all of them and the take says so.

        While the work goes on its state is kept in ``state``, a directory for all unfinished runs (default: ``runs`` in
        the cache). If the process is killed, or the work fails or is cancelled, the next call with the same plan goes
        on from there and ends in the same files, byte for byte but for timings and date in the manifest. The state is
        thrown away with Done. ``resume=False`` neither uses nor keeps one.

        Raises:
            InvalidRequest: ``output`` does not end in ``.mp4``, or ``.png`` where there is one frame; or the model is
                not here.
            OutputError: the files cannot be written there, or exist.
        """
        order = Order(plan, Path(output), None if sheet is None else Path(sheet), overwrite)
        return self._render(plan, self._errand(order, state=state, resume=resume))

    def render_batch(
        self,
        orders: Sequence[Order],
        *,
        state: str | Path | None = None,
        resume: bool = True,
    ) -> Generator[tuple[int, Event], None, None]:
        """Make several videos, sharing what their plans have in common: networks are loaded once for all of them.

        Every video is the one that :meth:`render` makes, to the bit, and appears when it is finished. Yields the events
        of each with its number in ``orders``, Started first and Done or Failed last; ``eta_seconds`` is until the end
        of all. One that fails, or whose files cannot be written, takes no other with it. Orders with the same plan are
        carried out once and delivered to every one of their names. ``state`` and ``resume`` are those of
        :meth:`render`.
        """
        failed: list[tuple[int, Event]] = []
        errands: dict[int, tuple[Plan, Errand]] = {}
        for number, order in enumerate(orders):
            try:
                errand = self._errand(order, state=state, resume=resume)
            except FilmgateError as error:
                failed += [(number, Started(plan=order.plan)), (number, _failed(error))]
            else:
                errands[number] = (order.plan, errand)
        return self._render_batch(failed, errands)

    @contextmanager
    def leading(self, launch: Launch) -> Iterator[None]:
        """What the first process of ``torchrun`` plans and renders in. When it leaves, no other waits for it."""
        together = import_module(_TOGETHER)
        together.watch_of(launch)
        try:
            yield
        finally:
            together.dismiss(launch)

    def accompany(self, launch: Launch) -> None:
        """Do the part of a process of ``torchrun`` that is not the first, of the video that the first one makes.

        Raises:
            FilmgateError: whatever goes wrong with the work.
        """
        import_module(_TOGETHER).accompany(launch, self._cache)

    def unfinished(self, plan: Plan, state: str | Path | None = None) -> Path | None:
        """Where the video of an unfinished run of ``plan`` was to go; None if there is no such run. ``state`` as for
        :meth:`render`."""
        note = read_note(folder_of(self._runs(state), plan))
        return None if note is None else Path(note.output)

    def unfinished_runs(self, state: str | Path | None = None) -> list[RunNote]:
        """Every run that was begun, was not finished and that no process is at, the latest last: their plans, and where
        their files were to go."""
        return notes(self._runs(state))

    def judge(self, file: str | Path, reference: str | Path | None = None) -> Report:
        """Measure a video file, whoever made it; with ``reference``, also how far the two are apart.

        Raises:
            InvalidRequest: there is no such file, or the two have different sizes.
            DamagedFile: it is not a video.
        """
        from filmgate.evaluation.facts import judge

        return judge(Path(file), None if reference is None else Path(reference))

    def _runs(self, state: str | Path | None) -> Path:
        return self._cache / _RUNS if state is None else Path(state).absolute()

    def _errand(self, order: Order, *, state: str | Path | None, resume: bool) -> Errand:
        """The way to the files of an order, its names checked."""
        if not order.plan.model.here:
            raise not_here(order.plan.model.id)
        suffixes = (_VIDEO, _PICTURE) if order.plan.video.frames == 1 else (_VIDEO,)
        video = order.output
        if video.suffix.lower() not in suffixes:
            nearest, names = str(video.with_suffix(_VIDEO)), " or ".join(suffixes)
            raise InvalidRequest(
                "output", f"{video.name!r} is not an MP4", allowed=f"a name in {names}", nearest=nearest
            )
        runs = self._runs(state) if resume else None
        from filmgate.media.errand import Errand  # planning must not wait for the codecs

        return Errand(order.plan, video, order.sheet, overwrite=order.overwrite, runs=runs)

    def _render(self, plan: Plan, errand: Errand) -> Generator[Event, None, None]:
        make = resolve(self._backend)
        try:
            finished = errand.begin()
            if finished is not None:
                yield from _finished_before(plan, finished)
                return
            with closing(make(errand.workspace, self._cache, errand.state, self._kept).render(plan)) as events:
                for event in events:
                    yield _outcome(event, errand)
                    if isinstance(event, Started):
                        yield from _told(errand)
        finally:
            errand.end()

    def _render_batch(
        self, failed: list[tuple[int, Event]], errands: dict[int, tuple[Plan, Errand]]
    ) -> Generator[tuple[int, Event], None, None]:
        from filmgate.backends.backend import Job

        yield from failed
        jobs: dict[int, Job] = {}
        twins: dict[str, list[int]] = defaultdict(list)
        """Orders by their plan: the first of them does the work, the others get copies."""
        try:
            for number, (plan, errand) in errands.items():
                group = twins[plan.fingerprint]
                try:
                    finished = errand.begin(beside=bool(group))
                except FilmgateError as error:
                    yield from ((number, event) for event in (Started(plan=plan), _failed(error)))
                    continue
                if finished is not None:
                    yield from ((number, event) for event in _finished_before(plan, finished))
                    errand.end()
                    continue
                if not group:
                    jobs[number] = Job(plan, errand.workspace, errand.state)
                group.append(number)
            numbers = list(jobs)
            with closing(resolve(self._backend).batch(list(jobs.values()), self._cache)) as events:
                for place, event in events:
                    first, *others = twins[jobs[numbers[place]].plan.fingerprint]
                    for number in (*others, first):  # copies are taken before the files move
                        yield from self._batch_event(number, event, errands[number][1], jobs[first].workspace)
        finally:
            for _, errand in errands.values():
                errand.end()

    def _batch_event(self, number: int, event: Event, errand: Errand, made: Path) -> Iterator[tuple[int, Event]]:
        """An event as it is told: files have their names when Done is. They were made in ``made``."""
        if not isinstance(event, Done):
            yield number, _outcome(event, errand)
            if isinstance(event, Started):
                yield from ((number, note) for note in _told(errand))
            return
        try:
            outcome = (
                _outcome(event, errand) if errand.works_in(made) else Done(take=errand.deliver_copy(event.take, made))
            )
        except FilmgateError as error:
            outcome = _failed(error)
        yield number, outcome
        errand.end()


def _finished_before(plan: Plan, take: Take) -> Iterator[Event]:
    """Events of a run whose process was killed after its files had got their names."""
    yield Started(plan=plan)
    yield Progress(stage="deliver", done=1, total=1, seconds=0.0, eta_seconds=0.0, note="it was finished already")
    yield Done(take=take)


def _told(errand: Errand) -> Iterator[Progress]:
    """What a person should know before the work begins."""
    if errand.notes:
        yield Progress(stage="load", done=0, total=1, seconds=0.0, note="; ".join(errand.notes))


def _outcome(event: Event, errand: Errand) -> Event:
    """An event as the caller sees it: of files that have their names, or could not be written under them.

    Raises:
        OutputError: the files cannot be moved.
    """
    match event:
        case Done():
            return Done(take=errand.deliver(event.take))
        case Failed():
            return errand.explained(event)
    return event


def _failed(error: FilmgateError) -> Failed:
    return Failed(code=error.code, message=str(error))


def resolve(backend: str) -> BackendType:
    """The class behind a name of :data:`BACKENDS`. It is imported here, and with it all that it needs.

    Raises:
        UnknownName: there is no such backend.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    module, _, name = BACKENDS[backend].partition(":")
    return cast("BackendType", getattr(import_module(module), name))
