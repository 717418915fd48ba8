"""How busy devices are, and how long a video waits: against closed forms and against a simulated queue."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.needs import needs_from
from filmgate.economics.throughput import (
    BUSIEST,
    DAYS,
    attempts_of,
    devices_needed,
    months_until_full,
    waited_at_most,
    waiting_seconds,
    work_of,
)


def needs(videos=150, **answers):
    return needs_from({"videos": videos, **answers})


def test_a_month_of_the_5b_on_a_4090_as_the_guide_counts_it():
    # 534.7 s an attempt: 200 are 29.7 hours, and a month of 30.4 days has room for 4,912
    work = work_of(needs(200, usable_rate=1.0), 534.7, 1, 1)
    assert work.gpu_hours == pytest.approx(29.7, abs=0.05)
    assert work.utilisation == pytest.approx(29.7 / (24 * DAYS), rel=1e-3)
    assert work.capacity / BUSIEST == pytest.approx(4912.2 * DAYS / 30.4, rel=1e-3)


def test_thrown_away_attempts_and_further_clips_count():
    assert attempts_of(needs(100, usable_rate=0.5), 3) == 600


def test_half_the_hours_are_twice_as_busy():
    whole, half = (work_of(needs(hours_per_day=hours), 100, 1, 1) for hours in (24, 12))
    assert half.utilisation == pytest.approx(2 * whole.utilisation)
    assert half.capacity == pytest.approx(whole.capacity / 2)


@given(st.integers(1, 10**5), st.floats(1, 10**4), st.integers(1, 4), st.floats(1, 20), st.floats(0.1, 1))
def test_so_many_devices_are_enough_and_one_fewer_is_not(videos, seconds, clips, peak, usable):
    asked = needs(videos, peak=peak, usable_rate=usable)
    count = devices_needed(asked, seconds, clips)
    work = work_of(asked, seconds, clips, count)
    assert work.utilisation <= BUSIEST * (1 + 1e-9)
    assert work.busiest_day < 1
    assert work.capacity >= videos * (1 - 1e-9)
    if count > 1:
        fewer = work_of(asked, seconds, clips, count - 1)
        assert fewer.utilisation > BUSIEST * (1 - 1e-9) or fewer.busiest_day >= 1


@given(st.integers(1, 10**5), st.floats(1, 10**4), st.floats(0.1, 0.9))
def test_more_work_is_never_quicker(videos, seconds, usable):
    less, more = (work_of(needs(count, usable_rate=usable), seconds, 1, 1) for count in (videos, videos + 10))
    assert more.utilisation > less.utilisation
    if more.ready_seconds is not None:
        assert more.ready_seconds >= less.ready_seconds - 1e-6


def test_work_that_piles_up_is_never_ready():
    assert work_of(needs(10**6), 1000, 1, 1).ready_seconds is None


def simulated(rho, count, seed=1):
    """Waiting times of a queue with random arrivals and services of one second (Lindley's recursion)."""
    draw, wait, waits = random.Random(seed), 0.0, []
    for _ in range(count):
        wait = max(0.0, wait + 1 - draw.expovariate(rho))
        waits.append(wait)
    return sorted(waits)


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.7, 0.85])
def test_waiting_is_that_of_a_simulated_queue(rho):
    waits = simulated(rho, 100_000)
    for quantile in (0.5, 0.9, 0.95):
        found = waiting_seconds(1.0, rho, quantile)
        below = sum(wait <= found for wait in waits) / len(waits)
        # Where many wait not at all, the quantile is 0 and more than it are below.
        assert below >= quantile - 0.012
        assert found == 0 or below <= quantile + 0.012


@pytest.mark.parametrize("rho", [0.1, 0.4, 0.7, 0.9, 0.95])
def test_the_tail_continues_the_sum(rho):
    below, above = waited_at_most(19.999, 1.0, rho), waited_at_most(20.001, 1.0, rho)
    assert above == pytest.approx(below, abs=1e-3)
    assert waited_at_most(0.0, 1.0, rho) == pytest.approx(1 - rho)
    assert waited_at_most(500, 1.0, rho) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(rho):
    step = 0.005
    mean = math.fsum((1 - waited_at_most(step * (k + 0.5), 1.0, rho)) * step for k in range(round(120 / step)))
    assert mean == pytest.approx(rho / (2 * (1 - rho)), rel=0.01)


@pytest.mark.parametrize(
    ("capacity", "growth", "month"), [(99, 5, 0), (100, 0, None), (100, 5, 1), (200, 10, 8), (1e9, 1, None)]
)
def test_growth_fills_devices_in_a_month(capacity, growth, month):
    assert months_until_full(capacity, 100, growth) == month
