"""Distributions against scipy's own, correlations as asked for, and files that are wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.economics.scenarios import hosted, local, scenario

from filmgate.economics.options import Finance, Workload
from filmgate.economics.prices import shipped
from filmgate.economics.scenario import standard
from filmgate.economics.uncertainty import Correlated, Uncertain, draw, from_table, usual
from filmgate.spec.errors import InvalidRequest, UnknownName

U = np.linspace(0.001, 0.999, 301)
START = scenario(hosted(), local())


def triangular(path="hosted.price", low=0.1, mode=0.2, high=0.6):
    return Uncertain(path, "triangular", low=low, mode=mode, high=high)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Uncertain("x", "uniform", low=2, high=5), stats.uniform(2, 3)),
        (Uncertain("x", "triangular", low=2, mode=3, high=6), stats.triang(0.25, 2, 4)),
        (Uncertain("x", "triangular", low=2, mode=2, high=6), stats.triang(0, 2, 4)),
        (Uncertain("x", "triangular", low=2, mode=6, high=6), stats.triang(1, 2, 4)),
        (Uncertain("x", "pert", low=2, mode=3, high=6), stats.beta(2, 4, 2, 4)),
        (Uncertain("x", "beta", yes=67, no=33), stats.beta(68, 34)),
        (Uncertain("x", "lognormal", low=1, high=4), stats.lognorm(math.log(4) / 2 / stats.norm.ppf(0.9), scale=2)),
    ],
)
def test_quantiles_are_those_of_scipy(found, expected):
    assert found.ppf(U) == pytest.approx(expected.ppf(U))


def test_a_lognormal_has_the_percentiles_that_were_given():
    assert Uncertain("x", "lognormal", low=1, high=4).ppf([0.1, 0.5, 0.9]) == pytest.approx([1, 2, 4])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), sobol=st.booleans())
def test_the_same_seed_draws_the_same(seed, sobol):
    first, second = (draw([triangular()], [], 64, seed, sobol=sobol)["hosted.price"] for _ in range(2))
    assert first.shape == (64, 1)
    assert np.array_equal(first, second)
    assert ((first >= 0.1) & (first <= 0.6)).all()


def test_another_seed_draws_otherwise():
    first, second = (draw([triangular()], [], 64, seed)["hosted.price"] for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("sobol", [False, True])
def test_draws_have_the_distribution_and_the_rank_correlation(sobol):
    pair = [triangular(), triangular("local.machine.price", 3000, 4000, 4500)]
    found = draw(pair, [Correlated("hosted.price", "local.machine.price", 0.7)], 16_384, 3, sobol=sobol)
    first, second = (found[one.path][:, 0] for one in pair)
    assert stats.spearmanr(first, second).statistic == pytest.approx(0.7, abs=0.02)
    assert stats.kstest(first, stats.triang(0.2, 0.1, 0.5).cdf).statistic < 0.02
    assert stats.kstest(second, stats.triang(2 / 3, 3000, 1500).cdf).statistic < 0.02


def test_a_sobol_sequence_is_more_even():
    exact = (0.1 + 0.2 + 0.6) / 3
    even, random = (draw([triangular()], [], 4096, 1, sobol=sobol)["hosted.price"].mean() for sobol in (True, False))
    assert abs(even - exact) < abs(random - exact)
    assert even == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"shape": "triangular", "low": 1, "high": 2}, "lacks mode"),
        ({"shape": "triangular", "low": 2, "mode": 1, "high": 3}, "do not increase"),
        ({"shape": "uniform", "low": 1, "high": 1}, "do not increase"),
        ({"shape": "uniform", "low": -1, "high": 1}, "out of range"),
        ({"shape": "normal", "low": 1, "high": 2}, "named 'normal'"),
        ({"shape": "beta", "yes": 3, "no": 4}, "counted shares"),
        ({"shape": "lognormal", "low": 0, "high": 2}, "low is 0"),
        ({"shape": "uniform", "low": "a", "high": 2}, "not a number"),
        ({"shape": "uniform", "lwo": 1, "high": 2}, "Nearest valid: low"),
        ({"low": 1, "high": 2}, "lacks path or shape"),
    ],
)
def test_a_distribution_that_is_none(row, said):
    with pytest.raises(InvalidRequest, match=said):
        from_table({"uncertain": [{"path": "hosted.price", **row}]}, START)


def test_paths_that_cannot_be_uncertain():
    for path, said in (("hosted.prise", "Nearest valid"), ("local.machine.owned", "counts things")):
        with pytest.raises(InvalidRequest, match=said):
            from_table({"uncertain": [{"path": path, "shape": "uniform", "low": 0, "high": 2}]}, START)
    with pytest.raises(InvalidRequest, match="comes twice"):
        from_table({"uncertain": [{"path": "hosted.price", "shape": "uniform", "low": 0, "high": 2}] * 2}, START)


def test_correlations_that_contradict_each_other():
    names = ("hosted.price", "local.machine.price", "workload.usable")
    rows = [{"path": path, "shape": "uniform", "low": 1, "high": 2} for path in names]
    pairs = [(0, 1, 0.6), (1, 2, 0.6), (0, 2, -0.9)]
    correlated = [{"first": names[a], "second": names[b], "rank": rank} for a, b, rank in pairs]
    with pytest.raises(InvalidRequest, match="contradict each other"):
        from_table({"uncertain": rows, "correlated": correlated}, START)
    assert len(from_table({"uncertain": rows, "correlated": correlated[:2]}, START)[1]) == 2
    with pytest.raises(UnknownName, match="uncertain quantity"):
        from_table({"uncertain": rows[:1], "correlated": correlated[:1]}, START)
    with pytest.raises(InvalidRequest, match="between -1 and 1"):
        from_table({"uncertain": rows, "correlated": [{**correlated[0], "rank": 1.5}]}, START)


def test_usual_ranges_hold_the_value_and_say_why():
    start, _ = standard(shipped(), Workload(), Finance())
    found = {one.path: one for one in usual(start, shipped())}
    for path, one in found.items():
        one.check(start)
        assert one.low <= start.at(path) <= one.high, path
        assert one.why
    price = found["rented-2.1.price"]
    assert (price.low, price.mode, round(price.high, 2)) == (1.8, 2.69, 2.79)
    assert found["local-5b.machine.gpu_watts"].low == pytest.approx(235)
    assert (found["workload.usable"].low, found["workload.usable"].high) == (75, 225)
    assert "local-5b.overhead.share" not in found
    review = found["rented-2.1.quality.review"]
    assert (review.low, review.mode, review.high) == (0.15, 0.67, 0.96)
    assert (found["local-5b.machine.price"].low, found["local-5b.machine.price"].high) == (2200, 4500)
    assert found["local-5b.machine.residual"].high == pytest.approx(0.75)
    assert (found["local-5b.machine.site"].low, found["local-5b.machine.site"].high) == (0, 60)
    assert (found["rented-2.1.price_fall"].mode, found["rented-2.1.price_fall"].high) == (0, 0.35)
    assert "hosted-2.1.price_fall" not in found
