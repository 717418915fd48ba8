"""What a training run leaves behind: weights as safetensors, curves as JSON lines. Both are written atomically or
appended, so that a run cut off in the middle loses at most one evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Publish ``tensors`` (moved to the CPU) at ``path`` by atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, dict(metadata or {}))
    os.replace(part, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file that :func:`save_tensors` wrote."""
    return load_file(path)


class Curve:
    """Appends measurements to a JSON-lines file and prints them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def note(self, **values: float | int | str | list[float]) -> None:
        """Write one line."""
        line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
