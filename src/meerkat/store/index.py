"""The index's file: opening, the one writer, the readers beside it, and what to do when it is damaged.

Invariants: `index.db` comes into being whole (built under another name, then renamed), so an empty or shapeless file
under that name is damage and never a new beginning. A transaction is durable when its block ends. Nothing here deletes
an index: a damaged one is set aside under another name, with its WAL.
"""

import os
import pathlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from meerkat.model.dot import Author
from meerkat.model.limits import (
    INDEX_CHECK_BYTES_MAX,
    INDEX_READER_CACHE_BYTES,
    INDEX_READERS_IDLE_MAX,
    INDEX_WRITER_CACHE_BYTES,
)
from meerkat.store.connection import Connection
from meerkat.store.errors import IndexDamaged, IndexTooNew, IndexUnavailable
from meerkat.store.migration import migrate, shipped_migrations, version_of
from meerkat.store.snapshot import Snapshot
from meerkat.store.transaction import Transaction, Warm

_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID = 0x4D6B6174
_COMPANIONS = ("-wal", "-shm")
_TABLES = {"author", "entry", "base", "pending", "conflicted", "intent", "recipe", "content", "chunk", "aside"}
_TABLES |= {"meta", "state", "complete", "copy"}


class Index:
    """See `ports.Index`. `write` may be used from any thread, one block at a time; `read` from many at once.

    Attributes:
        path: the file.
        created: `open` made the file just now.
        was_clean: the last run closed the index; False after a crash (and for a run that could not write any more).
    """

    def __init__(
        self, path: pathlib.Path, writer: Connection, *, durable: bool, created: bool, was_clean: bool
    ) -> None:
        """For `open` alone."""
        self.path = path
        self.created = created
        self.was_clean = was_clean
        self._durable = durable
        self._writer = writer
        self._writing = threading.Lock()
        self._writing_thread: int | None = None
        self._authors: dict[int, Author] = {}
        self._warm: Warm | None = None  # whoever rolls back leaves nothing
        self._pool_lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        self._cleanup: weakref.finalize[..., Self] | None = None

    @classmethod
    def open(cls, path: pathlib.Path, *, durable: bool = True) -> Self:
        """Open the index at `path`, making it where nothing is there. The folder must exist.

        `durable` False leaves out the flushes to disk, for tests and simulations only.

        Raises:
            IndexDamaged: what is there is not an index of ours, or corrupt.
            IndexTooNew: a newer Meerkat wrote it.
            IndexUnavailable: it cannot be opened now (disk full, no permission, locked).
        """
        created = not os.path.lexists(path)
        if created:
            _create(path, durable=durable)
        size = _checked_size(path)
        writer = Connection(path, durable=durable, cache_bytes=INDEX_WRITER_CACHE_BYTES)
        try:
            was_clean = _prepare(writer, size)
        except BaseException:
            writer.close()
            raise
        return cls(path, writer, durable=durable, created=created, was_clean=was_clean)

    @classmethod
    def in_memory(cls) -> Self:
        """A new index for simulations: a real file without flushes, in memory where the system offers that, gone on
        `close`. SQLite's own in-memory databases have no snapshots."""
        memory = pathlib.Path("/dev/shm")
        folder = tempfile.mkdtemp(prefix="meerkat-index-", dir=memory if os.access(memory, os.W_OK) else None)
        index = cls.open(pathlib.Path(folder) / "index.db", durable=False)
        index._cleanup = weakref.finalize(index, shutil.rmtree, folder, ignore_errors=True)
        return index

    @staticmethod
    def set_aside(path: pathlib.Path) -> pathlib.Path:
        """Rename a damaged index (closed) with its WAL, to `NAME.damaged-1` or the next free number. Deletes nothing.

        Returns:
            the new name of the database file.

        Raises:
            OSError: a rename failed; what was renamed so far stays renamed, and the rest is seen as damage again.
        """
        number = 1
        while any(os.path.lexists(f"{path}.damaged-{number}{end}") for end in ("", *_COMPANIONS)):
            number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
        # The database goes first: alone under the old name it would open as an older index, and sequences that are
        # only in the WAL would be given twice. A WAL alone is recognised as damage.
        for end in ("", *_COMPANIONS):
            if os.path.lexists(f"{path}{end}"):
                os.rename(f"{path}{end}", f"{aside}{end}")
                _flush_folder(path.parent)
        return aside

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction. Waits for the one before it; leaving the block commits durably, an exception rolls back.

        Raises:
            IndexDamaged, IndexUnavailable: nothing was committed.
            RuntimeError: the index is closed, or this thread is inside `write` already.
        """
        if self._writing_thread == threading.get_ident():
            raise RuntimeError("a write inside a write would wait for itself")
        with self._writing:
            self._ensure_open()
            self._writing_thread = threading.get_ident()
            writer = self._writer
            transaction = None
            try:
                writer.begin("IMMEDIATE")
                warm, self._warm = self._warm, None
                transaction = Transaction(writer, self._authors, self._complete_now, warm)
                yield transaction
                authors = transaction.flush()
                writer.commit()
                self._authors = authors
                self._warm = transaction.left_warm()
            except BaseException as error:
                writer.roll_back()
                writer.damaged = writer.damaged or isinstance(error, IndexDamaged)
                raise
            finally:
                if transaction is not None:
                    transaction.end()
                self._writing_thread = None

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A snapshot of the last commit; writes go on beside it. Answers must be used up within the block.

        Raises:
            IndexDamaged, IndexUnavailable: the snapshot cannot be taken.
            RuntimeError: the index is closed.
        """
        connection = self._reader()
        view = None
        try:
            connection.begin()
            view = Snapshot(connection, self._authors)
            yield view
        except IndexDamaged:
            connection.damaged = True
            raise
        finally:
            if view is not None:
                view.end()
            connection.roll_back()
            if connection.damaged:
                self._writer.damaged = True  # so that `close` does not call this a clean stop
            with self._pool_lock:
                keep = (
                    not (self._closed or connection.failed or connection.damaged)
                    and len(self._idle) < INDEX_READERS_IDLE_MAX
                )
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Copy the WAL home, note that all went well, close. Waits for a write; open snapshots may end later."""
        if self._writing_thread == threading.get_ident():
            raise RuntimeError("closing inside a write would wait for itself")
        with self._writing:
            with self._pool_lock:
                if self._closed:
                    return
                self._closed = True
                idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            if not self._writer.damaged:
                try:
                    self._writer.run("UPDATE state SET clean = 1")
                except (IndexDamaged, IndexUnavailable):
                    pass  # the next start looks more closely, that is all
            self._writer.close()
        if self._cleanup is not None:
            self._cleanup()

    def _ensure_open(self) -> None:
        if self._closed:
            raise RuntimeError("the index is closed")

    def _reader(self) -> Connection:
        with self._pool_lock:
            self._ensure_open()
            if self._idle:
                return self._idle.pop()
        return Connection(self.path, durable=self._durable, cache_bytes=INDEX_READER_CACHE_BYTES)

    def _complete_now(self) -> dict[Author, int]:
        """For a transaction that needs to know what was complete before it; it must not commit without the answer."""
        try:
            with self.read() as view:
                return view.complete()
        except BaseException:
            self._writer.failed = True
            raise


def _create(path: pathlib.Path, *, durable: bool) -> None:
    """Build an empty index beside `path` and rename it there, so that a crash leaves either nothing or all of it."""
    if any(os.path.lexists(f"{path}{end}") for end in _COMPANIONS):
        raise IndexDamaged(f"{path.name} is missing, but its WAL is there")
    new = path.with_name(f"{path.name}.new")
    for end in ("", "-journal", *_COMPANIONS):
        pathlib.Path(f"{new}{end}").unlink(missing_ok=True)
    try:
        new.touch(mode=0o600)
        connection = Connection(new, durable=durable, cache_bytes=INDEX_READER_CACHE_BYTES)
        try:
            migrate(connection, shipped_migrations())
        finally:
            connection.close()
        os.rename(new, path)
        if durable:
            _flush_folder(path.parent)
    except OSError as error:
        raise IndexUnavailable(f"the index cannot be made: {error}") from error


def _checked_size(path: pathlib.Path) -> int:
    """The size of the file in bytes, once its first bytes are seen to be SQLite's."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise IndexUnavailable(f"the index cannot be read: {error}") from error
    if magic != _MAGIC:
        raise IndexDamaged(f"{path.name} is not an SQLite database")
    return size


def _prepare(writer: Connection, size: int) -> bool:
    """Check, migrate and mark the file as in use. Answers whether the last run had closed it."""
    ((application_id,),) = writer.rows("PRAGMA application_id")
    version = version_of(writer)
    if application_id != _APPLICATION_ID or version < 1:
        raise IndexDamaged("the file is a database, but not an index of Meerkat")
    migrations = shipped_migrations()
    if version > len(migrations):
        raise IndexTooNew(f"the index has version {version}, this Meerkat knows up to {len(migrations)}")
    if not {name for (name,) in writer.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")} >= _TABLES:
        raise IndexDamaged("the index has lost tables")
    rows = writer.rows("SELECT clean FROM state")
    if not rows:
        raise IndexDamaged("the index has lost its own state")
    was_clean = bool(rows[0][0])
    if not was_clean and size <= INDEX_CHECK_BYTES_MAX:
        ((verdict,),) = writer.rows("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise IndexDamaged(f"the index is corrupt: {verdict}")
    migrate(writer, migrations)
    ((mode,),) = writer.rows("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise IndexUnavailable(f"this file system cannot hold the index: journal mode {mode}")
    writer.run("UPDATE state SET clean = 0")
    return was_clean


def _flush_folder(folder: pathlib.Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
