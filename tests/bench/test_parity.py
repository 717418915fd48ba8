"""Differences from Diffusers: what the tests record becomes claims, and every claim has a row."""

import runpy
from pathlib import Path

import claims
from claims import Claim, read
from parity import measured

BENCH = Path(claims.__file__).parent
TABLE = runpy.run_path(str(BENCH / "parity_table"))


def test_what_a_test_records_is_claimed_with_its_bound(tmp_path):
    recorded = {"latent": 2e-5, "latent_bound": 1e-4, "codes": 1, "codes_bound": 1}
    properties = "".join(f'<property name="{name}" value="{value}"/>' for name, value in recorded.items())
    case = '<testcase classname="tests.parity.test_a" name="test_b[1.5]"><properties>{}</properties></testcase>'
    other = '<testcase classname="tests.parity.test_a" name="test_c"/>'
    (tmp_path / "x.xml").write_text(f"<testsuites><testsuite>{case.format(properties)}{other}</testsuite></testsuites>")
    latent, codes = measured(tmp_path / "x.xml")
    assert (latent.id, latent.value, latent.goal) == ("parity.test_a.test_b[1.5].latent", 2e-5, 1e-4)
    assert (codes.id, codes.value, codes.unit) == ("parity.test_a.test_b[1.5].codes", 1, "codes")
    assert not latent.higher_is_better


def test_every_comparison_has_a_row_and_every_row_a_comparison():
    found = read()
    assert TABLE["unknown"](found) == []
    rows = TABLE["table"](found).splitlines()
    for task, other in TABLE["TASKS"].values():
        assert [row for row in rows if row.startswith(f"| {task} | {other} |")], task
    assert all(claim.met for claim in found if claim.id.startswith("parity."))
    assert TABLE["unknown"]([Claim("parity.test_new.test_x.latent", 1.0, "")]) == ["parity.test_new.test_x.latent"]
    assert TABLE["table"]([]) == "Nothing has been measured yet."


def test_a_row_shows_the_largest_of_its_comparisons():
    made = [
        Claim(f"parity.{name}.{kind}", 1e-9, "", 1e-4, versions={"torch": "2"}, date="2026-11-25")
        for name in TABLE["TASKS"]
        for kind in ("latent", "codes")
    ]
    name = "parity.test_pipelines.test_video_to_video[0.5]"
    worse = [Claim(f"{name}.latent", 3e-5, "", 1e-4), Claim(f"{name}.codes", 1, "codes", 1)]
    made = [claim for claim in made if not claim.id.startswith("parity.test_pipelines.test_video_to_video[")]
    (row,) = (row for row in TABLE["table"](made + worse).splitlines() if "video to video, one" in row)
    assert row.endswith("| 3.0e-05 | 1e-04 | 1 |")
