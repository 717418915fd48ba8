"""How far plans are from what happened: seconds and peak memory, over configurations at true size.

    python bench/true_size.py --json RUN.json            on a GPU: measures, see there
    python bench/low_vram.py --json LOW.json             likewise, with streamed blocks
    python bench/plan_accuracy.py --from RUN.json LOW.json    anywhere: plans the same, compares, writes the claims

A configuration is a model at a size, in a memory mode. What is planned is what was run: two steps of denoising, what
the VAE reads, and decoding; reading weights from disk is not part of it. Three predictions are compared:

* ``plan.time_error``: the device's profile, calibrated by one measured step of the same configuration (the second pass;
  the first also chooses algorithms), as `filmgate plan` does on a device that has made two steps;
* ``plan.time_error_elsewhere``: the same, calibrated by one measured step of another model, the smallest that was run;
* ``plan.time_error_analytic``: the profile alone, as for a device that is not there.

``plan.memory_error`` is of the bytes that torch allocated at the worst moment. Each claim is the largest relative error
over all configurations.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from claims import Measured, report, write
from filmgate.direction.calibration import NOTHING_MEASURED, Correction
from filmgate.direction.estimate import estimate_seconds
from filmgate.direction.memory import estimate_memory
from filmgate.direction.workload import Workload
from filmgate.spec import DeviceDescription, ResidencyPlan, SpeedPlan, Step, TimeEstimate
from true_size_models import ROWS, Row, describe

GIB = 2**30
LEAST = 6
"""Configurations without which there is no claim."""
TILE = 512
"""Of bench/low_vram.py."""
_PICTURE_ROWS = 257


class Configuration(NamedTuple):
    """What was run, and what that took: seconds of passes, of the VAE's two halves, and the peak in bytes."""

    key: str
    load: Workload
    residency: ResidencyPlan
    passes: tuple[float, ...]
    forward: float
    encode: float
    decode: float
    peak: float

    @property
    def seconds(self) -> float:
        """Seconds of what is planned: every pass as long as the usual one."""
        return self.forward * self.load.forwards + self.encode + self.decode

    def planned(self, correction: Correction = NOTHING_MEASURED) -> TimeEstimate:
        """What would have been said before."""
        return estimate_seconds(self.load, self.residency, correction)

    def time_error(self, correction: Correction = NOTHING_MEASURED) -> float:
        """Relative error of the seconds."""
        times = self.planned(correction)
        return abs(times.encode + times.denoise + times.decode - self.seconds) / self.seconds

    @property
    def memory_error(self) -> float:
        """Relative error of the peak."""
        return abs(estimate_memory(self.load, self.residency).peak - self.peak) / self.peak

    @property
    def one_step(self) -> Correction:
        """What one measured pass, the second, says of the others."""
        return Correction(forward=self.passes[1] / self.planned().forward, copies=1.0, basis="measured")


def configurations(contents: Sequence[dict[str, Any]]) -> Iterator[Configuration]:
    """What the files of runs hold, those of bench/low_vram.py among them; single encoders and failures left out. The
    later of two measurements of the same counts."""
    rows = {row.key: row for row in ROWS}
    found: dict[str, Configuration] = {}
    parameters: dict[str, dict[str, int]] = {}
    for content in contents:
        for key, record in content.get("rows", {}).items():
            if record["status"] == "done" and key in rows and record.get("experts_in_memory", 1) == 1:
                parameters[rows[key].variant] = record["parameters"]
                found[key] = _configuration(key, rows[key], record, content["hardware"])
    for content in contents:
        for part in content.get("parts", {}).values():
            key = part.get("row")
            if key in rows and rows[key].variant in parameters and part.get("streamed", {}).get("peak_gib"):
                streamed = _streamed(rows[key], part, parameters[rows[key].variant])
                found[streamed.key] = streamed
    yield from found.values()


def _streamed(row: Row, part: dict[str, Any], parameters: dict[str, int]) -> Configuration:
    """What bench/low_vram.py runs: two guided steps, one of each expert, blocks streamed and the VAE in tiles."""
    run = part["streamed"]
    record = {
        "parameters": parameters,
        "steps": [
            {"index": 0, "sigma": 1.0, "sigma_next": 0.5, "timestep": 999, "expert": row.experts[0], "guidance": 2.0},
            {"index": 1, "sigma": 0.5, "sigma_next": 0.0, "timestep": 500, "expert": row.experts[-1], "guidance": 2.0},
        ],
        "residency": {"mode": "streamed", "host": part["host"], "vae_tile": TILE},
        "speed": part.get("speed", {}),
        "passes": run["passes"],
        "seconds_per_forward": statistics.median(run["passes"][1:]),
        "stage_seconds": run["other_seconds"],
        # There the text encoder is made up whole on the device, which is no part of what is planned.
        "peak_gib": {stage: run["peak_gib"][stage] for stage in ("denoise", "decode")},
    }
    return _configuration(f"{row.key} streamed, {part['host']}", row, record, part["hardware"])


