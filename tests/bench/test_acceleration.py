"""The table of skipped work, from claims."""

import runpy
from pathlib import Path

from claims import Claim

TABLE = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "acceleration_table"))


def claims(profile, **values):
    facts = {"hardware": "a processor", "versions": {"torch": "2.13"}, "date": "2026-11-30"}
    return [Claim(f"cpu.acceleration.{profile}.{name}", value, "", **facts) for name, value in values.items()]


def test_a_profile_is_a_column():
    numbers = dict.fromkeys(TABLE["ROWS"], 1.0) | {"passes_saved": 0.25, "clips": 40.0}
    ends = {f"{name}.{end}": value for name in ("truth_points",) for end, value in (("low", -1.5), ("high", 2.0))}
    text = TABLE["table"]([*claims("balanced", **numbers, **ends), *claims("fast", **numbers)])
    assert text.splitlines()[0] == "| Toybox, 160×96×33, 20 steps | balanced | fast |"
    assert "| passes that are not made | 25% | 25% |" in text
    assert "| facts shown, percentage points more (less) | 1 (-1.5 … 2) | 1 |" in text
    assert "40 held-out prompts" in text
    assert "a processor, torch 2.13, 2026-11-30" in text


def test_without_claims_it_says_so():
    assert "Not measured yet" in TABLE["table"]([])
