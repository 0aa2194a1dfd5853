"""What a transaction has decided and not yet handed to SQLite.

Each statement that is run by itself costs more for being called than for what it does, and lets other threads in
between. So rows of the busy tables wait here and go out together: before a question that only SQLite can answer, when
many wait, and before the commit. Nothing here outlives its transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from meerkat.store.codec import BASE_COLUMNS, VERSION_COLUMNS, blob, columns, placeholders

Values = tuple[object, ...]
Key = TypeVar("Key", bound=tuple[object, ...])
Many = Callable[[str, Iterable[Sequence[object]]], None]

_PUT_ENTRY = f"""INSERT OR REPLACE INTO entry (path, author, seq, {columns(VERSION_COLUMNS)})
    VALUES ({placeholders(3 + len(VERSION_COLUMNS))})"""
_DROP_ENTRY = "DELETE FROM entry WHERE path = ? AND author = ? AND seq = ?"
_PUT_CHANGE = f"""INSERT INTO change (at, path, author, seq, {columns(VERSION_COLUMNS)})
    VALUES ({placeholders(4 + len(VERSION_COLUMNS))})"""
_PUT_BASE = f"""INSERT OR REPLACE INTO base (path, {columns(BASE_COLUMNS)})
    VALUES ({placeholders(1 + len(BASE_COLUMNS))})"""
_DROP_BASE = "DELETE FROM base WHERE path = ?"
_PUT_PENDING = "INSERT OR REPLACE INTO pending (path, bytes, bare) VALUES (?, ?, ?)"
_DROP_PENDING = "DELETE FROM pending WHERE path = ?"
_PUT_INTENT = f"INSERT OR REPLACE INTO intent VALUES ({placeholders(3 + len(VERSION_COLUMNS) + len(BASE_COLUMNS))})"
_DROP_INTENT = "DELETE FROM intent WHERE path = ?"


class Unwritten:
    """Whole rows by their key, the last word for each; None: the row goes.

    Attributes:
        count: how many rows wait, about.
        above: keys of the folders above entries that wait: what lives below those, SQLite does not know yet.
    """

    __slots__ = ("_bases", "_changes", "_entries", "_intents", "_pending", "above", "count")

    def __init__(self) -> None:
        self._entries: dict[tuple[bytes, int, int], Values | None] = {}
        self._changes: list[Values] = []
        self._bases: dict[tuple[bytes], Values | None] = {}
        self._pending: dict[tuple[bytes], Values | None] = {}
        self._intents: dict[tuple[bytes], Values | None] = {}
        self.above: set[bytes] = set()
        self.count = 0

    def put_entry(self, key: bytes, author: int, seq: int, version: Values) -> None:
        self._entries[key, author, seq] = (blob(key), author, seq, *version)
        self.count += 1

    def drop_entry(self, key: bytes, author: int, seq: int) -> None:
        self._entries[key, author, seq] = None
        self.count += 1

    def put_change(self, row: Values) -> None:
        self._changes.append(row)
        self.count += 1

    def put_base(self, key: bytes, base: Values | None) -> None:
        self._bases[(key,)] = None if base is None else (blob(key), *base)
        self.count += 1

    def put_pending(self, key: bytes, pending: Values | None) -> None:
        self._pending[(key,)] = None if pending is None else (blob(key), *pending)
        self.count += 1

    def put_intent(self, key: bytes, intent: Values | None) -> None:
        self._intents[(key,)] = None if intent is None else (blob(key), *intent)
        self.count += 1

    def write(self, many: Many) -> None:
        """Hand everything to SQLite. Where that fails, the transaction is to be rolled back."""
        self.count = 0
        self.above.clear()
        _write(many, self._entries, _PUT_ENTRY, _DROP_ENTRY)
        _write(many, self._bases, _PUT_BASE, _DROP_BASE)
        _write(many, self._pending, _PUT_PENDING, _DROP_PENDING)
        _write(many, self._intents, _PUT_INTENT, _DROP_INTENT)
        if self._changes:
            many(_PUT_CHANGE, self._changes)
            self._changes.clear()


def _write(many: Many, rows: dict[Key, Values | None], put: str, drop: str) -> None:
    if not rows:
        return
    if gone := [key for key, row in rows.items() if row is None]:
        many(drop, gone)
    if kept := [row for row in rows.values() if row is not None]:
        many(put, kept)
    rows.clear()
