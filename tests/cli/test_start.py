"""What a command loads before it works: the reason why the command line starts fast."""

import json
import subprocess
import sys

import pytest

import filmgate

HEAVY = ("torch", "numpy", "rich", "av", "PIL", "tokenizers")

CODE = """
import json, sys
from filmgate.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code, json.dumps([name for name in sys.modules if "." not in name]), file=sys.stderr)
"""


def loaded(*arguments):
    run = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    code, modules = run.stderr.splitlines()[-1].split(" ", 1)
    assert code == "0", run.stderr
    return set(json.loads(modules))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["generate", "--help"], ["world", "render", "--help"], ["cost", "--help"],
        ["roi", "--help"], ["roi", "audit", "--help"], ["assess", "--help"],
        ["migrate", "prompt", "--help"], ["roadmap", "--help"],
    ],
)  # fmt: skip
def test_help_loads_nothing_heavy(arguments):
    assert loaded(*arguments).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "a red ball"], ["generate", "a red ball", "--dry-run"], ["models"], ["doctor", "--json"], ["cost"],
        ["roi", "--draws", "10"], ["roi", "audit"], ["assess", "--videos", "150", "--card", "h100"], ["roadmap"],
        ["schema", "plan"],
        ["migrate", "config", "--", "python", "generate.py", "--task", "t2v-14B", "--prompt", "a ball"],
        ["migrate", "prompt", "subject: a ball"],
    ],
)  # fmt: skip
def test_thinking_never_loads_torch(arguments):
    assert "torch" not in loaded(*arguments)


def test_the_package_runs_as_a_program():
    run = subprocess.run([sys.executable, "-m", "filmgate", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"filmgate {filmgate.__version__}\n"
    wrong = subprocess.run(
        [sys.executable, "-m", "filmgate", "schema", "plam"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, "Nearest valid: plan" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["cost"], ["roi"], ["roi", "audit"]])
def test_reckoning_loads_neither_pictures_nor_statistics(arguments):
    assert loaded(*arguments).isdisjoint({"scipy", "matplotlib", "torch", "av", "PIL"})
