"""Two runs side by side: the same questions only, differences paired prompt by prompt."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import claims
import toybox_compare
from filmgate.spec import InvalidRequest
from filmgate.training.truth import independent_difference, interval, paired_difference


def run(answers: dict[str, str], questions: str = "abc", member: str = "toybox-t2v") -> dict:
    setup = {"questions": questions, "member": member, "hardware": "A GPU", "versions": {}, "date": "2026-01-02",
             "commit": "0" * 7}  # fmt: skip
    return {"setup": setup, "answers": {"truth-model": answers}}


def test_differences_are_of_the_same_prompts():
    compared = toybox_compare.compare(
        run({"colour": "1111", "ground": "1100"}), run({"colour": "1100", "ground": "1100", "hat": "1"})
    )
    assert list(compared) == ["colour", "ground", "all", "kept"]
    assert (compared["colour"].first.mean, compared["colour"].second.mean) == (100, 50)
    assert compared["colour"].difference.mean == 50
    assert compared["ground"].difference[:3] == (0, 0, 0), "every prompt has the same answer twice"
    assert compared["all"].difference.mean == 50, "only the attributes with a goal"
    assert compared["kept"].difference.mean == 200


def test_runs_on_other_questions_are_refused():
    with pytest.raises(InvalidRequest, match="questions differ"):
        toybox_compare.compare(run({"colour": "1"}), run({"colour": "1"}, "def"))
    with pytest.raises(InvalidRequest, match="questions differ"):
        toybox_compare.compare(run({"colour": "1"}, None), run({"colour": "1"}, None))


def test_the_table_and_the_claims_say_the_same(tmp_path, capsys, monkeypatch):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path, answers in zip(paths, ("1101", "0101"), strict=True):
        path.write_text(json.dumps(run({"colour": answers})))
    command = ["x", *map(str, paths), "--names", "2.2", "2.1", "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", command)
    toybox_compare.main()
    assert "| colour | 75.0 | 50.0 | 25.0 (0.0 to 75.0) | 4 |" in capsys.readouterr().out
    found = {claim.id: claim for claim in claims.read(tmp_path / "results")}
    assert found["toybox.compared.2_2_minus_2_1.colour"].value == 25
    assert found["toybox.compared.2_2_minus_2_1.colour.high"].value == 75
    assert found["toybox.compared.2_2_minus_2_1.kept"].unit == "%"


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_cover_the_truth_about_as_often_as_they_say(paired):
    generator = np.random.default_rng(3)
    covered, rounds, count = 0, 120, 80
    for _ in range(rounds):
        hard = generator.random(count) < 0.3
        first, second = (((generator.random(count) < share) & ~hard).astype(float) for share in (0.9, 0.8))
        if not paired:
            second = ((generator.random(count) < 0.8) & (generator.random(count) >= 0.3)).astype(float)
        difference = (paired_difference if paired else independent_difference)(first, second)
        covered += difference.low - 1e-9 <= 0.07 <= difference.high + 1e-9
    assert 0.88 <= covered / rounds <= 1


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(0)
    hard = generator.random(200) < 0.5
    first = ((generator.random(200) < 0.95) & ~hard).astype(float)
    second = ((generator.random(200) < 0.9) & ~hard).astype(float)
    paired, apart = paired_difference(first, second), independent_difference(first, second)
    assert paired.mean == pytest.approx(apart.mean)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)


def test_one_share_is_covered_too():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(150):
        found = interval((generator.random(100) < 0.8).astype(float))
        covered += found.low <= 0.8 <= found.high
    assert 0.88 <= covered / 150 <= 1
