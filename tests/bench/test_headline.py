"""The benchmark of the headline: a trial makes every video, and a run becomes claims."""

import json
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.engine.pipeline.networks import random_plan
from typer.testing import CliRunner

import claims
import headline
from claims import Claim, read
from filmgate.cli.main import program
from filmgate.direction.acceleration import WAYS
from filmgate.spec import DeviceDescription, EightBit, GuidanceReuse, Plan, Request, SparseAttention, TaylorSeer
from headline import PROFILES, Kinds, command_of, headline_row, planned, recipe_of, request_of
from true_size import H200
from true_size_weights import Meter

ASKED = {"attention": "flash4", "vae_precision": "bf16"}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    path = tmp_path_factory.mktemp("trial") / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["headline.py", "--smoke", "--no-peer", "--json", str(path)])
        assert headline.main() == 0
    return json.loads(path.read_text())


def test_a_trial_makes_every_video(trial):
    assert set(trial["profiles"]) == set(PROFILES)
    for name, part in trial["profiles"].items():
        assert part["steps"] == PROFILES[name].sampling["steps"], name
        assert part["bytes"] > 0
        assert part["seconds"] == pytest.approx(part["computed_seconds"] + part["extrapolated_seconds"])
        assert set(part["stages"]) >= {"encode", "denoise", "decode"}
        assert part["extrapolated"] == sum(kind["left_out"] for kind in part["kinds"].values()) > 0
    counts = {name: part["passes"] for name, part in trial["profiles"].items()}
    assert counts["exact"]["computed"] == 80
    assert counts["balanced"]["kept"] > 0
    assert counts["fast"]["predicted"] > 0
    assert counts["fast"]["computed"] < counts["balanced"]["computed"] < 80
    assert counts["fewstep"]["computed"] == 4


def test_kinds_are_what_passes_have_in_common(trial):
    kinds = {name: set(part["kinds"]) for name, part in trial["profiles"].items()}
    assert kinds["exact"] == {"high_noise", "low_noise"}
    assert "high_noise 8bit sparse" in kinds["fast"]
    assert "low_noise sparse" in kinds["balanced"], "its last step is wide"


@pytest.mark.parametrize("name", PROFILES)
def test_a_recipe_is_one_that_gates_are_measured_for(name, trial):
    """The strongest of the product's own table, in both experts."""
    profile = PROFILES[name]
    recipe = recipe_of(request_of(profile, headline_row(), {}))
    assert [use.model_dump(mode="json") for use in recipe] == trial["profiles"][name]["recipe"]
    if profile.speed == "exact":
        assert recipe == ()
        return
    ways = {tuple(use.acceleration for use in recipe if use.expert == name) for name in ("high_noise", "low_noise")}
    assert len(ways) == 1
    assert ways <= set(WAYS[profile.speed])


def test_the_strongest_recipe_is_taken():
    def kinds(name):
        return {type(use.acceleration) for use in recipe_of(request_of(PROFILES[name], headline_row(), {}))}

    assert kinds("balanced") == {EightBit, SparseAttention, GuidanceReuse}
    assert kinds("fast") == {EightBit, SparseAttention, GuidanceReuse, TaylorSeer}
    assert kinds("fewstep") == {EightBit, SparseAttention}, "nothing else saves in four steps without guidance"


@pytest.mark.parametrize("asked", [{}, ASKED])
@pytest.mark.parametrize("name", PROFILES)
def test_what_is_measured_is_what_the_command_line_asks_for(name, asked):
    """The planner makes of the command line what the benchmark carries out, all but what gates would allow."""
    row = headline_row()
    request = request_of(PROFILES[name], row, asked)
    card = DeviceDescription(kind="cuda", name=H200.name, memory_bytes=int(139.8 * 2**30))
    own = planned(row, card, request, ())
    _, _, *words = shlex.split(command_of(request))
    run = CliRunner().invoke(program, ["plan", *words, "--device-profile", "h200", "--json"])
    assert run.exit_code == 0, run.output
    theirs = Plan.model_validate_json(run.output)
    for field in ("steps", "video", "speed", "solver", "shift", "boundary", "precision", "guidance_rule"):
        assert getattr(own, field) == getattr(theirs, field), field
    assert own.residency.mode == theirs.residency.mode == "resident"
    assert (own.speed.attention, own.speed.vae_precision) == (("flash4", "bf16") if asked else ("cudnn", "fp32"))
    assert theirs.acceleration.recipe == (), "no gate was measured"


def test_a_command_line_names_what_was_asked_for_and_nothing_else():
    request = Request(prompt="a cat", width=64, guidance_high=1.0, attention="flash4")
    assert command_of(request) == "filmgate generate 'a cat' --width 64 --guidance-high 1.0 --attention flash4"


def test_a_trial_says_what_was_asked_for(trial):
    settings = {name: part["settings"] for name, part in trial["profiles"].items()}
    assert "--profile exact" in settings["exact"]["command"]
    assert "--width 1280" in settings["fast"]["command"], "that of true size"
    assert settings["fast"]["vae_precision"] == "fp32"
    assert settings["fast"]["attention"] == "torch"
    assert "gates" not in settings["exact"]
    assert "one step in 2" in settings["fast"]["recipe"]


