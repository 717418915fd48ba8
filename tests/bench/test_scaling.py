"""The benchmark of several GPUs: a trial makes every part with two processes, and a run becomes claims."""

import json
import sys

import pytest

import scaling
from claims import read


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    path = tmp_path_factory.mktemp("trial") / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["scaling.py", "--smoke", "--gpus", "2", "--json", str(path)])
        scaling.main()
    return json.loads(path.read_text())


def test_a_trial_makes_every_part(trial):
    [part] = trial["parts"]
    ways = {"alone", "cfg2.sequence1", "cfg1.sequence2", "sharded"}
    assert set(part) == {"part", "tokens", "decode", "encode", *ways}
    for way in ways:
        assert part[way]["relative_error"] < 1e-5
        assert part[way]["repeats"]
    assert part["sharded"]["relative_error"] == part["cfg2.sequence1"]["relative_error"], "the same bits"
    for work in ("decode", "encode"):
        assert part[work]["rows"]["relative_error"] < 1e-5


def test_a_trial_claims_nothing(trial, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(trial))
    with pytest.raises(ValueError, match="smoke"):
        scaling.merge([path], None, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("stated", "commit"), [(None, "unknown"), ("abc", "abc")])
def test_a_run_becomes_claims(trial, tmp_path, stated, commit):
    """With the commit that whoever merges it knows, where the run took place without git."""
    [part] = trial["parts"]
    part = {**part, "alone": {**part["alone"], "seconds": 8.0}}
    part["cfg2.sequence1"] = {**part["cfg2.sequence1"], "seconds": 4.1}
    part["cfg1.sequence2"] = {**part["cfg1.sequence2"], "seconds": 4.4}
    part["sharded"] = {**part["sharded"], "seconds": 4.1, "peak_gib": 20.0}
    run = {**trial, "mode": "true", "hardware": "2 GPUs", "commit": "unknown", "date": "2026-11-30", "parts": [part]}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    results = tmp_path / "results"
    scaling.merge([path], stated, results)
    assert [file.name for file in results.iterdir()] == ["scaling2_2-gpus_2026-11-30.json"]
    claims = {claim.id: claim for claim in read(results)}
    stem = "gpu.scaling.2.a14b-720p"
    assert claims[f"{stem}.cfg2.sequence1.efficiency"].value == pytest.approx(8.0 / 8.2)
    assert claims[f"{stem}.cfg2.sequence1.efficiency"].goal == 0.97
    assert claims[f"{stem}.sharded.slowdown"].value == 1.0
    assert claims[f"{stem}.sharded.peak"].value == 20.0
    assert {claim.commit for claim in claims.values()} == {commit}
    assert {claim.hardware for claim in claims.values()} == {"2 GPUs"}
