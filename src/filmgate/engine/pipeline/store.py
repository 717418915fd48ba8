"""Where the state of a run is kept between its steps: in memory, or in a directory that outlives the process.

Legend: C latent channels, T H W latent frames, rows and columns.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from filmgate.engine.checkpoints.tensor_file import read_tensors, write_tensors
from filmgate.engine.pipeline.values import Conditioning, RunState, Walk
from filmgate.engine.sampling.solvers import State
from filmgate.engine.sampling.step_cache import Branch, Remembered
from filmgate.spec import DamagedFile, MissingFile, OutputError, Progress

CONDITIONING, WALK = "conditioning.safetensors", "walk.safetensors"
"""Names of the files in a directory."""
INTERVAL = 2.0
"""Seconds between two writes, unless one is due: what a kill may cost."""
_SHARE = 20
"""Writing takes at most one part in so many of the time, even on a slow disk."""
_FORMAT = "2"


class Store(Protocol):
    """Keeps the state of one run."""

    def state(self) -> RunState:
        """What was kept last; at first, what an earlier run left, or nothing."""

    def keep(self, state: RunState, *, due: bool) -> bool:
        """Keep a state, at once if it is due, else when it is worth it.

        Returns:
            Whether it needs no memory of this process where it is kept.
        """

    def notes(self) -> tuple[str, ...]:
        """What a person should know and was not told yet."""


class MemoryStore:
    """Keeps the state for as long as the process lives."""

    def __init__(self) -> None:
        self._state = RunState()

    def state(self) -> RunState:
        """See :class:`Store`."""
        return self._state

    def keep(self, state: RunState, *, due: bool) -> bool:
        """See :class:`Store`."""
        del due
        self._state = state
        return False

    def notes(self) -> tuple[str, ...]:
        """See :class:`Store`."""
        return ()


class DiskStore:
    """Keeps the state in a directory, as safetensors with checksums, each file replaced in one moment.

    A state is used only if the same plan, weights, versions and machine made it: then going on from it gives the same
    bits. Another one, or a damaged one, is left alone until it is overwritten, and the notes say so. A disk that cannot
    be written to ends the keeping, not the work.

    Args:
        folder: An existing directory that nobody else writes to.
        origin: What decides the bits, by name; values are compared as texts.
        steps: How many steps the whole run has.
        interval: Seconds between two writes that are not due; 0: write every state, whatever that costs.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        folder: Path,
        origin: Mapping[str, str],
        steps: int,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._origin = dict(origin)
        self._steps = steps
        self._interval = interval
        self._clock = clock
        self._notes: list[str] = []
        self._written = clock()
        self._cost = 0.0
        # Weak: a run that is put aside must be able to let go of what is on the disk.
        self._told: Callable[[], Conditioning | None] = _nothing
        self._saved: Callable[[], RunState | None] = _nothing
        self._asked = False
        self._latest: RunState | None = None
        self._broken = False

    def state(self) -> RunState:
        """See :class:`Store`. Read from the disk, unless the disk could not be written to."""
        if self._latest is not None:
            return self._latest
        state = self._read()
        self._told = _nothing if state.conditioning is None else weakref.ref(state.conditioning)
        if not self._asked and state.conditioning is not None:
            self._notes.append(f"an unfinished run goes on with {_next(state, self._steps)}")
        self._asked = True
        return state

    def keep(self, state: RunState, *, due: bool) -> bool:
        """See :class:`Store`."""
        pause = max(self._interval, _SHARE * self._cost) if self._interval else 0.0
        waited = self._clock() - self._written >= pause
        if not self._broken and self._saved() is not state and (due or waited):
            start = self._clock()
            try:
                self._write(state)
            except OutputError as error:
                self._broken = True
                self._notes.append(f"the state of this run is no longer kept: {error}")
            self._saved = weakref.ref(state)
            self._written = self._clock()
            self._cost = self._written - start
        self._latest = state if self._broken else None
        return not self._broken

    def notes(self) -> tuple[str, ...]:
        """See :class:`Store`."""
        notes, self._notes = tuple(self._notes), []
        return notes

    # ---------------------------------------------------------------------------------------------------------- writing

    def _write(self, state: RunState) -> None:
        if state.conditioning is not None and state.conditioning is not self._told():
            scalars = {"control_scale": state.conditioning.control_scale, "references": state.conditioning.references}
            # Before the conditioning, so that no kill leaves a walk beside a conditioning that is not its own.
            (self._folder / WALK).unlink(missing_ok=True)
            self._put(CONDITIONING, _tensors(state.conditioning), {"encoded": state.encoded, **scalars}, state.past)
            self._told = weakref.ref(state.conditioning)
        if state.walk is not None:
            self._put(WALK, *taken_apart(state.walk), state.past)

    def _put(
        self, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], past: tuple[Progress, ...]
    ) -> None:
        metadata = {
            "format": _FORMAT,
            "origin": json.dumps(self._origin, sort_keys=True),
            "facts": json.dumps(facts),
            "past": json.dumps([unit.model_dump(mode="json", exclude_defaults=True) for unit in past]),
        }
        write_tensors(self._folder / name, tensors, metadata)

    # ---------------------------------------------------------------------------------------------------------- reading

    def _read(self) -> RunState:
        first = self._get(CONDITIONING)
        if first is None:
            return RunState()
        tensors, facts, past = first
        scalars = {name: facts[name] for name in ("control_scale", "references")}
        state = RunState(facts["encoded"], Conditioning(**tensors, **scalars), None, past)
        second = self._get(WALK)
        if second is not None:
            tensors, facts, past = second
            state = replace(state, walk=put_together(tensors, facts), past=past)
        return state

    def _get(self, name: str) -> tuple[dict[str, Any], dict[str, Any], tuple[Progress, ...]] | None:
        """One file; None, with a note, if it cannot be used."""
        try:
            tensors: dict[str, Any]
            tensors, metadata = read_tensors(self._folder / name)
            if metadata.get("format") != _FORMAT:
                raise DamagedFile(self._folder / name, "another version of Filmgate wrote it")
            if different := _differences(json.loads(metadata["origin"]), self._origin):
                self._notes.append("an unfinished run is not continued, its origin differs: " + ", ".join(different))
                return None
            past = tuple(Progress.model_validate(unit) for unit in json.loads(metadata["past"]))
            return tensors, json.loads(metadata["facts"]), past
        except MissingFile:
            return None
        except DamagedFile as error:
            self._notes.append(f"what an unfinished run left is not used: {error}")
            return None


