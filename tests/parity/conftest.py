"""How close a comparison came is kept with its result: bench/parity.py reads it."""

import pytest
from tests.parity.twins import assert_same, largest


@pytest.fixture
def same(record_property):
    """Compares (latent, frames) of ours with those of others, within bounds, and records the largest differences."""

    def check(mine, other, **bounds):
        for name, value in assert_same(mine, other, **bounds).items():
            record_property(name, value)

    return check


@pytest.fixture
def close(record_property):
    """Compares two final latents, and records their largest difference."""

    def check(mine, other, bound):
        difference = largest(mine, other)
        assert difference <= bound
        record_property("latent", difference)
        record_property("latent_bound", bound)

    return check
