"""Retention: the oldest goes first, the newest never without need; tombstones go when all know them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import vectors

from meerkat.core.retain import Mark, forgettable, known_for, marked, trash_clock, trash_to_drop
from meerkat.model.dot import Author, Vector, dominates
from meerkat.model.ids import NodeId

ITEMS = [("new", 900.0, 10), ("old", 100.0, 20), ("mid", 500.0, 30)]


@pytest.mark.parametrize(
    ("now_s", "age_s_max", "bytes_max", "dropped"),
    [
        (1000.0, 10_000.0, 60, []),
        (1000.0, 900.0, 60, []),
        (1000.0, 899.0, 60, ["old"]),
        (1000.0, 10_000.0, 59, ["old"]),
        (1000.0, 10_000.0, 40, ["old"]),
        (1000.0, 10_000.0, 39, ["old", "mid"]),
        (1000.0, 499.0, 60, ["old", "mid"]),
        (1000.0, 10_000.0, 0, ["old", "mid", "new"]),
        (0.0, 10.0, 60, []),
    ],
)
def test_trash(now_s: float, age_s_max: float, bytes_max: int, dropped: list[str]) -> None:
    """Too old goes; then the oldest until the rest fits; a clock that jumped back drops nothing."""
    assert trash_to_drop(ITEMS, now_s, age_s_max, bytes_max) == dropped


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100)), max_size=20),
    st.integers(0, 1000),
    st.integers(0, 500),
)
def test_trash_keeps_all_that_may_stay(trash: list[tuple[int, int]], age: int, bytes_max: int) -> None:
    """What stays is young enough and fits, and nothing was dropped that could have stayed."""
    items = [(str(at), float(trashed), size) for at, (trashed, size) in enumerate(trash)]
    dropped = set(trash_to_drop(items, 1000.0, age, bytes_max))
    kept = [item for item in items if item[0] not in dropped]
    assert all(1000 - trashed <= age for _, trashed, _ in kept)
    assert sum(size for _, _, size in kept) <= bytes_max
    for _, trashed, size in (item for item in items if item[0] in dropped):
        newer = sum(other for _, when, other in items if when > trashed)
        same = sum(other for _, when, other in items if when == trashed)
        assert 1000 - trashed > age or newer + same > bytes_max or size == 0
    assert trash_to_drop(kept, 1000.0, age, bytes_max) == []


ADA, BEN = Author(NodeId("a" * 32), 1), Author(NodeId("b" * 32), 1)
DAY = 86_400.0


def test_marks_reach_back_as_far_as_is_asked_and_no_further() -> None:
    """One now and then; of those beyond the age only the newest; none of a future that a clock has taken back."""
    marks: list[Mark] = []
    for day in range(100):
        marks = marked(marks, day * DAY, {ADA: day}, 7 * DAY, 30 * DAY)
    assert [at / DAY for at, _ in marks] == [63, 70, 77, 84, 91, 98]
    assert known_for(marks, 99 * DAY, 30 * DAY) == {ADA: 63}
    assert known_for(marks, 99 * DAY, 2 * DAY) == {ADA: 91}
    assert known_for(marks, 99 * DAY, 50 * DAY) == {}
    assert marked(marks, 80 * DAY, {ADA: 5}, 7 * DAY, 30 * DAY) == marks[:3]


def test_a_tombstone_goes_when_all_have_known_it_for_long() -> None:
    """A member that lags, or was never heard of, keeps what it has not seen, until the greater age."""
    marks = [(0.0, {ADA: 5}), (100.0, {ADA: 9, BEN: 4})]
    assert forgettable(marks, 110.0, [{ADA: 7, BEN: 9}, {ADA: 9, BEN: 3}], 10.0, 1000.0) == [{ADA: 7, BEN: 3}, {}]
    assert forgettable(marks, 110.0, [{ADA: 7}, {}], 10.0, 1000.0) == [{ADA: 0, BEN: 0}, {}]
    assert forgettable(marks, 110.0, [], 10.0, 110.0) == [{}, {ADA: 5}]
    assert forgettable(marks, 105.0, [{ADA: 99}], 10.0, 1000.0) == [{ADA: 5}, {}]


@given(st.lists(vectors, min_size=1, max_size=4), vectors)
def test_nothing_goes_that_somebody_has_not_seen(known: list[Vector], mine: Vector) -> None:
    """What all know covers no more than each of them knows, and no more than was known long ago."""
    everybody, _ = forgettable([(0.0, mine)], 50.0, known, 10.0, 1000.0)
    assert all(dominates(vector, everybody) for vector in [*known, mine])


def test_what_can_never_fit_goes_alone() -> None:
    """A file larger than the whole bound does not push out everything else."""
    items = [("old", 1.0, 40), ("huge", 2.0, 101), ("new", 3.0, 40)]
    assert trash_to_drop(items, 3.0, 1e9, 100) == ["huge"]
    assert trash_to_drop(items, 3.0, 1e9, 79) == ["huge", "old"]
    assert trash_to_drop(items, 3.0, 1.5, 100) == ["huge", "old"]


def test_the_clock_of_the_trash_follows_in_steps() -> None:
    """Ahead by years: a step at a time. Behind: at once. Right: as it is."""
    assert trash_clock(1_000_000.0, 100.0, 10.0) == 110.0
    assert trash_clock(50.0, 100.0, 10.0) == 50.0
    assert trash_clock(105.0, 100.0, 10.0) == 105.0
