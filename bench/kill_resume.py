"""SIGKILL at every stage boundary, inside writes and deliveries, and at random moments; then the same command again.

    python bench/kill_resume.py [--kills 50] [--seed 0]

Every round starts a process that makes a small video with the shipped model, kills it, and starts it again without a
kill (every fifth round kills the second one too and starts a third). The round counts as identical if video and contact
sheet are those of an uninterrupted run, byte for byte, if the manifest differs in nothing but timings, estimates and
date, if no video could be seen after a kill that was not whole or had no manifest, and if nothing else is left: no
hidden file beside the video, no state.

Two more ways go through the command line: ``--no-resume``, whose state is not kept, and a batch of two equal lines,
whose work is done once. Of these too nothing may be left and nothing may differ.

Moments: after the n-th event (every one at least once), in the n-th write to the disk, after the n-th file of a
delivery has got its name, and after a random part of the seconds that an uninterrupted run takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from claims import Measured, report, write

WISH = {"prompt": "a red ball rolls to the right", "width": 64, "height": 48, "frames": 9, "steps": 6}
VARYING = ("timings", "created")
"""What of a manifest may differ, beside the plan's estimates."""
ESTIMATES = ("memory", "seconds", "price_usd", "times", "options", "warnings")


WAYS = ("kept", "unkept", "twins")
"""A run by the library; ``generate --no-resume``; ``generate --batch`` with two equal lines."""


class Moment(NamedTuple):
    """When a process kills itself: after the ``number``-th ``event``, ``write`` or ``link``, or after ``number``
    seconds (``time``)."""

    kind: str
    number: float


@dataclass(frozen=True)
class Place:
    """Where a round works. ``models`` are directories of models, ``wish`` is a request, ``way`` one of :data:`WAYS`."""

    root: Path
    cache: Path
    wish: dict[str, Any]
    models: tuple[str, ...] = ()
    way: str = "kept"

    @property
    def output(self) -> Path:
        """Directory of the video."""
        return self.root / "out"

    @property
    def state(self) -> Path:
        """Directory of unfinished runs."""
        return self.root / "state"

    @property
    def videos(self) -> list[Path]:
        """Those that can be seen."""
        return sorted(self.output.glob("[!.]*.mp4"))

    @property
    def complete(self) -> bool:
        """Whether there are as many as there shall be, and nothing else is left to put right."""
        wanted = 2 if self.way == "twins" else 1
        return len(self.videos) == wanted and not any(self.state.glob("*")) and not any(self.output.glob(".*"))


class Outcome(NamedTuple):
    """How a process ended, and what it told: seconds from start to end of the work, (stage, done) of progress, and the
    number of events where it counts them."""

    code: int
    seconds: float
    told: list[tuple[str, int]]
    events: int = 0


def run(place: Place, moment: Moment | None = None) -> Outcome:
    """Make the video in a process of its own, which kills itself at ``moment``."""
    place.output.mkdir(parents=True, exist_ok=True)
    order = {
        "wish": place.wish, "models": place.models, "cache": str(place.cache), "output": str(place.output / "clip.mp4"),
        "sheet": str(place.output / "clip.png"), "state": str(place.state), "moment": moment, "way": place.way,
        "root": str(place.root),
    }  # fmt: skip
    command = [sys.executable, __file__, "--child", json.dumps(order)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    # Without a state nobody can know that a video that is there was made by the same command.
    refused = place.way == "unkept" and "exists already" in child.stderr
    if child.returncode not in (0, -signal.SIGKILL) and not refused:
        raise SystemExit(f"the process failed:\n{child.stdout}{child.stderr}")
    lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith(("[", "{"))]
    end = next((line for line in lines if isinstance(line, dict) and "seconds" in line), {"seconds": 0.0})
    told = [(line[0], line[1]) for line in lines if isinstance(line, list)]
    return Outcome(child.returncode, end["seconds"], told, end.get("events", 0))


def child(order: dict[str, Any]) -> None:
    """What :func:`run` starts."""
    from filmgate.app import Filmgate
    from filmgate.backends import local
    from filmgate.spec import Failed, Progress, Request

    local.INTERVAL = 0.0
    if order["way"] != "kept":
        command(order)
        return
    filmgate = Filmgate(order["models"], cache=order["cache"])
    plan = filmgate.plan(Request(**order["wish"]))
    kind, number = order["moment"] or ("never", 0)
    _arm(kind, number)
    start = time.perf_counter()
    events = filmgate.render(plan, order["output"], sheet=order["sheet"], state=order["state"])
    for count, event in enumerate(events, 1):
        if isinstance(event, Progress):
            print(json.dumps([event.stage, event.done]), flush=True)
        if isinstance(event, Failed):
            raise SystemExit(event.message)
        if kind == "event" and count == number:
            _die()
    print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


