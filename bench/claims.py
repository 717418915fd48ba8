"""Claims: measured numbers with everything that is needed to believe them, one JSON file per run.

A file is ``bench/results/NAME_HARDWARE_DATE.json``: ``{"name", "claims": [...]}``. A claim repeats hardware, versions,
date and commit, so that a single one can be quoted. Where a number depends on how something was asked for, its claim
has ``settings`` too. What a run measured beside its claims may stand in the file as ``details``.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "filmgate", "torch", "numpy", "av", "diffusers", "triton", "flash-attn-4", "nvidia-cudnn-frontend",
)  # fmt: skip
"""Packages that decide a measurement; cuDNN, which comes with torch or with the system, is asked itself."""


@dataclass(frozen=True)
class Measured:
    """A number as a benchmark finds it. ``id`` is dotted (``cpu.generate_seconds``), ``goal`` what was promised,
    ``settings`` how it was asked for, where that is not plain from the id."""

    id: str
    value: float
    unit: str
    goal: float | None = None
    higher_is_better: bool = True
    settings: Mapping[str, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Claim(Measured):
    """A number with where, with what, when and from which commit it was measured."""

    hardware: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    commit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.higher_is_better else self.value <= self.goal


def write(
    name: str,
    measured: Iterable[Measured],
    *,
    hardware: str | None = None,
    folder: Path = RESULTS,
    known: Mapping[str, Any] | None = None,
    keep: bool = False,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write the claims of one run and return the file.

    Args:
        name: Of the benchmark.
        measured: Its numbers.
        hardware: Default: this machine's processor.
        folder: Where results lie.
        known: Versions, date or commit of a run that took place elsewhere or earlier.
        keep: Claims of an earlier run of the same day that this one did not measure again stay in the file.
        details: What else the run measured, by name.
    """
    hardware = hardware or processor()
    facts = {"hardware": hardware, "versions": versions(), "date": today(), "commit": commit(), **(known or {})}
    claims = [_entry(Claim(**asdict(number), **facts)) for number in measured]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{_slug(hardware)}_{facts['date']}.json"
    if keep and path.exists():
        before = json.loads(path.read_text())
        again = {claim["id"] for claim in claims}
        claims = [claim for claim in before["claims"] if claim["id"] not in again] + claims
        details = {**before.get("details", {}), **(details or {})}
    content = {"name": name, "claims": claims, **({"details": details} if details else {})}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)
    return path


def finished_runs(paths: Iterable[Path], stated: str | None) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs that took place elsewhere, from the JSON that they left, each with what :func:`write` must know of it.

    Args:
        paths: Of the JSON.
        stated: The commit, where the run could not know it.

    Raises:
        ValueError: one was a trial, which measures nothing.
    """
    for path in paths:
        content = json.loads(path.read_text())
        if content["mode"] != "true":
            raise ValueError(f"{path}: a {content['mode']} run measures nothing")
        known = {"versions": content["versions"], "date": content["date"], "commit": stated or content["commit"]}
        yield content, {"hardware": content["hardware"], "known": known, "keep": True}


def read(folder: Path = RESULTS) -> list[Claim]:
    """Every claim of every file, oldest first; files of one day in the order of their names."""
    claims = [
        Claim(**entry) for file in sorted(folder.glob("*.json")) for entry in json.loads(file.read_text())["claims"]
    ]
    return sorted(claims, key=lambda claim: claim.date)


def details_of(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What the last run of a benchmark that left details measured beside its claims; nothing if none did."""
    found = [(file.stem[-len("YYYY-MM-DD") :], json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    known = [(day, content["details"]) for day, content in found if content["name"] == name and "details" in content]
    return max(known, key=lambda one: one[0])[1] if known else {}


def newest(claims: Iterable[Claim]) -> list[Claim]:
    """The latest claim of every id, by id."""
    latest = {claim.id: claim for claim in claims}
    return [latest[name] for name in sorted(latest)]


def last_day(claims: Iterable[Claim]) -> list[Claim]:
    """The latest claim of every id, and beside it those of other hardware of the same day, so that none is picked."""
    claims = list(claims)
    day = {claim.id: claim.date for claim in newest(claims)}
    last = {(claim.id, claim.hardware): claim for claim in claims if claim.date == day[claim.id]}
    return [last[key] for key in sorted(last)]


def processor() -> str:
    """``2 cores of Intel Xeon ...``: the cores that this process may use, and what they are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        name = model[1] if model else name
    return f"{cores} cores of {re.sub(r'[(]R[)]|[(]TM[)]| CPU| Processor|@.*', '', name).strip()}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a measurement."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if (cudnn := _cudnn()) is not None:
        found["cudnn"] = cudnn
    return found


def _cudnn() -> str | None:
    """The version of cuDNN that torch computes with, as one number; None without torch, or where it has none."""
    try:
        import torch
    except ImportError:
        return None
    number = torch.backends.cudnn.version()
    return None if number is None else str(number)


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()


def commit() -> str:
    """The commit that is checked out, with ``-dirty`` when tracked files differ from it."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:  # a machine without git
        return "unknown"
    return run.stdout.strip() or "unknown"


def report(path: Path) -> None:
    """Print a results file and say where it is."""
    for entry in json.loads(path.read_text())["claims"]:
        claim = Claim(**entry)
        verdict = {True: "reached", False: "MISSED", None: "no goal"}[claim.met]
        print(f"{claim.id:<36} {claim.value:>10.4g} {claim.unit:<8} goal {claim.goal}: {verdict}")
    print(f"written to {path}", file=sys.stderr)


def _entry(claim: Claim) -> dict[str, Any]:
    """A claim as files hold it; without settings where there are none."""
    found = asdict(claim)
    return found if found["settings"] else {name: value for name, value in found.items() if name != "settings"}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
