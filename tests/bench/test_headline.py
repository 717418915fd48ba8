"""The benchmark of the headline: a trial makes every video, and a run becomes claims."""

import json
import sys

import pytest
import torch
from tests.engine.pipeline.networks import random_plan

import claims
import headline
from claims import read
from headline import PROFILES, Kinds
from true_size_weights import Meter


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    path = tmp_path_factory.mktemp("trial") / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["headline.py", "--smoke", "--json", str(path)])
        assert headline.main() == 0
    return json.loads(path.read_text())


def test_a_trial_makes_every_video(trial):
    assert set(trial["profiles"]) == set(PROFILES)
    for name, part in trial["profiles"].items():
        assert part["steps"] == PROFILES[name].wish["steps"], name
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
