"""How replicas of a path become one: the laws of the merge rule, what a write passes on, what is retracted."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import digests, siblings, vectors, versions

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
    two_faced,
)
from meerkat.model.dot import Author, Dot, Vector, joined, knows
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import HEIGHT_MAX, HIST_MARKS_MAX, SIBLINGS_MAX
from meerkat.model.version import FOLDER, Content, Kind, Siblings, Version

A, B, C = (Author(NodeId(letter * 32), 1) for letter in "abc")
ONE, TWO, THREE = (Version(Kind.FILE, digest=Digest(bytes([number]) * 32)) for number in (1, 2, 3))
GONE = Version(Kind.TOMBSTONE)


# ---- R2: merging


@pytest.mark.parametrize(
    ("mine", "theirs", "mine_known", "theirs_known", "merged"),
    [
        ({}, {}, {}, {}, {}),
        ({Dot(A, 1): ONE}, {Dot(A, 1): ONE}, {A: 1}, {A: 1}, {Dot(A, 1): ONE}),
        ({}, {Dot(A, 1): ONE}, {}, {A: 1}, {Dot(A, 1): ONE}),
        ({}, {Dot(A, 1): ONE}, {A: 1}, {A: 1}, {}),
        ({Dot(A, 1): ONE}, {}, {A: 1}, {}, {Dot(A, 1): ONE}),
        ({Dot(A, 1): ONE}, {}, {A: 1}, {A: 1}, {}),
        ({Dot(A, 1): ONE}, {Dot(B, 1): TWO}, {A: 1}, {B: 1}, {Dot(A, 1): ONE, Dot(B, 1): TWO}),
        ({Dot(A, 1): ONE}, {Dot(B, 1): TWO}, {A: 1}, {A: 1, B: 1}, {Dot(B, 1): TWO}),
        ({Dot(A, 1): ONE}, {Dot(B, 1): GONE}, {A: 1}, {A: 1, B: 1}, {Dot(B, 1): GONE}),
        ({Dot(A, 1): ONE}, {Dot(B, 1): GONE}, {A: 1}, {B: 1}, {Dot(A, 1): ONE, Dot(B, 1): GONE}),
        ({Dot(A, 1): ONE}, {Dot(B, 1): ONE}, {A: 1}, {B: 1}, {Dot(A, 1): ONE, Dot(B, 1): ONE}),
    ],
    ids=[
        "nothing",
        "both have it",
        "new to us",
        "we had replaced it",
        "new to them",
        "they have replaced it",
        "concurrent",
        "they have overwritten ours",
        "they have deleted ours",
        "deleted without having seen ours",
        "twins stay two dots",
    ],
)
def test_merge(mine: Siblings, theirs: Siblings, mine_known: Vector, theirs_known: Vector, merged: Siblings) -> None:
    """A dot stays unless the other side knows it and has it no more; nothing else decides."""
    assert merge(mine, theirs, mine_known, theirs_known) == merged
    assert merge(theirs, mine, theirs_known, mine_known) == merged


@dataclass(frozen=True)
class Replica:
    """One path at one node: its siblings, and everything that the node has heard of."""

    siblings: Siblings
    context: Mapping[Author, int]

    def met(self, other: "Replica") -> "Replica":
        merged = merge(self.siblings, other.siblings, self.context, other.context)
        return Replica(merged, joined(self.context, other.context))


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.sets(st.integers(0, 3), max_size=3),
        st.sampled_from([ONE, TWO, THREE, GONE]),
    ),
    max_size=12,
)
"""(who, whom it hears: itself means a write, which of its siblings the write replaces, what is written)."""


def grown(actions: list[tuple[int, int, set[int], Version]]) -> tuple[Replica, Replica, Replica]:
    """Three replicas with a past that is possible: each writes over some of what it has, or hears another."""
    replicas = [Replica({}, {}) for _ in range(3)]
    for at, other, chosen, version in actions:
        mine = replicas[at]
        if other != at:
            replicas[at] = mine.met(replicas[other])
            continue
        author = (A, B, C)[at]
        dot = Dot(author, mine.context.get(author, 0) + 1)
        seen = [each for number, each in enumerate(sorted(mine.siblings)) if number in chosen]
        replicas[at] = Replica(replace(mine.siblings, seen, dot, version), {**mine.context, author: dot.seq})
    return replicas[0], replicas[1], replicas[2]


@given(ACTIONS)
def test_merge_is_commutative(actions: list[tuple[int, int, set[int], Version]]) -> None:
    """Who asks whom makes no difference."""
    one, other, _ = grown(actions)
    assert one.met(other) == other.met(one)


@given(ACTIONS)
def test_merge_is_associative(actions: list[tuple[int, int, set[int], Version]]) -> None:
    """In which order three meet makes no difference."""
    one, two, three = grown(actions)
    assert one.met(two).met(three) == one.met(two.met(three))


@given(ACTIONS)
def test_merge_is_idempotent(actions: list[tuple[int, int, set[int], Version]]) -> None:
    """Hearing the same twice, or oneself, changes nothing."""
    one, two, _ = grown(actions)
    assert one.met(one) == one
    assert one.met(two).met(two) == one.met(two)


@given(ACTIONS)
def test_merge_invents_and_forgets_nothing(actions: list[tuple[int, int, set[int], Version]]) -> None:
    """What comes out was in one of them; what is missing was known to the side that lacked it."""
    one, two, _ = grown(actions)
    merged = one.met(two).siblings
    assert merged.keys() <= one.siblings.keys() | two.siblings.keys()
    assert all(knows(two.context, dot) and dot not in two.siblings for dot in one.siblings.keys() - merged.keys())
    assert all(knows(one.context, dot) and dot not in one.siblings for dot in two.siblings.keys() - merged.keys())


@pytest.mark.parametrize(
    ("context", "floor", "legal"),
    [({}, {}, True), ({A: 3}, {A: 3}, True), ({A: 2}, {A: 3}, False), ({B: 9}, {A: 1}, False), ({A: 9}, {}, True)],
)
def test_a_delta_is_legal_above_the_floor(context: Vector, floor: Vector, legal: bool) -> None:
    """Only who has heard of everything that the other side forgot may conclude from what a delta lacks."""
    assert delta_is_legal(context, floor) is legal


# ---- R1: what a write passes on


def test_height_grows_along_edits() -> None:
    """A successor stands above everything that it replaces, a first write at 1; a tombstone counts like any write."""
    low, high = msgspec.structs.replace(ONE, height=3), msgspec.structs.replace(GONE, height=7)
    both = {Dot(A, 1): low, Dot(B, 1): high}
    assert supersede(both, [], TWO).height == 1
    assert supersede(both, [Dot(A, 1)], TWO).height == 4
    assert supersede(both, both, TWO).height == 8
    assert supersede(both, both, msgspec.structs.replace(TWO, height=2), keep_height=True).height == 2


def test_hist_names_what_was_superseded() -> None:
    """The contents replaced and their own hists, without the successor's content; a tombstone hands hists on."""
    old = msgspec.structs.replace(ONE, hist=(mark(THREE.content),))
    siblings = {Dot(A, 1): old, Dot(B, 1): msgspec.structs.replace(GONE, hist=(mark(FOLDER),))}
    expected = {mark(ONE.content), mark(THREE.content), mark(FOLDER)}
    assert set(supersede(siblings, siblings, TWO).hist) == expected
    assert set(supersede(siblings, siblings, GONE).hist) == expected
    assert set(supersede(siblings, siblings, THREE).hist) == expected - {mark(THREE.content)}
    assert supersede(siblings, [], TWO).hist == ()
    assert supersede(siblings, [Dot(C, 9)], TWO).hist == (), "a dot that is gone already passes nothing on"


