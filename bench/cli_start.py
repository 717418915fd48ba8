"""How long the command line takes to start: whole processes, the median of several runs on an otherwise idle core.

python bench/cli_start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from claims import Measured, report, write

RUNS = 9
PROGRAM = str(Path(sys.executable).with_name("filmgate"))
COMMANDS = {
    "cli.help_seconds": ([PROGRAM, "--help"], 0.3),
    "cli.plan_seconds": ([PROGRAM, "plan", "a red ball rolls to the right past a blue cube, sunset"], 0.6),
    "cli.cost_seconds": ([PROGRAM, "cost"], 0.6),
    "cli.audit_seconds": ([PROGRAM, "roi", "audit"], 0.6),
}


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one run, from start to exit."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure every command after one warm-up run (file cache, byte code, unpacked weights) and write the claims."""
    measured = []
    for name, (command, goal) in COMMANDS.items():
        seconds(command)
        value = statistics.median(seconds(command) for _ in range(RUNS))
        measured.append(Measured(name, round(value, 3), "s", goal, higher_is_better=False))
    report(write("cli_start", measured))


if __name__ == "__main__":
    main()
