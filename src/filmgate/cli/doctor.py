"""``filmgate doctor``: is everything here that a render needs, and does it work?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import typer

from filmgate.cli.options import AsJson

TORCH_RANGE = ((2, 8), (2, 14))
PACKAGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "numpy": ("1.26", "3"),
        "pydantic": ("2.12", "3"),
        "typer": ("0.16", "1"),
        "rich": ("13.7", "16"),
        "safetensors": ("0.5", "1"),
        "gguf": ("0.17", "1"),
        "tokenizers": ("0.21", "1"),
        "einops": ("0.8", "1"),
        "av": ("14.1", "19"),
        "pillow": ("11", "14"),
        "pyyaml": ("6", "7"),
    }
)
"""What Filmgate imports beside torch: the first version that will do, and the first that is not known."""
LEAST_MEMORY = 3 << 30
LEAST_DISK = 1 << 30
LEAST_SPEED = 20e6
"""Bytes per second below which saving the state of a run takes longer than a step."""
_PROBE = 32 << 20
_SELF_TEST = ("-m", "filmgate.engine.pipeline.self_test")

# Runs in a process of its own: a broken driver may end the process that asks for it, and the command line stays free
# of torch. Prints one JSON object.
_TORCH_PROBE = """
import json, torch
x = torch.eye(8)
cuda = torch.cuda.is_available()
count = torch.cuda.device_count() if cuda else 0
devices = [(torch.cuda.get_device_properties(i).name, *torch.cuda.mem_get_info(i)) for i in range(count)]
print(json.dumps({
    "version": torch.__version__,
    "works": bool((x @ x == x).all()),
    "threads": torch.get_num_threads(),
    "devices": [f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free" for name, free, total in devices],
    "mps": torch.backends.mps.is_available(),
}))
"""


class Finding(NamedTuple):
    """One thing that was looked at. ``remedy`` is None where all is well."""

    name: str
    found: str
    remedy: str | None = None


def doctor(as_json: AsJson = False) -> None:
    """Check this installation; every problem comes with its remedy."""
    from filmgate.cli.text import columns, json_text

    findings = [finding for check in CHECKS for finding in looked_at(check)]
    problems = [finding for finding in findings if finding.remedy]
    if as_json:
        print(json_text({"ok": not problems, "findings": [finding._asdict() for finding in findings]}))
    else:
        print(columns(("problem" if f.remedy else "ok", f.name, f.found) for f in findings))
        for finding in problems:
            print(f"\n{finding.name}: {finding.remedy}")
    if problems:
        raise typer.Exit(1)


def looked_at(check: Callable[[], Iterable[Finding]]) -> Iterable[Finding]:
    """What a check finds. One that breaks itself, as where a library is there by half, is a problem like others."""
    try:
        yield from check()
    except Exception as error:  # whatever is broken here is what the doctor was asked for
        name = check.__name__.removeprefix("check_").replace("_", " ")
        remedy = "Mend what is named above, if anything is; else pip install --force-reinstall filmgate"
        yield Finding(name, f"cannot be looked at: {type(error).__name__}: {error}", remedy)


def check_python(current: tuple[int, ...] = sys.version_info[:3]) -> Iterable[Finding]:
    """Python 3.11 or newer."""
    remedy = None if current >= (3, 11) else "Install Python 3.11 or newer and make a new virtual environment."
    yield Finding("python", ".".join(map(str, current)), remedy)


def check_packages(ranges: Mapping[str, tuple[str, str]] = PACKAGES) -> Iterable[Finding]:
    """Every package that Filmgate imports is there, in a version that it knows."""
    found: list[tuple[str, str]] = []
    wrong: list[tuple[str, str]] = []
    for name, (first, beyond) in ranges.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            yield Finding(name, "is missing", f"pip install '{name}>={first},<{beyond}'")
            continue
        known = _number(first) <= _number(here) < _number(beyond)
        (found if known else wrong).append((name, here))
    for name, here in wrong:
        first, beyond = ranges[name]
        remedy = f"Known are {first} and later, below {beyond}. pip install '{name}>={first},<{beyond}'"
        yield Finding(name, here, remedy)
    if found:
        yield Finding("packages", ", ".join(f"{name} {here}" for name, here in found))


def _number(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, which compare as versions do."""
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def check_torch(probe: str = _TORCH_PROBE) -> Iterable[Finding]:
    """Torch is of a version that we know, computes, and says which devices it sees."""
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or [f"its process ended with {run.returncode}"]
        yield Finding("torch", f"cannot be imported: {last[0]}", "pip install --force-reinstall 'torch>=2.8,<2.14'")
        return
    facts = json.loads(run.stdout.splitlines()[-1])
    number = tuple(int(part) for part in facts["version"].split("+")[0].split(".")[:2])
    remedy = None
    if not TORCH_RANGE[0] <= number < TORCH_RANGE[1]:
        remedy = "This version is untested. pip install 'torch>=2.8,<2.14'"
    if not facts["works"]:
        remedy = "A matrix product came out wrong. Reinstall torch for this processor."
    yield Finding("torch", facts["version"], remedy)
    devices = facts["devices"] or (["Apple GPU (mps)"] if facts["mps"] else [])
    yield Finding("device", "; ".join(devices) or f"CPU, {facts['threads']} threads")


def check_devices(program: tuple[str, ...] = _SELF_TEST) -> Iterable[Finding]:
    """Every device gives the numbers of the fingerprints, in each precision; and which kinds of attention there are."""
    run = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=False)
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or [f"its process ended with {run.returncode}"]
        remedy = "pip install --force-reinstall filmgate 'torch>=2.8,<2.14'"
        yield Finding("self-test", f"cannot run: {last[0]}", remedy)
        return
    facts = json.loads(run.stdout.splitlines()[-1])
    for device in dict.fromkeys(result["device"] for result in facts["results"]):
        results = [result for result in facts["results"] if result["device"] == device]
        wrong = [result for result in results if result["error"] is None or result["error"] > result["allowed"]]
        yield Finding(
            f"self-test {device}",
            ", ".join(map(_deviation, results)),
            _self_test_remedy(device, results, wrong) if wrong else None,
        )
    yield Finding("attention", ", ".join(facts["attention"]))


