"""Numbers have units and bounds; records are read from tables and changed by path."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.economics.scenarios import hosted, local, scenario

from filmgate.economics.options import Attempt, Finance, Machine, Quality, Workload
from filmgate.economics.quantities import Quantity, checked, kind_of, quantities, read, replaced, value_at
from filmgate.spec.errors import InvalidRequest, UnknownName

SHARE = Quantity("a part", "share", high=1.0, open_low=True)
COUNT = Quantity("things", "machines", whole=True)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (SHARE, 0, r"out of range.*Allowed: above 0 to 1\.$"),
        (SHARE, 1.5, "Nearest valid: 1"),
        (SHARE, -0.1, "out of range"),
        (SHARE, math.nan, "is not a number"),
        (SHARE, math.inf, "is not a number"),
        (SHARE, True, "is not a number"),
        (SHARE, "0.5", "is not a number"),
        (COUNT, 1.5, "not whole.*Nearest valid: 2"),
        (COUNT, -1, "Allowed: 0 or more. Nearest valid: 0"),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind, value, said):
    with pytest.raises(InvalidRequest, match=said):
        kind.check("here", value)


@given(value=st.floats(0.001, 1))
def test_what_is_within_bounds_is_taken(value):
    assert SHARE.check("here", value) == value


def test_every_number_of_a_record_has_a_path():
    found = {path: value for path, _, value in quantities(local())}
    assert found["machine.price"] == 4000
    assert found["quality.review"] == 1
    assert found["overhead.share"] == 0
    assert "name" not in found
    assert {path for path, _, _ in quantities(hosted())} < set(found)


def test_every_number_says_what_it_is():
    for path, kind, _ in quantities(local()):
        assert kind.about, path
        assert kind.unit, path
        assert kind_of(local(), path) == kind


def test_a_number_is_changed_by_its_path():
    other = checked(local(), "machine.price", 3000)
    assert value_at(other, "machine.price") == 3000
    assert value_at(local(), "machine.price") == 4000
    assert replaced(other, "machine.price", 4000.0) == local()
    with pytest.raises(UnknownName, match=r"Nearest valid: machine\.price"):
        checked(local(), "machine.prise", 3000)
    with pytest.raises(InvalidRequest, match=r"card\.quality\.review: 2 is out of range"):
        checked(local(), "quality.review", 2, "card.")


def test_paths_of_a_scenario_begin_with_a_name_that_may_hold_dots():
    start = scenario(hosted("wan-2.1"), local("card"), usable=10)
    assert start.changed("wan-2.1.price", 0.5).option("wan-2.1").price == 0.5
    assert start.changed("workload.usable", 20).workload.usable == 20
    assert start.changed("finance.discount", 0.2).at("finance.discount") == 0.2
    assert start.kind("card.machine.gpu_watts").unit == "W"
    for path in ("card.machine", "wan-2.prices", "card", "finance.currency", "nobody.price"):
        with pytest.raises(UnknownName):
            start.at(path)


def test_a_record_is_read_from_a_table():
    machine = read(Machine, {"price": 4000, "gpu_watts": 450, "depreciation": "capital_recovery"}, "machine")
    assert (machine.price, machine.lifetime, machine.depreciation) == (4000, 24, "capital_recovery")
    card = read(type(local()), {"machine": {"price": 1}, "quality": {"review": 0.5}}, "card", local())
    assert (card.machine.price, card.machine.gpus, card.quality.review) == (1, 1, 0.5)
    assert read(Finance, {"staff": True}, "finance").staff is True
    assert read(Workload, {"resolution": "480p"}, "workload").resolution == "480p"


@pytest.mark.parametrize(
    ("kind", "table", "said"),
    [
        (Machine, {"price": 1}, "machine: gpu_watts is missing"),
        (Machine, {"price": 1, "gpu_wats": 1}, r"machine\.gpu_wats: .*Nearest valid: gpu_watts"),
        (Machine, {"price": 1, "gpu_watts": 1, "depreciation": "linear"}, "Nearest valid: straight_line"),
        (Quality, {"review": "good"}, r"machine\.review: 'good' is not a number"),
        (Attempt, {"generate": -1}, "out of range"),
        (Finance, {"staff": "yes"}, "not a truth value"),
        (Workload, {"resolution": 720}, "not a text"),
    ],
)
def test_a_wrong_table_is_refused(kind, table, said):
    with pytest.raises(InvalidRequest, match=said):
        read(kind, table, "machine")


def test_a_record_within_must_be_a_table():
    with pytest.raises(InvalidRequest, match=r"card\.machine: 3 is not a table"):
        read(type(local()), {"machine": 3}, "card", local())
