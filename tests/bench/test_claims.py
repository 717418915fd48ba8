"""Records of measurements."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import claims
from claims import Claim, Measured, last_day, newest, read, write

BENCH = Path(claims.__file__).parent


def test_a_run_is_one_file_that_names_itself_and_reads_back(tmp_path):
    path = write(
        "speed", [Measured("cpu.seconds", 1.5, "s", 2.0, higher_is_better=False)], hardware="A (B)", folder=tmp_path
    )
    [claim] = read(tmp_path)
    assert path.name == f"speed_a-b_{claim.date}.json"
    assert (claim.id, claim.value, claim.unit, claim.goal, claim.hardware) == ("cpu.seconds", 1.5, "s", 2.0, "A (B)")
    assert claim.versions["python"]
    assert claim.commit
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_claim_has_exactly_the_promised_fields(tmp_path):
    content = json.loads(write("speed", [Measured("a", 1, "s")], folder=tmp_path).read_text())
    [claim] = content["claims"]
    promised = {"id", "value", "unit", "goal", "higher_is_better", "hardware", "versions", "date", "commit"}
    assert set(claim) == promised


def test_a_claim_says_how_it_was_asked_for_where_that_decides(tmp_path):
    asked = Measured("a", 1, "s", settings={"command": "filmgate generate x"})
    [claim] = read(write("speed", [asked], folder=tmp_path).parent)
    assert claim.settings == {"command": "filmgate generate x"}


def test_details_of_a_run_are_kept_beside_its_claims(tmp_path):
    assert claims.details_of("speed", tmp_path) == {}
    for day, keep, details in (("2026-01-02", True, {"a": 1, "b": 2}), ("2026-01-02", True, {"b": 3}),
                               ("2026-01-01", False, {"a": 9})):  # fmt: skip
        write("speed", [Measured("a", 1, "s")], folder=tmp_path, known={"date": day}, keep=keep, details=details)
    write("other", [], folder=tmp_path, details={"a": 5})
    assert claims.details_of("speed", tmp_path) == {"a": 1, "b": 3}, "the last day, and what was not measured again"


def test_versions_name_every_package_that_is_installed_and_cudnn(monkeypatch):
    installed = {name: f"1.{index}" for index, name in enumerate(claims.PACKAGES)}
    assert {"flash-attn-4", "nvidia-cudnn-frontend", "triton"} <= set(installed)
    monkeypatch.setattr(claims, "version", installed.__getitem__)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    found = claims.versions()
    assert found.pop("python")
    assert found == {**installed, "cudnn": "91002"}
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)
    assert "cudnn" not in claims.versions()


def test_a_second_run_of_a_day_replaces_the_first_or_only_what_it_measured(tmp_path):
    for keep, expected in ((True, [("a", 1), ("b", 4), ("c", 5)]), (False, [("b", 4), ("c", 5)])):
        write("speed", [Measured("a", 1, "s"), Measured("b", 2, "s")], folder=tmp_path)
        write("speed", [Measured("b", 4, "s"), Measured("c", 5, "s")], folder=tmp_path, keep=keep)
        assert [(claim.id, claim.value) for claim in read(tmp_path)] == expected


@pytest.mark.parametrize(
    ("value", "goal", "higher", "met"),
    [
        (2, 1, True, True),
        (1, 2, True, False),
        (1, 2, False, True),
        (2, 1, False, False),
        (1, 1, True, True),
        (1, None, True, None),
    ],
)
def test_a_goal_is_met_in_its_direction(value, goal, higher, met):
    assert Claim("a", value, "s", goal, higher).met is met


def test_the_newest_of_each_is_kept_whatever_its_file_is_called(tmp_path):
    old, new = Claim("a", 1, "s", date="2026-11-02"), Claim("a", 2, "s", date="2026-11-10")
    other = Claim("b", 3, "s", date="2026-01-01")
    for name, found in (("z", old), ("y", new), ("x", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "claims": [vars(found)]}))
    assert [(claim.id, claim.value) for claim in newest(read(tmp_path))] == [("a", 2), ("b", 3)]


def test_every_hardware_of_the_last_day_is_shown():
    def claim(value, hardware, day):
        return Claim("a", value, "s", date=f"2026-11-{day:02}", hardware=hardware)

    claims = [claim(1, "old", 2), claim(2, "this", 10), claim(3, "other", 10), claim(4, "this", 10)]
    assert [(found.hardware, found.value) for found in last_day(claims)] == [("other", 3), ("this", 4)]


def test_the_table_shows_goals_and_says_when_one_is_missed():
    table = runpy.run_path(str(BENCH / "table"))["table"]
    claim = Claim("cpu.seconds", 12.345, "s", 15.0, False, "2 cores", {}, "2026-11-24", "abc")
    assert "| `cpu.seconds` | 12.3 s | ≤ 15 | 2 cores | 2026-11-24 | `abc` |" in table([claim])
    assert "≤ 15 (missed)" in table([replace(claim, value=16.0)])
    for value, shown in (
        (1.001, "1.001"),
        (1.0, "1"),
        (1.0002, "1"),
        (1.03, "1.03"),
        (28.0004, "28"),
        (0.1234, "0.123"),
    ):
        assert f"| {shown} s |" in table([replace(claim, value=value)])
    detail = replace(claim, id="cpu.seconds.low", goal=None)
    assert "cpu.seconds.low" not in table([claim, detail])
    assert "cpu.seconds.low" in table([claim, replace(detail, goal=1.0)]), "it was promised something of its own"
    assert table([]) == "Nothing has been measured yet."
