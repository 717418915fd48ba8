"""Reports: offline, complete, and safe whatever the names are."""

from dataclasses import replace
from datetime import date

import pytest
from tests.economics.scenarios import hosted, local, scenario

from filmgate.economics.audit import audit
from filmgate.economics.pictures import as_svg, cost_pictures, roi_pictures, write_png
from filmgate.economics.prices import shipped
from filmgate.economics.report import audit_page, cost_page, number, roi_page, table
from filmgate.economics.summary import Chance, Inputs, cost_data, roi_data
from filmgate.economics.uncertainty import Uncertain
from filmgate.spec.errors import OutputError

START = scenario(hosted(price=1.0), local(), usable=300)
INPUTS = Inputs(START, shipped(), date(2026, 11, 30))
CHANCE = Chance((Uncertain("hosted.price", "uniform", low=0.5, high=2),), draws=100, drivers=True)


@pytest.fixture(scope="module")
def compared():
    return roi_data(INPUTS, CHANCE)


def test_names_are_never_markup():
    evil = replace(hosted(price=1.0), name="<script>alert(1)</script>", basis="a & b < c")
    data = cost_data(Inputs(scenario(evil, local()), shipped(), date(2026, 11, 30)))
    page = cost_page(data, {})
    assert "<script>" not in page
    assert "a &amp; b &lt; c" in page


def test_the_answer_comes_first(compared):
    data, drawn = compared
    page = roi_page(data, as_svg(roi_pictures(data, START, drawn)))
    assert page.index('class="answer"') < page.index("<figure>") < page.index("<h2>Options")
    assert "<b>pays</b>" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == page.count("</svg>") == 6
    worse, _ = roi_data(Inputs(scenario(hosted(price=0.1), local()), shipped(), INPUTS.today), CHANCE)
    assert "<b>does not pay</b>" in roi_page(worse, {})


def test_pictures_are_the_same_for_the_same_data(compared):
    data, drawn = compared
    assert as_svg(roi_pictures(data, START, drawn)) == as_svg(roi_pictures(data, START, drawn))
    assert set(cost_pictures(data, START)) == {"costs", "volume"}


def test_pictures_need_a_place(compared, tmp_path):
    data, _ = compared
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_png(cost_pictures(data, START), tmp_path / "file" / "p")


def test_a_volume_that_cannot_be_made_leaves_a_gap():
    few = scenario(hosted(price=1.0), local(machine={"most": 1.0}), usable=300)
    data = cost_data(Inputs(few, shipped(), INPUTS.today))
    assert as_svg(cost_pictures(data, few))["volume"].startswith("<svg")


def test_an_audit_as_a_page():
    found = audit(shipped())
    page = audit_page(found, {"currency": "USD", "today": "2026-11-30", "warnings": []})
    for finding in found.findings:
        assert finding.verdict in page
    assert "<code>4,000 / (100 * (0.15 - 0.04)) = 364 months</code>" in page
    assert f"contradiction: {found.count('contradiction')}" in page


def test_tables():
    assert table(("a", "b"), [("<", "2")], numbers=(1,)) == (
        '<table><tr><th>a</th><th class="n">b</th></tr><tr><td>&lt;</td><td class="n">2</td></tr></table>'
    )
    assert [number(value) for value in (0.1234, 12.0, 1234.5)] == ["0.123", "12", "1,234"]


def test_every_column_has_its_head(compared):
    data, _ = compared
    for page in (cost_page(data, {}), roi_page(data, {}), audit_page(audit(shipped()), data)):
        for found in page.split("<table")[1:]:
            head, *rows = found.partition("</table>")[0].split("<tr>")[1:]
            columns = head.count("<th") or head.count("<td")
            assert all(row.count("<td") == columns for row in rows)
    assert "<th></th>" not in cost_page(data, {})
    assert '<th class="n">each makes</th><th>seconds or price from</th>' in cost_page(data, {})


def test_other_videos_are_not_the_cheapest(compared):
    own = replace(hosted(price=0.001), name="measured", unlike="of 160x96 and 33 frames, not of 720p and 5 s")
    data = cost_data(Inputs(scenario(own, hosted(price=1.0), local()), shipped(), INPUTS.today))
    page = cost_page(data, {})
    assert "<b>measured</b>" not in page
    assert "of 160x96 and 33 frames, not of 720p" in page
    assert data["warnings"][0].startswith(
        "measured is of 160x96 and 33 frames, not of 720p and 5 s: it costs what other"
    )
