"""How close whole pipelines come to those of Diffusers: the largest differences that the parity tests reach.

python bench/parity.py

Runs tests/parity and writes what each comparison recorded, with its bound as the goal. A comparison that fails ends
the run without claims.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from claims import Measured, report, write

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/parity/test_pipelines.py", "tests/parity/test_vace.py")
UNITS = {"latent": "", "codes": "codes"}


def recorded(results: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """(test, what it recorded) of every comparison in a results file of pytest."""
    for case in ElementTree.parse(results).iter("testcase"):
        found = {one.attrib["name"]: float(one.attrib["value"]) for one in case.iter("property")}
        if found:
            yield f"{case.attrib['classname'].rpartition('.')[2]}.{case.attrib['name']}", found


def measured(results: Path) -> list[Measured]:
    """Claims ``parity.FILE.TEST.latent`` and ``.codes``."""
    return [
        Measured(f"parity.{test}.{name}", found[name], unit, found[f"{name}_bound"], higher_is_better=False)
        for test, found in recorded(results)
        for name, unit in UNITS.items()
        if name in found
    ]


def main() -> None:
    """Run the tests and write the claims."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", *TESTS]
        subprocess.run([sys.executable, *command, f"--junitxml={results}"], cwd=ROOT, check=True)
        report(write("parity", measured(results)))


if __name__ == "__main__":
    main()
