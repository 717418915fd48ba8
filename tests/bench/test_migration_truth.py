"""Technical prompts about the toy world: true to their scenes before and after migration, and the whole measurement."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import claims
import migration_truth
from filmgate.direction.migration.migrate import migrate
from filmgate.training.readers import ReaderConfig, WorldReader
from filmgate.training.records import save_tensors
from filmgate.training.world.catalogue import FIRST
from migration_prompts import technical_questions

ASKED = technical_questions(60)
MOVES = {
    "static": ("remains still",), "pan left": ("pans left",), "pan right": ("pans right",), "tilt up": ("tilts up",),
    "tilt down": ("tilts down",), "dolly in": ("dollies forward",), "dolly out": ("dollies backward",),
    "truck left": ("moves left",), "truck right": ("moves right",), "orbit left": ("orbits left",),
    "orbit right": ("orbits right",), "crane up": ("cranes up", "moves upward"),
    "crane down": ("cranes down", "moves downward"),
}  # fmt: skip


def test_there_are_sixty_of_five_notations_each_about_a_scene_of_its_own():
    assert len({question.prompt for question in ASKED}) == 60
    assert {question.facts.camera for question in ASKED} == set(FIRST.cameras)
    assert len({question.seed for question in ASKED}) == 60


@pytest.mark.parametrize("question", ASKED, ids=lambda question: str(question.seed))
def test_migration_keeps_every_fact_and_drops_every_setting(question):
    made = migrate(question.prompt)
    assert (made.status, made.passed) == ("complete", True), made.ledger
    for thing in question.facts.things:
        assert f"{thing.colour} {thing.shape}" in made.text
    if question.facts.relation and len(question.facts.things) == 2:
        assert question.facts.relation in made.text
    assert any(f"The camera {words}" in made.text for words in MOVES[question.facts.camera])
    assert question.facts.light in made.text.lower()
    for residue in ("_", ":", "masterpiece", "8k", "--", "<", "[", "seed", "speed", "{"):
        assert residue not in made.text


@pytest.fixture(scope="module")
def numbers(tmp_path_factory, wan_pair):
    folder = tmp_path_factory.mktemp("migration")
    torch.manual_seed(0)
    reader = WorldReader(ReaderConfig(dim=24, layers=1, frames=2, height=32, width=32))
    save_tensors(folder / "reader.safetensors", reader.state_dict())
    command = [
        "migration_truth.py", "--model", wan_pair, "--readers", folder / "reader.safetensors", "--device", "cpu",
        "--limit", 4, "--steps", 2, "--json", folder / "numbers.json", "--sheet", folder / "sheet.png",
        "--results", folder / "results",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in command])
        assert migration_truth.main() == 0
    assert not (folder / "results").exists()
    assert {path.name for path in folder.glob("*.png")} == {f"sheet-{arm}.png" for arm in migration_truth.ARMS}
    return json.loads((folder / "numbers.json").read_text())


def test_every_arm_is_measured_and_differences_are_paired(numbers):
    assert set(numbers["truth"]) == set(migration_truth.ARMS)
    for name, difference in numbers["migrated_minus_original"].items():
        original, migrated = (numbers["truth"][arm][name]["mean"] for arm in ("original", "migrated"))
        assert difference["mean"] == pytest.approx(migrated - original, abs=0.02)
        assert difference["low"] <= difference["mean"] <= difference["high"]
    assert len(numbers["migration"]["prompts"]) == numbers["truth"]["original"]["overall"]["n"] == 4


def test_claims_have_intervals(numbers, tmp_path):
    words = {arm: {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 4} for arm in migration_truth.ARMS}
    numbers = {**numbers, "unknown_words": words}  # the tiny model has no vocabulary of its own
    path = claims.write("migration_truth", migration_truth.measured(numbers), hardware="A GPU", folder=tmp_path)
    found = {claim.id: claim for claim in claims.read(tmp_path)}
    assert path.parent == Path(tmp_path)
    whole = found["migration.migrated_minus_original.overall"]
    assert (whole.unit, whole.value) == ("points", numbers["migrated_minus_original"]["overall"]["mean"])
    assert found["migration.original.camera.low"].value == numbers["truth"]["original"]["camera"]["low"]
    assert not found["migration.migrated.unknown_words"].higher_is_better
    assert all(claim.id.startswith("migration.") for claim in found.values())


def test_the_table_shows_before_after_and_the_difference(numbers, tmp_path):
    claims.write("migration_truth", migration_truth.measured(numbers), hardware="A GPU", folder=tmp_path)
    program = runpy.run_path(str(Path(claims.__file__).parent / "migration_table"))
    rows = program["table"](claims.newest(claims.read(tmp_path))).splitlines()
    assert rows[2].startswith(f"| overall | {numbers['truth']['original']['overall']['mean']:.1f} (")
    assert len(rows) == 2 + len(numbers["truth"]["original"])
    assert program["table"]([]) == program["NOTHING"]


def test_overall_counts_attributes_that_every_prompt_states():
    rows = {"count": np.array([1.0, 0.0]), "camera": np.array([0.0, 0.0]), "colour": np.array([1.0])}
    assert migration_truth.overall(rows, 2).tolist() == [0.5, 0.0]
