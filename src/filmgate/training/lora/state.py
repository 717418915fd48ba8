"""The state of a run on disk: written whole or not at all, used only by the very run that wrote it.

Random numbers are no part of it: all of them follow from the seed and the number of the step. So a run that was killed
gives the same LoRA as one that was not, bit for bit where the device's own sums are repeatable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filmgate.engine.checkpoints.tensor_file import read_tensors, write_tensors
from filmgate.spec.errors import DamagedFile, InvalidRequest
from filmgate.training.averaging import Average
from filmgate.training.lora.adapter import Adapter

_FORMAT = "1"


def save_state(
    path: Path, adapter: Adapter, optimiser: torch.optim.Optimizer, average: Average, step: int,
    origin: Mapping[str, Any],
) -> None:  # fmt: skip
    """Keep everything that the next step depends on.

    Raises:
        OutputError: the disk is full, or the directory not writable.
    """
    tensors: dict[str, Tensor] = {f"adapter.{name}": value for name, value in adapter.named_parameters()}
    tensors |= {f"average.{name}": value for name, value in average.shadow.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    facts = {"format": _FORMAT, "step": str(step), "updates": str(average.updates)}
    write_tensors(path, tensors, {**facts, "origin": json.dumps(origin, sort_keys=True)})


def load_state(
    path: Path, adapter: Adapter, optimiser: torch.optim.Optimizer, average: Average, origin: Mapping[str, Any]
) -> int:
    """Take up a state; returns the steps that are done, 0 if there is none.

    Raises:
        InvalidRequest: another run wrote it; says in what it differs.
        DamagedFile: it is not as it was written.
    """
    if not path.is_file():
        return 0
    tensors, facts = read_tensors(path)
    if facts.get("format") != _FORMAT:
        raise DamagedFile(path, "another version of Filmgate wrote it", expected=_FORMAT, found=facts.get("format"))
    if different := differences(json.loads(facts["origin"]), origin):
        raise InvalidRequest(
            "output", f"{path} is of another run: {', '.join(different)}",
            allowed="--no-resume to begin anew, or another --output",
        )  # fmt: skip
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            parameter.copy_(tensors[f"adapter.{name}"])
        for name, value in average.shadow.items():
            value.copy_(tensors[f"average.{name}"])
    average.updates = int(facts["updates"])
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            index, _, part = rest.partition(".")
            states.setdefault(int(index), {})[part] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(facts["step"])


def differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str = "") -> list[str]:
    """What two origins disagree in, in words."""
    found: list[str] = []
    for key in sorted({*then, *now}):
        before, after = then.get(key), now.get(key)
        label = f"{name}.{key}" if name else key
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, label)
        elif before != after:
            found.append(f"{label} {before!s:.40} then, {after!s:.40} now")
    return found