def test_what_is_asked_for_beyond_defaults_is_done(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    arguments = ["--smoke", "--only", "exact", "--vae-precision", "bf16", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["headline.py", *arguments])
    assert headline.main() == 0
    part = json.loads(path.read_text())["profiles"]["exact"]
    assert part["settings"]["vae_precision"] == part["speed"]["vae_precision"] == "bf16"
    assert "--vae-precision bf16" in part["settings"]["command"]


def test_diffusers_is_counted_from_a_few_passes_of_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr(headline, "peer", lambda *_, **__: {"eager": [12.0], "compiled": [11.0, 11.4]})
    monkeypatch.setattr(headline, "vae_peer", lambda *_, **__: {"decode": [4.2]})
    path = tmp_path / "run.json"
    monkeypatch.setattr(sys, "argv", ["headline.py", "--smoke", "--only", "diffusers", "--json", str(path)])
    assert headline.main() == 0
    part = json.loads(path.read_text())["profiles"]["diffusers"]
    assert part["seconds"] == pytest.approx(80 * 11.2 + 4.2)
    assert part["extrapolated"] == 78
    numbers = {number.id: number for number in headline.numbers_of("diffusers", part)}
    assert numbers["gpu.headline.diffusers"].value == pytest.approx(900.2)
    assert numbers["gpu.headline.diffusers"].settings["vae_precision"] == "bf16"
    assert numbers["gpu.headline.diffusers.decode"].value == 4.2


def test_without_diffusers_a_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(headline, "find_spec", lambda name: None if name == "diffusers" else object())
    monkeypatch.setattr(headline, "peer", None)
    path = tmp_path / "run.json"
    monkeypatch.setattr(sys, "argv", ["headline.py", "--smoke", "--only", "diffusers", "--json", str(path)])
    assert headline.main() == 0
    part = json.loads(path.read_text())["profiles"]["diffusers"]
    assert part == {"skipped": "diffusers is not installed"}
    assert headline.numbers_of("diffusers", part) == []


def test_the_table_says_what_was_asked_for_and_compares_one_run():
    table = runpy.run_path(str(Path(headline.__file__).parent / "headline_table"))["table"]
    settings = {"command": "filmgate generate x", "attention": "cudnn", "vae_precision": "fp32", "recipe": "all of it"}
    facts = {"hardware": "a card", "date": "2026-11-30", "commit": "abc", "versions": {"torch": "2.11"}}
    fast = Claim("gpu.headline.fast", 171.5, "s", 180, False, settings=settings, **facts)
    peer = Claim("gpu.headline.diffusers", 900.2, "s", None, False, settings={"vae_precision": "bf16"}, **facts)
    shown = table([fast, replace(fast, id="gpu.headline.fast.decode", value=2.5, settings={}), peer])
    assert "| fast | 172 |  | 2.5 |  |  |  | cudnn | fp32 | 180 |" in shown
    assert "- fast: `filmgate generate x`; all of it, whose gates were taken as passed" in shown
    assert "| 900 |" in shown
    assert "diffusers" not in table([fast, replace(peer, date="2026-11-29")])
    assert table([peer]).startswith("Not measured yet")


def test_a_trial_claims_nothing(trial, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(trial))
    with pytest.raises(ValueError, match="smoke"):
        headline.merge([path], None)


def test_a_run_becomes_claims(trial, tmp_path, monkeypatch):
    part = {
        **trial["profiles"]["fast"], "seconds": 171.5, "extrapolated_seconds": 100.0, "spread": 0.01,
        "stages": {"encode": 0.1, "denoise": 60.0, "decode": 2.5}, "peak_gib": {"first": 90.0, "second": 80.0},
    }  # fmt: skip
    run = {**trial, "mode": "true", "hardware": "NVIDIA H200", "profiles": {"fast": part, "exact": {"failed": "no"}}}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    original = claims.write
    monkeypatch.setattr(headline, "write", lambda *a, **k: original(*a, **{**k, "folder": tmp_path / "results"}))
    headline.merge([path], "def")
    made = {claim.id: claim for claim in read(tmp_path / "results")}
    fast = made["gpu.headline.fast"]
    assert (fast.value, fast.goal, fast.met, fast.commit) == (171.5, 180, True, "def")
    assert fast.settings == part["settings"]
    assert made["gpu.headline.fast.denoise"].value == 160.0
    assert made["gpu.headline.fast.peak"].value == 90.0
    assert "gpu.headline.exact" not in made


def test_passes_beyond_the_limit_are_counted_with_the_median():
    plan = random_plan()
    kinds = Kinds(plan, Meter(torch.device("cpu")), 2)
    kinds.seconds = {"high_noise": [1.0, 3.0, 2.0], "low_noise": [5.0]}
    kinds.left_out = {"high_noise": 10}
    assert kinds.extrapolated == 20.0
    assert kinds.spread == 1.0
