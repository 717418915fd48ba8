"""Measuring what may be skipped with a model: plans are carried out with and without, by whoever has torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filmgate.app.places import shipped_evidence
from filmgate.direction.published import not_here
from filmgate.spec import Calibration, Gate, InvalidRequest, ModelDescription, Plan, Progress, Request, SpeedProfile

if TYPE_CHECKING:
    from filmgate.direction.acceleration import Evidence
    from filmgate.direction.gating import Facts, Trials

_TRIALS, _TRUTH = "filmgate.backends.trials", "filmgate.training.trial_truth"
"""By name, because they need torch."""
_BEST = 2
"""Of the recipes whose numbers are within limits, those that save most are looked at as videos."""


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
        tried = yield from _counted(import_module(_TRIALS).run_trials(plans, [{}] * prompts, self._cache, frames=False),
                                    prompts)  # fmt: skip
        calibration = calibration_of(plans[0], [one.ratios for one in tried], self._facts(plans[0]))
        keep(calibration, self._cache)
        yield calibration

    def gate(
        self, request: Request, profile: SpeedProfile, prompts: int, readers: Path | None, clips: int
    ) -> Generator[Progress | Gate, None, None]:
        """See :meth:`filmgate.app.Filmgate.gate`."""
        from filmgate.backends.evidence import keep
        from filmgate.direction.gating import Trials
        from filmgate.direction.trial_prompts import trial_prompts

        model = self._model(request.model)
        trials = Trials(profile, evidence_of(model, self._cache).calibrations)
        plans = self._plans(request, trial_prompts(model, prompts))
        trials.begin(plans[0], self._facts(plans[0]))
        if trials.left_out:
            yield Progress(stage="load", done=0, total=1, seconds=0.0, note=f"not tried: {'; '.join(trials.left_out)}")
        run = import_module(_TRIALS).run_trials
        if trials.names:
            others = [trials.accelerated(plan) for plan in plans]
            tried = yield from _counted(run(plans, others, self._cache, frames=False), prompts)
            for one in tried:
                trials.add_steps(one.forward, one.trajectory)
        if readers is not None and trials.within():
            yield from self._look(request, trials, readers, clips)
        for gate in trials.gates():
            keep(gate, self._cache)
            yield gate

    def _look(self, request: Request, trials: Trials, readers: Path, clips: int) -> Generator[Progress, None, None]:
        """Compare videos of the best recipes, and what they show."""
        from filmgate.evaluation.temporal import steadiness

        [first] = self._plans(request, [("a red ball", 0)])
        reader = import_module(_TRUTH).TruthReader(readers, first.video, clips)
        plans = self._plans(request, reader.prompts)
        best = trials.within()[:_BEST]
        others = [trials.accelerated(plan, best) for plan in plans]
        run = import_module(_TRIALS).run_trials(plans, others, self._cache, frames=True)
        number = 0
        start = time.monotonic()
        for number, one in enumerate(run):
            exact, steady = reader.share(number, one.frames[""]), steadiness(one.frames[""])
            for name in best:
                mine = steadiness(one.frames[name])
                trials.add_clip(
                    name, (reader.share(number, one.frames[name]), exact), (mine.flicker, steady.flicker),
                    (mine.warp_error, steady.warp_error),
                )  # fmt: skip
            trials.add_steps(one.forward, one.trajectory)
            seconds = (time.monotonic() - start) / (number + 1)
            yield Progress(stage="decode", done=number + 1, total=clips, seconds=seconds,
                           eta_seconds=seconds * (clips - number - 1))  # fmt: skip

    def _plans(self, request: Request, prompts: Sequence[tuple[str, int]]) -> list[Plan]:
        """Plans that skip nothing, for prompts with their seeds."""
        changes = {"profile": "exact" if request.profile != "plain" else "plain", "preview_every": 0}
        plans = [
            self._plan(request.model_copy(update={**changes, "prompt": prompt, "seed": seed}))
            for prompt, seed in prompts
        ]
        if not plans[0].model.here:
            raise not_here(plans[0].model.id)
        if plans[0].operation not in ("t2v", "t2i") or plans[0].layout.ranks > 1:
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


def _counted(tried: Generator[Any, None, None], total: int) -> Generator[Progress, None, list[Any]]:
    """Trials, with progress after each."""
    start, found = time.monotonic(), []
    for one in tried:
        found.append(one)
        seconds = (time.monotonic() - start) / len(found)
        left = seconds * (total - len(found))
        yield Progress(stage="denoise", done=len(found), total=total, seconds=seconds, eta_seconds=left)
    return found
