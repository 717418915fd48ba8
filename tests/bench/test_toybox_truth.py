"""The measuring of the toy model, whole, on a tiny pair of random weights; and the claims that are made of it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.engine.wan_directory import SIDECAR, tiny_wan_directory

import claims
import toybox_claims
import toybox_pixels
import toybox_truth
from filmgate.training.readers import ReaderConfig, WorldReader
from filmgate.training.records import save_tensors

HERE = Path(claims.__file__).parent
PROMPTS = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory, wan_pair):
    """Folder with what one complete run left, and its exit status."""
    folder = tmp_path_factory.mktemp("truth")
    torch.manual_seed(0)
    reader = WorldReader(ReaderConfig(dim=24, layers=1, frames=2, height=32, width=32))
    save_tensors(folder / "reader.safetensors", reader.state_dict())
    preset = {**SIDECAR["preset"], "boundary": None}
    partner = tiny_wan_directory(folder / "dense", folders={".": 1}, sidecar={**SIDECAR, "preset": preset})
    return folder, measure(folder, "--model", wan_pair, "--dense", partner, "--sweep", "high=1", "--sweep-prompts", 2)


def measure(folder, *options):
    command = [
        "toybox_truth.py", "--readers", folder / "reader.safetensors", "--device", "cpu", "--prompts", PROMPTS,
        "--world", "first", "--member", "toybox-t2v", "--steps", 2, "--flow", 3, "--warp", 3,
        "--json", folder / "numbers.json", "--sheet", folder / "sheet.png", "--results", folder / "results", *options,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in command])
        return toybox_truth.main()


@pytest.fixture(scope="module")
def numbers(run):
    folder, status = run
    numbers = json.loads((folder / "numbers.json").read_text())
    assert (status, numbers["errors"]) == (0, {})
    return numbers


def test_every_part_leaves_its_numbers(numbers):
    assert set(numbers["seconds"]) == {
        "truth", "sweep", "ceilings", "vae", "wall", "paraphrases", "dense", "flow", "warp", "distance",
    }  # fmt: skip
    for table in (numbers["truth"]["model"], numbers["truth"]["dense"], *numbers["ceilings"].values()):
        assert table["camera"]["n"] == table["count"]["n"] == PROMPTS
        assert all(0 <= row["low"] <= row["mean"] <= row["high"] <= 100 for row in table.values())
    assert numbers["sweep"]["1"]["settings"].startswith("high=1,")
    assert len(numbers["flow"]["deciles"]["model"]) == 10
    assert numbers["warp"]["ratio"]["mean"] == pytest.approx(
        numbers["warp"]["painted"]["mean"] / numbers["warp"]["coded"]["mean"], rel=1e-3
    )
    difference = numbers["pair_minus_dense"]["flow_loss"]["mean"]
    assert difference == pytest.approx(numbers["flow"]["model"]["mean"] - numbers["flow"]["dense"]["mean"], abs=1e-4)
    camera = (numbers["truth"][name]["camera"]["mean"] for name in ("model", "dense"))
    assert numbers["pair_minus_dense"]["camera"]["mean"] == pytest.approx(next(camera) - next(camera), abs=0.02)


def test_sheets_have_a_row_for_every_clip(run):
    folder, _ = run
    for name, rows in (("sheet", PROMPTS), ("sheet-dense", PROMPTS), ("sheet-paraphrases", 40)):
        assert Image.open(folder / f"{name}.png").size == (6 * 32, rows * (32 + 2 * 16))


def test_a_small_run_claims_nothing(run):
    folder, _ = run
    assert not (folder / "results").exists()


def test_claims_have_goals_intervals_and_ceilings(numbers, tmp_path):
    path = toybox_claims.publish(numbers, tmp_path)
    found = {claim.id: claim for claim in claims.read(tmp_path)}
    assert path.name.startswith("toybox_truth_")
    camera = found["toybox.t2v.camera"]
    assert (camera.goal, camera.unit, camera.value) == (92, "%", numbers["truth"]["model"]["camera"]["mean"])
    assert found["toybox.t2v.camera.high"].value == numbers["truth"]["model"]["camera"]["high"]
    assert found["toybox.t2v.camera.ceiling_coded"].value == numbers["ceilings"]["coded"]["camera"]["mean"]
    assert not found["toybox.vae_frame_gap"].higher_is_better
    assert not found["toybox.pair_minus_dense.flow_loss"].higher_is_better
    assert {
        "toybox.t2v.paraphrases",
        "toybox.t2v.warp_ratio",
        "toybox.t2v.distance_painted",
        "toybox.vae_object_psnr",
        "toybox.vae_ssim",
    } <= set(found)
    assert (camera.date, camera.hardware) == (numbers["setup"]["date"], numbers["setup"]["hardware"])


def test_a_run_elsewhere_keeps_its_facts(numbers, tmp_path):
    elsewhere = {
        "hardware": "A GPU", "versions": {"torch": "9"}, "date": "2026-01-02", "commit": "unknown",
        "weights": {"reader": "0123"},
    }  # fmt: skip
    numbers = {**numbers, "setup": {**numbers["setup"], **elsewhere}}
    assert toybox_claims.publish(numbers, tmp_path).name == "toybox_truth_a-gpu_2026-01-02.json"
    claim = claims.read(tmp_path)[0]
    assert (claim.versions, claim.date, claim.commit) == (
        {"torch": "9", "reader": "0123"}, "2026-01-02", claims.commit(),
    )  # fmt: skip


def test_asked_in_other_words_it_has_a_name_of_its_own(numbers, tmp_path):
    setup = {**numbers["setup"], "member": "toybox-2.1", "world": "rich"}
    own = {**numbers, "setup": {**setup, "own_world": "rich"}}
    other = {**numbers, "setup": {**setup, "own_world": "unadorned"}}
    assert toybox_claims.publish(own, tmp_path).name.startswith("toybox_truth_2_1_")
    toybox_claims.publish(other, tmp_path)
    assert {"toybox.2_1.camera", "toybox.2_1_asked_rich.camera"} <= {claim.id for claim in claims.read(tmp_path)}


def test_a_part_that_fails_is_a_result_and_the_rest_is_measured(run, wan_pair, monkeypatch, tmp_path):
    folder, _ = run

    def broken(clips):
        raise RuntimeError("no flow here")

    monkeypatch.setattr(toybox_pixels, "unsteadiness", broken)
    assert measure(folder, "--model", wan_pair, "--only", "warp", "truth", "--json", tmp_path / "n.json") == 1
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert "no flow here" in numbers["errors"]["warp"]
    assert numbers["truth"]["model"]["camera"]["n"] == PROMPTS


def test_a_table_shows_numbers_beside_their_ceilings(numbers, tmp_path):
    toybox_claims.publish(numbers, tmp_path)
    found = claims.newest(claims.read(tmp_path))
    rows = runpy.run_path(str(HERE / "toybox_table"))["table"](found).splitlines()
    [camera] = [row for row in rows if row.startswith("| camera |")]
    truth, ceilings = numbers["truth"], numbers["ceilings"]
    value = truth["model"]["camera"]["mean"]
    limits = (f"{ceilings[kind]['camera']['mean']:.1f}" for kind in ("rendered", "coded"))
    low, high = (truth["model"]["camera"][end] for end in ("low", "high"))
    cells = [cell.strip() for cell in camera.strip("|").split("|")]
    assert cells[1:] == [f"{value:.1f} ({low:.1f} to {high:.1f}) (missed)", "≥ 92", *limits]
    losses = runpy.run_path(str(HERE / "toybox_loss_table"))["table"](found).splitlines()
    [lowest] = [row for row in losses if row.startswith("| 0.0 to 0.1 |")]
    loss = numbers["flow"]["deciles"]
    assert [cell.strip() for cell in lowest.strip("|").split("|")][1:3] == [
        f"{loss[who][0]:.4f}" for who in ("model", "dense")
    ]
    shown = runpy.run_path(str(HERE / "table"))["table"](found)
    assert "`toybox.vae_psnr`" in shown
    assert "toybox.t2v" not in shown, "it has a table of its own"
    assert "ceiling" not in shown
    assert ".low" not in shown