def _configuration(key: str, row: Row, found: dict[str, Any], hardware: str) -> Configuration:
    model = describe(row, found["parameters"])
    latent = model.compression.latent(row.video)
    load = Workload(
        model=model,
        device=DeviceDescription(kind="cuda", name=hardware, memory_bytes=0),
        video=row.video,
        latent=latent.model_copy(update={"frames": latent.frames + row.references}),
        steps=tuple(Step(**step) for step in found["steps"]),
        precision="bf16",
        speed=SpeedPlan(**found.get("speed", {})),
        operation=row.operation,
        text_tokens=2 * model.dit.text_len,
        encoded_frames=row.encoded_frames,
        pictures=row.image_rows // _PICTURE_ROWS,
    )
    seconds = found["stage_seconds"]
    return Configuration(
        key=key,
        load=load,
        residency=ResidencyPlan(**found.get("residency", {})),
        passes=tuple(found["passes"]),
        forward=found["seconds_per_forward"],
        encode=seconds["encode"],
        decode=seconds["decode"],
        peak=max(found["peak_gib"].values()) * GIB,
    )


def errors(found: Sequence[Configuration]) -> dict[str, float]:
    """The claims' values: the worst of every kind of error."""
    smallest = min(found, key=lambda one: one.load.forwards * one.forward)
    others = [one for one in found if one is not smallest]
    return {
        "time_error": max(one.time_error(one.one_step) for one in found),
        "time_error_elsewhere": max(one.time_error(smallest.one_step) for one in others),
        "time_error_analytic": max(one.time_error() for one in found),
        "memory_error": max(one.memory_error for one in found),
    }


def table(found: Sequence[Configuration]) -> str:
    """Every configuration beside what was planned."""
    lines = [
        f"{'configuration':<44}{'s/pass':>8}{'plan':>8}{'decode':>8}{'plan':>8}{'encode':>8}{'plan':>8}"
        f"{'peak':>8}{'plan':>8}{'time':>7}{'memory':>8}"
    ]
    for one in found:
        times, peak = one.planned(), estimate_memory(one.load, one.residency).peak
        numbers = (
            one.forward, times.forward, one.decode, times.decode, one.encode, times.encode, one.peak / GIB, peak / GIB,
        )  # fmt: skip
        columns = "".join(f"{number:>8.2f}" for number in numbers)
        lines.append(f"{one.key:<44}{columns}{one.time_error(one.one_step):>7.1%}{one.memory_error:>8.1%}")
    return "\n".join(lines)


def claimed(found: Sequence[Configuration]) -> list[Measured]:
    """What is claimed of these configurations.

    Raises:
        ValueError: there are too few of them.
    """
    if len(found) < LEAST:
        raise ValueError(f"{len(found)} configurations are too few: {LEAST} or more")
    goals = {"time_error": 0.20, "memory_error": 0.10}
    numbers = [
        Measured(f"plan.{name}", round(value, 4), "", goals.get(name), higher_is_better=False)
        for name, value in errors(found).items()
    ]
    return [*numbers, Measured("plan.configurations", len(found), "")]


def hardware_of(content: dict[str, Any]) -> str:
    """The GPU of a run."""
    if "hardware" in content:
        return str(content["hardware"])
    return str(next(part["hardware"] for part in content["parts"].values()))


def main() -> None:
    """Compare runs with plans and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="runs", nargs="+", type=Path, required=True, metavar="FILE", help="of true_size")
    parser.add_argument("--commit", help="of runs that took place where there is no git")
    parser.add_argument("--dry", action="store_true", help="print the table, write no claims")
    options = parser.parse_args()
    contents = [json.loads(path.read_text()) for path in options.runs]
    places = {hardware_of(content) for content in contents}
    if any(content["mode"] != "true" for content in contents):
        raise SystemExit("a trial run measures nothing")
    if len(places) > 1:
        raise SystemExit(f"the runs are of several kinds of GPU: {', '.join(sorted(places))}")
    found = list(configurations(contents))
    print(table(found))
    if options.dry:
        print(errors(found))
        return
    first = contents[0]
    known = {"versions": first["versions"], "date": first["date"], "commit": options.commit or first["commit"]}
    report(write("plan_accuracy", claimed(found), hardware=places.pop(), known=known))


if __name__ == "__main__":
    main()
