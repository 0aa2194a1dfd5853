"""Writing the index: `ports.Tx`, one transaction that becomes durable as a whole or leaves no trace.

Kept with every write, so that nobody has to scan: the living fingerprint, the totals, what is pending and how many
bytes of it are missing, and which paths are in conflict. What SQLite does not hold until the commit (the sums, new
authors) lives in the transaction object and dies with it on a rollback.

Values are encoded before the first row is touched, so a caller's unencodable value leaves the transaction whole.
"""

import time
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec.structs import replace

from meerkat.model.dot import Author, Dot, Vector
from meerkat.model.index import FINGERPRINT_BYTES, FINGERPRINT_MODULUS, Intent, dot_print
from meerkat.model.limits import (
    INDEX_AHEAD_PATHS_MAX,
    INDEX_COMPLETE_PENDING_MAX,
    INDEX_FOLDERS_CACHED_MAX,
    INDEX_UNWRITTEN_ROWS_MAX,
    INDEX_WARM_PATHS_MAX,
)
from meerkat.model.path import RelPath, tree_key
from meerkat.model.version import Base, Content, Kind, Siblings, Version
from meerkat.store.codec import (
    BASE_COLUMNS,
    base_values,
    blob,
    columns,
    intent_values,
    is_conflicted,
    placeholders,
    representative,
    version_values,
)
from meerkat.store.connection import Connection, Row, Values
from meerkat.store.contents import ContentsWriter
from meerkat.store.snapshot import KEYS_ONE_BY_ONE_MAX, KEYS_PER_QUERY, MOVED, by_query, moved_values
from meerkat.store.unwritten import Unwritten

COPY_MARK = b".conflict-"
"""What the names of conflict copies hold; whether a name really is one is for whoever shows it to say."""

_PENDING_AT = "SELECT bytes, bare FROM pending WHERE path = ?"
_ANY_PENDING = "SELECT 1 FROM pending WHERE path >= ? AND path <= ? LIMIT 1"
_PENDING_OF_MANY = f"SELECT path, bytes, bare FROM pending WHERE path IN ({placeholders(KEYS_PER_QUERY)})"
_JOIN = """INSERT INTO author (node, epoch, context, floor) VALUES (?, ?, ?, ?) ON CONFLICT (node, epoch) DO UPDATE
    SET context = max(context, excluded.context), floor = max(floor, excluded.floor)
    WHERE excluded.context > context OR excluded.floor > floor"""
_PUT_STATE = """UPDATE state SET files = ?, folders = ?, bytes = ?, pending = ?, pending_bytes = ?, bare = ?,
    fingerprint = ?"""
_MOVE_BASES = f"""INSERT INTO base (path, {columns(BASE_COLUMNS)})
    SELECT CAST(:new || substr(path, length(:old) + 1) AS BLOB), {columns(BASE_COLUMNS)}
    FROM base WHERE path >= :old AND path < :old_end"""
_SETTLE_MOVED = f"""{MOVED} DELETE FROM pending WHERE path IN (SELECT here FROM agreeing)"""
_SETTLE_LEFT = """DELETE FROM pending WHERE path >= :old AND path < :old_end
    AND NOT EXISTS (SELECT 1 FROM entry WHERE kind <> 4 AND path >= :old AND path < :old_end)"""
_DROP_MOVED = "DELETE FROM base WHERE path >= :old AND path < :old_end"
_SUM_PENDING = "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(bare), 0) FROM pending"
_NOTED = "SELECT 1 FROM change WHERE path = ? AND author = ? AND seq = ?"


Warm = tuple[dict[bytes, Siblings], dict[bytes, Base | None], dict[bytes, bool], dict[bytes, tuple[int, int] | None]]
"""By key: siblings, bases, whether something lives below, and the rows of what is pending."""


