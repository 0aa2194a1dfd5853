"""Rows to nouns and back. What is read is checked as far as it must be to become a noun; a row that cannot is damage.

Integers that a file system may report beyond SQLite's 64 bits (inode numbers, far times) are kept as decimal bytes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from meerkat.model.dot import Author
from meerkat.model.ids import Digest
from meerkat.model.index import Intent
from meerkat.model.path import RelPath
from meerkat.model.version import MARK_BYTES, Base, Content, Kind, Siblings, Stat, Version
from meerkat.store.connection import Row
from meerkat.store.errors import IndexDamaged

VERSION_COLUMNS = ("kind", "size", "mtime_ns", "mode", "digest", "recipe", "target", "height", "weak", "hist", "origin")
BASE_COLUMNS = ("kind", "ident", "recipe", "stat_kind", "size", "mtime_ns", "ctime_ns", "inode", "mode", "racy")

_KINDS = {int(kind): kind for kind in Kind}
_NOTHING = bytearray()
_INTEGER_MAX = 2**63 - 1
_UNREADABLE = (KeyError, ValueError, TypeError, IndexError, AttributeError)


def path_of(key: bytes) -> RelPath:
    """The path whose `tree_key` is `key`."""
    try:
        return RelPath(key.decode("utf-8").replace("\0", "/"))
    except _UNREADABLE as fault:
        raise IndexDamaged(f"a path in the index cannot be read: {key!r}") from fault


def key_range(key: bytes) -> tuple[bytes, bytes]:
    """Bounds `low <= k < high` of the keys at and below `key`; the empty key stands for the whole tree."""
    return key, key + b"\1" if key else b"\xff"


def blob(data: bytes) -> bytearray:
    """The same bytes for a statement in the form that costs least: SQLite's binding looks for an adapter of every value
    that is bytes, in vain, and of none that is a bytearray."""
    return bytearray(data) if data else _NOTHING


def version_values(version: Version) -> tuple[object, ...]:
    """A version as the values of `VERSION_COLUMNS`."""
    assert all(len(mark) == MARK_BYTES for mark in version.hist), "a mark of another length could not be read back"
    return (
        int(version.kind),
        version.size,
        version.mtime_ns,
        version.mode,
        blob(version.digest),
        blob(version.recipe),
        blob(version.target.encode("utf-8", "surrogateescape")) if version.target else _NOTHING,
        version.height,
        int(version.weak),
        blob(b"".join(version.hist)) if version.hist else _NOTHING,
        version.origin,
    )


def version_of_row(row: Row, at: int) -> Version:
    """The version whose columns begin at position `at` of the row."""
    try:
        kind, size, mtime_ns, mode, digest, recipe, target, height, weak, hist, origin = row[at : at + 11]
        return Version(
            _KINDS[kind],
            size,
            mtime_ns,
            mode,
            digest,
            recipe,
            target.decode("utf-8", "surrogateescape") if target else "",
            height,
            weak != 0,
            tuple(hist[i : i + MARK_BYTES] for i in range(0, len(hist), MARK_BYTES)) if hist else (),
            origin,
        )
    except _UNREADABLE as fault:
        raise IndexDamaged(f"a version in the index cannot be read: {fault}") from fault


def base_values(base: Base) -> tuple[object, ...]:
    """A base as the values of `BASE_COLUMNS`."""
    stat = base.stat
    return (
        int(base.content.kind),
        blob(base.content.ident),
        blob(base.recipe),
        int(stat.kind),
        _wide(stat.size),
        _wide(stat.mtime_ns),
        _wide(stat.ctime_ns),
        _wide(stat.inode),
        stat.mode,
        int(base.racy),
    )


def base_of_row(row: Row, at: int) -> Base:
    """The base whose columns begin at position `at` of the row."""
    try:
        kind, ident, recipe, stat_kind, size, mtime_ns, ctime_ns, inode, mode, racy = row[at : at + 10]
        stat = Stat(_KINDS[stat_kind], int(size), int(mtime_ns), int(ctime_ns), int(inode), mode)
        return Base(Content(_KINDS[kind], ident), stat, Digest(recipe), racy != 0)
    except _UNREADABLE as fault:
        raise IndexDamaged(f"a base in the index cannot be read: {fault}") from fault


def content_of_row(row: Sequence[Any]) -> Content:
    """The content in a row of kind and ident."""
    try:
        return Content(_KINDS[row[0]], row[1])
    except _UNREADABLE as fault:
        raise IndexDamaged(f"a content in the index cannot be read: {fault}") from fault


def intent_values(key: bytes, intent: Intent) -> tuple[object, ...]:
    """An intent as the values of a whole row of its table."""
    target = version_values(intent.target) if intent.target else (None,) * len(VERSION_COLUMNS)
    old = base_values(intent.old) if intent.old else (None,) * len(BASE_COLUMNS)
    return (key, intent.stage, _wide(intent.inode), *target, *old)


def intent_of_row(row: Row) -> Intent:
    """The intent in a whole row of its table."""
    path, stage, inode = row[:3]
    after_target = 3 + len(VERSION_COLUMNS)
    target = None if row[3] is None else version_of_row(row, 3)
    old = None if row[after_target] is None else base_of_row(row, after_target)
    return Intent(path_of(path), target, stage, int(inode), old)


def representative(siblings: Siblings) -> Version | None:
    """The living version that the totals count at a path: near enough to the winner that `core` would choose.

    Every node takes the same one: folders first, then what a person wrote, then height, then content. None: nothing
    lives there.
    """
    if not siblings:
        return None
    living = [version for version in siblings.values() if version.kind is not Kind.TOMBSTONE]
    if len(living) < 2:
        return living[0] if living else None
    return max(living, key=lambda v: (v.kind is Kind.FOLDER, not v.weak, v.height, v.kind, v.content.ident, v.size))


def is_conflicted(siblings: Siblings) -> bool:
    """True when there are two or more distinct living contents; twins are one."""
    if len(siblings) < 2:
        return False
    return len({version.content for version in siblings.values() if version.living}) > 1


def lowered_below(context: dict[Author, int], least: Iterable[tuple[Author, int]]) -> dict[Author, int]:
    """`context` lowered below each author's least missing sequence, without zeros."""
    result = dict(context)
    for author, seq in least:
        if seq <= result.get(author, 0):
            result[author] = seq - 1
    return {author: seq for author, seq in result.items() if seq > 0}


def met(one: dict[Author, int], other: dict[Author, int]) -> dict[Author, int]:
    """The greatest vector below both, without zeros."""
    return {author: min(seq, other[author]) for author, seq in one.items() if other.get(author, 0) > 0}


def placeholders(count: int) -> str:
    """`?, ?, ...` for `count` values."""
    return ", ".join("?" * count)


def columns(names: Sequence[str], prefix: str = "") -> str:
    """Column names for a statement, each with a prefix such as `old_` or `b.`."""
    return ", ".join(prefix + name for name in names)


def _wide(number: int) -> int | bytes:
    return number if -_INTEGER_MAX - 1 <= number <= _INTEGER_MAX else b"%d" % number
