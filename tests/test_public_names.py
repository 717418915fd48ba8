"""What ``import filmgate`` offers, frozen."""

import subprocess
import sys

import filmgate

NAMES = {
    "Filmgate", "Request", "Plan", "Take", "Report", "Event", "Started", "Progress", "Preview", "Done", "Failed",
    "FilmgateError",
}  # fmt: skip


def test_the_public_names_are_these():
    assert set(filmgate.__all__) == NAMES


def test_every_name_resolves():
    assert [name for name in NAMES if getattr(filmgate, name, None) is None] == []


def test_importing_filmgate_loads_nothing_of_it():
    code = "import sys, filmgate; print([m for m in sys.modules if m.startswith(('filmgate.', 'pydantic', 'torch'))])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
