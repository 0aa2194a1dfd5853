"""The waiting line of the fetching machine: order, counts, and no growth."""

import random

import pytest

from meerkat.core.backlog import Backlog, Wanted
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest


def waiting(number: int, urgent: bool = False) -> Wanted:
    return Wanted(Piece(Digest(bytes(32)), number, 10, Digest(number.to_bytes(32, "big"))), (), urgent)


def test_urgent_first_in_order() -> None:
    """Urgent items leave first, in the order of their coming."""
    backlog = Backlog(random.Random(1))
    items = [waiting(number, urgent=number % 2 == 0) for number in range(10)]
    for item in items:
        backlog.push(item)
    assert (backlog.count, backlog.bytes, backlog.urgent) == (10, 100, 5)
    assert [backlog.pop() for _ in range(5)] == items[::2]
    assert {id(backlog.pop()) for _ in range(5)} == {id(item) for item in items[1::2]}
    assert backlog.pop() is None


def test_what_was_put_back_comes_next() -> None:
    """An item that did not fit is the next one again."""
    backlog = Backlog(random.Random(1))
    for number in range(1000):
        backlog.push(waiting(number))
    first = backlog.pop()
    assert first is not None
    backlog.unpop(first)
    assert backlog.pop() is first


@pytest.mark.parametrize("many", [4, 200])
def test_coming_and_going_is_counted_and_leaves_nothing_behind(many: int) -> None:
    """However items come, leave, return and become urgent, each is given once, and memory follows the count."""
    rng = random.Random(3)
    backlog = Backlog(rng)
    items = [waiting(number) for number in range(many)]
    for _ in range(15_000):
        item = rng.choice(items)
        if item.backlog is None:
            item.urgent = rng.random() < 0.3
            backlog.push(item)
        elif rng.random() < 0.8:
            backlog.leave(item)
        elif (taken := backlog.pop()) is not None and rng.random() < 0.3:
            backlog.unpop(taken)
        inside = [item for item in items if item.backlog is backlog]
        assert backlog.count == len(inside)
        assert backlog.urgent == sum(item.urgent for item in inside)
        held = len(backlog._first) + len(backlog._run) + sum(map(len, backlog._runs))
        assert held == backlog._held <= 2 * len(items) + 1024
    inside = [item for item in items if item.backlog is backlog]
    assert sorted(item.piece.offset for item in backlog.drain()) == sorted(item.piece.offset for item in inside)
    assert (backlog.count, backlog.bytes, backlog.urgent) == (0, 0, 0)
