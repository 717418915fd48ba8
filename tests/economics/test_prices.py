"""Prices are dated rows; the caller's own replace them; old ones are warned of."""

from datetime import date, timedelta

import pytest

from filmgate.direction.architectures import DESCRIBED
from filmgate.direction.devices import PROFILES
from filmgate.economics.currencies import CODES, checked_currency
from filmgate.economics.prices import OWN, STALE_DAYS, load, shipped, warnings_of
from filmgate.spec.errors import InvalidRequest, UnknownName

TODAY = date(2026, 11, 30)
ROW = """
[[price]]
id = "mine.h100"
kind = "gpu_hour"
billing = "pod"
subject = "h100"
provider = "Mine"
value = 2.0
region = "here"
as_of = 2026-11-01
source = "an invoice"
"""


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_row_says_what_of_whom_where_and_when():
    rows = shipped().rows
    assert len({row.id for row in rows}) == len(rows) >= 40
    for row in rows:
        assert row.source
        assert row.region
        assert date(2023, 1, 1) < row.as_of <= TODAY
        assert 0 < row.span[0] <= row.value <= row.span[1]


def test_rows_name_devices_and_models_that_the_planner_knows():
    devices = {profile.name for profile in PROFILES}
    assert {row.subject for row in shipped().rows if row.kind in ("gpu_hour", "hardware")} <= devices
    assert {row.subject for row in shipped().rows if row.kind in ("clip", "video_second")} <= set(DESCRIBED)


def test_a_second_of_video_is_not_a_clip():
    fal = shipped().named("fal.wan2.2-i2v-a14b.720p")
    assert fal.value == 0.08
    assert fal.clip_amount(81) == pytest.approx(0.405)
    assert shipped().named("fal.wan2.1-i2v-14b-720p.720p").clip_amount(81) == 0.40
    with pytest.raises(InvalidRequest, match="per GPU-hour"):
        shipped().named("runpod.pod.h100").clip_amount(81)


def test_the_first_that_matches_is_reckoned_with():
    prices = shipped()
    assert prices.one("gpu_hour", subject="h100", billing="pod").id == "runpod.pod.h100"
    assert prices.one("gpu_hour", subject="h100", billing="pod", provider="aws").value == 10.08
    assert prices.one("gpu_hour", subject="h100", billing="pod", provider="median").id == "market.pod.h100"
    assert [row.id for row in prices.matching("clip", subject="wan2.2-ti2v-5b")] == ["wavespeed.wan2.2-ti2v-5b.720p"]


def test_what_nobody_sells_is_named_with_what_is_sold():
    with pytest.raises(UnknownName, match="Nearest valid: h100"):
        shipped().one("gpu_hour", subject="h10", billing="pod")
    with pytest.raises(UnknownName, match="Allowed: 720p"):
        shipped().one("clip", subject="wan2.1-t2v-14b", resolution="480p")
    with pytest.raises(UnknownName, match=r"runpod\.pod\.h100"):
        shipped().named("runpod.pod.h10")


def test_other_currencies_need_a_rate():
    prices, energy = shipped(), shipped().named("energy.eu")
    with pytest.raises(InvalidRequest, match="EUR=WORTH"):
        prices.amount(energy)
    assert prices.with_exchange({"EUR": 1.1}).amount(energy) == pytest.approx(0.22)
    assert prices.amount(prices.named("energy.us")) == 0.17
    with pytest.raises(InvalidRequest, match="above 0"):
        prices.with_exchange({"EUR": 0.0})


def test_a_file_adds_and_replaces(tmp_path):
    text = ROW + ROW.replace("mine.h100", "runpod.pod.h100") + "[exchange]\nEUR = 1.1\n"
    prices = load(written(tmp_path, text))
    assert prices.one("gpu_hour", subject="h100", billing="pod").value == 2.0
    assert prices.rows[-1].id == "mine.h100"
    assert len(prices.rows) == len(shipped().rows) + 1
    assert prices.exchange == {"EUR": 1.1}


