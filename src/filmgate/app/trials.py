"""Measuring what may be skipped with a model: plans are carried out with and without, by whoever has torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filmgate.app.places import shipped_evidence
from filmgate.direction.published import not_here
from filmgate.spec import Calibration, Gate, InvalidRequest, ModelDescription, Plan, Progress, Request, SpeedProfile
from filmgate.spec.units import duration_text

if TYPE_CHECKING:
    from filmgate.direction.acceleration import Evidence
    from filmgate.direction.gating import Facts, Forecast, Trials

_TRIALS, _TRUTH = "filmgate.backends.trials", "filmgate.training.trial_truth"
"""By name, because they need torch."""
_BEST = 2
"""Of the recipes whose numbers are within limits, those that save most are looked at as videos."""


class _Bench(NamedTuple):
    """What a gate needs before its first walk: the recipes, prompts without and with them, and where it is kept."""

    trials: Trials
    plans: list[Plan]
    others: list[dict[str, Plan]]
    store: Any
    forecast: Forecast


class _Looked(NamedTuple):
    """Prompts whose videos were compared, with the recipes, and where that is kept."""

    plans: list[Plan]
    others: list[dict[str, Plan]]
    store: Any


class TrialBench:
    """Carries out trials with whatever a request plans.

    Args:
        plan: Makes a plan of a request.
        model: Finds a model by its name.
        cache: Where measurements are kept.
    """

    def __init__(
        self, plan: Callable[[Request], Plan], model: Callable[[str | None], ModelDescription], cache: Path
    ) -> None:
        self._plan, self._model, self._cache = plan, model, cache

    def calibrate(self, request: Request, prompts: int) -> Generator[Progress | Calibration, None, None]:
        """See :meth:`filmgate.app.Filmgate.calibrate`."""
        from filmgate.backends.evidence import keep
        from filmgate.direction.gating import calibration_of
        from filmgate.direction.trial_prompts import trial_prompts

        plans = self._plans(request, trial_prompts(self._model(request.model), prompts))
        facts, bench = self._facts(plans[0]), import_module(_TRIALS)
        store, nothing = bench.open_store(self._cache, facts), [dict[str, Plan]()] * prompts
        before = sum(not store.numbers(plan).lacks(()) for plan in plans)
        if before:
            yield _note(f"an unfinished calibration goes on: {before} of {prompts} prompts are measured")
        ratios = []
        for event in bench.follow_trials(plans, nothing, self._cache, frames=False, store=store):
            if isinstance(event, Progress):
                yield event
            else:
                ratios.append(event.ratios)
        calibration = calibration_of(plans[0], ratios, facts)
        keep(calibration, self._cache)
        store.clear(plans, nothing)
        yield calibration

    def forecast(
        self, request: Request, profile: SpeedProfile, prompts: int, readers: Path | None, clips: int
    ) -> Forecast:
        """See :meth:`filmgate.app.Filmgate.gate_forecast`."""
        return self._begin(request, profile, prompts, readers, clips).forecast

    def gate(
        self, request: Request, profile: SpeedProfile, prompts: int, readers: Path | None, clips: int
    ) -> Generator[Progress | Gate, None, None]:
        """See :meth:`filmgate.app.Filmgate.gate`."""
        trials, plans, others, store, forecast = self._begin(request, profile, prompts, readers, clips)
        for text in trials.left_out:
            yield _note(f"not tried: {text}")
        yield _note(forecast_text(forecast))
        bench = import_module(_TRIALS)
        walks = dict.fromkeys(trials.names, 0)
        stored: list[str] = []
        if trials.names:
            for event in bench.follow_trials(plans, others, self._cache, frames=False, store=store):
                if isinstance(event, Progress):
                    yield event
                elif isinstance(event, bench.LeftOut):
                    yield _left_out(trials, event)
                elif isinstance(event, bench.Measured):
                    trials.add_steps({event.name: event.forward}, {event.name: event.trajectory})
                    walks[event.name] += 1
                    if walks[event.name] == prompts and (readers is None or event.name not in trials.within()):
                        stored.append(event.name)
                        yield self._stored(trials.gate(event.name))
        looked = None
        if readers is not None and trials.within():
            looked = yield from self._look(request, trials, readers, clips)
        for name in trials.names:
            if name not in stored:
                yield self._stored(trials.gate(name))
        store.clear(plans, others)
        if looked is not None:
            looked.store.clear(looked.plans, looked.others)

    def _stored(self, gate: Gate) -> Gate:
        from filmgate.backends.evidence import keep

        keep(gate, self._cache)
        return gate

    def _begin(self, request: Request, profile: SpeedProfile, prompts: int, readers: Path | None, clips: int) -> _Bench:
        """Choose what is tried; nothing is loaded for it."""
        from filmgate.direction.gating import Trials
        from filmgate.direction.trial_prompts import trial_prompts

        model, bench = self._model(request.model), import_module(_TRIALS)
        trials = Trials(profile, evidence_of(model, self._cache).calibrations)
        plans = self._plans(request, trial_prompts(model, prompts))
        facts = self._facts(plans[0])
        trials.begin(plans[0], facts, lambda recipe: bench.unavailable(plans[0], recipe))
        others = [trials.accelerated(plan) for plan in plans]
        store = bench.open_store(self._cache, facts)
        measured = [store.measured(plan, own) for plan, own in zip(plans, others, strict=True)]
        forecast = trials.forecast(plans, measured, clips if readers is not None else 0, _BEST)
        return _Bench(trials, plans, others, store, forecast)

    def _look(self, request: Request, trials: Trials, readers: Path, clips: int) -> Generator[Progress, None, _Looked]:
        """Compare videos of the best recipes, and what they show. What a pair of videos has shown is kept at once."""
        from filmgate.evaluation.temporal import steadiness

        bench = import_module(_TRIALS)
        [first] = self._plans(request, [("a red ball", 0)])
        reader = import_module(_TRUTH).TruthReader(readers, first.video, clips)
        plans = self._plans(request, reader.prompts)
        best = trials.within()[:_BEST]
        others = [trials.accelerated(plan, best) for plan in plans]
        store = bench.open_store(self._cache, self._facts(first), _reader_hash(readers))
        waiting = []
        for number, (plan, own) in enumerate(zip(plans, others, strict=True)):
            numbers = store.numbers(plan)
            if any(other.fingerprint not in numbers.clips for other in own.values()):
                waiting.append(number)
                continue
            for name, other in own.items():
                clip, steps = numbers.clips[other.fingerprint], numbers.recipes[other.fingerprint]
                trials.add_clip(name, clip.truth, clip.flicker, clip.warp)
                trials.add_steps({name: steps.forward}, {name: steps.trajectory})
        if len(waiting) < len(plans):
            yield _note(f"{len(plans) - len(waiting)} of {len(plans)} videos were compared before")
        numbers_left = iter(waiting)
        run = () if not waiting else bench.follow_trials(
            [plans[number] for number in waiting], [others[number] for number in waiting], self._cache, frames=True
        )  # fmt: skip
        for event in run:
            if isinstance(event, Progress):
                yield event
            elif isinstance(event, bench.LeftOut):
                yield _left_out(trials, event)
            elif isinstance(event, bench.Tried):
                number = next(numbers_left)
                numbers = store.numbers(plans[number])
                exact, steady = reader.share(number, event.frames[""]), steadiness(event.frames[""])
                for name in event.trajectory:
                    mine = steadiness(event.frames[name])
                    shown = (
                        (reader.share(number, event.frames[name]), exact), (mine.flicker, steady.flicker),
                        (mine.warp_error, steady.warp_error),
                    )  # fmt: skip
                    trials.add_clip(name, *shown)
                    trials.add_steps({name: event.forward[name]}, {name: event.trajectory[name]})
                    key = others[number][name].fingerprint
                    numbers.clips[key] = bench.clip_of(*shown)
                    numbers.recipes[key] = bench.recipe_of(event.forward[name], event.trajectory[name])
                store.keep(plans[number], numbers)
        return _Looked(plans, others, store)

    def _plans(self, request: Request, prompts: Sequence[tuple[str, int]]) -> list[Plan]:
        """Plans that skip nothing, for prompts with their seeds: of all steps, also of a model that paints in few of
        them by default, whose LoRAs would be other weights than those that are measured."""
        from filmgate.direction.distilled import NONE
        from filmgate.direction.scopes import TRIED

        changes = {"profile": "exact" if request.profile != "plain" else "plain", "preview_every": 0}
        changes["distilled"] = request.distilled or NONE
        plans = [
            self._plan(request.model_copy(update={**changes, "prompt": prompt, "seed": seed}))
            for prompt, seed in prompts
        ]
        if not plans[0].model.here:
            raise not_here(plans[0].model.id)
        if plans[0].operation not in TRIED or plans[0].layout.ranks > 1:
            raise InvalidRequest(
                "model", f"{plans[0].model.id} is tried with text alone, on one device",
                allowed="a model of text to video, without pictures and --gpus",
            )  # fmt: skip
        return plans

    def _facts(self, plan: Plan) -> Facts:
        """By what, when and where a measurement is made."""
        from filmgate.backends.evidence import facts_of

        return facts_of(plan, self._cache)


def evidence_of(model: ModelDescription, cache: Path) -> Evidence:
    """What was measured with a model."""
    from filmgate.backends.evidence import evidence_for

    return evidence_for(model, cache, shipped_evidence(model))


def forecast_text(forecast: Forecast) -> str:
    """``6 recipes on 4 prompts: 912 passes, about 3 min``."""
    if not forecast.recipes:
        return "no recipe is left to be tried"
    recipes, prompts = (_counted(forecast.recipes, "recipe"), _counted(forecast.prompts, "prompt"))
    time = duration_text(forecast.seconds)
    text = f"{recipes} on {prompts}, each beside one exact walk: {forecast.passes} passes, about {time}"
    if forecast.measured:
        done = f"{forecast.measured} of {forecast.recipes * forecast.prompts}"
        text = f"an unfinished gate goes on, {done} walks are measured; of {text}"
    if forecast.clips:
        videos, most = f"{forecast.clips} videos with and without", duration_text(forecast.clip_seconds)
        text += f"; then {videos} what is within limits: up to {forecast.clip_passes} passes, {most}"
    return text


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _left_out(trials: Trials, event: Any) -> Progress:
    """That a recipe could not be carried out, which ends only itself."""
    trials.leave_out(event.name, event.reason)
    return _note(f"not tried: {event.name}: {event.reason}")


def _note(text: str) -> Progress:
    return Progress(stage="load", done=0, total=1, seconds=0.0, note=text)


def _reader_hash(path: Path) -> str:
    """What videos are read with: what they show counts for that."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path)
