"""Liveness: one question at a time, doubt and silence noticed, our own sleep not blamed on others."""

import pytest

from meerkat.core.liveness import Liveness
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    ANSWER_DOUBTED_S,
    ANSWER_TIMEOUT_S,
    LATE_SELF_S,
    PING_COURTESY_S,
    PING_EVERY_S,
    PING_QUIET_S,
)

SELF, A, B, C = (NodeId(letter * 32) for letter in "2abc")


def answer_all(live: Liveness, pings: list[tuple[NodeId, int]], now: float) -> None:
    for node, number in pings:
        live.answered(node, number, now)


def test_a_new_link_is_asked_at_once_and_then_when_nothing_is_heard_of_it() -> None:
    """One ping at the opening; the next when the other end has said nothing for a while."""
    live = Liveness(SELF)
    assert live.wake_at(0.0) is None
    live.opened(A, 0.0)
    assert live.wake_at(0.0) == 0.0
    assert live.due(0.0) == [(A, 1)]
    assert live.due(0.1) == []
    live.answered(A, 1, 0.2)
    assert live.wake_at(0.2) == 0.2 + PING_QUIET_S
    live.heard(A, 3.0)
    assert live.due(0.2 + PING_QUIET_S) == []
    assert live.wake_at(5.2) == 3.0 + PING_QUIET_S
    assert live.due(3.0 + PING_QUIET_S) == [(A, 2)]


def test_one_is_asked_at_a_time_the_one_not_heard_of_for_longest() -> None:
    """However many links there are, a question goes out every `PING_EVERY_S` and no more; all get their turn."""
    live = Liveness(SELF)
    for node in (A, B, C):
        live.opened(node, 0.0)
    answer_all(live, live.due(0.0), 0.0)
    for node, at in ((B, 1.0), (A, 1.1), (C, 1.2)):
        live.heard(node, at)
    now, asked = 1.0 + PING_QUIET_S + 0.2, []
    for _ in range(6):
        pings = live.due(now)
        answer_all(live, pings, now)
        asked += [node for node, _ in pings]
        assert live.due(now + PING_EVERY_S / 2) == []
        now += PING_EVERY_S
    assert asked == [B, A, C, B, A, C]


def test_both_ends_do_not_ask_at_once() -> None:
    """They heard each other last at the same time: the lower id asks, and the other has its answer before it would."""
    mine, theirs = Liveness(SELF), Liveness(A)
    mine.opened(A, 0.0)
    theirs.opened(SELF, 0.0)
    answer_all(mine, mine.due(0.0), 0.0)
    answer_all(theirs, theirs.due(0.0), 0.0)
    assert theirs.due(PING_QUIET_S) == []
    answer_all(mine, mine.due(PING_QUIET_S), PING_QUIET_S)
    theirs.heard(SELF, PING_QUIET_S)
    assert theirs.due(PING_QUIET_S + PING_COURTESY_S) == []
    assert theirs.due(2 * PING_QUIET_S + PING_COURTESY_S) != [], "the other end has forgotten to"


def test_silence_is_doubted_and_then_noticed() -> None:
    """A node that owes an answer is doubted after a moment and silent after the timeout; any frame ends that."""
    live = Liveness(SELF)
    live.opened(A, 0.0)
    live.opened(B, 0.0)
    live.due(0.0)
    live.heard(B, 0.1)
    assert live.doubted(ANSWER_DOUBTED_S - 0.01) == frozenset()
    assert live.doubted(ANSWER_DOUBTED_S) == {A}
    assert live.silent(ANSWER_TIMEOUT_S - 0.01) == frozenset()
    assert live.silent(ANSWER_TIMEOUT_S) == {A}
    live.heard(A, ANSWER_TIMEOUT_S)
    assert live.silent(ANSWER_TIMEOUT_S) == live.doubted(ANSWER_TIMEOUT_S) == frozenset()
    live.closed(A)
    live.closed(B)
    assert live.silent(1000.0) == frozenset()
    assert live.wake_at(1000.0) is None


