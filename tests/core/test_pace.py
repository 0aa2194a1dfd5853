"""Whoever says more than there is to say is read more slowly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.core.pace import Pace


def test_a_burst_is_free_and_more_has_to_wait() -> None:
    """Up to the burst nobody waits; beyond it as long as the rate takes to pay the debt."""
    pace = Pace(rate=10, burst=100)
    assert pace.spend(100, now=5.0) == 0
    assert pace.spend(20, now=5.0) == pytest.approx(2.0)
    assert pace.spend(10, now=7.0) == pytest.approx(1.0)


def test_what_cannot_wait_is_refused_and_costs_nothing() -> None:
    """As much as is left is had, more than that is not, and asking in vain puts nothing off."""
    pace = Pace(rate=10, burst=100)
    assert pace.afford(100, now=5.0)
    for _ in range(50):
        assert not pace.afford(10, now=5.5)
    assert pace.afford(10, now=6.0)
    assert not pace.afford(0.1, now=6.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 50)), max_size=60))
def test_the_long_run_is_bounded(steps: list[tuple[float, float]]) -> None:
    """Whoever waits as told has never taken more than the burst, the rate's share of the time, and one amount."""
    pace, now, taken = Pace(rate=10, burst=100), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        taken += amount
        wait = pace.spend(amount, now)
        assert taken <= 100 + 10 * now + 10 * wait + 1e-6
        now += wait