def test_a_value_alone_is_replaced_as_of_today():
    own = shipped().with_value("aws.pod.h100", 5.5, TODAY).named("aws.pod.h100")
    assert (own.value, own.span, own.as_of, own.source) == (5.5, (5.5, 5.5), TODAY, OWN)
    assert not own.stale(TODAY)
    with pytest.raises(InvalidRequest, match="above 0"):
        shipped().with_value("aws.pod.h100", -1, TODAY)
    with pytest.raises(InvalidRequest, match=r"SELLER\.pod\.DEVICE.*Nearest valid: aws\.pod\.h100"):
        shipped().with_value("aws.pod.h1000", 5.5, TODAY)


@pytest.mark.parametrize(
    ("name", "kind", "subject", "more"),
    [
        ("acme.pod.rtx3090", "gpu_hour", "rtx3090", {"billing": "pod", "provider": "acme"}),
        ("acme.serverless.h100", "gpu_hour", "h100", {"billing": "serverless"}),
        ("hardware.rtx5090", "hardware", "rtx5090", {}),
        ("acme.wan2.1-t2v-1.3b.480p", "clip", "wan2.1-t2v-1.3b", {"resolution": "480p"}),
    ],
)
def test_a_price_of_a_new_thing_is_added_in_front(name, kind, subject, more):
    prices = shipped().with_value(name, 5.5, TODAY)
    assert prices.rows[1:] == shipped().rows
    assert prices.matching(kind, subject=subject, **more)[0] == prices.named(name)
    row = prices.named(name)
    assert (row.value, row.as_of, row.evidence, row.currency) == (5.5, TODAY, "own", "USD")


def test_currencies_are_those_of_the_standard():
    assert {"USD", "EUR", "CNY", "JPY"} <= CODES
    assert all(len(code) == 3 and code.isupper() for code in CODES)
    assert checked_currency("EUR", "x") == "EUR"
    for wrong, near in (("eur", "EUR"), ("UDS", "U"), ("", None), (3, None)):
        with pytest.raises(InvalidRequest, match="ISO 4217") as error:
            checked_currency(wrong, "x")
        assert error.value.nearest is None if near is None else error.value.nearest.startswith(near)


def test_old_prices_are_warned_of_the_oldest_first():
    energy, fal = shipped().named("energy.us"), shipped().named("fal.wan2.2-i2v-a14b.720p")
    told = warnings_of([fal, energy, energy], TODAY)
    assert len(told) == 2
    assert told[0].startswith("energy.us is 852 days old (2024-07-31)")
    assert "or more" in told[1]
    edge = fal.as_of + timedelta(days=STALE_DAYS)
    assert warnings_of([fal], edge) == []
    assert len(warnings_of([fal], edge + timedelta(days=1))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]\n", "no TOML"),
        ("price = 3\n", "not a list"),
        ("price = [3]\n", "not a table"),
        (ROW.replace('region = "here"\n', ""), "lacks region"),
        (ROW.replace("value = 2.0", "value = -2.0"), "no price"),
        (ROW.replace("value = 2.0", "value = nan"), "no price"),
        (ROW.replace("value = 2.0", "value = true"), "no price"),
        (ROW + "high = 1.0\n", "outside"),
        (ROW.replace("gpu_hour", "gpu_hours"), "Nearest valid: gpu_hour"),
        (ROW + "regoin = 'x'\n", "Nearest valid: region"),
        (ROW.replace("2026-11-01", '"2026-11-01"'), "no date"),
        (ROW.replace('billing = "pod"\n', ""), "lacks billing"),
        (ROW.replace('"gpu_hour"', '"video_second"'), "lacks rate"),
        (ROW + ROW, "twice"),
        ("[exchange]\nEUR = 'one'\n", "no rates"),
        ("[exchange]\nXQZ = 1.0\n", "no currency"),
        (ROW + "currency = 'eur'\n", "Nearest valid: EUR"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, text, said):
    with pytest.raises(InvalidRequest, match=said):
        load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load(tmp_path / "none.toml")
