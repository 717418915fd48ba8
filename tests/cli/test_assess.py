"""``filmgate assess``."""

import json

import pytest
from typer.testing import CliRunner

from filmgate.cli.main import program

QUICK = ("--no-machine", "--card", "h100", "--date", "2026-11-30")


def run(*arguments, answers=None):
    return CliRunner().invoke(program, ["assess", *map(str, arguments)], input=answers)


def test_a_recommendation_with_what_it_rests_on():
    made = run("--videos", 150, *QUICK)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "> Run wan2.2-ti2v-5b on 1 x h100, paid per use" in made.stdout
    for part in ("runner-up", "Confidence: ", "When it becomes something else", "Which model fits where",
                 "Rules as they were applied", "To know"):  # fmt: skip
        assert part in made.stdout


def test_this_machine_is_looked_at_unless_it_is_left_out(tmp_path):
    here = json.loads(run("--videos", 150, "--card", "h100", "--disk", tmp_path, "--json").stdout)
    assert here["machine"]["disk"] == str(tmp_path)
    assert here["machine"]["cores"] >= 1
    assert json.loads(run("--videos", 150, *QUICK, "--json").stdout)["machine"] is None


def test_answers_are_saved_and_read_and_options_go_before_them(tmp_path):
    saved = tmp_path / "needs.toml"
    first = run("--videos", 150, "--quality", "commercial", "--few-steps", *QUICK, "--save", saved, "--json")
    again = run(saved, "--no-machine", "--date", "2026-11-30", "--json")
    assert json.loads(first.stdout) == json.loads(again.stdout)
    other = json.loads(run(saved, *QUICK, "--videos", 9, "--no-few-steps", "--json").stdout)["needs"]
    assert (other["videos"], other["quality"], other["few_steps_accepted"]) == (9, "commercial", False)


def test_reports_are_written_and_need_no_network(tmp_path):
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    assert run("--videos", 150, *QUICK, "--html", page, "--markdown", text).exit_code == 0
    assert "Run wan2.2-ti2v-5b" in text.read_text()
    html = page.read_text()
    assert html.startswith("<!doctype html>")
    assert "http" not in html.replace("https://", "http").split("<main>")[0]
    assert "<script" not in html


def test_questions_are_asked_one_by_one_and_a_wrong_answer_again():
    answers = ["many", "0", "150", "", "4k", "720p", "", "commercial", "", "0.5", "yes", *[""] * 20]
    made = run("--ask", *QUICK, "--json", answers="\n".join(answers))
    assert made.exit_code == 0, made.stderr
    needs = json.loads(made.stdout[made.stdout.index("{") :])["needs"]  # the runner echoes what is typed
    assert (needs["videos"], needs["resolution"], needs["quality"]) == (150, "720p", "commercial")
    assert (needs["usable_rate"], needs["few_steps_accepted"]) == (0.5, True)
    assert "there is no resolution named '4k'" in made.stderr
    assert made.stderr.count("How many usable videos a month?") == 3


def test_what_was_given_is_not_asked_for():
    made = run("--ask", "--videos", 5, *QUICK, "--json", answers="\n" * 20)
    assert "How many usable videos" not in made.stderr
    assert json.loads(made.stdout)["needs"]["videos"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "videos: it is not said how many"),
        (("--videos", 5, "--card", "rtx409"), "Nearest valid: rtx4090"),
        (("--videos", 5, "--quality", "best"), "there is no quality named 'best'"),
        (("--videos", 5, "--quality", "broadcast", "--resolution", "480p"), "480p contradicts quality broadcast"),
        (("--videos", 5, "--date", "tomorrow"), "'tomorrow' is no date"),
        (("nowhere.toml",), "nowhere.toml cannot be read"),
        (("--videos", 5, "--disk", "models"), "disk: contradicts --no-machine"),
    ],
)
def test_what_cannot_be_is_an_error_and_writes_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run(*arguments, "--no-machine", "--save", "needs.toml", "--html", "report.html")
    assert (made.exit_code, made.stdout) == (2, "")
    assert message in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_an_object_with_json():
    made = run("--videos", 0, "--json")
    assert made.exit_code == 2
    assert json.loads(made.stdout)["error"]["code"] == "InvalidRequest"


def test_prices_count_and_may_be_your_own(tmp_path):
    made = run("--videos", 500, *QUICK)
    assert "USD a month, compute alone" in made.stdout
    own = json.loads(run("--videos", 500, *QUICK, "--price", "runpod.pod.h100=100", "--json").stdout)
    assert own["recommended"]["usd"] == pytest.approx(100 * own["recommended"]["work"]["gpu_hours"])
    assert run("--videos", 500, *QUICK, "--price", "runpod.pod.h1000=1").exit_code == 2