def _nothing() -> None:
    """What a reference to nothing gives."""


def _next(state: RunState, steps: int) -> str:
    """What is to be done, in words."""
    return "decoding: all steps are done" if state.done == steps else f"step {state.done + 1} of {steps}"


def _tensors(conditioning: Conditioning) -> dict[str, Any]:
    values = {field.name: getattr(conditioning, field.name) for field in fields(conditioning)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def taken_apart(walk: Walk) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A walk as tensors by name, and the rest."""
    done, x, guesses, origin = walk.state
    named = {"x": x, "origin": origin, "average": walk.average, "difference": walk.difference}
    named |= {f"guess-{number}": guess for number, guess in enumerate(guesses)}
    for branch, kept in walk.residuals.items():
        named |= {f"residual-{branch}-{order}": term for order, term in enumerate(kept.terms)}
    present = {name: tensor.contiguous() for name, tensor in named.items() if tensor is not None}
    return present, {"done": done, "residuals": {branch: kept.step for branch, kept in walk.residuals.items()}}


def put_together(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Walk:
    """What :func:`taken_apart` took apart."""

    def those(prefix: str) -> tuple[Tensor, ...]:
        return tuple(tensors[name] for name in sorted(tensors) if name.startswith(prefix))

    state = State(facts["done"], tensors["x"], those("guess-"), tensors.get("origin"))
    steps: dict[Branch, int] = facts["residuals"]
    residuals = {branch: Remembered(step, those(f"residual-{branch}-")) for branch, step in steps.items()}
    return Walk(state, tensors.get("average"), tensors.get("difference"), residuals)


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What two origins disagree in, in words."""
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return [f"{name} {then.get(name, 'absent'):.40} then, {now.get(name, 'absent'):.40} now" for name in names]