def command(order: dict[str, Any]) -> None:
    """Give the command of one of the other ways, in this process."""
    from filmgate import app
    from filmgate.cli.main import program

    kind, number = order["moment"] or ("never", 0)
    told = itertools.count(1)

    class Counted(app.Filmgate):
        """Dies after an event."""

        def render(self, *arguments: Any, **options: Any) -> Any:
            yield from self._counted(super().render(*arguments, **options))

        def render_batch(self, *arguments: Any, **options: Any) -> Any:
            yield from self._counted(super().render_batch(*arguments, **options))

        def _counted(self, events: Any) -> Any:
            with closing(events):
                for event in events:
                    yield event
                    if kind == "event" and next(told) == number:
                        _die()

    app.Filmgate = Counted  # type: ignore[misc]
    os.environ["XDG_CACHE_HOME"] = str(Path(order["cache"]).parent)
    wish, output = dict(order["wish"]), Path(order["output"])
    prompt = wish.pop("prompt")
    if order["models"]:
        wish["model"] = order["models"][0]
    options = [word for name, value in wish.items() for word in (f"--{name}", str(value))]
    if order["way"] == "unkept":
        words = [prompt, "--no-resume", "--output", str(output)]
    else:
        lines = Path(order["root"]) / "lines.txt"
        lines.write_text(f"{prompt}\n{prompt}\n", encoding="utf-8")
        words = ["--batch", str(lines), "--output", str(output.parent), "--state", order["state"]]
    _arm(kind, number)
    start = time.perf_counter()
    program(["generate", *words, "--sheet", *options], standalone_mode=False)
    print(json.dumps({"seconds": time.perf_counter() - start, "events": next(told) - 1}), flush=True)


def _arm(kind: str, number: float) -> None:
    """Kill this process in its ``number``-th write, after so many links, or after so many seconds."""
    counter = itertools.count(1)
    if kind == "time":
        timer = threading.Timer(number, _die)
        timer.daemon = True
        timer.start()
    elif kind == "write":
        fsync = os.fsync

        def interrupted(descriptor: int) -> None:
            if next(counter) == number:
                _die()
            fsync(descriptor)

        os.fsync = interrupted
    elif kind == "link":
        link = os.link

        def linked(source: Path, target: Path) -> None:
            link(source, target)
            if next(counter) == number:
                _die()

        os.link = linked  # type: ignore[assignment]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def result(place: Place) -> dict[str, Any]:
    """What lies at a place: bytes of videos and sheets, manifests without what varies, and the names of everything."""
    files = {path.name: path for path in sorted(place.output.iterdir())}
    found: dict[str, Any] = {"names": sorted(files), "kept": sorted(path.name for path in place.state.rglob("*"))}
    for name, path in files.items():
        if path.suffix in (".mp4", ".png"):
            found[name] = path.read_bytes()
    found["manifest"] = {name: _unvarying(path) for name, path in files.items() if path.suffix == ".json"}
    return found


def _unvarying(file: Path) -> dict[str, Any]:
    manifest = json.loads(file.read_text(encoding="utf-8"))
    kept = {key: value for key, value in manifest.items() if key not in VARYING}
    return {**kept, "plan": {key: value for key, value in manifest["plan"].items() if key not in ESTIMATES}}


def half_published(place: Place) -> bool:
    """Whether a video can be seen without its manifest, or is none."""
    import av

    for video in place.videos:
        with av.open(str(video)) as container:
            frames = sum(1 for _ in container.decode(video=0))
        if frames != place.wish["frames"] or not video.with_suffix(".json").exists():
            return True
    return False


def moments(events: int, seconds: float, kills: int, dice: random.Random) -> Iterator[Moment]:
    """Every event once, every link and the first writes, then random moments."""
    fixed = [Moment("event", number) for number in range(1, events + 1)]
    fixed += [Moment("link", number) for number in (1, 2, 3)]
    fixed += [Moment("write", number) for number in (1, 2, 4, 7)]
    for number in range(kills):
        yield fixed[number] if number < len(fixed) else Moment("time", dice.uniform(0.0, seconds))


def round_of(place: Place, moment: Moment, again: Moment | None, expected: dict[str, Any]) -> tuple[int, list[str]]:
    """How many kills hit in one round, and what is wrong with its outcome."""
    wrong, hits = [], 0
    for kill in [moment, *([] if again is None else [again])]:
        hits += run(place, kill).code == -signal.SIGKILL
        if half_published(place):
            wrong.append(f"{kill}: a half-written video")
        if place.way == "kept" and place.videos:
            break  # killed after all was there: a second command would rightly refuse to overwrite
    if not place.complete:
        run(place)
    found = result(place)
    wrong += [f"{moment}, {again}: {name} differs" for name in expected if found.get(name) != expected[name]]
    return hits, wrong


def deal(root: Path, way: str, kills: int, dice: random.Random) -> tuple[int, int, int]:
    """So many kills of one way: how many hit, in how many of how many rounds nothing differed."""
    cache = root / "xdg" / "filmgate"
    reference = Place(root / f"{way}-reference", cache, WISH, way=way)
    whole = run(reference)
    expected = result(reference)
    events = whole.events or len(whole.told) + 2  # Started and Done are not told
    hits = identical = rounds = 0
    while hits < kills:
        for moment in moments(events, whole.seconds, kills, dice):
            rounds += 1
            again = Moment("event", dice.randint(1, 4)) if rounds % 5 == 0 else None
            place = Place(root / f"{way}-{rounds}", cache, WISH, way=way)
            struck, wrong = round_of(place, moment, again, expected)
            hits += struck
            identical += not wrong
            found = "; ".join(wrong) or "identical"
            print(f"{way} {rounds}: {moment.kind} {moment.number:g}, {struck} kills, {found}")
            if hits >= kills:
                break
    return hits, identical, rounds


def main() -> None:
    """Count, and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    hits = identical = rounds = 0
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            enough = options.kills if way == "kept" else options.kills // 5
            struck, same, tried = deal(Path(folder), way, enough, random.Random(options.seed))
            hits, identical, rounds = hits + struck, identical + same, rounds + tried
    measured = [
        Measured("resume.kills", hits, "kills", 50),
        Measured("resume.identical", identical / rounds, "of rounds", 1.0),
    ]
    report(write("kill_resume", measured))


if __name__ == "__main__":
    main()
