"""The guide's claims, each against the verdict that its arithmetic deserves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.audit import (
    TOLERANCE,
    Reckoned,
    audit,
    audit_table,
    break_even_claim,
    judge,
    markdown,
    money_text,
    range_text,
)
from filmgate.economics.prices import shipped
from filmgate.spec.errors import InvalidRequest, UnknownName

FOUND = audit(shipped())
BY_ID = {finding.id: finding for finding in FOUND.findings}
CLAIM = {"id": "x", "quote": "it costs 2", "says": "cost", "unit": "$", "stated": 2, "formula": "a * b",
         "inputs": {"a": 1, "b": [1, 3]}}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "verdict", "low", "high"),
    [
        ("break-even", "does not hold", 111.11, 363.64),
        ("true-cost", "holds in part", 0.155224, 0.250746),
        ("cost-of-2.1", "does not hold", 0.91895, 1.42437),
        ("speed-of-2.1", "does not hold", 287.9, 3342.6),
        ("speed-of-5b", "holds", 8.9117, 8.9117),
        ("speed-of-a14b", "holds in part", 2.585, 9.4117),
        ("cost-local", "does not hold", 0.83696, 1.68458),
        ("local-below-200", "does not hold", 3703.7, 5555.6),
        ("cost-a14b", "does not hold", 0.52075, 0.96162),
        ("cost-fal", "another quantity", 0.405, 0.405),
        ("efficiency", "holds in part", 1.0231, 1.0231),
        ("parameters", "holds", 28.578, 28.578),
        ("the-upgrade-is-slower", "contradiction", 9, 12),
        ("the-old-price-implies-a-dear-gpu", "contradiction", 8, 28.2353),
        ("failures-on-one-side-only", "contradiction", 1.9403, 2.0896),
    ],
)
def test_verdicts_of_the_guide(name, verdict, low, high):
    finding = BY_ID[name]
    assert finding.verdict == verdict
    assert (finding.reckoned.low, finding.reckoned.high) == pytest.approx((low, high), rel=1e-3)


def test_the_headline_shows_its_arithmetic():
    finding = BY_ID["break-even"]
    assert finding.reckoned.text == "111 to 364 months"
    assert finding.reckoned.lines == (
        "4,000 / (200 * (0.2 - 0.02)) = 111 months",
        "4,000 / (100 * (0.15 - 0.04)) = 364 months",
    )
    needed = {one.unit: (one.low, one.high) for one in finding.also}
    assert needed["$"] == pytest.approx((5, 13.333), abs=1e-3)
    assert needed["videos/month"] == pytest.approx((5555.6, 12121.2), abs=0.1)


def test_the_price_of_a_second_was_told_as_that_of_a_clip():
    assert BY_ID["cost-fal"].note == "true of one second of video, not a clip: $0.080"
    assert BY_ID["cost-fal"].reckoned.lines == ("81 / 16 * 0.08 = $0.405",)
    assert "as of 2026-05-31" in BY_ID["cost-fal"].reckoned.sources[0]


def test_every_claim_has_arithmetic_or_a_source():
    assert len(FOUND.findings) >= 29
    for finding in FOUND.findings:
        assert finding.quote
        assert finding.judged == (finding.reckoned is None)
        if finding.judged:
            assert finding.source, finding.id
            assert finding.note, finding.id
        else:
            assert finding.reckoned.lines, finding.id
    assert FOUND.count("does not hold") >= 6
    assert sum(finding.verdict == "contradiction" for finding in FOUND.findings) == 5


def test_prices_of_ones_own_change_the_verdict():
    cheap = shipped().with_value("fal.wan2.2-i2v-a14b.720p", 0.02, shipped().rows[0].as_of)
    other = {finding.id: finding for finding in audit(cheap).findings}
    assert other["cost-fal"].verdict == "holds"


@given(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)).map(sorted), st.tuples(st.floats(0.1, 1e4),
       st.floats(0.1, 1e4)).map(sorted))  # fmt: skip
def test_a_verdict_is_where_the_ranges_lie(result, stated):
    verdict, note = judge(Reckoned("", "s", *result, ()), tuple(stated), [])
    apart = result[0] > stated[1] * (1 + TOLERANCE) or result[1] < stated[0] * (1 - TOLERANCE)
    assert (verdict == "does not hold") == apart
    if verdict == "holds":
        assert stated[0] * 0.9 <= result[0] <= result[1] <= stated[1] * 1.1
    if apart:
        assert ("more" in note) == (result[0] > stated[1])


def test_by_how_much():
    def off(low, high, stated):
        return judge(Reckoned("", "s", low, high, ()), stated, [])[1]

    assert off(20, 40, (2, 4)) == "5 to 20 times more than stated"
    assert off(2, 4, (20, 40)) == "5 to 20 times less than stated"
    assert off(math.inf, math.inf, (2, 4)) == "it never happens"
    assert off(10, math.inf, (2, 5)) == "at least 2 times more than stated"
    assert off(10, 20, (0, 5)) == "at least 2 times more than stated"


def test_a_stated_break_even_is_reckoned_from_its_own_numbers():
    found = break_even_claim((3, 4), (100, 200), (4000, 4000), (0.15, 0.20), (0.02, 0.04))
    assert found.verdict == "does not hold"
    assert found.reckoned.text == "111 to 364 months"
    assert found.also[0].text == "$5.00 to 13.33"
    fair = break_even_claim((3, 4), (200, 200), (4000, 4000), (5.02, 5.02), (0.02, 0.02))
    assert fair.verdict == "holds"
    worse = break_even_claim((3, 4), (200, 200), (4000, 4000), (0.02, 0.02), (0.05, 0.05))
    assert (worse.note, worse.reckoned.text) == ("it never happens", "never")


def test_a_claim_file():
    found = audit_table({"title": "Ours", "claim": [CLAIM]}, shipped(), "here")
    assert found.title == "Ours"
    assert found.findings[0].verdict == "holds in part"
    assert found.findings[0].stated == (2, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quote": None}, "lacks quote"),
        ({"formula": None}, "neither formula and inputs nor verdict"),
        ({"stated": "two"}, "no number and no range"),
        ({"stated": [3, 2]}, "no number and no range"),
        ({"stated": None}, "no number and no range"),
        ({"inputs": {"a": 1}}, "input .in here, claim 1. named 'b'"),
        ({"inputs": {"a": 1, "b": "price:none"}}, "named 'none'"),
        ({"inputs": {"a": 1, "b": "prise:none"}}, "kind of input"),
        ({"inputs": {"a": 1, "b": "seconds:none"}}, "names no timing"),
        ({"inputs": {"a": 1, "b": "seconds:wan2.2-ti2v-5b@h100/720p"}}, "Nearest valid"),
        ({"formula": "a.b"}, "says what a formula cannot"),
        ({"qoute": "x"}, "Nearest valid: quote"),
        ({"verdict": "holds"}, "needs a source and no formula"),
        ({"verdict": "true", "source": "x"}, "judgement"),
    ],
)
def test_a_claim_that_is_wrong_says_where(change, said):
    row = {key: value for key, value in {**CLAIM, **change}.items() if value is not None}
    with pytest.raises(InvalidRequest, match=said):
        audit_table({"claim": [row]}, shipped(), "here")


def test_a_file_without_claims():
    with pytest.raises(InvalidRequest, match="no claim"):
        audit_table({"title": "x"}, shipped(), "here")
    with pytest.raises(UnknownName, match="Nearest valid: claim"):
        audit_table({"claims": []}, shipped(), "here")


def test_contradictions_can_be_absent():
    row = {"id": "x", "says": "ratio", "unit": "times", "formula": "a", "inputs": {"a": [0.5, 2]}, "beyond": 1}
    assert audit_table({"contradiction": [row]}, shipped(), "here").findings[0].verdict == "no contradiction"


def test_the_table_has_a_row_for_every_claim():
    lines = markdown(FOUND).splitlines()
    assert len(lines) == len(FOUND.findings) + 2
    assert all(line.count("|") == 6 for line in lines)
    assert "4,000 / (100 * (0.15 - 0.04)) = 364 months" in markdown(FOUND)


@pytest.mark.parametrize(
    ("ends", "unit", "text"),
    [
        ((0.15, 0.2), "$", "$0.150 to 0.200"), ((5, 13.333), "$", "$5.00 to 13.33"), ((0.0036, 0.0036), "$", "$0.0036"),
        ((4000, 4000), "$", "$4,000.00"), ((111.1, 363.6), "months", "111 to 364 months"),
    ],
)  # fmt: skip
def test_ranges_for_people(ends, unit, text):
    assert range_text(ends, unit) == text
    assert money_text(0) == "0.00"


def test_a_claim_of_several_parts_holds_in_part():
    assert "not of weights that have to be kept, of both experts over those of one such model: 2 times" in (
        BY_ID["efficiency"].note
    )
    part = {"says": "more", "unit": "$", "formula": "a", "inputs": {"a": 5}}
    for first, second, verdict in ((2, 5, "holds"), (2, 9, "holds in part"), (7, 5, "holds in part"),
                                   (7, 9, "does not hold")):  # fmt: skip
        row = {**CLAIM, "inputs": {"a": 1, "b": 2}, "stated": first, "also": [{**part, "stated": second}]}
        assert audit_table({"claim": [row]}, shipped(), "here").findings[0].verdict == verdict


def test_another_quantity_is_one_that_lies_within_what_was_stated():
    other = [Reckoned("a second", "s", 44, 44, ())]
    verdict, note = judge(Reckoned("", "s", 288, 3343, ()), (45, 60), other)
    assert (verdict, note.partition("; ")[2]) == ("does not hold", "nearer to a second: 44 s")
    assert judge(Reckoned("", "s", 288, 3343, ()), (44, 60), other)[0] == "another quantity"
    assert range_text((float("inf"),) * 2, "months") == "never"