class Transaction(ContentsWriter):
    """See `ports.Tx`. Usable within the `with Index.write()` block that gave it, by one thread at a time."""

    def __init__(
        self,
        connection: Connection,
        authors: dict[int, Author],
        complete_before: Callable[[], dict[Author, int]],
        warm: Warm | None = None,
    ) -> None:
        """`authors` is copied: rows made here may be rolled back. `complete_before`: the last commit's `complete()`.
        `warm`: what the last commit left; it is used up."""
        super().__init__(connection, dict(authors))
        self._rows = self._rows_after_all
        self._unwritten = Unwritten()
        self._numbers = {author: number for number, author in self._authors.items()}
        self._complete_before = complete_before
        self._complete_kept = False
        self._tally_read = replace(self._tally)
        self._marked: set[bytes] = set()
        self._standing: set[bytes] = set()  # folders that live by themselves, whatever lives in them
        self._own_number = 0
        self._own_seq = 0
        self._own_seq_written = 0
        self._pending_known: dict[bytes, tuple[int, int] | None] = {}
        if warm is not None:
            self._ahead, self._ahead_bases, self._ahead_below, self._pending_known = warm
        self.note_changes = True
        self._has_dropped: bool | None = None
        self.bases_put: dict[RelPath, Base | None] = {}
        self.bases_moved = False

    def _write_unwritten(self) -> None:
        self._unwritten.write(self._many)

    def flush(self) -> dict[int, Author]:
        """Write what is kept in memory, before the commit. Answers the authors that the index may now remember."""
        self._unwritten.write(self._many)
        self._write_seq()
        if self._tally != self._tally_read:
            t = self._tally
            fingerprint = t.fingerprint.to_bytes(FINGERPRINT_BYTES, "big")
            self._run(_PUT_STATE, (t.files, t.folders, t.bytes, t.pending, t.pending_bytes, t.bare, fingerprint))
        return self._authors

    def _rows_after_all(self, sql: str, values: Values = ()) -> list[Row]:
        """Ask SQLite, once it knows everything."""
        if self._unwritten.count:
            self._unwritten.write(self._many)
        return self._point(sql, values)

    def look_ahead(self, paths: Iterable[RelPath]) -> None:
        """As in a snapshot; what is known still, from this transaction or from those before it, is not read again."""
        self._make_room()
        keys = sorted({tree_key(path) for path in paths if path})
        siblings, bases, below = self._ahead, self._ahead_bases, self._ahead_below
        self._read_ahead([key for key in keys if not (key in siblings and key in bases and key in below)])
        unknown = [key for key in keys if key not in self._pending_known]
        if len(unknown) <= KEYS_ONE_BY_ONE_MAX:
            return  # looked up when they are asked for
        self._pending_known.update(dict.fromkeys(unknown))
        if not self._tally.pending or not self._rows(_ANY_PENDING, (unknown[0], unknown[-1])):
            return
        for wanted in by_query(unknown):
            self._pending_known.update((row[0], (row[1], row[2])) for row in self._rows(_PENDING_OF_MANY, wanted))

    def left_warm(self) -> Warm:
        """What is known of the paths dealt with last: after the commit it is true for the next transaction."""
        warm = self._ahead, self._ahead_bases, self._ahead_below, self._pending_known
        for known in warm:
            for key in list(islice(known, max(0, len(known) - INDEX_WARM_PATHS_MAX))):
                del known[key]
        return warm

    def _forget_ahead(self) -> None:
        """Write what waits: from here on SQLite is asked again."""
        self._unwritten.write(self._many)
        super()._forget_ahead()
        self._pending_known.clear()

    def _make_room(self) -> None:
        if self._unwritten.count > INDEX_UNWRITTEN_ROWS_MAX:
            self._unwritten.write(self._many)
        if len(self._ahead) > INDEX_AHEAD_PATHS_MAX or len(self._pending_known) > INDEX_AHEAD_PATHS_MAX:
            self._forget_ahead()

    # ---- the author

    def author(self) -> Author:
        return self._author(self._own())

    def next_seq(self) -> int:
        self._own()
        self._own_seq += 1
        return self._own_seq

    def renew_author(self, author: Author) -> None:
        self._write_seq()
        self._run("UPDATE state SET author = ?", (self._number(author),))
        self._own_number = 0

    def join_context(self, context: Vector, floor: Vector) -> None:
        self._write_seq()
        authors = {*context, *floor}
        self._many(_JOIN, ((a.node, a.epoch, context.get(a, 0), floor.get(a, 0)) for a in authors))
        self._own_number = 0  # somebody may have told us of dots of our own that we had forgotten

    # ---- entries

    def put_new(self, path: RelPath, version: Version, base: Base) -> Dot:
        """Write what was found at a path of which nobody has ever heard, under a dot of this node, and the base: as
        `next_seq`, `put_siblings`, `put_base` and `clear_pending`, for a path without siblings or base."""
        key = _key(path)
        dot = Dot(self.author(), self.next_seq())
        self._put_first(key, dot, version)
        self._unwritten.put_base(key, base_values(base))
        self._ahead_bases[key] = base
        self.bases_put[path] = base
        if self._tally.pending:
            self.clear_pending(path)
        self._make_room()
        return dot

    def _put_first(self, key: bytes, dot: Dot, version: Version) -> None:
        """The first sibling of a path, but for its being pending."""
        number = self._number(dot.author)
        values = version_values(version)
        self._unwritten.put_entry(key, number, dot.seq, values)
        self._ahead[key] = {dot: version}
        if self.note_changes:
            self._unwritten.put_change((time.time_ns() // 1_000_000, blob(key), number, dot.seq, *values))
        if version.kind is Kind.TOMBSTONE:
            return
        self._tally.fingerprint = (self._tally.fingerprint + dot_print(key, dot)) % FINGERPRINT_MODULUS
        if COPY_MARK in key:
            self._run("INSERT OR IGNORE INTO copy VALUES (?)", (key,))
        self._count(version, 1)
        self._mark_above(key)

    def put_siblings(self, path: RelPath, siblings: Siblings) -> None:
        key = _key(path)
        old = self._siblings(key)
        if not old and len(siblings) == 1:  # as almost always
            ((dot, version),) = siblings.items()
            self._put_first(key, dot, version)
            self._mark(key, version if version.living else None, bare=False)
            self._make_room()
            return
        if key in self._standing:
            self._standing.discard(key)
            self._marked.clear()  # what is above a marked folder is marked too, up to one that stands
        gone = [dot for dot in old if dot not in siblings]
        fresh = [dot for dot, version in siblings.items() if old.get(dot) != version] if old else list(siblings)
        rows = [(self._number(dot.author), dot.seq, version_values(siblings[dot])) for dot in fresh]
        change = self._fingerprint_change(key, [*gone, *fresh], old, siblings)
        for dot in gone:
            self._unwritten.drop_entry(key, self._number(dot.author), dot.seq)
        for number, seq, values in rows:
            self._unwritten.put_entry(key, number, seq, values)
        self._ahead[key] = dict(siblings)
        if self.note_changes:
            self._note_lost(key, {dot: old[dot] for dot in gone})
            self._note(key, [dot for dot in fresh if dot not in old], siblings)
        self._tally.fingerprint = (self._tally.fingerprint + change) % FINGERPRINT_MODULUS
        clash_before, clash = is_conflicted(old), is_conflicted(siblings)
        if clash and not clash_before:
            self._run("INSERT OR IGNORE INTO conflicted VALUES (?)", (key,))
        elif clash_before and not clash:
            self._run("DELETE FROM conflicted WHERE path = ?", (key,))
        shown_before, shown = representative(old), representative(siblings)
        if COPY_MARK in key and (shown_before is None) != (shown is None):
            statement = (
                "INSERT OR IGNORE INTO copy VALUES (?)" if shown is not None else "DELETE FROM copy WHERE path = ?"
            )
            self._run(statement, (key,))
        self._count(shown_before, -1)
        self._count(shown, 1)
        self._mark(key, shown, bare=not siblings)
        if (shown_before is None) != (shown is None):
            self._mark_above(key)
        self._make_room()

    def _note(self, key: bytes, fresh: list[Dot], siblings: Siblings) -> None:
        """Keep what people may ask for. A tombstone beside something living took only a loser away: no news."""
        lives = any(version.living for version in siblings.values())
        now_ms = time.time_ns() // 1_000_000  # shown to people, decides nothing
        for dot in fresh:
            version = siblings[dot]
            if version.living or not lives:
                number = self._number(dot.author)
                self._unwritten.put_change((now_ms, blob(key), number, dot.seq, *version_values(version)))

    def _note_lost(self, key: bytes, gone: Siblings) -> None:
        """What lived for so long that its row was dropped is noted again as it goes: who wants it back must find it."""
        lived = {dot: version for dot, version in gone.items() if version.living}
        if lived and self._has_dropped is None:
            self._has_dropped = bool(self._point("SELECT 1 WHERE (SELECT min(number) FROM change) > 1", ()))
        for dot, version in lived.items() if self._has_dropped else ():
            number = self._number(dot.author)
            if not self._point(_NOTED, (key, number, dot.seq)):
                at_ms = min(filter(None, (time.time_ns() // 1_000_000, max(0, version.mtime_ns) // 1_000_000)))
                self._unwritten.put_change((at_ms, key, number, dot.seq, *version_values(version)))

    def open_hold(self, paths: Iterable[RelPath], total: int) -> int:
        """Hold the deletion of these paths; the hold's id. A path is in one hold at most."""
        now_ms = time.time_ns() // 1_000_000
        ((hold,),) = self._rows("INSERT INTO hold (at, files, total) VALUES (?, 0, ?) RETURNING id", (now_ms, total))
        self.extend_hold(int(hold), paths, total)
        return int(hold)

    def extend_hold(self, hold: int, paths: Iterable[RelPath], total: int) -> None:
        """Hold the deletion of these as well, and note of how many files that is."""
        keys = [tree_key(path) for path in paths]
        self._many("INSERT OR REPLACE INTO held (path, hold) VALUES (?, ?)", ((key, hold) for key in keys))
        self._run("UPDATE hold SET files = files + ?, total = ? WHERE id = ?", (len(keys), total, hold))

    def release_held(self, paths: Iterable[RelPath]) -> None:
        """These are not held any more; a hold that holds nothing is over."""
        self._many("DELETE FROM held WHERE path = ?", ((tree_key(path),) for path in paths))
        self._run("DELETE FROM hold WHERE NOT EXISTS (SELECT 1 FROM held WHERE held.hold = hold.id)")

    def _siblings(self, key: bytes) -> Siblings:
        known = self._ahead.get(key)
        if known is None:
            known = self._ahead[key] = super()._siblings(key)
        return dict(known)

    def _base(self, key: bytes) -> Base | None:
        if key not in self._ahead_bases:
            self._ahead_bases[key] = super()._base(key)
        return self._ahead_bases[key]

    def has_living_below(self, path: RelPath) -> bool:
        if tree_key(path) in self._unwritten.above:
            self._unwritten.write(self._many)
        return super().has_living_below(path)

    # ---- this disk

    def put_base(self, path: RelPath, base: Base | None) -> None:
        key = _key(path)
        self._unwritten.put_base(key, None if base is None else base_values(base))
        self._ahead_bases[key] = base
        self.bases_put[path] = base
        if self._tally.pending and (before := self._pending(key)) is not None:
            lacking = _lacking(representative(self._siblings(key)), base.content if base else None)
            self._put_pending(key, before, (lacking, before[1]))
        self._make_room()

    def move_bases(self, old: RelPath, new: RelPath) -> None:
        """The folder `old` stands at `new` now, with all that is in it. What is thereby as the pool wants it is pending
        no more; what changed in the index since that was seen stays pending."""
        self._forget_ahead()
        self.bases_moved = True
        values = moved_values(old, new)
        self._run(_SETTLE_MOVED, values)
        self._run(_MOVE_BASES, values)
        self._run(_DROP_MOVED, values)
        self._run(_SETTLE_LEFT, values)
        ((self._tally.pending, self._tally.pending_bytes, self._tally.bare),) = self._rows(_SUM_PENDING)

    def set_pending(self, path: RelPath) -> None:
        self._set_pending(_key(path))

    def clear_pending(self, path: RelPath) -> None:
        key = _key(path)
        before = self._pending(key)
        if before is not None:
            self._unwritten.put_pending(key, None)
            self._pending_known[key] = None
            missing, bare = before
            self._tally.pending -= 1
            self._tally.pending_bytes -= missing
            self._tally.bare -= bare
            if key in self._marked:
                self._marked.clear()  # it relies on "what is above a marked folder is marked too"

    def put_intent(self, intent: Intent) -> None:
        _, *values = intent_values(_key(intent.path), intent)
        self._unwritten.put_intent(_key(intent.path), tuple(values))

    def clear_intent(self, path: RelPath) -> None:
        self._unwritten.put_intent(_key(path), None)

    # ---- within the store

    def _own(self) -> int:
        """The row of the author who writes here. Its sequence is counted in memory and written before it is read."""
        if not self._own_number:
            rows = self._rows("SELECT author.id, context FROM state JOIN author ON author.id = state.author")
            assert rows, "renew_author comes before the first write"
            self._own_number, self._own_seq = rows[0]
            self._own_seq_written = self._own_seq
        return self._own_number

    def _write_seq(self) -> None:
        if self._own_number and self._own_seq != self._own_seq_written:
            self._run("UPDATE author SET context = ? WHERE id = ?", (self._own_seq, self._own_number))
            self._own_seq_written = self._own_seq

    def _vector(self, column: str) -> dict[Author, int]:
        self._write_seq()
        return super()._vector(column)

    def _number(self, author: Author) -> int:
        """The author's row, made on first sight."""
        number = self._numbers.get(author)
        if number is None:
            sql, values = "SELECT id FROM author WHERE node = ? AND epoch = ?", (author.node, author.epoch)
            rows = self._rows(sql, values)
            if not rows:
                self._run("INSERT INTO author (node, epoch) VALUES (?, ?)", values)
                rows = self._rows(sql, values)
            number = self._numbers[author] = int(rows[0][0])
            self._authors[number] = author
        return number

    def _count(self, shown: Version | None, sign: int) -> None:
        if shown is None:
            return
        if shown.kind is Kind.FOLDER:
            self._tally.folders += sign
        else:
            self._tally.files += sign
            self._tally.bytes += sign * shown.size

    def _fingerprint_change(self, key: bytes, dots: list[Dot], old: Siblings, new: Siblings) -> int:
        """What the fingerprint gains (or loses) where these dots go from `old` to `new`."""
        change = 0
        for dot in dots:
            if gained := _lives(new.get(dot)) - _lives(old.get(dot)):
                change += gained * dot_print(key, dot)
        return change

    def _mark(self, key: bytes, shown: Version | None, *, bare: bool) -> None:
        """Make the path pending, or bring its pending row up to date with what is shown there now."""
        base = self._base(key)
        self._put_pending(key, self._pending(key), (_lacking(shown, base.content if base else None), int(bare)))

    def _pending(self, key: bytes) -> tuple[int, int] | None:
        """The path's pending row: bytes missing, 1 where it has no siblings; None: it is not pending."""
        if key not in self._pending_known:
            rows = self._point(_PENDING_AT, (key,)) if self._tally.pending else ()
            self._pending_known[key] = rows[0] if rows else None
        return self._pending_known[key]

    def _put_pending(self, key: bytes, old: tuple[int, int] | None, new: tuple[int, int]) -> None:
        if old == new:
            return
        old_missing, old_bare = old or (0, 0)
        missing, bare = new
        if bare and not self._tally.bare:
            self._keep_complete()
        self._unwritten.put_pending(key, new)
        self._pending_known[key] = new
        self._tally.pending += old is None
        self._tally.pending_bytes += missing - old_missing
        self._tally.bare += bare - old_bare

    def _set_pending(self, key: bytes) -> None:
        if self._pending(key) is None:
            siblings = self._siblings(key)
            self._mark(key, representative(siblings), bare=not siblings)

    def _mark_above(self, key: bytes) -> None:
        """Make the folders above pending: whether they are implied (R13) may have changed. Once per transaction; up to
        the first that lives by itself, which is what it is, and lives above it, whatever lives in it."""
        above = key
        while (above := above.rpartition(b"\0")[0]) and above not in self._unwritten.above:
            self._unwritten.above.add(above)
            self._ahead_below.pop(above, None)
        if len(self._marked) >= INDEX_FOLDERS_CACHED_MAX:
            self._marked.clear()
        while (key := key.rpartition(b"\0")[0]) and key not in self._marked and not self._stands(key):
            self._set_pending(key)
            self._marked.add(key)

    def _stands(self, key: bytes) -> bool:
        if key in self._standing:
            return True
        if all(version.kind is not Kind.FOLDER for version in self._siblings(key).values()):
            return False
        if len(self._standing) >= INDEX_FOLDERS_CACHED_MAX:
            self._standing.clear()
        self._standing.add(key)
        return True

    def _keep_complete(self) -> None:
        """Remember what was complete as of the last commit, before this transaction joined any context."""
        if self._complete_kept:
            return
        self._complete_kept = True
        if self._tally_read.pending > INDEX_COMPLETE_PENDING_MAX:
            return  # a stale value claims less; looking through so many would hold up the write
        self._run("DELETE FROM complete")
        kept = [(self._number(author), seq) for author, seq in self._complete_before().items()]
        self._many("INSERT INTO complete (author, seq) VALUES (?, ?)", kept)


def _key(path: RelPath) -> bytes:
    assert path, "the shared folder itself has no entry"
    return tree_key(path)


def _lives(version: Version | None) -> int:
    return int(version is not None and version.kind is not Kind.TOMBSTONE)


def _lacking(shown: Version | None, there: Content | None) -> int:
    """Bytes of what is shown at a path that are not at that path of this disk."""
    return 0 if shown is None or not shown.size or shown.content == there else shown.size
