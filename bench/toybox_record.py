"""Numbers of a run as they come, in a JSON file that is complete after every one of them."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filmgate.training.truth import Interval, interval

Rows = Mapping[str, NDArray[np.float64]]


class Record:
    """Numbers as they come, kept in a JSON file that is complete after every one of them."""

    def __init__(self, path: Path | None, setup: dict[str, Any]) -> None:
        self.path = path
        self.numbers: dict[str, Any] = {"setup": setup, "seconds": {}, "errors": {}}
        self.save()

    def put(self, name: str, value: Any) -> None:
        """Keep a value under a dotted name."""
        *folders, last = name.split(".")
        place = self.numbers
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
        self.save()

    def table(self, name: str, label: str, rows: Rows, *, answers: bool = False) -> None:
        """Keep and print a table of shares in percent.

        Args:
            answers: Keep every prompt's own answer too (0 wrong, 1 right), as a string for each attribute: what
                toybox_compare.py pairs.
        """
        values = {key: interval(row).scaled(100, 2) for key, row in rows.items()}
        self.put(name, {key: value._asdict() for key, value in values.items()})
        if answers:
            text = {key: "".join(str(int(value)) for value in row) for key, row in rows.items()}
            self.put(f"answers.{name.replace('.', '-')}", text)
        print(f"{label:<44}" + " ".join(f"{key[:9]}={value.mean:.1f}" for key, value in values.items()), flush=True)

    def number(self, name: str, value: Interval) -> None:
        """Keep and print one number."""
        if not value.n:
            raise ValueError(f"{name}: there was nothing to measure")
        value = value.scaled(1, 5)
        self.put(name, value._asdict())
        print(f"{name:<44}{value.mean:.4g} ({value.low:.4g} ... {value.high:.4g}), n={value.n}", flush=True)

    def save(self) -> None:
        """Write the file anew, by rename."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(self.path.suffix + ".part")
        part.write_text(json.dumps(self.numbers, indent=1) + "\n")
        part.replace(self.path)

    def part(self, name: str, measure: Callable[[], None]) -> None:
        """Run one part; its failure is a result too."""
        began = time.monotonic()
        print(f"-- {name}", flush=True)
        try:
            measure()
        except Exception:
            self.put(f"errors.{name}", traceback.format_exc())
            traceback.print_exc()
        self.put(f"seconds.{name}", round(time.monotonic() - began, 1))
