"""Comparing plans with what happened."""

import json
import sys
from unittest import mock

import pytest
import torch
from tests.direction.living import Living

import true_size
from claims import read
from filmgate.direction.estimate import estimate_seconds
from filmgate.direction.memory import estimate_memory, rays, transformer_of
from filmgate.spec import ResidencyPlan
from plan_accuracy import (
    GIB,
    LEAST,
    claimed,
    configurations,
    errors,
    main,
    table,
)
from true_size_models import ROWS

PARAMETERS = {"1.3b": 1_418_996_800, "14b": 14_288_491_584, "5b": 4_999_787_712}
HARDWARE = "NVIDIA H100 80GB HBM3"
KEYS = [row.key for row in ROWS if row.operation == "t2v"][:7]


def record(key, *, slower=1.0, larger=1.0, decoding=1.0):
    """A row of a run that took ``slower`` times the seconds that are planned, and so on."""
    row = next(row for row in ROWS if row.key == key)
    size = next(size for name, size in PARAMETERS.items() if name in row.name)
    found = {
        "status": "done",
        "parameters": {"dit": size, "text_encoder": 5_680_910_336},
        "steps": [
            {"index": index, "sigma": 1.0, "sigma_next": 0.0, "timestep": 999, "expert": expert, "guidance": 4.0}
            for index, expert in enumerate((row.experts[0], row.experts[-1]))
        ],
        "passes": [9.0, 1.0, 1.0, 1.0], "seconds_per_forward": 1.0, "stage_seconds": {"encode": 0.0, "decode": 1.0},
        "peak_gib": {"denoise": 1.0},
    }  # fmt: skip
    (plain,) = configurations([{"rows": {key: found}, "hardware": HARDWARE}])
    times = estimate_seconds(plain.load, ResidencyPlan())
    found["passes"] = [9.0 * times.forward] + [slower * times.forward] * 3
    found["seconds_per_forward"] = slower * times.forward
    found["stage_seconds"] = {"encode": decoding * times.encode, "decode": decoding * times.decode}
    peak = estimate_memory(plain.load, ResidencyPlan()).peak / GIB
    found["peak_gib"] = {"encode": peak / 4, "denoise": larger * peak}
    return found


def content(**rows):
    facts = {"mode": "true", "hardware": HARDWARE, "versions": {"torch": "2"}, "date": "2026-11-25", "commit": "abc"}
    return {**facts, "rows": rows}


def test_what_happens_as_planned_has_no_error():
    found = list(configurations([content(**{key: record(key) for key in KEYS})]))
    assert [one.key for one in found] == KEYS
    assert errors(found) == pytest.approx(dict.fromkeys(errors(found), 0.0), abs=1e-9)


def test_the_worst_configuration_counts():
    rows = {key: record(key) for key in KEYS}
    rows[KEYS[2]] = record(KEYS[2], larger=1.25)
    rows[KEYS[3]] = record(KEYS[3], slower=2.0, decoding=2.0)
    found = errors(list(configurations([content(**rows)])))
    assert found["memory_error"] == pytest.approx(0.2)
    assert found["time_error_analytic"] == pytest.approx(0.5)
    # A measured step puts denoising right and says nothing of decoding.
    assert 0 < found["time_error"] < 0.5


def test_a_measured_step_elsewhere_is_that_of_the_smallest_run():
    rows = {key: record(key, slower=3.0, decoding=1.0) for key in KEYS}
    found = errors(list(configurations([content(**rows)])))
    assert found["time_error"] == pytest.approx(0.0, abs=1e-9)
    assert found["time_error_elsewhere"] == pytest.approx(0.0, abs=1e-9)
    assert found["time_error_analytic"] > 0.5


def test_streamed_runs_count_as_configurations_of_their_own():
    key = KEYS[0]
    part = {
        "hardware": HARDWARE, "row": key, "host": "pinned",
        "streamed": {
            "passes": [9.0, 2.0, 2.0, 2.0], "other_seconds": {"encode": 0.1, "decode": 3.0},
            "peak_gib": {"load": 20.0, "encode": 20.0, "denoise": 13.0, "decode": 9.0},
        },
    }  # fmt: skip
    runs = [content(**{key: record(key)}), {"mode": "true", "parts": {"load": {"hardware": HARDWARE}, "a14b": part}}]
    plain, streamed = configurations(runs)
    assert streamed.key == f"{key} streamed, pinned"
    assert streamed.residency == ResidencyPlan(mode="streamed", vae_tile=512)
    assert streamed.peak == 13.0 * GIB
    assert streamed.load.forwards == 4
    assert "streamed" in table([plain, streamed])
    assert len(list(configurations(runs[1:]))) == 0, "without the true size nothing is known of the network"


