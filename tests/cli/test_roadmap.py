"""``filmgate roadmap``."""

import json
import sys

import icalendar
import pytest
from typer.testing import CliRunner

from filmgate.cli.main import program

WHEN = ("--start", "2026-12-01", "--date", "2026-11-30")


def run(*arguments):
    return CliRunner().invoke(program, list(map(str, arguments)))


@pytest.fixture
def inputs(tmp_path):
    """What the other commands print, as files."""
    assessment, config = tmp_path / "assessment.json", tmp_path / "config.json"
    made = run("assess", "--videos", 150, "--no-machine", "--card", "h100", "--date", "2026-11-30", "--json")
    assessment.write_text(made.stdout)
    setup = ("python", "generate.py", "--task", "t2v-14B", "--prompt", "a ball")
    config.write_text(run("migrate", "config", "--json", "--", *setup).stdout)
    return "--assessment", assessment, "--config", config


def test_without_anything_it_is_all_assumed_and_said_so():
    made = run("roadmap", *WHEN)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "To Wan 2.2: from 2026-12-01 to " in made.stdout
    assert "no assessment was given" in made.stdout
    assert "[ ] Judge the last 130 attempts of Wan 2.1" in made.stdout


def test_from_what_the_other_commands_print_to_every_kind_of_file(inputs, tmp_path):
    paths = {name: tmp_path / f"roadmap.{name}" for name in ("md", "svg", "ics", "csv", "html")}
    made = run("roadmap", *inputs, *WHEN, "-o", paths["md"], "--gantt", paths["svg"], "--ical", paths["ics"],
               "--csv", paths["csv"], "--html", paths["html"])  # fmt: skip
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.endswith(f"Roadmap: {paths['md']}\n")
    text = paths["md"].read_text()
    assert "(roadmap.svg)" in text
    assert "Bring the settings over: 5 change" in text
    assert paths["svg"].read_text().startswith("<svg")
    assert icalendar.Calendar.from_ical(paths["ics"].read_bytes()).walk("VTODO")
    assert "assessment.fetch,assessment,task," in paths["csv"].read_text()
    page = paths["html"].read_text()
    assert "<svg" in page
    assert "<script" not in page


def test_made_again_it_keeps_ticks_and_first_day(inputs, tmp_path):
    paper = tmp_path / "roadmap.md"
    run("roadmap", *WHEN, "-o", paper)
    paper.write_text(paper.read_text().replace("- [ ] Judge the last", "- [x] Judge the last"))
    run("roadmap", *inputs, "--date", "2026-12-20", "-o", paper)
    text = paper.read_text()
    assert "- [x] Judge the last" in text
    assert "<!-- roadmap starts 2026-12-01 -->" in text
    made = json.loads(run("roadmap", *inputs, "--earlier", paper, "--date", "2026-12-21", "--json").stdout)
    done = [task["id"] for phase in made["phases"] for task in phase["tasks"] if task["done"]]
    assert (done, made["start"]) == (["assessment.baseline"], "2026-12-01")
    moved = json.loads(run("roadmap", "--earlier", paper, "--start", "2027-01-04", "--json").stdout)
    assert moved["start"] == "2027-01-04"


def test_a_picture_lies_where_the_page_says(tmp_path):
    (tmp_path / "pictures").mkdir()
    paper, picture = tmp_path / "roadmap.md", tmp_path / "pictures" / "weeks.png"
    assert run("roadmap", *WHEN, "-o", paper, "--gantt", picture).exit_code == 0
    assert "(pictures/weeks.png)" in paper.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--assessment", "nowhere.json"), "nowhere.json cannot be read"),
        (("--assessment", "notes.md"), "the output of `filmgate assess --json`"),
        (("--prompts", "notes.md"), "the output of `filmgate migrate prompt --json`"),
        (("--start", "soon"), "start: 'soon' is no date"),
        (("--gantt", "weeks.gif"), "Allowed: .svg or .png"),
        (("-o", "notes.md"), "notes.md is there, and is no roadmap"),
        (("--csv", "nowhere/table.csv"), "cannot be written"),
    ],
)
def test_what_cannot_be_is_an_error_and_leaves_files_alone(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("# My notes\n")
    made = run("roadmap", *WHEN, *arguments)
    assert (made.exit_code, made.stdout) == (2, "")
    assert message in made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]
    assert (tmp_path / "notes.md").read_text() == "# My notes\n"


def test_a_calendar_without_its_package_says_what_to_install_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "icalendar", None)
    made = run("roadmap", *WHEN, "-o", tmp_path / "roadmap.md", "--ical", tmp_path / "roadmap.ics")
    assert made.exit_code == 1
    assert "pip install 'filmgate[roadmap]'" in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_return_that_counts_the_way_is_named_in_gates(tmp_path):
    options = ("--option", "now=pod:wan2.1-t2v-14b@h100", "--option", "then=serverless:wan2.2-ti2v-5b@rtx4090")
    costs = tmp_path / "roi.json"
    for moved in ((), ("--set", "then.move.setup=900")):
        costs.write_text(run("roi", "--usable", 150, *options, *moved, "--date", "2026-11-30", "--json").stdout)
        made = json.loads(run("roadmap", "--costs", costs, *WHEN, "--hourly", 50, "--json").stdout)
        (found,) = (g["target"] for p in made["phases"] for g in p["gates"] if g["id"] == "validation.exit.pays")
        assert "USD as planned" in found
        assert "above 0 in" in found
        assert ("without what this way costs" in found) == (not moved)
    assert made["effort"]["labour"] == pytest.approx(400 * made["effort"]["person_days"], rel=0.01)
    refused = run("roadmap", *WHEN, "--hourly", "nan")
    assert refused.exit_code == 2
