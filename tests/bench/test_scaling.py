"""The benchmark of several GPUs: a trial makes every part with two processes, and a run becomes claims."""

import json
import runpy
import sys
from pathlib import Path

import pytest

import claims
import scaling
from claims import Claim, read


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
    found = {claim.id: claim for claim in read(results)}
    assert set(found) == {"gpu.scaling.2", "gpu.scaling.2.end_to_end"}
    step, whole = found["gpu.scaling.2"], found["gpu.scaling.2.end_to_end"]
    assert (step.value, step.goal, step.unit, step.met) == (pytest.approx(100 * 8.0 / 8.2, abs=0.01), 97, "%", True)
    assert step.settings["layout"] == "cfg2.sequence1"
    assert whole.goal == 85
    decode = part["decode"]
    one, many = 320 + decode["alone"]["seconds"], 40 * 4.1 + decode["rows"]["seconds"]
    assert whole.value == pytest.approx(100 * one / many / 2, abs=0.01)
    assert {claim.commit for claim in found.values()} == {commit}
    assert {claim.hardware for claim in found.values()} == {"2 GPUs"}
    [details] = claims.details_of("scaling2", results).values()
    assert details["layouts"]["cfg1.sequence2"]["efficiency"] == pytest.approx(8.0 / 8.8)
    assert details["sharded"]["slowdown"] == 1.0
    assert details["sharded"]["peak_gib"] == 20.0
    assert (details["commit"], details["hardware"]) == (commit, "2 GPUs")


def test_what_is_not_promised_is_no_claim(trial):
    [part] = trial["parts"]
    run = {**trial, "parts": [{**part, "part": "ti2v-5b"}]}
    assert list(scaling.claims_of(run)) == []
    assert set(scaling.details_of_run(run)) == {"ti2v-5b"}


@pytest.mark.parametrize(("count", "layout"), [(2, "cfg2.sequence1"), (3, "cfg1.sequence3"), (4, "cfg2.sequence2")])
def test_the_arrangement_is_the_planners(count, layout):
    assert scaling.name_of(scaling.planned_layout("a14b-720p", count)) == layout
    assert layout in map(scaling.name_of, scaling.layouts(count)), "it is measured"


def test_the_table_says_not_measured_only_where_nothing_is(trial):
    table = runpy.run_path(str(Path(scaling.__file__).parent / "scaling_table"))["table"]
    assert table([], {}).startswith("Not measured yet")
    details = {2: scaling.details_of_run({**trial, "hardware": "2 GPUs"})}
    facts = {"hardware": "2 GPUs", "date": "2026-11-30", "commit": "abc"}
    claims = [Claim("gpu.scaling.2", 96.1, "%", 97, **facts), Claim("gpu.scaling.2.end_to_end", 90, "%", 85, **facts)]
    shown = table(claims, details)
    assert "| 2 | A14B, 1280×720×81 | cfg2, sequence1 |" in shown
    assert "| 97 (missed) |" in shown
    assert "| 85 |" in shown
    assert "Measured: 2 GPUs, " in shown
    assert "Not measured yet" not in shown
