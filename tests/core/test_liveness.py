"""Liveness: pings at an interval, silence noticed, our own sleep not blamed on others."""

import pytest

from meerkat.core.liveness import Liveness
from meerkat.model.ids import NodeId
from meerkat.model.limits import PING_INTERVAL_S, PING_TIMEOUT_S

A, B = NodeId("a" * 32), NodeId("b" * 32)


def test_a_new_link_is_pinged_at_once_and_then_at_intervals() -> None:
    """One ping at the opening, one after each interval, each with a number of its own."""
    live = Liveness()
    assert live.wake_at() is None
    live.opened(A, 0.0)
    assert live.wake_at() == 0.0
    assert live.due(0.0) == [(A, 1)]
    assert live.due(0.1) == []
    assert live.wake_at() == PING_INTERVAL_S
    live.opened(B, 1.0)
    assert live.due(1.0) == [(B, 2)]
    assert live.due(PING_INTERVAL_S) == [(A, 3)]


def test_silence_is_noticed() -> None:
    """A node from which no frame came for the timeout is silent; any frame breaks the silence."""
    live = Liveness()
    live.opened(A, 0.0)
    live.opened(B, 0.0)
    now = 0.0
    while now < PING_TIMEOUT_S:
        assert live.silent(now) == []
        live.due(now)
        live.heard(B, now)
        now += 1.0
    assert live.silent(now) == [A]
    live.heard(A, now)
    assert live.silent(now) == []
    live.closed(A)
    live.closed(B)
    assert live.silent(now + 100) == []
    assert live.wake_at() is None


def test_it_wakes_in_time_to_notice() -> None:
    """Calling at `wake_at` alone notices the silence at the timeout, not later."""
    live = Liveness()
    live.opened(A, 0.0)
    live.due(0.0)
    live.heard(A, 1.0)
    now = 0.0
    for _ in range(20):
        wake = live.wake_at()
        assert wake is not None
        now = max(now, wake)
        if live.silent(now):
            break
        live.due(now)
    assert now == 1.0 + PING_TIMEOUT_S


def test_our_own_sleep_is_not_their_silence() -> None:
    """After a long gap in the calls the others get another ping's time; who stays silent then is named."""
    live = Liveness()
    live.opened(A, 0.0)
    live.opened(B, 0.0)
    live.due(0.0)
    assert live.silent(3600.0) == []
    assert {node for node, _ in live.due(3600.0)} == {A, B}
    live.heard(A, 3600.5)
    assert live.silent(3600.0 + PING_INTERVAL_S) == [B]


def test_the_round_trip_is_measured_by_the_newest_ping() -> None:
    """The pong to the newest ping tells the round trip, smoothed; a late or repeated one tells none."""
    live = Liveness()
    live.opened(A, 0.0)
    assert live.rtt_ms(A) is None
    [(_, first)] = live.due(0.0)
    live.answered(A, first, 0.1)
    assert live.rtt_ms(A) == pytest.approx(100.0)
    live.answered(A, first, 4.0)
    assert live.rtt_ms(A) == pytest.approx(100.0)
    [(_, second)] = live.due(5.0)
    live.answered(A, first, 5.0)
    live.answered(A, second, 5.2)
    assert live.rtt_ms(A) == pytest.approx(125.0)
    live.answered(A, 0, 9.0)
    assert live.rtt_ms(A) == pytest.approx(125.0)
    live.opened(A, 10.0)
    assert live.rtt_ms(A) is None
    assert live.rtt_ms(B) is None


def test_strangers_are_ignored() -> None:
    """What comes about a node without a link changes nothing."""
    live = Liveness()
    live.heard(A, 1.0)
    live.answered(A, 1, 1.0)
    live.closed(A)
    assert live.due(1.0) == []
    assert live.silent(1.0) == []
