"""What skipping work saves and costs on the shipped toy model: velocities, latents, seconds, and what videos show.

    python bench/acceleration.py --part steps --json OUT          every recipe of both profiles, on fixed prompts
    python bench/acceleration.py --part clips --json OUT          the best recipe of each profile, on held-out prompts
    python bench/acceleration.py --part seconds --json OUT        the same, timed beside the exact ones
    python bench/acceleration.py --part publish --json OUT [OUT ...] [--ship DIR]

Parts keep their numbers in OUT as they come, so that one can be stopped and the next begun; where processes have shared
the prompts, each has its own. The last part writes claims and, with ``--ship``, gates and calibration as they lie
beside the model. Seconds are those of the processor, of one thread: other work on the machine does not count. Clips are
painted once exactly and once with each recipe from the same noise; the reader is that of ``bench/toybox_truth.py``.

Claims, ``cpu.acceleration.PROFILE.``: ``passes_saved`` (share), ``denoise_speedup`` and ``total_speedup`` (seconds of
exact over accelerated), ``velocity_error``, ``latent_error``, ``truth_points``, ``flicker_ratio``,
``warp_error_ratio``, each of the latter three with ``.low`` and ``.high``, the ends of their 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from claims import Measured, report, write
from filmgate.app import Filmgate
from filmgate.backends.evidence import facts_of
from filmgate.backends.local import open_networks
from filmgate.backends.trials import run_trials
from filmgate.direction.gates import Numbers, interval
from filmgate.direction.gating import Trials, calibration_of
from filmgate.direction.trial_prompts import trial_prompts
from filmgate.engine.pipeline.render import render
from filmgate.engine.runtime.place import repeatable
from filmgate.evaluation.temporal import steadiness
from filmgate.spec import Calibration, Plan, Progress, Request, SpeedProfile
from filmgate.training.trial_truth import TruthReader

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache"
READER = HERE / "readers" / "rich.planes"
PROFILES: tuple[SpeedProfile, ...] = ("balanced", "fast")
CALIBRATED, TRIED = 8, 8
"""Prompts of the calibration, and those that every recipe is tried on: as many as a gate asks for."""


class Record:
    """Numbers in a JSON file that is complete after every one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def join(self, other: Record) -> None:
        """Take up what another process has compared."""
        for part in ("steps", "clips"):
            for name, entries in other.numbers.get(part, {}).items():
                own = self.numbers.setdefault(part, {}).setdefault(name, [])
                own += [entry for entry in entries if entry not in own]

    def save(self) -> None:
        """Write the file anew, by rename."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.numbers, indent=1) + "\n")
        part.replace(self.path)


def plans_of(filmgate: Filmgate, prompts: list[tuple[str, int]]) -> list[Plan]:
    """Exact plans, of all steps."""
    wishes = [Request(prompt=prompt, seed=seed, distilled="none", device="cpu") for prompt, seed in prompts]
    return [filmgate.plan(wish) for wish in wishes]


def steps(filmgate: Filmgate, record: Record) -> None:
    """Calibrate, and compare velocities and latents under every recipe."""
    plans = plans_of(filmgate, trial_prompts(filmgate.model(), CALIBRATED))
    facts = facts_of(plans[0], CACHE)
    ratios = [one.ratios for one in run_trials(plans, [{}] * len(plans), CACHE, frames=False)]
    calibration = calibration_of(plans[0], ratios, facts)
    record.numbers["calibration"] = calibration.model_dump(mode="json")
    record.save()
    trials = begun(calibration, plans[0], record)
    plans = plans[:TRIED]
    others = [{name: plan for one in trials for name, plan in named(one, exact).items()} for exact in plans]
    for tried in run_trials(plans, others, CACHE, frames=False):
        for name, errors in tried.forward.items():
            entry = record.numbers.setdefault("steps", {}).setdefault(name, [])
            entry.append({"forward": errors, "trajectory": tried.trajectory[name]})
        record.save()


def begun(calibration: Calibration, plan: Plan, record: Record) -> list[Trials]:
    """The recipes of both profiles, with what is recorded of them."""
    found = []
    for profile in PROFILES:
        one = Trials(profile, [calibration])
        one.begin(plan, facts_of(plan, CACHE))
        for name in one.names:
            for part in ("steps", "clips"):
                for entry in record.numbers.get(part, {}).get(f"{profile}: {name}", []):
                    one.add_steps({name: entry["forward"]}, {name: entry["trajectory"]})
                    if part == "clips":
                        one.add_clip(name, *(tuple(entry[key]) for key in ("truth", "flicker", "warp")))
        found.append(one)
    return found


def named(trials: Trials, plan: Plan, names: list[str] | None = None) -> dict[str, Plan]:
    """Accelerated plans by profile and recipe."""
    return {f"{trials.profile}: {name}": made for name, made in trials.accelerated(plan, names).items()}


def best(trials: Trials) -> list[str]:
    """The recipe of a profile that saves most of those within its limits, if there is one."""
    return trials.within()[:1]


def clips(filmgate: Filmgate, record: Record, first: int, count: int) -> None:
    """Compare videos, and what they show of held-out prompts, ``count`` of them from number ``first`` on."""
    [template] = plans_of(filmgate, trial_prompts(filmgate.model(), 1))
    calibration = Calibration.model_validate(record.numbers["calibration"])
    trials = begun(calibration, template, record)
    chosen = record.numbers.setdefault("chosen", {one.profile: best(one) for one in trials})
    reader = TruthReader(READER, template.video, first + count)
    first += max(map(len, record.numbers.get("clips", {}).values()), default=0)
    plans = plans_of(filmgate, reader.prompts[first:])
    others = [{name: made for one in trials for name, made in named(one, exact, chosen[one.profile]).items()}
              for exact in plans]  # fmt: skip
    for number, tried in enumerate(run_trials(plans, others, CACHE, frames=True), first):
        exact = tried.frames.pop("")
        shown, steady = reader.share(number, exact), steadiness(exact)
        for name, frames in tried.frames.items():
            mine = steadiness(frames)
            record.numbers.setdefault("clips", {}).setdefault(name, []).append({
                "forward": tried.forward[name], "trajectory": tried.trajectory[name],
                "truth": (reader.share(number, frames), shown), "flicker": (mine.flicker, steady.flicker),
                "warp": (mine.warp_error, steady.warp_error),
            })  # fmt: skip
        record.save()
        print(f"   {number + 1} of {len(reader.prompts)}", flush=True)


def seconds(filmgate: Filmgate, record: Record, count: int = 2) -> None:
    """Whole takes, exact and accelerated in turns."""
    plans = plans_of(filmgate, trial_prompts(filmgate.model(), count))
    calibration = Calibration.model_validate(record.numbers["calibration"])
    trials = begun(calibration, plans[0], record)
    record.numbers["seconds"] = {}
    networks = open_networks(plans[0], CACHE)
    with repeatable(1):
        for plan in [plans[0], *plans]:  # the first one warms up
            ways = {"exact": plan}
            for one in trials:
                chosen = named(one, plan, record.numbers["chosen"][one.profile])
                ways |= dict(zip([one.profile], chosen.values(), strict=False))
            for name, made in ways.items():
                record.numbers["seconds"].setdefault(name, []).append(timed(made, networks))
    record.numbers["seconds"] = {name: taken[1:] for name, taken in record.numbers["seconds"].items()}
    record.save()


def timed(plan: Plan, networks: Any) -> tuple[float, float]:
    """Seconds of the processor: of all steps, and of the whole take."""
    begin = before = time.process_time()
    denoising = 0.0
    for item in render(plan, networks):
        if isinstance(item, Progress):
            now = time.process_time()
            denoising += now - before if item.stage == "denoise" else 0.0
            before = now
    return denoising, time.process_time() - begin


def publish(filmgate: Filmgate, record: Record, ship: Path | None) -> None:
    """Claims, and what lies beside the model."""
    [template] = plans_of(filmgate, trial_prompts(filmgate.model(), 1))
    calibration = Calibration.model_validate(record.numbers["calibration"])
    trials = begun(calibration, template, record)
    # Readers are at hand for this model: what nobody has looked at does not pass.
    gates = [
        gate
        for one in trials
        for gate in one.gates()
        if gate.checks and (not gate.passed or any(check.level == "truth" for check in gate.checks))
    ]
    report(write("acceleration", measured(record, trials)))
    if ship is not None:
        for name, documents in (("gates", gates), ("calibrations", [calibration])):
            text = json.dumps([one.model_dump(mode="json") for one in documents], indent=1)
            (ship / f"{name}.json").write_text(text + "\n")
    for gate in gates:
        print(f"{'passed' if gate.passed else 'failed'}  {gate.profile}  {gate.saved:.0%}  {gate.reason}")


def measured(record: Record, trials: list[Trials]) -> Iterator[Measured]:
    """One claim after the other."""
    for one in trials:
        for name in record.numbers["chosen"][one.profile]:
            start, numbers = f"cpu.acceleration.{one.profile}", Numbers()
            for entry in record.numbers["clips"][f"{one.profile}: {name}"]:
                numbers.add_steps(entry["forward"], entry["trajectory"])
                numbers.add_clips(*(tuple(entry[key]) for key in ("truth", "flicker", "warp")))
            yield Measured(f"{start}.passes_saved", round(one.saved(name), 4), "share")
            times = record.numbers["seconds"]
            for place, what in enumerate(("denoise", "total")):
                ratio = sum(t[place] for t in times["exact"]) / sum(t[place] for t in times[one.profile])
                yield Measured(f"{start}.{what}_speedup", round(ratio, 3), "times")
            for what, values in numbers.values.items():
                mean, low, high = interval(values)
                lower = what in ("velocity_error", "latent_error", "flicker_ratio", "warp_error_ratio")
                unit = "points" if what == "truth_points" else "ratio"
                for suffix, value in (("", mean), (".low", low), (".high", high)):
                    yield Measured(f"{start}.{what}{suffix}", round(value, 5), unit, None, not lower)
            yield Measured(f"{start}.clips", len(numbers.values["truth_points"]), "clips")


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("steps", "clips", "seconds", "publish"), required=True)
    parser.add_argument("--json", type=Path, required=True, nargs="+")
    parser.add_argument("--clips", type=int, default=60, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them, where several machines share the work")
    parser.add_argument("--ship", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    filmgate, record = Filmgate(cache=CACHE), Record(options.json[0])
    for path in options.json[1:]:
        record.join(Record(path))
    parts = {
        "steps": lambda: steps(filmgate, record),
        "clips": lambda: clips(filmgate, record, options.first, options.clips),
        "seconds": lambda: seconds(filmgate, record),
        "publish": lambda: publish(filmgate, record, options.ship),
    }
    parts[options.part]()


if __name__ == "__main__":
    main()
