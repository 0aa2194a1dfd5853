"""What people are told of the past, and which version they mean."""

from datetime import UTC, datetime

import pytest
from node_rooms import author_of, file_version, folder_version, node_id, path, tombstone

from meerkat.disk.trash import Kept
from meerkat.model.dot import Dot
from meerkat.model.index import Noted
from meerkat.model.version import Content, Kind, Version
from meerkat.node.history import choose, from_trash, operation, version_name

PATH = path("doc")
ONE, TWO, THREE = (file_version(text, height=number) for number, text in enumerate((b"one", b"two", b"three"), 1))


def noted(version: Version, seq: int = 1) -> Noted:
    return Noted(1_700_000_000_000, PATH, Dot(author_of("ada"), seq), version)


NEWEST_FIRST = [noted(THREE, 3), noted(tombstone(), 9), noted(TWO, 2), noted(ONE, 1)]


@pytest.mark.parametrize(
    ("version", "word"),
    [
        (ONE, "created"),
        (TWO, "edited"),
        (tombstone(), "deleted"),
        (Version(Kind.FILE, digest=ONE.digest, weak=True), "adopted"),
        (Version(Kind.FILE, digest=ONE.digest, weak=True, origin=node_id("bob")), "conflict_copy"),
        (Version(Kind.TOMBSTONE, origin=node_id("bob")), "abandoned"),
        (Version(Kind.FILE, digest=ONE.digest, origin=node_id("bob")), "abandoned"),
    ],
)
def test_each_write_has_a_word(version: Version, word: str) -> None:
    """People read what was done, not how it is stored."""
    assert operation(noted(version)) == word


def test_without_a_name_the_version_before_is_meant() -> None:
    """Before what is there now; after a deletion, the last that lived."""
    assert choose(NEWEST_FIRST, THREE, None) == TWO
    assert choose(NEWEST_FIRST, None, None) == THREE
    assert choose([noted(ONE)], ONE, None) is None


def test_a_version_is_named_by_its_digest() -> None:
    """The beginning is enough, in either case; tombstones have no name."""
    assert choose(NEWEST_FIRST, THREE, version_name(ONE)[:6].upper()) == ONE
    assert choose(NEWEST_FIRST, THREE, "ffffffffffff") is None
    assert version_name(folder_version()) != version_name(Version(Kind.SYMLINK, target="x"))


def test_the_trash_knows_what_history_does_not() -> None:
    """The newest thing that stood at the path and is not there now."""

    def kept(version: Version, day: int, where: str = "doc") -> Kept:
        return Kept(f"2026-01-0{day}/{'0' * 12}-doc", where, version.content, 3, 7, datetime(2026, 1, day, tzinfo=UTC))

    trash = [kept(ONE, 1), kept(TWO, 2), kept(THREE, 3, "other")]
    found = from_trash(PATH, trash, None, None)
    assert found is not None
    assert found.content == TWO.content
    found = from_trash(PATH, trash, TWO, None)
    assert found is not None
    assert found.content == ONE.content
    assert from_trash(PATH, trash, None, version_name(THREE)) is None
    link = Kept("2026-01-01/000000000000-l", "doc", Content(Kind.SYMLINK, b"x"), 0, 7, datetime(2026, 1, 1, tzinfo=UTC))
    found = from_trash(PATH, [link], None, None)
    assert found is not None
    assert found.target == "x"
