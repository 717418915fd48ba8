"""`filmgate calibrate` and `filmgate gate`, and what plans and takes say of skipped work."""

import json
import re
from inspect import signature

import pytest
from tests.direction.test_acceleration import EXACT, TAYLOR, calibrated, gate_of, planned
from tests.takes import make_plan, make_take
from typer.testing import CliRunner

from filmgate.app import Filmgate
from filmgate.cli.display import describe
from filmgate.cli.main import program
from filmgate.cli.output import describe_take
from filmgate.cli.text import describe_plan
from filmgate.direction.acceleration import Evidence, recipes
from filmgate.direction.gates import LEAST_PROMPTS
from filmgate.direction.gating import Forecast
from filmgate.spec import AccelerationUse, PassCounts, Progress, StepWork

RECIPE = (AccelerationUse(expert="low_noise", acceleration=TAYLOR),)
PASSED, FAILED = gate_of(EXACT, RECIPE), gate_of(EXACT, recipes("balanced", EXACT)[-1], passed=False)


@pytest.fixture
def studio(monkeypatch, tmp_path):
    """Stands in for the library; what it was asked, and what it measures."""
    asked = {"gates": [PASSED, FAILED]}

    class Studio:
        def calibrate(self, request, *, prompts):
            asked["calibrate"] = (request, prompts)
            yield Progress(stage="denoise", done=1, total=prompts, seconds=1.0)
            yield calibrated(EXACT)

        def gate(self, request, profile, **options):
            asked["gate"] = (request, profile, options)
            yield Progress(stage="denoise", done=1, total=1, seconds=1.0)
            yield from asked["gates"]

        def gate_forecast(self, request, profile, **options):
            asked["forecast"] = (request, profile, options)
            return Forecast(prompts=4, recipes=6, passes=912, seconds=180.0, left_out=("4 recipes with MagCache: why",))

        def place_of(self, document):
            return tmp_path / "cache" / document.id

    monkeypatch.setattr("filmgate.app.Filmgate", Studio)
    return asked


def run(*arguments):
    return CliRunner().invoke(program, [*map(str, arguments)])


def test_calibrate_prints_its_ratios(studio):
    result = run("calibrate", "toybox-t2v", "--steps", "30", "--shift", "8", "--size", "160x96", "--prompts", "2")
    assert result.exit_code == 0, result.stderr
    request, prompts = studio["calibrate"]
    assert (request.model, request.steps, request.shift, request.width, request.height) == (
        "toybox-t2v", 30, 8.0, 160, 96,
    )  # fmt: skip
    assert prompts == 2
    assert "high-noise, conditional, from step 1: 0.999 " in result.stdout
    assert "Denoising: 1/2" in result.stderr


def test_calibrate_says_what_the_numbers_are_where_they_lie_and_what_comes_next(studio, tmp_path):
    result = run("calibrate", "toybox-t2v", "--steps", "30", "--size", "160x96")
    assert "as a multiple of that in the step before (1: no change" in result.stdout
    assert re.search(rf"Stored: {re.escape(str(tmp_path / 'cache'))}/[0-9a-f]{{16}}\n", result.stdout)
    assert "For: weights wwwwwwwwwwwwwwww, schedule " in result.stdout
    assert "Next: filmgate gate toybox-t2v --size 160x96 --steps 30\n" in result.stdout


def test_calibrate_as_json(studio):
    result = run("calibrate", "--json", "--quiet")
    assert json.loads(result.stdout)["prompts"] == 1
    assert not result.stderr


def test_gate_prints_what_passed_first(studio, tmp_path):
    studio["gates"] = [FAILED, PASSED]
    result = run("gate", "--profile", "fast", "--readers", tmp_path / "r", "--clips", "9", "--prompts", "3")
    assert result.exit_code == 0, result.stderr
    _, profile, options = studio["gate"]
    assert (profile, options) == ("fast", {"prompts": 3, "readers": tmp_path / "r", "clips": 9})
    lines = result.stdout.splitlines()
    assert lines[1].startswith("TaylorSeer, one step in 2, order 2, in low-noise")
    assert lines[1].endswith("20%    passed: within limits")
    assert "failed: too far" in lines[2]