def test_failures_and_encoders_are_left_out():
    rows = {KEYS[0]: {"status": "failed"}, "umt5-xxl": {"status": "done"}}
    assert list(configurations([content(**rows)])) == []


def test_too_few_configurations_make_no_claim():
    found = list(configurations([content(**{key: record(key) for key in KEYS[: LEAST - 1]})]))
    with pytest.raises(ValueError, match="too few"):
        claimed(found)


def test_claims_are_written(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run.json"
    run.write_text(json.dumps(content(**{key: record(key, larger=1.02) for key in KEYS})))
    monkeypatch.setattr("claims.RESULTS", tmp_path)
    monkeypatch.setattr(
        "plan_accuracy.write", lambda *a, **k: __import__("claims").write(*a, **{**k, "folder": tmp_path})
    )
    monkeypatch.setattr(sys, "argv", ["plan_accuracy.py", "--from", str(run), "--commit", "def"])
    main()
    run.unlink()
    made = {claim.id: claim for claim in read(tmp_path)}
    assert set(made) == {
        "plan.time_error", "plan.time_error_elsewhere", "plan.time_error_analytic", "plan.memory_error",
        "plan.configurations",
    }  # fmt: skip
    assert made["plan.memory_error"].met
    assert made["plan.time_error"].met
    assert (made["plan.time_error"].goal, made["plan.memory_error"].goal) == (0.2, 0.1)
    assert (made["plan.time_error"].hardware, made["plan.time_error"].commit) == (HARDWARE, "def")
    assert made["plan.configurations"].value == len(KEYS)
    assert KEYS[0] in capsys.readouterr().out


@pytest.mark.parametrize("key", ["wan2.1-t2v-1.3b.832x480x81", "wan2.2-camera-5b.1280x704x81"])
def test_a_whole_run_on_shapes_needs_what_is_planned(key):
    """What lives from stage to stage is in the formulas: a run of true shapes is counted, storage by storage. What
    libraries take for themselves is not seen here, only on a GPU."""
    row = next(row for row in ROWS if row.key == key)
    living, peaks = Living(), {}

    def mark(_, stage):
        peaks[stage] = max(peaks.get(stage, 0), living.peak)
        living.peak = living.now

    with (
        true_size.without_numbers(),
        torch.no_grad(),
        mock.patch.object(true_size.Meter, "mark", mark),
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention_of_shapes),
        living,
    ):
        found = true_size.measure(row, torch.device("meta"), true_size.H200)
    rows = {key: {**found, "status": "done", "peak_gib": {"decode": 1.0}}}
    (one,) = configurations([content(**rows)])
    load = one.load._replace(device=one.load.device.model_copy(update={"kind": "cpu"}))  # nothing but the numbers
    planned = estimate_memory(load, ResidencyPlan())
    assert planned.vae + rays(load) == pytest.approx(peaks["decode"], rel=0.03)
    expert = transformer_of(load, "as_computed").whole
    assert expert + planned.activations == pytest.approx(peaks["denoise"], rel=0.03)


def attention_of_shapes(q, k, v, **_):
    del k
    return q.new_empty(*q.shape[:-1], v.shape[-1])


def test_trials_and_mixed_hardware_are_refused(tmp_path, monkeypatch):
    trial = tmp_path / "trial.json"
    trial.write_text(json.dumps({**content(), "mode": "smoke"}))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**content(), "hardware": "NVIDIA H200"}))
    here = tmp_path / "here.json"
    here.write_text(json.dumps(content()))
    for files, message in (([trial], "trial run"), ([here, other], "several kinds")):
        monkeypatch.setattr(sys, "argv", ["plan_accuracy.py", "--from", *map(str, files)])
        with pytest.raises(SystemExit, match=message):
            main()
