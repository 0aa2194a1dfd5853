"""An answer has to agree with itself, or whoever asked would drop what it was never told of."""

import pytest

from meerkat.core.told import Told, weight_of
from meerkat.model.dot import Author, Dot
from meerkat.model.frame import EntriesEnd, PeerFault
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Entry, Kind, Version

ZOE = Author(NodeId("z" * 32), 1)


def entry(name: str, seq: int = 1, target: str = "") -> Entry:
    version = Version(Kind.SYMLINK, target=target) if target else Version(Kind.FOLDER, mode=0o755)
    return Entry(RelPath(name), {Dot(ZOE, seq): version})


def test_entries_come_in_the_order_of_the_tree() -> None:
    """Each path once, a folder right before what is in it, over all parts; the versions are counted."""
    told = Told()
    assert told.take((entry("a"), entry("a/b"), entry("a-b"))) == 3
    for name in ("a-b", "a"):
        with pytest.raises(PeerFault):
            told.take((entry(name),))


def test_an_end_covers_what_was_told_and_fits_the_question() -> None:
    """No write beyond its context; as full as was asked."""
    told = Told()
    told.take((entry("a", 3),))
    told.ensure_sound(EntriesEnd(1, {ZOE: 3}, {}, False, b""), {}, full=False)
    with pytest.raises(PeerFault):
        told.ensure_sound(EntriesEnd(1, {ZOE: 2}, {}, False, b""), {}, full=False)
    with pytest.raises(PeerFault):
        told.ensure_sound(EntriesEnd(1, {ZOE: 3}, {}, True, b""), {}, full=False)


def test_what_takes_room_weighs() -> None:
    """Paths and link targets of any length."""
    assert weight_of(entry("a" * 100)) - weight_of(entry("a")) == 99
    assert weight_of(entry("a", target="x" * 500)) - weight_of(entry("a")) == 500
