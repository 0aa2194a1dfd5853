"""Comparing by ranges finds exactly what differs, whatever the two sides hold, and costs little where little does."""

import random
from collections.abc import Callable, Iterable, Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import versions

from meerkat.core import ranges
from meerkat.core.ranges import END, START, Asker, Teller, TooDifferent, divided, marks_of, print_of, prints_of, tiled
from meerkat.model.dot import Author, Dot
from meerkat.model.frame import Marks, PeerFault
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath, tree_key
from meerkat.model.version import Entry, Kind, Siblings, Version

ZOE = Author(NodeId("z" * 32), 1)
A_FOLDER = Version(Kind.FOLDER, mode=0o755)

Held = dict[RelPath, Siblings]


def walk(held: Held) -> Callable[[bytes, bytes], Iterator[Entry]]:
    ordered = sorted((tree_key(path), path) for path in held)

    def between(low: bytes, high: bytes) -> Iterator[Entry]:
        return (Entry(path, held[path]) for key, path in ordered if low <= key < high)

    return between


def folders(names: Iterable[str], seq: int = 1) -> Held:
    return {RelPath(name): {Dot(ZOE, seq): A_FOLDER} for name in names}


def compared(ours: Held, theirs: Held) -> tuple[Asker, dict[RelPath, Siblings], int]:
    """A whole exchange: the asker, what it was given, and how many bytes went both ways, but for the entries."""
    teller, asker = Teller(walk(theirs)), Asker(walk(ours))
    size = 0
    picks: list[int] = []
    for tell in (lambda picks: teller.whole(), teller.finer):
        marks = list(marks_of(1, tell(picks), 3))
        size += sum(len(each.sums) + sum(map(len, each.highs)) for each in marks)
        picks = asker.compare(marks)
        if not picks:
            return asker, {}, size
    asker.ensure_worth_it()
    lists = teller.paths(picks)
    size += sum(map(len, lists)) + 4 * len(picks)
    picks = asker.choose([one for frame in prints_of(1, lists, 3) for one in frame.lists])
    given_back = list(teller.entries(picks))
    for entry in given_back:
        asker.ensure_asked(entry)
    assert len(given_back) == asker.wanted
    return asker, {entry.path: entry.siblings for entry in given_back}, size


names = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map("/".join)
holdings = st.dictionaries(
    names.map(RelPath),
    st.dictionaries(st.builds(Dot, st.just(ZOE), st.integers(1, 4)), versions, min_size=1, max_size=2),
)


@given(holdings, holdings, st.integers(1, 5), st.integers(1, 3))
def test_exactly_what_differs_is_found(ours: Held, theirs: Held, many: int, few: int) -> None:
    """Whatever either side has: all that the teller has otherwise or alone is given, all that only the asker has is
    named, and nothing else."""
    with patch.object(ranges, "RANGE_PATHS", many), patch.object(ranges, "RANGE_PATHS_FINE", few):
        asker, given_back, _ = compared(ours, theirs)
    assert given_back == {path: siblings for path, siblings in theirs.items() if ours.get(path) != siblings}
    assert asker.differing == {tree_key(path) for path, siblings in ours.items() if theirs.get(path) != siblings}


def test_the_order_of_siblings_and_the_rest_of_a_version_count_rightly() -> None:
    """Sums do not depend on an order, and on all that travels: two contents under one dot differ."""
    one, other = Dot(ZOE, 1), Dot(ZOE, 2)
    later = Version(Kind.TOMBSTONE, height=2)
    assert print_of(b"a", {one: A_FOLDER, other: later}) == print_of(b"a", {other: later, one: A_FOLDER})
    assert print_of(b"a", {one: A_FOLDER}) != print_of(b"b", {one: A_FOLDER})
    assert print_of(b"a", {one: A_FOLDER}) != print_of(b"a", {one: Version(Kind.FOLDER, mode=0o700)})
    assert print_of(b"a", {one: A_FOLDER}) != print_of(b"a", {other: A_FOLDER})


def test_what_is_equal_costs_a_few_bytes_a_thousand() -> None:
    """Of 20,000 paths: nothing differs, one does, or a whole folder that one side lacks."""
    held = folders(f"d{number // 100:03}/f{number:05}" for number in range(20_000))
    assert compared(held, dict(held))[2] < 600
    one = dict(held) | folders(["d050/f05000"], 2)
    asker, given_back, size = compared(held, one)
    assert list(given_back) == ["d050/f05000"]
    assert size < 2500
    lacking = {path: siblings for path, siblings in held.items() if not path.startswith("d07")}
    asker, given_back, size = compared(lacking, held)
    assert len(given_back) == 1000
    assert asker.differing == set()
    assert size < 12_000


def test_scattered_differences_cost_what_they_must() -> None:
    """A few hundred bytes each, however they lie."""
    held = folders(f"d{number // 100:03}/f{number:05}" for number in range(20_000))
    some = random.Random(1).sample(sorted(held), 50)
    _, given_back, size = compared(held, held | folders(some, 2))
    assert len(given_back) == 50
    assert size < 50 * 1000


def test_where_nearly_everything_differs_it_is_given_up() -> None:
    """Then the whole index is cheaper than asking for it piece by piece, and needs no memory."""
    ours, theirs = folders(f"f{number}" for number in range(200)), folders((f"f{number}" for number in range(200)), 2)
    with patch.object(ranges, "RANGES_DIFFERING_MAX", 100), pytest.raises(TooDifferent):
        compared(ours, theirs)
    with patch.object(ranges, "RANGES_WANTED_MAX", 100), pytest.raises(TooDifferent):
        compared(ours, theirs)


def test_an_answer_that_does_not_fit_is_a_fault() -> None:
    """Ranges that leave a gap, overlap or go on; other lists than were asked for; picks and entries of nothing told."""
    for highs in ([], [b"m"], [b"m", b"c", END], [b"m", b"m", END], [END, END], [b"m", END, END]):
        with pytest.raises(PeerFault):
            tiled([(START, END)], highs)
    asker = Asker(walk(folders(["a"])))
    assert asker.compare([Marks(1, (END,), bytes(16), True)]) == [0]
    with pytest.raises(PeerFault):
        asker.choose([b"", b""])
    asker.compare([Marks(1, (b"b", END), bytes(32), True)])
    asker.ensure_asked(Entry(RelPath("a/z"), {Dot(ZOE, 1): A_FOLDER}))
    with pytest.raises(PeerFault):
        asker.ensure_asked(Entry(RelPath("b"), {Dot(ZOE, 1): A_FOLDER}))
    with pytest.raises(PeerFault):
        Teller(walk({})).finer([1])


def test_ranges_are_divided_by_count() -> None:
    """Each piece ends where the next begins, the last where the range does, an empty range in one piece."""
    held = walk(folders("abcde"))
    assert [high for high, _ in divided(held, [(START, END)], 2)] == [b"c", b"e", END]
    assert [high for high, _ in divided(held, [(b"b", b"d")], 2)] == [b"d"]
    assert [high for high, _ in divided(held, [(b"x", END)], 2)] == [END]
