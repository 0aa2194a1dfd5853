"""How much is asked of one source at once: it follows from how the source answers."""

import random

from meerkat.core.backlog import Ask, Wanted
from meerkat.core.source import WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, Source
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import (
    ANSWER_FAST_S,
    ANSWER_SLOW_S,
    ASK_BYTES_MAX,
    CHUNK_PATIENCE_S_MAX,
    CHUNK_TIMEOUT_S,
    DRY_MAX_S,
    DRY_MIN_S,
)

FAST, SLOW = ANSWER_FAST_S / 2, ANSWER_SLOW_S * 2


def source() -> Source:
    return Source(NodeId("s" * 32), 1, random.Random(0))


def ask(arrived: int = 1) -> Ask:
    """An ask that was sent at 0 and of which so many pieces have arrived."""
    one = Ask(NodeId("s" * 32), 1, [Wanted(Piece(Digest(bytes(32)), 0, 1000), (), False)], 0.0)
    one.arrived = arrived
    return one


def test_fast_answers_open_the_window_step_by_step() -> None:
    """Each fast answer lets one ask more be under way, up to the bound, and only while the window is used at all."""
    one = source()
    assert one.window == WINDOW_BYTES_MIN
    one.answered(ask(), FAST)
    assert one.window == WINDOW_BYTES_MIN, "an idle source has shown nothing"
    for _ in range(100):
        one.bytes = one.window
        before = one.window
        one.answered(ask(), FAST)
        assert one.window == min(before + ASK_BYTES_MAX, WINDOW_BYTES_MAX)
    assert one.window == WINDOW_BYTES_MAX


def test_slow_answers_halve_the_window() -> None:
    """A slow source soon holds little, never less than two asks."""
    one = source()
    one.window = WINDOW_BYTES_MAX
    one.answered(ask(), SLOW)
    assert one.window == WINDOW_BYTES_MAX // 2
    for _ in range(20):
        one.answered(ask(), SLOW)
    assert one.window == WINDOW_BYTES_MIN


def test_who_gives_nothing_comes_last_until_it_does() -> None:
    """One that was waited for in vain, and has given nothing before or since, holds nobody up again and again."""
    one = source()
    one.timed_out(100.0)
    assert not one.is_awake(1e9)
    one.prove(200.0)
    assert one.is_awake(200.0)
    one.timed_out(300.0)
    assert one.is_awake(300.0 + CHUNK_PATIENCE_S_MAX)
    one.timed_out(400.0)
    assert not one.is_awake(1e9)


def test_patience_grows_with_time_outs_and_ends_with_an_answer() -> None:
    """Who timed out comes last, is given longer the next time, and all is forgiven with an answer in time."""
    one = source()
    one.window = WINDOW_BYTES_MAX
    one.prove(50.0)
    one.timed_out(100.0)
    assert (one.slow_until, one.patience, one.window) == (100 + CHUNK_TIMEOUT_S, 2 * CHUNK_TIMEOUT_S, WINDOW_BYTES_MIN)
    for _ in range(20):
        one.timed_out(200.0)
    assert one.patience == CHUNK_PATIENCE_S_MAX
    one.answered(ask(), FAST)
    assert one.patience == CHUNK_TIMEOUT_S


def test_a_dry_source_is_left_alone_for_longer_each_time() -> None:
    """Who lacked all of an ask is asked again after a doubling, bounded moment; at once when it has more."""
    one = source()
    assert not one.answered(ask(arrived=1), FAST), "it had something"
    now, waits = FAST, []
    for _ in range(10):
        assert one.answered(ask(arrived=0), now)
        waits.append(one.dry_until - now)
        now = one.dry_until
    assert waits[:3] == [DRY_MIN_S, 2 * DRY_MIN_S, 4 * DRY_MIN_S]
    assert waits[-1] == DRY_MAX_S
    assert one.answered(ask(arrived=0), now)
    assert not one.answered(ask(arrived=0), now), "dry already"
    one.freshen()
    assert one.dry_until < now
    assert one.dry_s == DRY_MIN_S