def test_hist_keeps_the_newest_marks() -> None:
    """A long chain of edits stays within its bound, and the last contents are still known as old."""
    siblings: Siblings = {}
    for number in range(3 * HIST_MARKS_MAX):
        version = msgspec.structs.replace(ONE, digest=Digest(number.to_bytes(2, "big") * 16))
        siblings = {Dot(A, number + 1): supersede(siblings, siblings, version)}
    (last,) = siblings.values()
    assert len(last.hist) == HIST_MARKS_MAX
    last.ensure_valid()
    recent = range(2 * HIST_MARKS_MAX, 3 * HIST_MARKS_MAX - 1)
    assert {mark(Content(Kind.FILE, number.to_bytes(2, "big") * 16)) for number in recent} <= set(last.hist)


@given(siblings, versions, st.booleans())
def test_a_successor_is_valid_and_its_own(them: Siblings, successor: Version, keep_height: bool) -> None:
    """Whatever it replaces, only height and hist change, and it never counts itself as superseded."""
    result = supersede(them, them, successor, keep_height=keep_height)
    assert msgspec.structs.replace(result, height=1, hist=()) == msgspec.structs.replace(successor, height=1, hist=())
    assert len(result.hist) <= HIST_MARKS_MAX
    assert not successor.living or mark(successor.content) not in result.hist


def test_marks_tell_contents_apart() -> None:
    """A file, a link to its digest's spelling, a folder and a tombstone of equal ident have marks of their own."""
    ident = b"x" * 32
    contents = [Content(kind, ident) for kind in Kind] + [FOLDER]
    assert len({mark(content) for content in contents}) == len(contents)


def test_replace_takes_exactly_what_was_seen() -> None:
    """The dots named go, those that never were do no harm, the others stay, the new one is in."""
    siblings = {Dot(A, 1): ONE, Dot(B, 1): TWO}
    after = replace(siblings, [Dot(A, 1), Dot(C, 9)], Dot(C, 1), THREE)
    assert after == {Dot(B, 1): TWO, Dot(C, 1): THREE}
    assert siblings == {Dot(A, 1): ONE, Dot(B, 1): TWO}


