"""Which conflicts people are shown: read from a real index."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from meerkat.core.merge import mark
from meerkat.core.resolve import copy_path
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Kind, Stat, Version
from meerkat.node.conflicts import Json, list_conflicts, sides_of
from meerkat.store.index import Index
from meerkat.store.transaction import Transaction

ADA, BOB = NodeId("a" * 32), NodeId("b" * 32)
NAMES = {ADA: "ada", BOB: "bob"}
TIME_NS = 1_600_000_000_000_000_000
F = RelPath("docs/f.txt")


@pytest.fixture
def tx() -> Iterator[Transaction]:
    index = Index.in_memory()
    with index.write() as tx:
        yield tx
    index.close()


def file(number: int, *, origin: str = "") -> Version:
    return Version(Kind.FILE, number, TIME_NS, 0o644, Digest(bytes([number]) * 32), weak=bool(origin), origin=origin)


def dot(node: NodeId, seq: int) -> Dot:
    return Dot(Author(node, 1), seq)


def listed(tx: Transaction) -> list[Json]:
    return list_conflicts(tx, lambda node: NAMES[node])


COPY = copy_path(F, file(1).content)


def test_nothing_is_in_conflict(tx: Transaction) -> None:
    """Files, twins and deletions are no conflicts, nor is a name that only looks like a copy's."""
    tx.put_siblings(F, {dot(ADA, 1): file(1), dot(BOB, 1): file(1)})
    tx.put_siblings(RelPath("gone"), {dot(ADA, 2): file(2), dot(BOB, 2): Version(Kind.TOMBSTONE)})
    tx.put_siblings(RelPath("f.conflict-of-interest.txt"), {dot(ADA, 3): file(3)})
    assert listed(tx) == []


def test_a_copy_is_shown_with_its_writer(tx: Transaction) -> None:
    """Under the path that it belongs to: whose version it holds, which need not be who made the copy."""
    tx.put_siblings(F, {dot(BOB, 1): file(2)})
    tx.put_siblings(COPY, {dot(BOB, 2): file(1, origin=ADA)})
    (row,) = listed(tx)
    assert row["path"] == F
    assert row["copies"] == [
        {
            "path": COPY,
            "node": ADA,
            "name": "ada",
            "at": "2020-09-13T12:26:40.000Z",
            "size": 1,
            "digest": "01" * 32,
            "kind": "file",
            "copied": True,
        }
    ]


def test_a_copy_without_origin_is_its_writers(tx: Transaction) -> None:
    """A person edited the copy: it is theirs now."""
    tx.put_siblings(COPY, {dot(BOB, 2): file(1)})
    (row,) = listed(tx)
    copies = row["copies"]
    assert isinstance(copies, list)
    assert [copy["name"] for copy in copies] == ["bob"]


def test_a_conflict_is_shown_before_its_copy_is_made(tx: Transaction) -> None:
    """Two contents at one path: that is one, though nobody has dealt with it yet."""
    tx.put_siblings(F, {dot(ADA, 1): file(1), dot(BOB, 1): file(2)})
    (row,) = listed(tx)
    copies = row["copies"]
    assert isinstance(copies, list)
    (copy,) = copies
    assert (row["path"], copy["path"], copy["name"], copy["copied"]) == (F, COPY, "ada", False)


def test_the_sides_of_a_conflict(tx: Transaction) -> None:
    """What the path shows, then its copies, then what has none; each is here only where this disk shows it."""
    seen = Stat(Kind.FILE, 2, TIME_NS, TIME_NS, 7, 0o644)
    third = file(3)
    tx.put_siblings(F, {dot(ADA, 1): third, dot(BOB, 1): file(2)})
    tx.put_siblings(COPY, {dot(BOB, 2): file(1, origin=ADA)})
    tx.put_base(F, Base(third.content, seen))
    shown, copy, loser = sides_of(tx, F)
    assert (shown.path, shown.node, shown.current, shown.here) == (F, ADA, True, True)
    assert (copy.path, copy.node, copy.current, copy.here) == (COPY, ADA, False, False)
    assert (loser.path, loser.node, loser.here) == (copy_path(F, file(2).content), BOB, False)


def test_a_loser_whose_copy_was_edited_is_no_side(tx: Transaction) -> None:
    """Its bytes are known to be kept: nobody is asked about them again."""
    tx.put_siblings(F, {dot(ADA, 1): file(2), dot(BOB, 1): file(1)})
    tx.put_siblings(COPY, {dot(BOB, 2): replace(file(4), hist=(mark(file(1).content),))})
    assert [side.path for side in sides_of(tx, F)] == [F, COPY]


def test_an_implied_folder_is_of_whoever_wrote_in_it(tx: Transaction) -> None:
    """The folder is there only for what is in it."""
    tx.put_siblings(F, {dot(ADA, 1): file(1)})
    tx.put_siblings(RelPath(f"{F}/x"), {dot(BOB, 1): file(2)})
    shown, loser = sides_of(tx, F)
    assert (shown.node, shown.version.kind, loser.node) == (BOB, Kind.FOLDER, ADA)


def test_a_deleted_copy_is_settled(tx: Transaction) -> None:
    """Whoever deletes the copy has decided; a tombstone is shown to nobody."""
    tx.put_siblings(COPY, {dot(BOB, 2): file(1)})
    tx.put_siblings(COPY, {dot(ADA, 2): Version(Kind.TOMBSTONE)})
    assert listed(tx) == []


def test_paths_come_in_order_with_all_their_copies(tx: Transaction) -> None:
    """Several copies of one path stand together."""
    other = copy_path(F, file(3).content)
    tx.put_siblings(COPY, {dot(ADA, 1): file(1)})
    tx.put_siblings(other, {dot(ADA, 2): file(3)})
    tx.put_siblings(copy_path(RelPath("a"), file(4).content), {dot(ADA, 3): file(4)})
    rows = listed(tx)
    assert [row["path"] for row in rows] == ["a", F]
    copies = rows[1]["copies"]
    assert isinstance(copies, list)
    assert {copy["path"] for copy in copies} == {COPY, other}
