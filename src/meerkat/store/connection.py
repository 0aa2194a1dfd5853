"""One connection to the index's file, and the one place where SQLite's errors become ours.

Every statement of the store runs through `rows`, `run` or `many`, which leave no statement half stepped: a cursor left
open would pin an old snapshot on a connection that goes back to the pool.
"""

import pathlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meerkat.model.limits import INDEX_BUSY_TIMEOUT_S, INDEX_WAL_BYTES_MAX, KIB
from meerkat.store.errors import IndexDamaged, IndexUnavailable

Row = tuple[Any, ...]
"""What SQLite hands out; `codec` gives it types."""

Values = Sequence[object] | Mapping[str, object]
"""What a statement is run with: by place or by name."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}


def translated(error: sqlite3.Error) -> Exception:
    """What the caller is told: damage, "not now", or (a bug of ours) the error itself."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The binding itself complains, without a code, of text that is not UTF-8: only a damaged page holds such.
        return IndexDamaged(str(error)) if isinstance(error, sqlite3.OperationalError) else error
    primary = code & 0xFF
    if primary in _DAMAGE:
        return IndexDamaged(str(error))
    if primary in _UNAVAILABLE:
        return IndexUnavailable(str(error), full=primary == sqlite3.SQLITE_FULL)
    return error


class Connection:
    """A connection that may be handed from thread to thread (SQLite is built serialised), used by one at a time.

    Attributes:
        failed: a statement failed since `begin`; what was begun must not be committed.
        damaged: SQLite reported damage on this connection.
    """

    __slots__ = ("_cursor", "_raw", "damaged", "failed")

    def __init__(self, path: pathlib.Path, *, durable: bool, cache_bytes: int) -> None:
        """Open the existing file at `path`. `durable` False: power loss may cost commits (the simulated world)."""
        self.failed = False
        self.damaged = False
        try:
            self._raw = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=INDEX_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise translated(error) from error
        self._cursor = self._raw.cursor()
        try:
            # FULL: a committed dot has to survive power loss before anybody is told of it. Temporary tables stay in
            # files (the default), so that sorting a large answer does not grow the memory; no mmap, because a mapped
            # page that cannot be read kills the process instead of raising.
            for pragma in (
                f"synchronous = {'FULL' if durable else 'OFF'}",
                "foreign_keys = OFF",
                f"cache_size = {-(cache_bytes // KIB)}",
                f"journal_size_limit = {INDEX_WAL_BYTES_MAX}",
                "mmap_size = 0",
                "cell_size_check = ON",  # notices more kinds of damage as pages are read
            ):
                self.rows(f"PRAGMA {pragma}")
        except BaseException:
            self._raw.close()
            raise

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows of a query."""
        try:
            return self._cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def run(self, sql: str, values: Values = ()) -> int:
        """Execute a statement without rows; answers how many rows it changed."""
        try:
            return self._cursor.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def many(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        """Execute a statement once per row of values."""
        try:
            self._raw.executemany(sql, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def script(self, sql: str) -> None:
        """Execute a script; it brings its own BEGIN and COMMIT."""
        try:
            self._raw.executescript(sql)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def begin(self, how: str = "") -> None:
        """Begin a transaction: a snapshot, or with `how` = "IMMEDIATE" the only writing one."""
        self.failed = False
        self.run(f"BEGIN {how}")

    def commit(self) -> None:
        """Make the transaction durable.

        Raises:
            IndexUnavailable: it could not be, or one of its statements had failed. Roll back.
        """
        if self.failed:
            raise IndexUnavailable("a statement of this transaction failed, so all of it is dropped")
        self.run("COMMIT")

    def roll_back(self) -> None:
        """End the transaction, if one is open, without a trace. Errors are swallowed: the caller holds a better one."""
        try:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._failure(error)

    def close(self) -> None:
        self._raw.close()

    def _failure(self, error: sqlite3.Error) -> Exception:
        self.failed = True
        told = translated(error)
        self.damaged = self.damaged or isinstance(told, IndexDamaged)
        return told