def _deviation(result: Mapping[str, Any]) -> str:
    what = f"{result['network']} {result['precision']}"
    if result["error"] is None:
        return f"{what} fails ({result['why']})"
    sign = "<=" if result["error"] <= result["allowed"] else "above the allowed"
    return f"{what} off by {result['error']:.1e} {sign} {result['allowed']:.0e}"


def _self_test_remedy(device: str, results: list[Any], wrong: list[Any]) -> str:
    bad, tested = ({result["precision"] for result in of} for of in (wrong, results))
    good = next((precision for precision in ("bf16", "fp16", "fp32") if precision in tested - bad), None)
    update = "update its driver, and install the torch that is built for it"
    if good is not None:
        return f"Do not render in {' or '.join(sorted(bad))} on this {device}: use --precision {good}, or {update}."
    away = "" if device == "cpu" else "use --device cpu, or "
    return f"Videos of this {device} would be wrong: {away}{update}."


def check_video() -> Iterable[Finding]:
    """A video can be encoded as H.264, and read again."""
    remedy = "pip install --force-reinstall av"
    try:
        import av
        import numpy as np

        from filmgate.media.read import read_frames
        from filmgate.media.write import write_video
        from filmgate.spec import FilmgateError
    except ImportError as error:
        yield Finding("H.264", f"PyAV cannot be imported: {error}", remedy)
        return
    frames = [np.full((64, 64, 3), 40 * level, np.uint8) for level in range(5)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.mp4"
            write_video(path, frames, fps=12)
            decoded = sum(1 for _ in read_frames(path))
    except (FilmgateError, av.FFmpegError, ValueError) as error:
        yield Finding("H.264", f"PyAV {av.__version__} cannot encode or decode: {error}", remedy)
        return
    found = f"PyAV {av.__version__}, wrote {len(frames)} frames and read {decoded}"
    yield Finding("H.264", found, None if decoded == len(frames) else remedy)


def check_models() -> Iterable[Finding]:
    """The shipped model is complete, and unpacked where models are kept; the fetched ones are whole."""
    from filmgate.app import Filmgate
    from filmgate.app.places import models_directory
    from filmgate.spec import CheckpointError, FilmgateError

    damaged: list[CheckpointError] = []
    try:
        found = Filmgate().models(damaged)
    except FilmgateError as error:
        broken = isinstance(error, CheckpointError)
        remedy = "pip install --force-reinstall filmgate" if broken else "Set XDG_CACHE_HOME to a writable directory."
        yield Finding("models", str(error), remedy)
        return
    missing = None if found else "This installation has no weights: name a Wan directory with --model, or reinstall."
    yield Finding("models", ", ".join(f"{model.id} in {model.path}" for model in found) or "none", missing)
    for fault in damaged:
        inside = Path(fault.path).relative_to(models_directory()).parts
        directory = models_directory().joinpath(*inside[:1])
        yield Finding("models", str(fault), f"Remove {directory}, and fetch the model again with filmgate fetch.")


def check_memory(least: int = LEAST_MEMORY) -> Iterable[Finding]:
    """Enough free memory for the shipped model."""
    from filmgate.cli.text import size_text

    free = _free_memory()
    if free is None:
        yield Finding("memory", "this system does not say how much is free")
        return
    remedy = None if free >= least else f"The shipped model wants {size_text(least)}: close other programs."
    yield Finding("memory", f"{size_text(free)} free", remedy)


def _free_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def check_disk(folder: Path | None = None, least: int = LEAST_DISK) -> Iterable[Finding]:
    """Room for videos where the command runs."""
    from filmgate.cli.text import size_text

    folder = folder or Path.cwd()
    free = shutil.disk_usage(folder).free
    remedy = (
        None if free >= least else f"Free some space, or write elsewhere with --output; {size_text(least)} is enough."
    )
    yield Finding("disk", f"{size_text(free)} free in {folder}", remedy)


def check_disk_speed(folder: Path | None = None, least: float = LEAST_SPEED, count: int = _PROBE) -> Iterable[Finding]:
    """How fast bytes reach the disk that runs keep their state on. ``least`` in bytes per second."""
    from filmgate.app.places import default_cache
    from filmgate.cli.text import size_text

    folder = folder or default_cache()
    remedy = "Set XDG_CACHE_HOME to a directory on a fast local disk that can be written."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            block, begun = os.urandom(1 << 20), time.perf_counter()
            for _ in range(count >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            speed = count / (time.perf_counter() - begun)
    except OSError as error:
        yield Finding("disk speed", f"{folder} cannot be written: {error.strerror or error}", remedy)
        return
    yield Finding("disk speed", f"{size_text(speed)}/s written in {folder}", None if speed >= least else remedy)


CHECKS: tuple[Callable[[], Iterable[Finding]], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_devices,
    check_video,
    check_models,
    check_memory,
    check_disk,
    check_disk_speed,
)
"""What the doctor looks at, in this order."""