def test_gate_says_what_it_stored_where_and_what_comes_next(studio, tmp_path):
    result = run("gate", "toybox-t2v", "--steps", "30")
    assert PASSED.id in result.stdout
    assert FAILED.id in result.stdout
    assert f"Stored: {tmp_path / 'cache'}, each under the name of its gate\n" in result.stdout
    assert "Next: filmgate generate 'a prompt' --model toybox-t2v --steps 30 --profile balanced\n" in result.stdout
    studio["gates"] = [FAILED]
    assert (
        "wider limits: filmgate gate toybox-t2v --steps 30 --profile fast"
        in run("gate", "toybox-t2v", "--steps", "30").stdout
    )


def test_a_dry_run_says_what_a_gate_takes_and_makes_none(studio):
    result = run("gate", "--dry-run", "--prompts", "4")
    assert result.exit_code == 0, result.stderr
    assert "gate" not in studio
    assert studio["forecast"][2]["prompts"] == 4
    assert result.stdout.splitlines() == [
        "6 recipes on 4 prompts, each beside one exact walk: 912 passes, about 3 min 00 s",
        "not tried: 4 recipes with MagCache: why",
    ]
    assert json.loads(run("gate", "--dry-run", "--json").stdout)["passes"] == 912


def test_a_gate_that_nothing_passes_is_a_failure(studio):
    studio["gates"] = [FAILED]
    result = run("gate", "--json")
    assert result.exit_code == 1
    assert [gate["passed"] for gate in json.loads(result.stdout)] == [False]


@pytest.mark.parametrize("command", ["calibrate", "gate"])
def test_whatever_a_plan_asks_for_beside_a_gate_can_be_measured(studio, command):
    result = run(
        command, "--guidance", "5", "--guidance-high", "6", "--boundary", "0.9", "--precision", "bf16",
        "--guidance-interval", "0.1", "0.9", "--distilled", "none", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    request = studio[command][0]
    assert (request.guidance_high, request.guidance_low, request.boundary) == (6.0, 5.0, 0.9)
    assert (request.precision, request.guidance_interval, request.distilled) == ("bf16", (0.1, 0.9), "none")


def test_a_gate_is_of_enough_prompts_unless_fewer_are_asked_for(studio):
    assert run("gate").exit_code == 0
    assert studio["gate"][2]["prompts"] == LEAST_PROMPTS
    assert signature(Filmgate.gate).parameters["prompts"].default == LEAST_PROMPTS


def test_who_cancels_is_told_that_it_goes_on(studio):
    def cancelled():
        yield FAILED
        raise KeyboardInterrupt

    studio["gates"] = cancelled()
    result = run("gate")
    assert result.exit_code == 130
    assert "What was measured is kept: the same command goes on from there." in result.stderr


def test_profiles_are_named(studio):
    result = run("gate", "--profile", "exakt")
    assert result.exit_code == 2
    assert "balanced, fast" in result.stderr


def test_a_plan_says_what_is_on_and_what_is_off():
    made = planned(Evidence("w" * 64, [PASSED, FAILED]), profile="balanced")
    text = describe_plan(made)
    counts = made.pass_counts
    assert f"balanced: {counts.computed} of {counts.total} passes computed, {counts.predicted} predicted" in text
    assert f"on: TaylorSeer, one step in 2, order 2, in low-noise: gate {PASSED.id} passed: within limits" in text
    assert f"gate {FAILED.id} failed: too far" in text
    assert "recipes: no gate was measured" in text


def test_other_profiles_are_not_spoken_of():
    assert "Profile" not in describe_plan(EXACT)
    assert "Profile" not in describe_plan(make_plan())
    assert "fast: all 40 passes are computed" in describe_plan(planned(profile="fast"))


def test_a_receipt_says_what_was_on():
    made = planned(Evidence("w" * 64, [PASSED]), profile="balanced")
    receipt = made.model_copy(update={"acceleration": made.acceleration.model_copy(update={"considered": ()})})
    assert f"on: TaylorSeer, one step in 2, order 2, in low-noise; gate {PASSED.id}" in describe_plan(receipt)


def test_a_take_counts_what_was_skipped(tmp_path):
    counts = PassCounts(computed=28, reused=8, kept=4)
    text = describe_take(make_take(passes=counts), tmp_path)
    assert "28 of 40 passes computed, 8 reused, 4 saved by kept guidance" in text
    assert "passes" not in describe_take(make_take(), tmp_path)


def test_progress_says_which_steps_are_skipped():
    step = Progress(stage="denoise", done=3, total=9, seconds=0.1, work=StepWork(blocks="reused"))
    assert "blocks reused" in describe(step)
    assert "blocks" not in describe(step.model_copy(update={"work": StepWork()}))
