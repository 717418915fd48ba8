"""Plain language must come back from a migration to the letter: whole files of it, one prompt per line.

python bench/migration_unchanged.py VBench/prompts/all_dimension.txt VBench/VBench-2.0/prompts/VBench2_full_text.txt ...

Made for the prompts of VBench and VBench-2.0 and what Wan's and other expanders made of them
(github.com/Vchitect/VBench, Apache-2.0), which are no part of this repository.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from claims import Measured, report, write
from filmgate.direction.migration.migrate import migrate


def prompts(files: Iterable[Path]) -> list[str]:
    """The lines of files that are not empty."""
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def measure(texts: list[str]) -> tuple[list[Measured], list[str]]:
    """Share of the prompts that come back unchanged, and those that do not."""
    changed = [text for text in texts if migrate(text).text != text]
    share = 100 * (1 - len(changed) / len(texts))
    measured = [
        Measured("migration.unchanged.prompts", len(texts), "prompts"),
        Measured("migration.unchanged.share", round(share, 2), "%", 100.0),
    ]
    return measured, changed


def main() -> int:
    """Migrate every line of the files and write the claims; 1 if any was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="text files with one prompt per line")
    texts = prompts(parser.parse_args().files)
    if not texts:
        print("The files hold no prompts.", file=sys.stderr)
        return 2
    measured, changed = measure(texts)
    for text in changed[:20]:
        print(f"changed: {text}")
    report(write("migration_unchanged", measured))
    return int(bool(changed))


if __name__ == "__main__":
    sys.exit(main())
