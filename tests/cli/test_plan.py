"""`filmgate plan`: what is needed and taken, for this device or another."""

import json

import pytest
from tests.takes import make_plan
from typer.testing import CliRunner

from filmgate.cli.main import program
from filmgate.cli.plan import describe_needs
from filmgate.spec import GuidanceRule, Layout, ResidencyOption, ResidencyPlan, TimeEstimate, VideoShape

GIB = 2**30


def run(*arguments):
    return CliRunner().invoke(program, ["plan", "a red ball", *arguments])


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_the_surroundings_reach_the_planner(filmgate, studio):
    assert filmgate("plan", "a ball", "--device-profile", "rtx4090", "--host-memory", "64").exit_code == 0
    assert filmgate("plan", "a ball").exit_code == 0
    assert studio.surroundings == [("rtx4090", 64 * GIB), (None, None)]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--host-memory", "0"], "host_memory"),
        (["--host-memory", "nan"], "host_memory"),
        (["--host-memory", "inf"], "host_memory"),
        (["--measure", "--device-profile", "h100"], "measure"),
        (["--device", "cpu", "--device-profile", "h100"], "device_profile"),
        (["--device-profile", "rtx4091"], "device_profile"),
    ],
)
def test_what_cannot_be_planned_for(cache, options, field):
    result = run(*options)
    assert result.exit_code == 2
    assert f"{field}: " in result.stderr


def test_stages_and_modes_are_told():
    options = (
        ResidencyOption(
            residency=ResidencyPlan(mode="one_expert"), device_bytes=39 * GIB, host_bytes=2 * GIB, seconds=100.0,
            fits=False, reason="15.0 GiB too much for the device",
        ),
        ResidencyOption(
            residency=ResidencyPlan(mode="streamed", kept_blocks=4), device_bytes=20 * GIB, host_bytes=0, seconds=120.0,
            fits=True, reason="chosen: all that fits",
        ),
    )  # fmt: skip
    times = TimeEstimate(load=2.0, encode=1.0, denoise=80.0, decode=30.0, forward=10.0, basis="measured")
    assert describe_needs(make_plan(options=options, times=times)).splitlines() == [
        "Loading    2.0 s       of weights, from disk",
        "Encoding   1.0 s       of texts and pictures",
        "Denoising  1 min 20 s  4 passes for both texts at once, of 20 s",
        "Decoding   30 s        of 5 frames",
        "Rests on   measured    as measured on this device",
        "",
        "Memory mode              device    host     time",
        "one-expert               39.0 GiB  2.0 GiB  1 min 40 s  15.0 GiB too much for the device",
        "streamed, 4 blocks kept  20.0 GiB  -        2 min 00 s  chosen: all that fits",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"guidance": (1.0, 1.0)}, "4 passes of 10 s"),
        ({"guidance": (1.0, 3.0)}, "2 passes for both texts at once, of 20 s, and 2 for one, of 10 s"),
        ({"video": VideoShape(frames=81, height=480, width=832)}, "8 passes of 10 s"),
        ({"layout": Layout(sequence=2)}, "4 passes for both texts at once, of 20 s"),
        ({"layout": Layout(cfg=2)}, "4 passes of 20 s on each device, for one of two texts"),
        (
            {"layout": Layout(cfg=2, sequence=3), "guidance": (1.0, 3.0)},
            "4 passes of 20 s on each device, for one of two texts in 2, for the same one in 2",
        ),
        ({"guidance": (1.0, 1.0), "guidance_rule": GuidanceRule(method="nag")}, "4 passes of 10 s"),
    ],
)
def test_it_is_told_how_often_the_network_runs_and_on_what(changes, told):
    times = TimeEstimate(denoise=80.0, forward=10.0)
    (line,) = (row for row in describe_needs(make_plan(**_with_way(times), **changes)).splitlines() if "Denois" in row)
    assert line == f"Denoising  1 min 20 s  {told}"


def _with_way(times):
    way = ResidencyOption(
        residency=ResidencyPlan(), device_bytes=GIB, host_bytes=0, seconds=80.0, fits=True, reason="as asked"
    )  # fmt: skip
    return {"times": times, "options": (way,)}


def test_a_card_that_is_not_here(cache):
    planned = json.loads(run("--device-profile", "rtx4090", "--json").stdout)
    assert planned["device"]["name"] == "NVIDIA GeForce RTX 4090"
    assert planned["times"]["basis"] == "analytic"
    assert {option["residency"]["mode"] for option in planned["options"]} == {"resident", "one_expert", "streamed"}


def test_two_measured_steps_make_a_plan_exact(cache):
    size = ("--frames", "5", "--steps", "7")
    before = json.loads(run(*size, "--json").stdout)
    assert before["times"]["basis"] == "analytic"
    result = run(*size, "--measure", "--json")
    assert result.exit_code == 0, result.stderr
    after = json.loads(result.stdout)
    assert after["times"]["basis"] == "measured"
    assert len(after["steps"]) == 7
    assert after["times"]["forward"] != before["times"]["forward"]
    again = json.loads(run(*size, "--json").stdout)
    assert again["times"] == after["times"]
    other = json.loads(run("--frames", "9", "--steps", "7", "--json").stdout)
    assert other["times"]["basis"] == "calibrated"
