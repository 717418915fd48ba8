"""Every term against a number worked out by hand or by another program."""

import numpy as np
import numpy_financial
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics import terms

SHARES = st.floats(0.01, 1)
AMOUNTS = st.floats(0.01, 1e6)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (0.08 * 1.30 * terms.attempts_per_usable(1 - 0.33), 0.155224),
        (0.12 * 1.40 * terms.attempts_per_usable(1 - 0.33), 0.250746),
        (terms.simple_payback(4000, 100 * (0.15 - 0.02)), 307.69),
        (terms.simple_payback(4000, 200 * (0.20 - 0.02)), 111.11),
        (terms.saving_needed(4000, 4, 200), 5.00),
        (terms.straight_line(4000, 0, 24) / 200, 0.8333),
        (terms.capacity(534.7, 1, 1, month=30.4 * 86400), 4912.2),
        (terms.pod_attempt(2.99, 1, 1041.5, 1), 0.8650),
        (terms.pod_attempt(2.99, 8, 155.1, 1), 1.03055),
        (terms.capital_recovery(4000, 0, 24, 0.10), 183.8),
        (terms.energy_attempt(450, 534.7, 0.17, 1), 0.01136),
        (terms.pod_attempt(2.99, 1, 1837.9, 1) * 1.35 / 0.67, 3.0757),
        (terms.straight_line(4000, 1400, 24), 108.33),
        (terms.capital_recovery(4000, 1400, 24, 0.10), 130.6),
    ],
)
def test_the_oracle(found, expected):
    digits = len(str(expected).split(".")[1])
    assert round(found, digits) == pytest.approx(expected, abs=10**-digits / 1.9)


@given(price=AMOUNTS, rest=SHARES, months=st.integers(1, 120), interest=st.floats(0.001, 1))
def test_capital_recovery_is_the_payment_of_a_loan(price, rest, months, interest):
    rate = terms.monthly_rate(interest)
    expected = -numpy_financial.pmt(rate, months, price, -price * rest)
    assert terms.capital_recovery(price, price * rest, months, interest) == pytest.approx(expected)


@given(usable=SHARES, tries=st.integers(1, 50))
def test_a_limit_of_tries_changes_who_is_served_and_not_the_price(usable, tries):
    served, attempts = terms.wishes_fulfilled(usable, tries), terms.attempts_per_wish(usable, tries)
    assert 0 < served <= 1
    assert attempts <= tries + 1e-9
    assert attempts / served == pytest.approx(terms.attempts_per_usable(usable))


def test_the_expected_number_of_tries_is_that_of_trying():
    random = np.random.default_rng(1)
    tried = np.minimum(random.geometric(0.3, 400_000), 4)
    assert terms.attempts_per_wish(0.3, 4) == pytest.approx(tried.mean(), rel=0.005)


@given(seconds=AMOUNTS, load=AMOUNTS, batch=st.floats(1, 100))
def test_a_batch_shares_one_loading(seconds, load, batch):
    together = batch * terms.billed_seconds(seconds, load, batch, 0, 0)
    assert together == pytest.approx(batch * seconds + load)


def test_units():
    assert terms.pod_attempt(3.6, 1, 1, 1) == pytest.approx(0.001)  # dollars an hour, one second
    assert terms.energy_attempt(1000, 3600, 0.17, 1) == pytest.approx(0.17)  # one kilowatt-hour
    assert terms.pod_attempt(1, 1, 3600, 0.5) == 2  # half of the rented hours are idle
    assert terms.serverless_attempt(1, 2, 1800, 3600, 0.25) == pytest.approx(1.5)
    assert terms.capacity(terms.SECONDS_PER_MONTH, 1, 1) == 1
    assert terms.monthly_rate(0.1268250301319698) == pytest.approx(0.01)


@given(upfront=st.floats(0, 1e7), saving=st.floats(-1e5, 1e5))
def test_payback_is_never_negative_and_never_where_nothing_is_saved(upfront, saving):
    months = terms.simple_payback(upfront, saving)
    if saving <= 0:
        assert months is None
    else:
        assert months is not None
        assert months >= 0


def test_terms_take_draws_as_they_take_numbers():
    seconds = np.array([[100.0], [200.0]])
    one = terms.capacity(seconds, 2, 0.9, np.array([[0.5], [0.8]]))
    assert one.shape == (2, 1)
    assert one[1, 0] == pytest.approx(terms.capacity(200, 2, 0.9, 0.8))
