"""Retention: the oldest goes first, the newest never without need; tombstones go when all know them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import dots, few_paths, vectors

from meerkat.core.retain import tombstones_to_forget, trash_clock, trash_to_drop
from meerkat.model.dot import Author, Dot, Vector, knows
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath

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


@given(st.lists(st.tuples(few_paths, dots)), st.lists(vectors, max_size=4))
def test_a_tombstone_goes_when_every_member_knows_it(
    tombstones: list[tuple[RelPath, Dot]], known: list[Vector]
) -> None:
    """Exactly those that every vector covers, and none when there is no vector."""
    forgotten = tombstones_to_forget(iter(tombstones), iter(known))
    assert forgotten == [one for one in tombstones if known and all(knows(vector, one[1]) for vector in known)]


def test_a_member_never_heard_of_keeps_everything() -> None:
    """An empty vector covers nothing."""
    author = Author(NodeId("a" * 32), 1)
    stone = (RelPath("x"), Dot(author, 3))
    assert tombstones_to_forget([stone], [{author: 3}, {author: 9}]) == [stone]
    assert tombstones_to_forget([stone], [{author: 3}, {}]) == []
    assert tombstones_to_forget([stone], [{author: 2}]) == []


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
