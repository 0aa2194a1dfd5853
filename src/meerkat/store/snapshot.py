"""Reading the index at one instant: `ports.View`.

A snapshot is a read transaction on a connection of its own; the write transaction answers the same questions about
what it has written so far. Large answers are read a page at a time by key, so memory does not grow with the folder, no
cursor is left open, and a caller may write while it iterates.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NoReturn

from msgspec import Struct

from meerkat.model.dot import Author, Dot, Vector
from meerkat.model.ids import Digest, NodeId
from meerkat.model.index import FINGERPRINT_BYTES, Hold, Intent, Located, Noted, Totals
from meerkat.model.limits import (
    INDEX_BEYOND_KEYS_MAX,
    INDEX_LOCATED_MAX,
    INDEX_PAGE_ROWS,
)
from meerkat.model.path import ROOT, RelPath, is_below, tree_key
from meerkat.model.version import Base, Content, Entry, Kind, Siblings
from meerkat.store.codec import (
    BASE_COLUMNS,
    VERSION_COLUMNS,
    base_of_row,
    columns,
    intent_of_row,
    key_range,
    lowered_below,
    met,
    path_of,
    placeholders,
    version_of_row,
)
from meerkat.store.connection import Connection, Row
from meerkat.store.errors import IndexDamaged

_ENTRY = f"path, author, seq, {columns(VERSION_COLUMNS)}"
_BASE = columns(BASE_COLUMNS)
_SIBLINGS = f"SELECT {_ENTRY} FROM entry WHERE path = ?"
KEYS_PER_QUERY = 128
KEYS_ONE_BY_ONE_MAX = 12
"""So few are asked for one by one: a lone edit must not pay for a query about a hundred."""
_BASES_OF_MANY = f"SELECT path, {_BASE} FROM base WHERE path IN ({placeholders(KEYS_PER_QUERY)})"
_LIVING_BELOW_OF_MANY = f"""WITH asked (number, low, high) AS (VALUES {", ".join(["(?, ?, ?)"] * KEYS_PER_QUERY)})
    SELECT number FROM asked WHERE EXISTS (SELECT 1 FROM entry WHERE kind <> 4 AND path > low AND path < high)"""
_SIBLINGS_OF_MANY = f"""SELECT {_ENTRY} FROM entry WHERE path IN ({placeholders(KEYS_PER_QUERY)})
    ORDER BY path, author, seq"""
_ENTRY_PAGE = f"""SELECT {_ENTRY} FROM entry WHERE (path, author, seq) > (?, ?, ?) AND path < ?
    ORDER BY path, author, seq LIMIT {INDEX_PAGE_ROWS}"""
_BASE_PAGE = f"SELECT path, {_BASE} FROM base WHERE path > ? AND path < ? ORDER BY path LIMIT {INDEX_PAGE_ROWS}"
_BASE_AT = f"SELECT {_BASE} FROM base WHERE path = ?"
_LIVING_BELOW = "SELECT 1 FROM entry WHERE kind <> 4 AND path > ? AND path < ? LIMIT 1"
_BASE_BELOW = "SELECT 1 FROM base WHERE path > ? AND path < ? LIMIT 1"
_ANY_ENTRY = "SELECT 1 FROM entry WHERE path >= ? AND path < ? LIMIT 1"
_ANY_BASE = "SELECT 1 FROM base WHERE path >= ? AND path < ? LIMIT 1"
_BEYOND = "SELECT path FROM entry WHERE author = ? AND seq > ? LIMIT ?"
_LEAST_PENDING = """SELECT entry.author, min(entry.seq) FROM pending CROSS JOIN entry ON entry.path = pending.path
    GROUP BY entry.author"""
_WITH_CONTENT = f"SELECT path, {_BASE} FROM base WHERE kind = ? AND ident = ? LIMIT {INDEX_LOCATED_MAX}"
_WITH_CHUNK = f"""SELECT base.path, {columns(BASE_COLUMNS, "base.")}, chunk.start, chunk.length
    FROM chunk CROSS JOIN content ON content.id = chunk.content
    CROSS JOIN base ON base.kind = 1 AND base.ident = content.digest
    WHERE chunk.digest = ? LIMIT {INDEX_LOCATED_MAX}"""
_FILES_BELOW = "SELECT path, digest FROM entry WHERE path > ? AND path < ? AND kind = 1 LIMIT 4"
# What stands in a folder, beside the path where it would stand if the folder were elsewhere, and whether that is just
# what is to stand there: one living version, the same in all that travels, and nothing that makes a folder of a file.
MOVED = """WITH moved AS (SELECT CAST(:new || substr(path, length(:old) + 1) AS BLOB) AS here, path, kind, ident,
    mtime_ns, mode FROM base WHERE path >= :old AND path < :old_end), agreeing AS (SELECT here FROM moved WHERE EXISTS
    (SELECT 1 FROM entry WHERE path = here AND entry.kind = moved.kind AND CASE entry.kind
        WHEN 1 THEN entry.digest = ident AND entry.mtime_ns = moved.mtime_ns AND entry.mode = moved.mode
        WHEN 2 THEN entry.mode = moved.mode ELSE entry.target = ident END)
    AND (SELECT count(*) FROM entry WHERE path = here AND kind <> 4) = 1
    AND (kind = 2 OR NOT EXISTS (SELECT 1 FROM entry WHERE kind <> 4
        AND path > CAST(here || x'00' AS BLOB) AND path < CAST(here || x'01' AS BLOB))))"""
_MOVED_WHOLE = f"""{MOVED} SELECT (SELECT count(*) FROM moved) - (SELECT count(*) FROM agreeing)
    + EXISTS (SELECT 1 FROM entry WHERE kind <> 4 AND path >= :old AND path < :old_end)
    + EXISTS (SELECT 1 FROM base WHERE path >= :new AND path < :new_end)
    + EXISTS (SELECT 1 FROM intent WHERE (path >= :old AND path < :old_end) OR (path >= :new AND path < :new_end))
    + EXISTS (SELECT 1 FROM held WHERE (path >= :old AND path < :old_end) OR (path >= :new AND path < :new_end))"""
_TALLY = "files, folders, bytes, pending, pending_bytes, bare, fingerprint"


class Tally(Struct):
    """The sums that every write keeps up to date. `bare`: pending paths without siblings; `bytes` as `Totals`."""

    files: int
    folders: int
    bytes: int
    pending: int
    pending_bytes: int
    bare: int
    fingerprint: int


class Snapshot:
    """See `ports.View`. Usable within the `with Index.read()` block that gave it, by one thread at a time.

    Every method raises `IndexDamaged` or `IndexUnavailable` where the file fails it.
    """

    def __init__(self, connection: Connection, authors: dict[int, Author]) -> None:
        """Pin the snapshot. `authors`: what the index's readers have looked up so far; committed rows only."""
        self._rows = connection.rows
        self._point = connection.rows
        self._authors = authors
        # What was asked ahead, many paths to a query; a snapshot never changes, so it stays true.
        self._ahead: dict[bytes, Siblings] = {}
        self._ahead_bases: dict[bytes, Base | None] = {}
        self._ahead_below: dict[bytes, bool] = {}
        rows = self._rows(f"SELECT {_TALLY} FROM state")
        if not rows:
            raise IndexDamaged("the index has lost its own state")
        files, folders, size, pending, pending_bytes, bare, fingerprint = rows[0]
        self._tally = Tally(files, folders, size, pending, pending_bytes, bare, int.from_bytes(fingerprint, "big"))

    def end(self) -> None:
        """From now on every question is refused: the connection serves somebody else."""
        self._rows = ended
        self._point = ended

    def look_ahead(self, paths: Iterable[RelPath]) -> None:
        """Read siblings, bases and what lives below for all of these at once: they are about to be asked for.

        Where hundreds of paths are dealt with together, a query for each question about each of them is most of the
        work. What was looked up before is forgotten.
        """
        self._forget_ahead()
        self._read_ahead(sorted({tree_key(path) for path in paths if path}))

    def _read_ahead(self, keys: list[bytes]) -> None:
        if len(keys) <= KEYS_ONE_BY_ONE_MAX:
            for key in keys:
                self._ahead[key] = self._decoded(self._rows(_SIBLINGS, (key,)))
                rows = self._rows(_BASE_AT, (key,))
                self._ahead_bases[key] = base_of_row(rows[0], 0) if rows else None
                self._ahead_below[key] = bool(self._rows(_LIVING_BELOW, key_range(key)))
            return
        self._ahead.update((key, {}) for key in keys)
        self._ahead_bases.update(dict.fromkeys(keys))
        self._ahead_below.update(dict.fromkeys(keys, False))
        # What is new comes by the folder: then one question about the stretch of the tree answers all.
        stretch = keys[0], max(key + b"\1" for key in keys)
        has_entries, has_bases = self._rows(_ANY_ENTRY, stretch), self._rows(_ANY_BASE, stretch)
        for wanted in by_query(keys if has_entries or has_bases else []):
            if has_bases:
                for row in self._rows(_BASES_OF_MANY, wanted):
                    self._ahead_bases[row[0]] = base_of_row(row, 1)
            if not has_entries:
                continue
            for row in self._rows(_SIBLINGS_OF_MANY, wanted):
                self._ahead[row[0]][Dot(self._author(row[1]), row[2])] = version_of_row(row, 3)
            values = [each for number, key in enumerate(wanted) for each in (number, key, key + b"\1")]
            for (number,) in self._rows(_LIVING_BELOW_OF_MANY, values):
                self._ahead_below[wanted[number]] = True

    def _forget_ahead(self) -> None:
        self._ahead.clear()
        self._ahead_bases.clear()
        self._ahead_below.clear()

    # ---- vectors and sums

    def context(self) -> dict[Author, int]:
        return self._vector("context")

    def floor(self) -> dict[Author, int]:
        return self._vector("floor")

    def fingerprint(self) -> bytes:
        """16 bytes: the sum of `dot_print` over all living dots modulo 2^128."""
        return self._tally.fingerprint.to_bytes(FINGERPRINT_BYTES, "big")

    def totals(self) -> Totals:
        """Sums over each living path's `representative`; symlinks count as files of no bytes. `behind_files` counts
        all pending paths, `behind_bytes` the bytes of those whose base has other content."""
        tally = self._tally
        return Totals(tally.files, tally.folders, tally.bytes, tally.pending, tally.pending_bytes)

    def complete(self) -> dict[Author, int]:
        """What is certainly on this disk.

        Where a pending path has lost all its siblings, no dot tells any more what is missing there. Until it is done,
        nothing is claimed beyond what was complete before that happened.
        """
        context = self.context()
        if not self._tally.pending:
            return context
        least = [(self._author(author), seq) for author, seq in self._rows(_LEAST_PENDING)]
        lowered = lowered_below(context, least)
        if not self._tally.bare:
            return lowered
        return met(
            lowered, {self._author(author): seq for author, seq in self._rows("SELECT author, seq FROM complete")}
        )

    # ---- entries

    def siblings(self, path: RelPath) -> Siblings:
        return self._siblings(tree_key(path))

    def has_living_below(self, path: RelPath) -> bool:
        key = tree_key(path)
        known = self._ahead_below.get(key)
        return bool(self._point(_LIVING_BELOW, key_range(key))) if known is None else known

    def entries(self, under: RelPath = ROOT) -> Iterator[Entry]:
        yield from self.stretch(*key_range(tree_key(under)))

    def stretch(self, low: bytes, high: bytes) -> Iterator[Entry]:
        for key, rows in groupby(self._entry_rows(low, high), itemgetter(0)):
            yield Entry(path_of(key), self._decoded(rows))

    def entries_beyond(self, context: Vector) -> Iterator[Entry]:
        """Every path with a dot that `context` lacks. A small answer is looked up by dot; a large one walks the tree,
        which is as quick then and needs no memory."""
        known = {
            number: context.get(Author(NodeId(node), epoch), 0)
            for number, node, epoch in self._rows("SELECT id, node, epoch FROM author")
        }
        keys: set[bytes] = set()
        small = True
        for number, seq in known.items():
            room = INDEX_BEYOND_KEYS_MAX - len(keys)
            rows = self._rows(_BEYOND, (number, seq, room + 1))
            if small := len(rows) <= room:
                keys.update(key for (key,) in rows)
            else:
                break
        if small and len(keys) <= KEYS_ONE_BY_ONE_MAX:
            for key in sorted(keys):
                yield Entry(path_of(key), self._siblings(key))
            return
        if small:
            for wanted in by_query(sorted(keys)):
                for key, found in groupby(self._rows(_SIBLINGS_OF_MANY, wanted), itemgetter(0)):
                    yield Entry(path_of(key), self._decoded(found))
            return
        keys.clear()
        for key, group in groupby(self._entry_rows(*key_range(b"")), itemgetter(0)):
            rows = list(group)
            if any(row[2] > known.get(row[1], 0) for row in rows):
                yield Entry(path_of(key), self._decoded(rows))

    def dead(self, after: RelPath, limit: int) -> list[RelPath]:
        """Paths with a tombstone, in tree order, after that one."""
        sql = "SELECT DISTINCT path FROM entry WHERE kind = 4 AND path > ? ORDER BY path LIMIT ?"
        return [path_of(key) for (key,) in self._rows(sql, (tree_key(after), limit))]

    def conflicted(self) -> list[RelPath]:
        return [path_of(key) for (key,) in self._rows("SELECT path FROM conflicted ORDER BY path")]

    def copies(self) -> list[Entry]:
        """Living entries whose name holds the mark of a conflict copy."""
        keys = self._rows("SELECT path FROM copy ORDER BY path")
        return [Entry(path_of(key), self._siblings(key)) for (key,) in keys]

    def changes(self, path: RelPath | None, limit: int, *, deleted: bool = False) -> list[Noted]:
        """Writes that this node came to know of, the newest first: at the path (None: anywhere)."""
        where = ["path = ?"] if path is not None else []
        where += ["kind = 4"] if deleted else []
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        values = ([tree_key(path)] if path is not None else []) + [limit]
        rows = self._rows(f"SELECT at, {_ENTRY} FROM change {clause} ORDER BY number DESC LIMIT ?", values)
        return [
            Noted(row[0], path_of(row[1]), Dot(self._author(row[2]), row[3]), version_of_row(row, 4)) for row in rows
        ]

    def holds(self) -> list[Hold]:
        """Deletions that wait for a person, the oldest first."""
        return [Hold(*row) for row in self._rows("SELECT id, at, files, total FROM hold ORDER BY id")]

    def held(self, hold: int | None = None, after: RelPath = ROOT, limit: int = -1) -> list[RelPath]:
        """Paths of one hold, or of all, in tree order, after that one."""
        clause = "" if hold is None else "AND hold = ?"
        values = (tree_key(after), *(() if hold is None else (hold,)), limit)
        sql = f"SELECT path FROM held WHERE path > ? {clause} ORDER BY path LIMIT ?"
        return [path_of(key) for (key,) in self._rows(sql, values)]

    def held_count(self) -> int:
        ((count,),) = self._rows("SELECT count(*) FROM held")
        return int(count)

    def is_held(self, path: RelPath) -> bool:
        return bool(self._point("SELECT 1 FROM held WHERE path = ?", (tree_key(path),)))

    # ---- this disk

    def base(self, path: RelPath) -> Base | None:
        return self._base(tree_key(path))

    def files_here(self, limit: int) -> int:
        """How many files and links have a base; no more than `limit` are counted."""
        ((count,),) = self._rows("SELECT count(*) FROM (SELECT 1 FROM base WHERE kind IN (1, 3) LIMIT ?)", (limit,))
        return int(count)

    def bases_at(self, paths: Iterable[RelPath]) -> dict[RelPath, Base]:
        """Those of the paths that have a base, many to a query."""
        known = {tree_key(path): path for path in paths if path}
        found: dict[RelPath, Base] = {}
        if len(known) <= KEYS_ONE_BY_ONE_MAX:
            for key, path in known.items():
                if rows := self._rows(_BASE_AT, (key,)):
                    found[path] = base_of_row(rows[0], 0)
            return found
        for wanted in by_query(sorted(known)):
            found.update((known[row[0]], base_of_row(row, 1)) for row in self._rows(_BASES_OF_MANY, wanted))
        return found

    def has_base_below(self, path: RelPath) -> bool:
        return bool(self._rows(_BASE_BELOW, _below(path)))

    def bases(self, under: RelPath = ROOT, after: RelPath = ROOT) -> Iterator[tuple[RelPath, Base]]:
        low, high = key_range(tree_key(under))
        if low and not after and (base := self.base(under)):
            yield under, base
        low = max(low, tree_key(after))
        while page := self._rows(_BASE_PAGE, (low, high)):
            for row in page:
                yield path_of(row[0]), base_of_row(row, 1)
            low = page[-1][0]

    def pending(self, after: RelPath, limit: int) -> list[RelPath]:
        sql = "SELECT path FROM pending WHERE path > ? ORDER BY path LIMIT ?"
        return [path_of(found) for (found,) in self._rows(sql, (tree_key(after), limit))]

    def pending_count(self) -> int:
        return self._tally.pending

    def intents(self) -> list[Intent]:
        return [intent_of_row(row) for row in self._rows("SELECT * FROM intent ORDER BY path")]

    # ---- moved folders

    def moved_from(self, new: RelPath) -> RelPath | None:
        """A file or folder of this disk that may be what is to stand at `new`: the pool wants it away, and it has the
        content, or of the first files that belong into `new` one stands in it, at the same place. `moved_whole` tells
        whether all of it agrees."""
        for version in self.siblings(new).values():
            if version.kind is Kind.FILE:
                for path, _ in self.locate_content(version.content):
                    if path != new and not self._lives_within(path):
                        return path
        for key, digest in self._rows(_FILES_BELOW, _below(new)):
            rest = path_of(key)[len(new) :]
            for path, _ in self.locate_content(Content(Kind.FILE, digest)):
                old = RelPath(path.removesuffix(rest))
                if not path.endswith(rest) or not old or is_below(new, old) or is_below(old, new):
                    continue
                base = self.base(old)
                if base is not None and base.content.kind is Kind.FOLDER and not self._lives_within(old):
                    return old
        return None

    def moved_whole(self, old: RelPath, new: RelPath) -> bool:
        """True when moving what stands at `old` to `new` would make both as the pool wants them, with all that is in
        them: nothing lives at or below `old`, nothing stands at or below `new`, and everything that stands in the one
        has its like in the other. Nothing is held or under way."""
        if self.base(old) is None:
            return False
        ((against,),) = self._rows(_MOVED_WHOLE, moved_values(old, new))
        return not against

    def _lives_within(self, path: RelPath) -> bool:
        return any(version.living for version in self.siblings(path).values()) or self.has_living_below(path)

    # ---- contents

    def recipe(self, digest: Digest) -> bytes | None:
        rows = self._rows("SELECT packed FROM recipe WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def locate_content(self, content: Content) -> list[tuple[RelPath, Base]]:
        rows = self._rows(_WITH_CONTENT, (int(content.kind), content.ident))
        return [(path_of(row[0]), base_of_row(row, 1)) for row in rows]

    def locate_chunk(self, digest: Digest) -> list[Located]:
        """Whole files of that digest first, then chunks within larger files. The disk may have changed since: whoever
        reads there checks the digest."""
        found = []
        for path, base in self.locate_content(Content(Kind.FILE, digest)):
            found.append(Located(path, base, 0, base.stat.size))
        for row in self._rows(_WITH_CHUNK, (digest,)):
            start, length = row[-2:]
            found.append(Located(path_of(row[0]), base_of_row(row, 1), start, length))
        return found[:INDEX_LOCATED_MAX]

    def meta(self, key: str) -> bytes | None:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    # ---- within the store

    def _vector(self, column: str) -> dict[Author, int]:
        rows = self._rows(f"SELECT id, node, epoch, {column} FROM author WHERE {column} > 0")
        return {Author(NodeId(node), epoch): seq for _, node, epoch, seq in rows}

    def _author(self, number: int) -> Author:
        """The author of that row, looked up once."""
        author = self._authors.get(number)
        if author is None:
            rows = self._point("SELECT node, epoch FROM author WHERE id = ?", (number,))
            if not rows:
                raise IndexDamaged(f"the index has lost author {number}")
            author = self._authors[number] = Author(NodeId(rows[0][0]), rows[0][1])
        return author

    def _siblings(self, key: bytes) -> Siblings:
        known = self._ahead.get(key)
        return self._decoded(self._point(_SIBLINGS, (key,))) if known is None else dict(known)

    def _base(self, key: bytes) -> Base | None:
        if key in self._ahead_bases:
            return self._ahead_bases[key]
        rows = self._point(_BASE_AT, (key,))
        return base_of_row(rows[0], 0) if rows else None

    def _decoded(self, rows: Iterable[Row]) -> Siblings:
        return {Dot(self._author(row[1]), row[2]): version_of_row(row, 3) for row in rows}

    def _entry_rows(self, low: bytes, high: bytes) -> Iterator[Row]:
        after: tuple[object, ...] = (low, -1, -1)
        while page := self._rows(_ENTRY_PAGE, (*after, high)):
            yield from page
            after = page[-1][:3]


def by_query(keys: list[bytes]) -> Iterator[list[bytes]]:
    """As many keys to a query as it asks for; the last one is repeated where there are fewer."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        wanted = keys[start : start + KEYS_PER_QUERY]
        yield wanted + [wanted[-1]] * (KEYS_PER_QUERY - len(wanted))


def _below(path: RelPath) -> tuple[bytes, bytes]:
    """Bounds, both exclusive, of the keys below `path`."""
    return key_range(tree_key(path))


def moved_values(old: RelPath, new: RelPath) -> dict[str, object]:
    """What `MOVED` is to be asked with."""
    (old_key, old_end), (new_key, new_end) = key_range(tree_key(old)), key_range(tree_key(new))
    return {"old": old_key, "old_end": old_end, "new": new_key, "new_end": new_end}


def ended(*_: object, **__: object) -> NoReturn:
    """What stands in for a connection's methods once the block is over."""
    raise RuntimeError("the block that this view belongs to has ended")
