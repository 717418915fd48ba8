"""Ablations: every variant is asked the same, finished ones are kept, a killed run goes on."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.engine.wan_directory import SIDECAR, tiny_wan_directory

import toybox_ablations
from filmgate.training.readers import ReaderConfig, WorldReader
from filmgate.training.records import save_tensors

STUDIES = {
    "boundary": ("boundary=0.8", "boundary=0.9"), "steps": ("solver=euler,steps=1", "solver=unipc,steps=1"),
    "guidance": ("high=1", "low=1"), "models": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("ablations")
    torch.manual_seed(0)
    reader = WorldReader(ReaderConfig(dim=24, layers=1, frames=2, height=32, width=32))
    save_tensors(root / "reader.safetensors", reader.state_dict())
    preset = {**SIDECAR["preset"], "boundary": None}
    tiny_wan_directory(root / "dense", folders={".": 1}, sidecar={**SIDECAR, "preset": preset})
    return root


def run(folder, pair, rows, *options):
    command = [
        "x", "--model", pair, "--world", "first", "--readers", folder / "reader.safetensors", "--device", "cpu",
        "--prompts", 3, "--steps", 2, "--rows", rows, *options,
        "--models", f"one model, equal steps={folder / 'dense'}",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in command])
        patch.setattr(toybox_ablations, "STUDIES", STUDIES)
        toybox_ablations.main()
    return toybox_ablations.read_rows(rows)


@pytest.fixture(scope="module")
def rows(folder, wan_pair):
    return run(folder, wan_pair, folder / "rows.jsonl")


def test_every_variant_is_a_row_that_was_asked_the_same(rows):
    assert [(row["study"], row["variant"]) for row in rows] == [
        ("defaults", "defaults"), *((study, name) for study, names in STUDIES.items() for name in names),
        ("models", "one model, equal steps"),
    ]  # fmt: skip
    assert len({row["key"]["questions"] for row in rows}) == 1
    assert len({row["key"]["weights"] for row in rows}) == 2
    assert all(len(row["answers"]["count"]) == row["prompts"] == 3 for row in rows)
    assert [row["settings"].count("solver=euler") for row in rows] == [0, 0, 0, 1, 0, 0, 0, 0]


def test_a_killed_run_goes_on_and_paints_nothing_twice(folder, wan_pair, rows, tmp_path, monkeypatch):
    painted = []
    whole = toybox_ablations.measure

    def counted(bench, asked, variant, painter):
        painted.append(variant.name)
        return whole(bench, asked, variant, painter)

    monkeypatch.setattr(toybox_ablations, "measure", counted)
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in rows]
    file.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:40])
    again = run(folder, wan_pair, file)
    assert painted == ["low=1", "one model, equal steps"]
    assert [row["key"] for row in again] == [row["key"] for row in rows]
    assert [row["answers"] for row in again] == [row["answers"] for row in rows]
    painted.clear()
    run(folder, wan_pair, file, "--guidance-low", 2)
    assert "defaults" in painted, "other settings of the defaults are other rows"


def test_the_table_compares_with_the_defaults(rows):
    shown = runpy.run_path(str(Path(toybox_ablations.__file__).parent / "toybox_ablations_table"))["table"]
    lines = shown(rows).splitlines()
    assert len(lines) == 2 + len(rows) + 2
    [dense] = [line for line in lines if "one model, equal steps" in line]
    assert " (" in dense.split("|")[4]
    assert "3 prompts" in lines[-1]
    assert shown([]) == "No ablation has been measured yet."
    same = {**rows[0], "study": "boundary", "variant": "boundary=0.8"}
    assert toybox_ablations.against_defaults(same, rows)[:3] == (0, 0, 0)
    stranger = {**same, "key": {**same["key"], "questions": "others"}}
    assert toybox_ablations.against_defaults(stranger, rows) is None


def test_rows_are_drawn(folder, rows, tmp_path, monkeypatch):
    picture = tmp_path / "plot.png"
    monkeypatch.setattr(sys, "argv", ["x", "--rows", str(folder / "rows.jsonl"), "--plot", str(picture)])
    toybox_ablations.main()
    assert Image.open(picture).size[0] > 1000
    assert set(toybox_ablations.lines_of("guidance", [row for row in rows if row["study"] == "guidance"])) == {
        "high", "low",
    }  # fmt: skip
    steps = toybox_ablations.lines_of("steps", [row for row in rows if row["study"] == "steps"])
    assert [name for name, _ in steps["euler"]] == ["1"]
