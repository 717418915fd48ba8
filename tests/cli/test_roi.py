"""`filmgate roi` and `filmgate roi audit`."""

import json
import re
from pathlib import Path

import pytest
from tests.cli.test_cost import Outside
from typer.testing import CliRunner

from filmgate.cli.main import program
from filmgate.cli.roi import breaking_even
from filmgate.economics.report import chance_text

QUICK = ("--draws", "200")


def run(*arguments):
    return CliRunner().invoke(program, ["roi", *map(str, arguments)])


def data(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_usual_comparison():
    found = data(*QUICK)
    assert (found["baseline"], found["candidate"]) == ("rented-2.1", "local-5b")
    comparison = found["comparison"]
    assert comparison["break_even"]["text"] == "month 10"
    assert comparison["payback_months"] == pytest.approx(4000 / comparison["monthly_saving"])
    assert len(comparison["table"]["month"]) == 25
    assert found["cheaper"][0] == "hosted-5b"
    (from_here,) = found["cheaper_volumes"]["local-5b"]["rented-2.1"]
    assert from_here == [pytest.approx(39.4, abs=0.1), None]
    assert found["cheaper_volumes"]["rented-2.1"]["local-5b"] == [[0, pytest.approx(39.4, abs=0.1)]]
    assert found["drivers"] is None
    assert {bar["path"] for bar in found["tornado"]} == {one["path"] for one in found["uncertain"]}


def test_the_text_has_the_answer_first():
    text = run(*QUICK).stdout
    assert text.startswith("local-5b instead of rented-2.1, 150 usable videos a month:")
    assert re.search(r"^Break-even +month 10$", text, re.MULTILINE)
    assert "Cheaper than local-5b at this volume: hosted-5b ($0.067)" in text
    assert "workload.usable" in text


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = (data(*QUICK, "--seed", seed)["simulation"] for seed in (3, 3, 4))
    assert first == second
    assert first["npv"] != other["npv"]


def test_another_pair():
    found = data(*QUICK, "--baseline", "hosted-5b", "--candidate", "local-5b")
    assert found["comparison"]["break_even"]["status"] == "not_within_horizon"
    assert found["comparison"]["npv"] == pytest.approx(-2691, abs=3)
    assert found["simulation"]["break_even_month"]["p50"] is None
    assert found["simulation"]["chance_of_positive_npv"] == 0


def test_what_is_not_invested_brings_no_rate():
    found = data(*QUICK, "--baseline", "local-5b", "--candidate", "hosted-5b")
    assert found["comparison"]["npv"] == pytest.approx(2691, abs=3)
    assert found["comparison"]["irr"] is None
    text = run(*QUICK, "--baseline", "local-5b", "--candidate", "hosted-5b").stdout
    assert "none: nothing is invested, money is saved before it is paid" in text
    assert "break even at once" in text


def test_months_and_chances_in_words():
    assert breaking_even([0.0, 4.0, None]) == ("10 break even at once, 50 break even by month 4; fewer than 90 ever do")
    assert breaking_even([6.0, 11.0, 22.0]) == (
        "10 break even by month 6, 50 break even by month 11, 90 break even by month 22"
    )
    assert breaking_even([None] * 3) == "fewer than 10 break even within the months looked at"
    assert [chance_text(share) for share in (0, 0.005, 0.01, 0.42, 0.99, 0.995, 1)] == [
        "<1%", "<1%", "1%", "42%", "99%", ">99%", ">99%",
    ]  # fmt: skip


def test_a_smaller_model_is_called_so(tmp_path):
    found = data(*QUICK)
    assert "smaller one, 5 in place of 14 billion parameters" in found["another_model"]
    page = tmp_path / "roi.html"
    text = run(*QUICK, "--html", page).stdout
    assert found["another_model"] in text
    assert found["another_model"] in page.read_text().partition("</p>\n<details")[0]
    assert data(*QUICK, "--baseline", "hosted-5b")["another_model"] is None
    assert "smaller" not in data(*QUICK, "--candidate", "rented-2.2")["another_model"]


def test_a_machine_that_outlives_its_lifetime_is_told_of():
    assert any("replace_every=24 buys it anew" in one for one in data(*QUICK)["warnings"])
    replaced = data(*QUICK, "--set", "local-5b.machine.replace_every=24")
    assert not any("replace_every" in one for one in replaced["warnings"])
    assert replaced["comparison"]["npv_by_horizon"]["36"] < data(*QUICK)["comparison"]["npv_by_horizon"]["36"]


def test_a_claimed_break_even_is_held_against_it():
    claim = data(*QUICK, "--claimed-months", "3-4")["claim"]
    assert claim["verdict"] == "does not hold"
    assert claim["low"] == pytest.approx(9.708, abs=0.01)
    assert "Claimed: 3 to 4 months. The inputs imply 9.71 months" in run(*QUICK, "--claimed-months", "3-4").stdout


def test_a_scenario_with_its_own_uncertainty(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("""
[workload]
usable = 150
[[option]]
name = "now"
use = "hosted:wan2.1-t2v-14b"
[[option]]
name = "card"
use = "local:wan2.2-ti2v-5b@rtx4090"
[[uncertain]]
path = "now.price"
shape = "uniform"
low = 0.2
high = 5.0
[[uncertain]]
path = "card.quality.review"
shape = "beta"
yes = 67
no = 33
[[correlated]]
first = "now.price"
second = "card.quality.review"
rank = 0.4
""")
    found = data("--scenario", path, *QUICK, "--drivers", "--sobol")
    assert [one["path"] for one in found["uncertain"]] == ["now.price", "card.quality.review"]
    assert found["correlated"] == [{"first": "now.price", "second": "card.quality.review", "rank": 0.4}]
    assert found["drivers"]["now.price"] > 0.95
    assert 0 < found["simulation"]["chance_of_positive_npv"] < 1


def test_people_can_count():
    settings = ("--set", "local-5b.staff.hourly=60", "--set", "local-5b.staff.operations=5")
    alone, counted = data(*QUICK, *settings), data(*QUICK, *settings, "--staff")
    saved = alone["comparison"]["monthly_saving"] - counted["comparison"]["monthly_saving"]
    assert saved == pytest.approx(300)
    card = next(option for option in alone["options"] if option["name"] == "local-5b")
    assert card["loaded"] - card["amortised"] == pytest.approx(2)


def test_a_report_that_works_offline(tmp_path):
    page = tmp_path / "roi.html"
    assert run(*QUICK, "--html", page, "--pictures", tmp_path / "p").exit_code == 0
    text = page.read_text()
    parser = Outside()
    parser.feed(text)
    assert parser.fetched == []
    assert text.count("<svg") == 6
    for words in (
        "<b>pays</b>",
        "Where the answer turns",
        "What makes it uncertain",
        "Cash flow",
        "hosted-5b",
        "as of",
    ):
        assert words in text
    assert len(list((tmp_path / "p").iterdir())) == 6


def test_the_same_report_twice(tmp_path):
    for name in ("a.html", "b.html"):
        assert run(*QUICK, "--html", tmp_path / name).exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--baseline", "rented-21"], "Nearest valid: rented-2.1"),
        (["--candidate", "rented-2.1"], "is the baseline too"),
        (["--claimed-months", "soon"], "is no range"),
        (["--claimed-months", "4-3"], "is no range"),
        (["--draws", "0"], "draws"),
        (["--seed", "-1"], "seed: -1 is out of range. Allowed: 0 or more"),
        (["--date", "soon"], "is no date"),
        (["audit", "--date", "31.12.2026"], "is no date"),
        (["audit", "nowhere.toml"], "cannot be read"),
        (["--usable", "200", "audit"], "not of audit"),
        (["audit", "--months", "3-4"], "volume: is missing"),
        (["audit", "x.toml", "--months", "3"], "given together with months"),
    ],
)
def test_what_is_wrong_is_said(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_the_guides_claims():
    text = run("audit").stdout
    assert "DOES NOT HOLD: For most teams generating 100-200 videos monthly" in text
    assert "4,000 / (100 * (0.15 - 0.04)) = 364 months" in text
    assert "81 / 16 * 0.08 = $0.405" in text
    assert "CONTRADICTION" in text
    found = json.loads(run("audit", "--json").stdout)
    assert len(found["findings"]) >= 29
    by_id = {finding["id"]: finding for finding in found["findings"]}
    assert by_id["cost-fal"]["verdict"] == "another quantity"
    assert by_id["flicker"]["judged"]


def test_an_audit_warns_of_old_prices():
    later = json.loads(run("audit", "--date", "2026-12-01", "--json").stdout)
    assert later["today"] == "2026-12-01"
    warning = "energy.us is 853 days old (2024-07-31)"
    assert any(one.startswith(warning) for one in later["warnings"])
    assert f"\nWarning: {warning}" in run("audit", "--date", "2026-12-01").stdout
    earlier = run("audit", "--date", "2024-08-01")
    assert "Warning" not in earlier.stdout
    assert json.loads(run("audit", "--date", "2024-08-01", "--json").stdout)["warnings"] == []
    own = ("--price", "energy.us=0.2", "--date", "2026-12-01")
    assert "energy.us is" not in run("audit", *own).stdout


def test_one_claim_by_flags():
    flags = [
        "--months",
        "3-4",
        "--volume",
        "100-200",
        "--cost",
        "4000",
        "--before",
        "0.15-0.20",
        "--after",
        "0.02-0.04",
    ]
    text = run("audit", *flags).stdout
    assert "reckoned 111 to 364 months" in text
    assert "saving per video that the claim needs: $5.00 to 13.33" in text
    worse = ["--months", "3", "--volume", "100", "--cost", "4000", "--before", "0.02", "--after", "0.04", "--json"]
    finding = json.loads(run("audit", *worse).stdout)["findings"][0]
    assert (finding["low"], finding["note"]) == (None, "it never happens")


def test_an_audit_as_a_page(tmp_path):
    page = tmp_path / "claims.html"
    assert run("audit", "--html", page).exit_code == 0
    parser = Outside()
    parser.feed(page.read_text())
    assert parser.fetched == []
    assert page.read_text().count("<tr>") == 31


def test_claims_of_ones_own(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("""
title = "Ours"
[[claim]]
id = "x"
quote = "a clip costs 40 cents"
says = "a clip"
unit = "$"
stated = 0.40
formula = "81 / 16 * second"
inputs = { second = "price:fal.wan2.2-i2v-a14b.720p" }
""")
    assert run("audit", path).stdout.splitlines()[2] == "HOLDS: a clip costs 40 cents"
    assert "DOES NOT HOLD" in run("audit", path, "--price", "fal.wan2.2-i2v-a14b.720p=0.2").stdout


def test_the_scenario_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cost-and-roi.md").read_text(encoding="utf-8")
    path = tmp_path / "s.toml"
    path.write_text(re.search(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1])
    found = data("--scenario", path, *QUICK)
    assert (found["baseline"], found["candidate"]) == ("now", "card")
    assert [one["shape"] for one in found["uncertain"]] == ["beta", "triangular"]
    assert found["finance"]["horizon"] == 36
    now, card = found["options"]
    assert (now["usable_rate"], card["machines"]) == (0.62, 1)
    assert now["loaded"] - now["amortised"] == pytest.approx(45 / 60 * 1.5 / 0.62)
    assert found["comparison"]["table"]["invested"][12] == pytest.approx(800)
