"""How many devices share a plan, and in which way."""

import pytest
from tests.takes import make_plan

from filmgate.direction.layout import EFFICIENCY, asked_layout, efficiency, layout_warnings
from filmgate.spec import GuidanceRule, InvalidRequest, Layout, Request


def layout(gpus, plan=None, **wish):
    return asked_layout(Request(prompt="a ball", gpus=gpus, **{"device": "cpu", **wish}), plan or make_plan())


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [(None, (1, 1)), (1, (1, 1)), (2, (2, 1)), (3, (1, 3)), (4, (2, 2)), (6, (2, 3)), (8, (2, 4))],
)
def test_texts_are_divided_first(gpus, expected):
    assert layout(gpus) == Layout(cfg=expected[0], sequence=expected[1])
    assert layout(gpus).ranks == (gpus or 1)


def test_without_two_texts_only_tokens_are_divided():
    assert layout(4, make_plan(guidance=(1.0, 1.0))) == Layout(sequence=4)
    assert layout(2, make_plan(guidance_rule=GuidanceRule(method="nag"))) == Layout(sequence=2)


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        ({"gpus": 0}, "0 is too few"),
        ({"gpus": 1000}, "1000 cannot divide"),
        ({"gpus": 2, "device": None}, "there are no 2 GPUs here"),
    ],
)
def test_what_cannot_be(wish, what):
    with pytest.raises(InvalidRequest, match=what):
        layout(**wish)


def test_what_others_report_of_so_many_or_of_the_next_larger_number():
    assert [efficiency(count) for count in (1, 2, 3, 4, 5, 8, 16)] == [1.0, 0.97, 0.93, 0.93, 0.84, 0.84, 0.84]
    gains = [count * efficiency(count) for count in EFFICIENCY]
    assert gains == sorted(gains)


def test_warnings_say_what_is_slow():
    plan = make_plan(layout=Layout(sequence=2))
    assert list(layout_warnings(make_plan())) == []
    processes, ring = layout_warnings(plan)
    assert "2 processes share one CPU" in processes
    assert "1 heads do not divide by 2 devices" in ring


def test_where_there_are_no_gpus_processes_on_the_cpu_can_be_tried():
    with pytest.raises(InvalidRequest, match=r"there are no 2 GPUs here.*--device cpu for as many processes"):
        layout(2, device=None)
