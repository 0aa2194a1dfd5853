"""What the index keeps for people: who wrote what, and which deletions wait for a yes."""

from pathlib import Path

import pytest

from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Kind, Version
from meerkat.store import contents as contents_module
from meerkat.store.index import Index

HERE = Author(NodeId("a" * 32), 7)
THERE = Author(NodeId("b" * 32), 9)
PATH = RelPath("d/f")


def version(number: int, recipe: bytes = b"") -> Version:
    return Version(Kind.FILE, size=number, digest=Digest(bytes([number]) * 32), recipe=Digest(recipe))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index.open(tmp_path / "index.db")
    with made.write() as tx:
        tx.renew_author(HERE)
    return made


def test_each_write_is_noted_once_with_its_author(index: Index) -> None:
    """History tells every version of a path that came to be known, the newest first, and whose each was."""
    with index.write() as tx:
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(1)})
    with index.write() as tx:
        kept = tx.siblings(PATH)
        tx.put_siblings(PATH, kept)
        tx.put_siblings(PATH, {Dot(THERE, 4): version(2)})
    with index.read() as view:
        noted = view.changes(PATH, 10)
        assert view.changes(RelPath("else"), 10) == []
    assert [(each.path, each.dot, each.version) for each in noted] == [
        (PATH, Dot(THERE, 4), version(2)),
        (PATH, Dot(HERE, 1), version(1)),
    ]
    assert all(each.at_ms > 1_700_000_000_000 for each in noted)


def test_deletions_are_found_but_not_a_loser_that_was_taken_away(index: Index) -> None:
    """A tombstone beside something living only settled a conflict: nobody deleted anything."""
    with index.write() as tx:
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(1)})
        tx.put_siblings(PATH, {**tx.siblings(PATH), Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        assert tx.changes(None, 10, deleted=True) == []
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        assert [each.path for each in tx.changes(None, 10, deleted=True)] == [PATH]


def test_a_node_that_learns_a_whole_index_notes_nothing(index: Index) -> None:
    """What had been written before a node came is not its history."""
    with index.write() as tx:
        tx.note_changes = False
        tx.put_siblings(PATH, {Dot(THERE, 4): version(2)})
        assert tx.changes(None, 10) == []


def test_history_is_bounded_and_keeps_the_recipes_it_needs(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest rows go; while a row is there, so is the recipe with which its bytes can be fetched."""
    monkeypatch.setattr(contents_module, "CHANGES_KEPT_MAX", 2)
    recipe = Digest(b"r" * 32)
    with index.write() as tx:
        tx.put_recipe(recipe, b"packed")
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(1, recipe)})
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(2)})
        tx.prune_contents(10)
        assert tx.recipe(recipe) == b"packed"
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(3)})
        tx.prune_contents(10)
        assert [each.version.size for each in tx.changes(None, 10)] == [3, 2]
        assert tx.recipe(recipe) is None


def test_what_outlived_its_row_is_noted_as_it_goes(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file older than all that is kept of history: when it is deleted or edited, its version can still be named. What
    has its row is not noted twice."""
    monkeypatch.setattr(contents_module, "CHANGES_KEPT_MAX", 1)
    other = RelPath("other")
    with index.write() as tx:
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): version(1)})
        tx.put_siblings(other, {Dot(HERE, tx.next_seq()): version(2)})
        tx.prune_contents(10)
    with index.write() as tx:
        assert tx.changes(PATH, 10) == []
        tx.put_siblings(PATH, {Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        tx.put_siblings(other, {Dot(HERE, tx.next_seq()): version(3)})
    with index.read() as view:
        assert [each.version for each in view.changes(PATH, 10)] == [Version(Kind.TOMBSTONE), version(1)]
        assert [each.version for each in view.changes(other, 10)] == [version(3), version(2)]


def test_a_hold_lasts_until_it_holds_nothing(index: Index) -> None:
    """Held paths are listed by hold; releasing the last of them ends the hold."""
    with index.write() as tx:
        first = tx.open_hold([PATH, RelPath("g")], total=3)
        second = tx.open_hold([RelPath("h")], total=3)
    with index.read() as view:
        assert [(hold.id, hold.files, hold.total) for hold in view.holds()] == [(first, 2, 3), (second, 1, 3)]
        assert view.held(first) == [PATH, "g"]
        assert view.held() == [PATH, "g", "h"]
    with index.write() as tx:
        tx.release_held([PATH])
        assert [hold.id for hold in tx.holds()] == [first, second]
        tx.release_held([RelPath("g")])
        assert [hold.id for hold in tx.holds()] == [second]
