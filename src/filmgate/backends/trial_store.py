"""What unfinished trials have measured, on disk: who is killed goes on where he was.

In the folder ``trials`` of the cache each prompt has a file of numbers, complete after every recipe, and, where its
video is large, the exact walk that recipes are compared with. Both are named by a hash of all that decides them: plan,
weights, versions and machine. They are thrown away when all is measured; of walks that nobody came back for only the
newest few stay.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from filmgate.direction.gating import Facts
from filmgate.media.publish import write_bytes
from filmgate.spec import OutputError, Plan

FOLDER = "trials"
_FORMAT = 1
_WALKS, _NUMBERS = 2, 500
"""Files that stay, the newest: a walk at 720p has two gigabytes."""
_ABANDONED = 3600.0
"""Seconds after which nobody is writing a file any more."""


class Recipe(BaseModel):
    """Errors and cosines of steps, and errors of the latent after every step."""

    forward: list[tuple[float, float]]
    trajectory: list[float]


class Clip(BaseModel):
    """What a pair of videos shows, accelerated first; see :class:`filmgate.direction.gates.Numbers`."""

    truth: tuple[float, float]
    flicker: tuple[float, float]
    warp: tuple[float, float]


class Numbers(BaseModel):
    """What is known of a prompt: recipes and clips by the fingerprint of the plan with the recipe, ratios as rows of
    branch, step, ratio, deviation and 1 - cosine."""

    format: int = _FORMAT
    ratios: list[tuple[str, int, float, float, float]] = []
    recipes: dict[str, Recipe] = {}
    clips: dict[str, Clip] = {}

    def lacks(self, others: Collection[Plan]) -> bool:
        """Whether something of a prompt with these recipes is still to be measured."""
        return not self.ratios or any(plan.fingerprint not in self.recipes for plan in others)


class TrialStore:
    """Keeps what trials measure until they are finished.

    Args:
        cache: The cache directory.
        facts: By what and where it is measured.
        reader: What reads the videos, if that is done: clips count for the same only.
    """

    def __init__(self, cache: Path, facts: Facts, reader: str = "") -> None:
        self._folder = cache / FOLDER
        self._facts, self._reader = facts, reader

    def numbers(self, exact: Plan) -> Numbers:
        """What is known of a prompt; nothing if its file is damaged or of another version."""
        try:
            found = Numbers.model_validate_json(self._path(exact, "json").read_bytes())
        except (OSError, ValidationError):
            return Numbers()
        return found if found.format == _FORMAT else Numbers()

    def keep(self, exact: Plan, numbers: Numbers) -> None:
        """Replace what is known of a prompt.

        Raises:
            OutputError: the cache cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._path(exact, "json"), numbers.model_dump_json().encode())
        self._bound("json", _NUMBERS)

    def walk_path(self, exact: Plan) -> Path:
        """Where the exact walk of a prompt lies, if there is one."""
        return self._path(exact, "safetensors")

    def keep_walk(self, exact: Plan, write: Callable[[Path], None]) -> None:
        """Let an exact walk be written. A disk that cannot hold it costs what a kill would lose, not the trial."""
        with suppress(OutputError, OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write(self.walk_path(exact))
            self._bound("safetensors", _WALKS)

    def drop_walk(self, exact: Plan) -> None:
        """Throw the walk of a prompt away: all its recipes are measured."""
        self.walk_path(exact).unlink(missing_ok=True)

    def clear(self, plans: Sequence[Plan], accelerated: Sequence[Mapping[str, Plan]]) -> None:
        """Throw away what was kept of prompts with some recipes, for what came of it is stored elsewhere. Other recipes
        of a prompt belong to another run that is not finished."""
        for plan, others in zip(plans, accelerated, strict=True):
            numbers = self.numbers(plan)
            mine = {other.fingerprint for other in others.values()}
            numbers.recipes = {name: one for name, one in numbers.recipes.items() if name not in mine}
            if numbers.recipes:
                self.keep(plan, numbers)
            else:
                self._path(plan, "json").unlink(missing_ok=True)
                self.drop_walk(plan)
        with suppress(OSError):
            self._folder.rmdir()  # if nothing else is in it

    def measured(self, exact: Plan, others: Mapping[str, Plan]) -> list[str]:
        """The names of the recipes that a prompt was tried with."""
        known = self.numbers(exact).recipes
        return [name for name, other in others.items() if other.fingerprint in known]

    def _path(self, exact: Plan, kind: str) -> Path:
        origin = [exact.fingerprint, self._facts.weights, self._facts.versions, self._facts.hardware, self._reader]
        return self._folder / f"{hashlib.sha256(json.dumps(origin).encode()).hexdigest()[:32]}.{kind}"

    def _bound(self, kind: str, most: int) -> None:
        found = [(path.stat().st_mtime, path) for path in self._folder.glob(f"*.{kind}")]
        for _, path in sorted(found)[:-most]:
            path.unlink(missing_ok=True)
        for part in self._folder.glob(".*.part"):  # what a killed process was writing
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink(missing_ok=True)