def test_more_versions_than_a_path_can_have_end_as_the_same_ones_everywhere() -> None:
    """Whoever floods a path with versions leaves every node with the same set, whichever came first, and with no more
    than others take in."""
    flood = {Dot(A, seq): msgspec.structs.replace(ONE, height=seq % 7 + 1) for seq in range(1, SIBLINGS_MAX + 1)}
    more = {Dot(B, seq): msgspec.structs.replace(TWO, height=seq % 5 + 3) for seq in range(1, SIBLINGS_MAX + 1)}
    one = merge(flood, more, {A: SIBLINGS_MAX}, {B: SIBLINGS_MAX})
    other = merge(more, flood, {B: SIBLINGS_MAX}, {A: SIBLINGS_MAX})
    assert one == other
    assert len(one) == SIBLINGS_MAX
    assert merge(one, other, *[{A: SIBLINGS_MAX, B: SIBLINGS_MAX}] * 2) == one


def test_an_edit_of_the_highest_version_is_still_a_version() -> None:
    """A height at the end of its range does not make the next writer say what nobody takes in."""
    top = {Dot(A, 1): msgspec.structs.replace(ONE, height=HEIGHT_MAX)}
    edit = supersede(top, top, TWO)
    edit.ensure_valid()
    assert edit.height == HEIGHT_MAX


def test_dots_and_tombstones_are_told_apart() -> None:
    """Twins share a content; tombstones are no content that anything could be compared with."""
    siblings = {Dot(A, 1): ONE, Dot(B, 1): msgspec.structs.replace(ONE, mtime_ns=5), Dot(C, 1): GONE}
    assert dots_of(siblings, ONE.content) == {Dot(A, 1), Dot(B, 1)}
    assert tombstones(siblings) == {Dot(C, 1)}


# ---- R6, R7: retracting, and what need not be kept again

WEAK = msgspec.structs.replace(ONE, weak=True)
OVER_ONE = msgspec.structs.replace(TWO, hist=(mark(ONE.content),))


@pytest.mark.parametrize(
    ("siblings", "gone"),
    [
        ({Dot(A, 1): WEAK, Dot(B, 1): OVER_ONE}, {Dot(A, 1)}),
        ({Dot(A, 1): WEAK, Dot(B, 1): msgspec.structs.replace(GONE, hist=OVER_ONE.hist)}, {Dot(A, 1)}),
        ({Dot(A, 1): ONE, Dot(B, 1): OVER_ONE}, set()),
        ({Dot(A, 1): WEAK, Dot(B, 1): TWO}, set()),
        ({Dot(A, 1): msgspec.structs.replace(WEAK, hist=OVER_ONE.hist)}, set()),
        ({Dot(A, 1): msgspec.structs.replace(GONE, weak=True), Dot(B, 1): OVER_ONE}, set()),
        ({Dot(A, 1): WEAK, Dot(B, 1): WEAK, Dot(C, 1): OVER_ONE}, {Dot(A, 1), Dot(B, 1)}),
        ({Dot(A, 1): WEAK, Dot(B, 1): msgspec.structs.replace(ONE, hist=OVER_ONE.hist)}, set()),
    ],
    ids=["edited", "deleted", "a person's", "unrelated", "alone", "a tombstone", "twins", "written again"],
)
def test_retractable(siblings: Siblings, gone: set[Dot]) -> None:
    """What no person wrote goes once somebody has superseded it; what a person wrote never does."""
    assert retractable(siblings) == gone


@given(siblings)
def test_only_the_weak_are_retracted(them: Siblings) -> None:
    """Whatever meets: what a person wrote is never in it, and neither is a tombstone."""
    assert all(them[dot].weak and them[dot].living for dot in retractable(them))


@given(digests)
def test_is_kept(digest: Digest) -> None:
    """A content needs no further name where something living holds it or is an edit of it; a tombstone does not do."""
    content = Content(Kind.FILE, digest)
    short = (mark(content),)
    version = msgspec.structs.replace(ONE, digest=digest)
    other = msgspec.structs.replace(ONE, digest=Digest(bytes(byte ^ 255 for byte in digest)))
    assert is_kept({Dot(A, 1): version}, content)
    assert is_kept({Dot(A, 1): msgspec.structs.replace(other, hist=short)}, content)
    assert not is_kept({Dot(A, 1): msgspec.structs.replace(GONE, hist=short), Dot(B, 1): other}, content)
    assert not is_kept({}, content)


@given(vectors, vectors)
def test_legality_is_what_dominates(context: Vector, floor: Vector) -> None:
    """A delta is legal again as soon as the contexts have been joined."""
    assert delta_is_legal(joined(context, floor), floor)


def test_a_dot_with_two_contents_is_noticed() -> None:
    """Only where both sides hold the dot and differ in content; who is right is not for the merge to say."""
    one, two = Dot(A, 1), Dot(A, 2)
    assert two_faced({one: ONE, two: TWO}, {one: THREE, two: TWO}) == {one: (ONE, THREE)}
    assert two_faced({one: ONE}, {two: TWO}) == {}
