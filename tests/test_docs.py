"""The examples in README.md and docs/ run, the links lead somewhere, and the generated parts are current."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIVEN = re.compile(r"<!-- file ([\w.-]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
PROGRAM = [sys.executable, "-c", "from filmgate.cli.main import main; main()"]
QUICK = ["--steps", "2", "--frames", "5"]
"""Appended to every `generate`: an option that is given twice counts as it is given last."""


def blocks(page, language):
    return [code for found, code in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def commands(page):
    lines = "\n".join(blocks(page, "console")).splitlines()
    return [shlex.split(line[2:]) for line in lines if line.startswith("$ filmgate ")]


def files(page):
    """Files that a page shows and its commands read: name and content."""
    return GIVEN.findall(page.read_text(encoding="utf-8"))


def redirected(words):
    """A command, and the file that its output goes to, if it does."""
    return (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_run_in_the_order_of_the_page(page, tmp_path):
    for file, content in files(page):
        (tmp_path / file).write_text(content, encoding="utf-8")
    for _, *words in commands(page):
        arguments, target = redirected(words)
        extra = QUICK if arguments[0] == "generate" else []
        run = subprocess.run([*PROGRAM, *arguments, *extra], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{shlex.join(arguments)}\n{run.stdout}{run.stderr}"
        assert run.stdout
        if target is not None:
            (tmp_path / target).write_text(run.stdout, encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_runs(page, tmp_path):
    for code in blocks(page, "python"):
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert run.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = re.findall(r"^make ([\w-]+)", "\n".join(blocks(page, "sh")), re.MULTILINE)
    assert set(wanted) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


def test_generated_parts_are_current():
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generated"), "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_readme_shows_the_first_command():
    first = blocks(ROOT / "README.md", "sh")[0].splitlines()[0]
    assert first.startswith("make demo")
