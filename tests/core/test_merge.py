"""Merging replicas of a path: the laws that make any order of pulls end alike, and what a write leaves behind."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from strategies import siblings as sibling_sets

from meerkat.core.merge import (
    delta_is_legal,
    dots_of,
    is_kept,
    mark,
    merge,
    replace,
    retractable,
    supersede,
    tombstones,
)
from meerkat.model.dot import Author, Dot, joined, knows
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import HIST_MARKS_MAX
from meerkat.model.version import Content, Kind, Siblings, Version

A, B = (Author(NodeId(letter * 32), 1) for letter in "ab")


def file(number: int, height: int = 1, *, weak: bool = False, hist: tuple[bytes, ...] = ()) -> Version:
    return Version(Kind.FILE, size=number, digest=Digest(bytes([number]) * 32), height=height, weak=weak, hist=hist)


def content(number: int) -> Content:
    return file(number).content


class Replica:
    """One path at one node: siblings and context."""

    def __init__(self, author: Author) -> None:
        self.author = author
        self.siblings: Siblings = {}
        self.context: dict[Author, int] = {}

    def write(self, version: Version, seen: int) -> None:
        """Write, replacing the first `seen` siblings (what the person saw)."""
        seq = self.context.get(self.author, 0) + 1
        replaced = sorted(self.siblings)[:seen]
        self.siblings = replace(self.siblings, replaced, Dot(self.author, seq), version)
        self.context[self.author] = seq

    def pull(self, other: "Replica") -> None:
        self.siblings = merge(self.siblings, other.siblings, self.context, other.context)
        self.context = joined(self.context, other.context)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("pull"), st.integers(0, 2), st.integers(0, 2)),
    ),
    max_size=14,
)


def played(moves: Sequence[tuple[str, int, int]]) -> list[Replica]:
    replicas = [Replica(Author(NodeId(letter * 32), 1)) for letter in "abc"]
    for number, (what, who, how) in enumerate(moves):
        if what == "pull":
            replicas[who].pull(replicas[how])
        else:
            version = file(number + 1) if what == "write" else Version(Kind.TOMBSTONE)
            replicas[who].write(version, how)
    return replicas


def joint(replicas: Sequence[Replica]) -> tuple[Siblings, dict[Author, int]]:
    result = Replica(Author(NodeId("z" * 32), 1))
    for replica in replicas:
        result.pull(replica)
    return result.siblings, result.context


@given(steps)
def test_every_order_of_pulls_ends_alike(moves: list[tuple[str, int, int]]) -> None:
    """Merging is commutative and associative over whatever replicas can come to hold."""
    one, two, three = played(moves)
    ends = [joint(order) for order in ((one, two, three), (three, two, one), (two, three, one))]
    assert ends[0] == ends[1] == ends[2]


@given(steps)
def test_pulling_twice_changes_nothing(moves: list[tuple[str, int, int]]) -> None:
    """Merging is idempotent."""
    one, two, _ = played(moves)
    one.pull(two)
    before = dict(one.siblings), dict(one.context)
    one.pull(two)
    assert (one.siblings, one.context) == before


@given(steps)
def test_only_a_write_that_saw_a_dot_takes_it_away(moves: list[tuple[str, int, int]]) -> None:
    """What nobody has replaced is in the merge of all."""
    replicas = [Replica(Author(NodeId(letter * 32), 1)) for letter in "abc"]
    given_dots: set[Dot] = set()
    gone: set[Dot] = set()
    for number, (what, who, how) in enumerate(moves):
        if what == "pull":
            replicas[who].pull(replicas[how])
            continue
        gone |= set(sorted(replicas[who].siblings)[:how])
        replicas[who].write(file(number + 1) if what == "write" else Version(Kind.TOMBSTONE), how)
        given_dots.add(Dot(replicas[who].author, replicas[who].context[replicas[who].author]))
    assert set(joint(replicas)[0]) == given_dots - gone


def test_the_merge_rule_case_by_case() -> None:
    """Both have it: kept. One has it and the other never heard of it: kept. The other covers and lacks it: dropped."""
    both, mine, theirs, dropped = Dot(A, 1), Dot(A, 2), Dot(B, 1), Dot(B, 2)
    ours = {both: file(1), mine: file(2), dropped: file(4)}
    others = {both: file(1), theirs: file(3)}
    merged = merge(ours, others, {A: 2, B: 0}, {A: 1, B: 2})
    assert merged == {both: file(1), mine: file(2), theirs: file(3)}


def test_a_delta_needs_all_that_was_forgotten() -> None:
    """Below the sender's floor absence means nothing."""
    assert delta_is_legal({A: 3}, {A: 3})
    assert not delta_is_legal({A: 2}, {A: 3})
    assert not delta_is_legal({}, {A: 1})


def test_a_write_grows_in_height_and_remembers_what_it_replaced() -> None:
    """R1: one more than the greatest height replaced; hist holds their hists and contents, less its own."""
    old = {Dot(A, 1): file(1, 3, hist=(mark(content(9)),)), Dot(B, 1): file(2, 5)}
    written = supersede(old, old, file(9))
    assert written.height == 6
    assert set(written.hist) == {mark(content(1)), mark(content(2))}
    kept = supersede(old, [Dot(A, 1)], file(3, 8), keep_height=True)
    assert kept.height == 8
    assert supersede(old, [], file(3)).height == 1


def test_history_is_bounded_and_keeps_the_newest() -> None:
    """A long edited file forgets its oldest contents first."""
    siblings = {Dot(A, 1): file(1)}
    for number in range(2, HIST_MARKS_MAX + 20):
        version = supersede(siblings, siblings, file(number % 250))
        siblings = {Dot(A, number): version}
    (version,) = siblings.values()
    assert len(version.hist) == HIST_MARKS_MAX
    assert version.hist[-1] == mark(content((HIST_MARKS_MAX + 18) % 250))


def test_only_what_nobody_wrote_is_retracted() -> None:
    """R6: a weak version that another has superseded goes; a person's write never does."""
    newer = file(2, 2, hist=(mark(content(1)),))
    assert retractable({Dot(A, 1): file(1, weak=True), Dot(B, 1): newer}) == {Dot(A, 1)}
    assert retractable({Dot(A, 1): file(1), Dot(B, 1): newer}) == set()
    assert retractable({Dot(A, 1): file(1, weak=True), Dot(B, 1): file(2)}) == set()
    assert retractable({Dot(A, 1): file(1, weak=True)}) == set()
    deleted = Version(Kind.TOMBSTONE, height=2, hist=(mark(content(1)),))
    assert retractable({Dot(A, 1): file(1, weak=True), Dot(B, 1): deleted}) == {Dot(A, 1)}


def test_a_copy_is_kept_where_it_lives_or_was_edited() -> None:
    """An edit of the copy has seen its bytes; a deleted copy keeps nothing."""
    assert is_kept({Dot(A, 1): file(1)}, content(1))
    assert is_kept({Dot(A, 1): file(2, hist=(mark(content(1)),))}, content(1))
    assert not is_kept({Dot(A, 1): file(2)}, content(1))
    assert not is_kept({Dot(A, 1): Version(Kind.TOMBSTONE, hist=(mark(content(1)),))}, content(1))


@given(sibling_sets)
def test_dots_by_content_and_tombstones_cover_everything(siblings: Siblings) -> None:
    """Each sibling is a tombstone or is found by its content."""
    found = tombstones(siblings)
    for version in siblings.values():
        if version.living:
            found |= dots_of(siblings, version.content)
    assert found == set(siblings)
    assert all(knows({dot.author: dot.seq}, dot) for dot in siblings)