def test_what_was_never_asked_is_not_silent() -> None:
    """A node that says nothing by itself for a minute has done nothing wrong: it was not asked."""
    live = Liveness(SELF)
    live.opened(A, 0.0)
    answer_all(live, live.due(0.0), 0.0)
    assert live.doubted(60.0) == live.silent(60.0) == frozenset()


def test_it_wakes_in_time_to_notice() -> None:
    """Calling at `wake_at` alone notices doubt and silence when they begin, not later."""
    live = Liveness(SELF)
    live.opened(A, 0.0)
    live.due(0.0)
    noticed: list[float] = []
    now = 0.0
    for _ in range(20):
        wake = live.wake_at(now)
        assert wake is not None
        now = max(now, wake)
        live.due(now)
        if live.doubted(now) and not noticed:
            noticed.append(now)
        if live.silent(now):
            noticed.append(now)
            break
    assert noticed == [ANSWER_DOUBTED_S, ANSWER_TIMEOUT_S]


def test_whoever_is_doubted_elsewhere_is_asked_at_once() -> None:
    """So that all who are linked with a node that has vanished notice it together; not who was just heard of."""
    live = Liveness(SELF)
    for node in (A, B):
        live.opened(node, 0.0)
    answer_all(live, live.due(0.0), 0.0)
    live.heard(B, 2.0)
    live.doubted_elsewhere([A, B, C], 2.1)
    assert live.wake_at(2.1) == 2.1
    assert [node for node, _ in live.due(2.1)] == [A]
    live.doubted_elsewhere([A], 2.2)
    assert live.due(2.2) == [], "it is asked already"
    assert live.silent(2.1 + ANSWER_TIMEOUT_S) == {A}


def test_our_own_sleep_is_not_their_silence() -> None:
    """Called far too late, it gives those who owe an answer their whole time again, and asks once more; who stays
    silent then is named."""
    live = Liveness(SELF)
    live.opened(A, 0.0)
    live.opened(B, 0.0)
    live.due(0.0)
    late = 3600.0
    assert {node for node, _ in live.due(late)} == {A, B}
    assert live.doubted(late) == live.silent(late) == frozenset()
    live.heard(A, late + 0.5)
    due = live.wake_at(late + 0.5)
    assert due == late + ANSWER_DOUBTED_S
    live.due(late + ANSWER_DOUBTED_S + LATE_SELF_S / 2)
    assert live.silent(late + ANSWER_TIMEOUT_S) == {B}


def test_the_round_trip_is_measured_by_the_newest_ping() -> None:
    """The pong to the newest ping tells the round trip, smoothed; a late or repeated one tells none."""
    live = Liveness(SELF)
    live.opened(A, 0.0)
    assert live.rtt_ms(A) is None
    [(_, first)] = live.due(0.0)
    live.answered(A, first, 0.1)
    assert live.rtt_ms(A) == pytest.approx(100.0)
    live.answered(A, first, 0.2)
    assert live.rtt_ms(A) == pytest.approx(100.0)
    [(_, second)] = live.due(10.0)
    live.answered(A, first, 10.0)
    live.answered(A, second, 10.2)
    assert live.rtt_ms(A) == pytest.approx(125.0)
    live.answered(A, 0, 11.0)
    assert live.rtt_ms(A) == pytest.approx(125.0)
    live.opened(A, 20.0)
    assert live.rtt_ms(A) is None
    assert live.rtt_ms(B) is None


def test_strangers_are_ignored() -> None:
    """What comes about a node without a link changes nothing."""
    live = Liveness(SELF)
    live.heard(A, 1.0)
    live.answered(A, 1, 1.0)
    live.doubted_elsewhere([A], 1.0)
    live.closed(A)
    assert live.due(1.0) == []
    assert live.silent(1.0) == frozenset()
