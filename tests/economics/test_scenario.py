"""Options in a few words, filled from prices, timings and assumptions that are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.costs import usable_cost
from filmgate.economics.options import Finance, Workload
from filmgate.economics.prices import shipped
from filmgate.economics.scenario import (
    CANDIDATE,
    STANDARD,
    assumptions,
    build,
    from_file,
    from_table,
    option_of,
    parse,
    prices_used,
    standard,
    with_numbers,
)
from filmgate.spec.errors import InvalidRequest, UnknownName

FILE = """
candidate = "card"
[workload]
usable = 200
[finance]
horizon = 36
[[option]]
name = "now"
use = "pod:wan2.1-t2v-14b@h100/aws"
quality.review = 0.6
[[option]]
name = "card"
use = "local:wan2.2-ti2v-5b@rtx4090"
machine.price = 3500
[[option]]
name = "fal"
use = "hosted:wan2.2-i2v-a14b/fal"
"""


def option(text, **workload):
    return option_of("it", text, shipped(), Workload(**workload))


def standard_one(**workload):
    return standard(shipped(), Workload(**workload), Finance())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pod:wan2.1-t2v-14b@h100", ("pod", "wan2.1-t2v-14b", "", "h100", 1, "")),
        ("local:wan2.2-ti2v-5b@rtx4090", ("local", "wan2.2-ti2v-5b", "", "rtx4090", 1, "")),
        ("local:wan2.2-ti2v-5b@rtx4090x8", ("local", "wan2.2-ti2v-5b", "", "rtx4090", 8, "")),
        ("pod:wan2.1-i2v-14b-720p+4-step@h200/runpod",
         ("pod", "wan2.1-i2v-14b-720p", "4-step", "h200", 1, "runpod")),
        ("hosted:wan2.2-i2v-a14b/fal", ("hosted", "wan2.2-i2v-a14b", "", "", 1, "fal")),
    ],
)  # fmt: skip
def test_short_forms(text, parts):
    assert parse(text) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h100", "is not an option.*KIND:MODEL"),
        ("rent:wan2.1-t2v-14b@h100", "kind of option.*Allowed: cluster"),
        ("pod:wan2.1-t2v-14b", "names no device"),
        ("hosted:wan2.1-t2v-14b@h100", "the seller chooses"),
        ("pod:wan2.1-t2v-14b@h101", "Nearest valid: h100"),
        ("pod:wan2.1-t2v-14@h100", "Nearest valid: wan2.1-t2v-14b"),
        ("pod:wan2.1-t2v-14b@v100", r"of v100 is known.*--price SELLER\.pod\.v100=VALUE"),
        ("pod:wan2.1-t2v-14b@h100/nobody", "price per GPU-hour"),
        ("hosted:wan2.2-i2v-a14b/runpod", "no price of wan2.2-i2v-a14b at 720p by runpod.*fal.ai"),
        ("hosted:wan2.1-vace-14b", "nobody is known to host wan2.1-vace-14b"),
        ("hosted:wan2.2-i2v-a14b+fp8", "sellers do not say"),
        ("local:wan2.2-ti2v-5b@m4-max", r"of m4-max is known.*--set it\.machine\.price=VALUE"),
    ],
)
def test_what_cannot_be_reckoned_says_why(text, said):
    with pytest.raises(InvalidRequest, match=said):
        option(text)


def test_prices_of_a_second_become_prices_of_a_clip():
    assert option("hosted:wan2.2-i2v-a14b/fal").price == pytest.approx(0.405)
    assert option("hosted:wan2.2-i2v-a14b/fal", resolution="480p").price == pytest.approx(81 / 16 * 0.04)
    assert option("hosted:wan2.2-i2v-a14b/fal", seconds=10).price == pytest.approx(161 / 16 * 0.08)


def test_other_currencies_are_asked_for():
    with pytest.raises(InvalidRequest, match="CNY=WORTH"):
        option("hosted:wan2.2-i2v-a14b/alibaba")
    rated = shipped().with_exchange({"CNY": 0.14})
    found = option_of("it", "hosted:wan2.2-i2v-a14b/alibaba", rated, Workload())
    assert found.price == pytest.approx(0.2 * 81 / 16 * 0.14)


def test_a_card_of_ones_own_is_bought_and_fed():
    card = option("local:wan2.2-ti2v-5b@rtx4090")
    assert (card.machine.price, card.machine.gpu_watts, card.machine.host_watts, card.machine.kwh) == (
        4000, 450, 150, 0.17,
    )  # fmt: skip
    assert card.prices == ("hardware.rtx4090", "energy.us")
    eight = option("local:wan2.2-ti2v-5b@rtx4090x8")
    assert (eight.machine.price, eight.machine.gpus, eight.attempt.generate) == (32000, 8, 157.2)


def test_files_are_stored_at_the_dated_price():
    scenario, _ = standard_one()
    assert {one.overhead.storage_price for one in scenario.options} == {0.07}
    assert "runpod.storage" not in [row.id for row in prices_used(scenario, shipped())]
    stored = with_numbers(scenario, {"fal-2.2.overhead.stored_gb": 0.1})
    assert "runpod.storage" in [row.id for row in prices_used(stored, shipped())]


def test_a_server_has_a_buildings_overhead():
    server = option("cluster:wan2.2-t2v-a14b@h100x8")
    assert (server.machine.gpus, server.gpus, server.machine.pue, server.machine.lifetime) == (8, 8, 1.3, 60)
    assert server.machine.price == 310000


def test_serverless_meets_cold_starts():
    found = option("serverless:wan2.2-t2v-a14b@h100")
    assert found.price == 4.18
    assert found.attempt.cold > 10
    assert 0 < found.attempt.cold_share < 1


def test_the_standard_comparison():
    scenario, left_out = standard_one()
    assert {one.name for one in scenario.options} == set(STANDARD)
    assert left_out == []
    costs = {one.name: usable_cost(scenario, one) for one in scenario.options}
    assert costs["local-5b"].marginal == pytest.approx(0.0202, abs=1e-4)
    assert costs["hosted-5b"].marginal == pytest.approx(0.0667, abs=1e-4)
    assert costs["fal-2.2"].marginal == pytest.approx(0.506, abs=1e-3)


def test_what_cannot_be_had_is_left_out_with_its_reason():
    scenario, left_out = standard_one(resolution="480p")
    assert len(scenario.options) + len(left_out) == len(STANDARD)
    assert (scenario.baseline, scenario.candidate) == ("rented-2.1", "rented-2.2")
    assert any(one.startswith("local-5b") and "Allowed: 720p" in one for one in left_out)
    assert scenario.option("fal-2.2").price == pytest.approx(81 / 16 * 0.04)
    with pytest.raises(InvalidRequest, match="nothing is left to compare"):
        standard_one(resolution="999p")


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[a-z]{3,6}:[a-z0-9.-]+(\+\w+)?(@\w+)?(/\w+)?", fullmatch=True)))
def test_any_text_is_an_option_or_refused(text):
    try:
        parts = parse(text)
    except InvalidRequest:
        return
    assert f"{parts.kind}:{parts.model}" in text


def test_a_file(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(FILE)
    scenario = from_file(path, shipped())
    assert (scenario.baseline, scenario.candidate) == ("now", "card")
    assert scenario.option("now").price == 10.08
    assert scenario.option("now").quality.review == 0.6
    assert scenario.option("card").machine.price == 3500
    assert scenario.option("card").machine.gpu_watts == 450
    assert (scenario.workload.usable, scenario.finance.horizon) == (200, 36)
    assert [row.id for row in prices_used(scenario, shipped())] == [
        "aws.pod.h100", "energy.us", "fal.wan2.2-i2v-a14b.720p",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[workload]", "[wordload]", "Nearest valid: workload"),
        ("usable = 200", "usable = 0", r"workload\.usable: 0 is out of range"),
        ('name = "fal"', 'name = "now"', "same name"),
        ('name = "fal"', 'name = "f l"', "cannot be a name"),
        ('name = "fal"\n', "", "option 3 lacks name"),
        ('candidate = "card"', 'candidate = "cart"', "Nearest valid: card"),
        ("machine.price = 3500", "machine.gpus = 0", r"card\.machine\.gpus"),
        ("machine.price = 3500", "gpus = 2", "exceeds a machine of 1"),
        ("machine.price = 3500", "attempt.generate = 0", "0 s is no attempt"),
        (FILE, "[workload]\nusable = 3\n", "no option"),
        (FILE, "option = 3\n", "no option"),
        (FILE, "workload = 3\n", "not a table"),
    ],
)
def test_a_wrong_file_says_where(tmp_path, old, new, said):
    path = tmp_path / "scenario.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(InvalidRequest, match=said):
        from_file(path, shipped())


def test_numbers_are_set_by_path():
    scenario, _ = standard_one()
    changed = with_numbers(scenario, {"local-5b.machine.price": 3000, "rented-2.1.quality.review": 0.5})
    assert changed.option("local-5b").machine.price == 3000
    assert changed.option("rented-2.1").quality.review == 0.5
    with pytest.raises(InvalidRequest, match="0 s is no attempt"):
        with_numbers(scenario, {"local-5b.attempt.generate": 0})
    with pytest.raises(UnknownName, match=r"local-5b\.machine\.price"):
        with_numbers(scenario, {"local-5b.machine.prise": 0})


def test_guesses_are_told_and_what_was_given_is_none():
    scenario, _ = standard_one()
    told = {one.path: one for one in assumptions(scenario)}
    assert "33 %" in told["rented-2.1.quality.review"].why
    assert "no public measurement" in told[f"{CANDIDATE}.quality.review"].why
    assert told["local-5b.machine.residual"].value == 0.35
    assert "hosted-2.1.overhead.share" not in told
    assert not {path for path in told if "kwh" in path or path.endswith(".price")}
    given = {one.path for one in assumptions(scenario, ["local-5b.machine.residual"])}
    assert set(told) - given == {"local-5b.machine.residual"}


def test_the_first_is_the_baseline_unless_said():
    specs = {"a": "hosted:wan2.1-t2v-14b", "b": "hosted:wan2.2-t2v-a14b", "c": "hosted:wan2.2-ti2v-5b"}
    scenario = build(specs, shipped(), Workload(), Finance())
    assert (scenario.baseline, scenario.candidate) == ("a", "c")
    other = build(specs, shipped(), Workload(), Finance(), baseline="b", candidate="a")
    assert (other.baseline, other.candidate) == ("b", "a")


def test_a_reckoning_in_another_currency_needs_the_rate_of_the_dollar():
    uses = {"card": "local:wan2.2-ti2v-5b@rtx4090", "fal": "hosted:wan2.2-i2v-a14b/fal"}
    options = [{"name": name, "use": use} for name, use in uses.items()]
    table = {"finance": {"currency": "EUR"}, "option": options}
    with pytest.raises(InvalidRequest, match="what one USD is worth in EUR"):
        from_table(table, shipped(), "here")
    found = from_table(table, shipped().with_exchange({"USD": 0.9}), "here")
    assert found.option("card").machine.price == pytest.approx(3600)
    assert found.option("fal").price == pytest.approx(0.405 * 0.9)


@pytest.mark.parametrize("written", ["RTX-4090", "rtx 4090", "NVIDIA GeForce RTX 4090", "RTX4090"])
def test_a_card_of_an_option_may_be_written_as_people_write_it(written):
    assert parse(f"pod:wan2.2-ti2v-5b@{written}").device == "rtx4090"
    assert parse(f"pod:wan2.2-ti2v-5b@{written}x8/RunPod")[3:] == ("rtx4090", 8, "RunPod")
