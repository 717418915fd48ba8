"""The benchmark of forward passes: a trial runs every part, and a run becomes claims."""

import json
import runpy
import sys
from pathlib import Path

import pytest

import claims
import forward
from claims import Claim, read

BENCH = Path(forward.__file__).parent


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A trial of all parts without diffusers, which takes a minute to compile."""
    path = tmp_path_factory.mktemp("trial") / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["forward.py", "--smoke", "--no-peer", "--json", str(path)])
        assert forward.main() == 0
    return json.loads(path.read_text())


def test_a_trial_runs_every_part(trial):
    assert set(trial["parts"]) == set(forward.PARTS)
    for name in forward.ROWS:
        part = trial["parts"][name]
        assert part["relative_error"] < 1e-5, "fused is plain, up to rounding"
        assert part["repeats"]
        assert part["exact"]
        assert 0.001 < part["8bit.relative_error"] < 0.1
        if part["tokens"] > 16:
            assert part["sparse.relative_error"] != part["8bit.relative_error"], "one of two blocks is skipped"
        assert not [key for key in part if key.endswith("_failed")]
        assert len(part["blocks"]["milliseconds"]) == 2
        median, largest = part["blocks"]["median"], part["blocks"]["largest"]
        assert 0 < median <= largest <= 1000 * max(part["exact"]) * 20, (
            "a block is a part of a pass, on a busy machine too"
        )
    light = trial["parts"]["light"]
    for name in forward.ROWS:
        assert {"bf16", "8bit", "bf16.25", "8bit.25.summary", "choice.25"} <= set(light[name])
        assert light[f"{name}.operations"]["product.in.relative_error"] < 0.05
    for name in ("residual_norm", "norm_heads", "linear_gelu", "channel_norm.plain", "biased_sum.plain"):
        operation = trial["parts"]["operations"][name]
        assert operation["relative_error"] < 0.004, "one rounding to bf16, or two"
        assert 0 < operation["floor"] < operation["seconds"]


def test_each_light_reading_says_what_it_was_of(trial):
    for name in forward.ROWS:
        part = trial["parts"][name]
        for reading in ("sparse_bf16", "8bit_products", "8bit", "sparse", "sparse_without_summary"):
            assert part[reading]
            assert part[f"{reading}.attention"] == "torch"
        assert part["sparse.dense_layers"] == [0]
        assert part["sparse_kernels"] != part["8bit_kernels"]


def test_blocks_are_compiled_once_for_all_and_batches_give_what_passes_give(trial):
    for part in trial["parts"]["launches"].values():
        assert not [key for key in part if key.endswith("failed")]
        assert part["graphs"] == 1
        for way in ("fused", "graph", "compiled"):
            assert part[f"pass.{way}.relative_error"] < 1e-5
    for model in trial["parts"]["guidance"].values():
        assert all(count["relative_error"] < 1e-5 for count in model.values())


def test_a_trial_claims_nothing(trial, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(trial))
    with pytest.raises(ValueError, match="smoke"):
        forward.merge([path], None)


def test_a_run_becomes_claims_and_a_table(tmp_path, monkeypatch):
    parts = {
        "a14b-720p": {
            "8bit": [7.5], "8bit.relative_error": 0.03, "sparse": [4.4],
            "plain": [17.0], "plain_cudnn": [13.0], "exact": [9.0, 9.2, 9.1], "relative_error": 0.0025,
            "kernels": {"cudnn_sdpa x80": 7000.0, "nvjet_tst x281": 1800.0, "_residual_norm x160": 180.0, "?": 1},
            "exact.attention": "cudnn", "8bit.attention": "cudnn", "flash4": [8.4], "flash4.attention": "flash4",
            "sparse.relative_error": 0.2, "sparse_kernels": {"cudnn_sdpa x80": 2000.0},
            "blocks": {"median": 225.0, "largest": 230.5, "kernels": {"cudnn_sdpa x2": 175.0}},
        },
        "a14b-720p.diffusers": {"eager": [12.0], "compiled": [11.4, 11.4]},
        "vae21": {"decode_bf16_21": [2.1], "decode_bf16_peak_gib": 11.0, "encode_bf16": [1.3], "relative_error": 0.01},
        "vae21.diffusers": {"failed": "out of memory"},
        "attention": {
            "a14b-720p.cudnn": {"seconds": 0.2, "tera_operations_per_second": 560.0, "repeats": True},
            "a14b-480p.cudnn": {"failed": "no"},
        },
        "light": {"a14b-720p": {"choice.25": 0.004}},
    }  # fmt: skip
    run = {"mode": "true", "hardware": "NVIDIA H200", "versions": {"torch": "2.11"}, "date": "2026-11-30",
           "commit": "abc", "parts": parts}  # fmt: skip
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    original = claims.write
    monkeypatch.setattr(forward, "write", lambda *a, **k: original(*a, **{**k, "folder": tmp_path / "results"}))
    forward.merge([path], "def")
    made = {claim.id: claim for claim in read(tmp_path / "results")}
    exact = made["gpu.a14b.720p.forward.exact"]
    assert (exact.value, exact.goal, exact.met, exact.commit) == (9.1, 9.7, True, "def")
    assert made["gpu.a14b.720p.forward.diffusers"].value == 11.4
    assert made["gpu.a14b.720p.forward.8bit"].met
    assert made["gpu.a14b.720p.forward.8bit.relative_error"].value == 0.03
    assert made["gpu.a14b.720p.forward.sparse"].met is False
    assert made["gpu.vae21.decode"].met is False
    assert "gpu.vae21.decode.diffusers" not in made
    stem = "gpu.a14b.720p.forward"
    profile = {name.removeprefix(stem): claim.value for name, claim in made.items() if ".profile." in name}
    assert profile == {
        ".profile.attention": 7000.0, ".profile.products": 1800.0, ".profile.norms": 180.0, ".profile.other": 1,
        ".profile.block.median": 225.0, ".profile.block.largest": 230.5, ".profile.block.profile.attention": 175.0,
        ".sparse.profile.attention": 2000.0,
    }  # fmt: skip
    assert made[f"{stem}.sparse.relative_error"].value == 0.2
    assert made[f"{stem}.exact_flash4"].versions["attention"] == "flash4"
    assert exact.versions["attention"] == "cudnn"
    assert "attention" not in made["gpu.vae21.decode"].versions
    kernels = {name: (claim.value, claim.unit) for name, claim in made.items() if name.startswith("kernels.")}
    assert kernels == {
        "kernels.attention.a14b-720p.cudnn.seconds": (0.2, "s"),
        "kernels.attention.a14b-720p.cudnn.tera_operations_per_second": (560.0, "TFLOP/s"),
        "kernels.attention.a14b-720p.cudnn.repeats": (1.0, ""), "kernels.light.a14b-720p.choice.25": (0.004, "s"),
    }  # fmt: skip
    readme = runpy.run_path(str(BENCH / "table"))["table"](list(made.values()))
    assert "`gpu.a14b.720p.forward.sparse`" in readme
    assert not [word for word in ("kernels.", "exact_flash4", "profile", "relative_error") if word in readme]
    table = runpy.run_path(str(BENCH / "forward_table"))["table"](list(made.values()))
    assert "| 17 | 13 | 9.1 | 8.4 | 11.4 | 9.7 |" in table
    assert "| VAE 2.1, decode 1280×720×81, bf16 | 2.1 |  | 1.5 (missed) |" in table
    blocks = runpy.run_path(str(BENCH / "forward_table"))["blocks"](list(made.values()))
    assert "| median of all blocks | 225 |" in blocks
    assert "| attention, in the middle one | 175 |" in blocks
    light = runpy.run_path(str(BENCH / "light_table"))
    passes = light["passes"](light["Numbers"](list(made.values())))
    assert "| 9.1 |  | 7.5 | 7.7 | 4.4 | 4.2 (missed) |  | 0.03 | 0.2 |" in passes
    assert "dense: cudnn." in passes


def test_nothing_measured_is_said():
    assert "Not measured yet" in runpy.run_path(str(BENCH / "forward_table"))["table"]([Claim("a", 1, "s")])
