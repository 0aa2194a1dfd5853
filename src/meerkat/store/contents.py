"""What a transaction writes straight to SQLite: recipes and chunks of contents, small values, parts of long pulls.

None of it is told to anyone or waits for anything, so there is no sum to keep. What nothing refers to any more is
pruned in bounded steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from meerkat.model.dot import Author
from meerkat.model.ids import Digest
from meerkat.model.limits import CHANGES_KEPT_MAX, INDEX_PAGE_ROWS
from meerkat.model.path import tree_key
from meerkat.model.recipe import Chunk
from meerkat.model.version import Entry
from meerkat.store.codec import VERSION_COLUMNS, blob, columns, path_of, placeholders, version_values
from meerkat.store.connection import Connection, Row
from meerkat.store.snapshot import Snapshot, ended

_PUT_ASIDE = f"""INSERT OR REPLACE INTO aside (path, author, seq, {columns(VERSION_COLUMNS)}, pull, number)
    VALUES ({placeholders(5 + len(VERSION_COLUMNS))})"""
_ASIDE_PAGE = f"""SELECT path, author, seq, {columns(VERSION_COLUMNS)}, number FROM aside
    WHERE pull = ? AND (number, author, seq) > (?, ?, ?) ORDER BY number, author, seq LIMIT {INDEX_PAGE_ROWS}"""
_UNUSED_CONTENTS = """SELECT id FROM content AS c
    WHERE NOT EXISTS (SELECT 1 FROM base WHERE kind = 1 AND ident = c.digest)
    AND NOT EXISTS (SELECT 1 FROM entry WHERE recipe <> x'' AND digest = c.digest) LIMIT ?"""
_DROP_UNUSED_RECIPES = """DELETE FROM recipe WHERE rowid IN (SELECT rowid FROM recipe AS r
    WHERE NOT EXISTS (SELECT 1 FROM base WHERE recipe <> x'' AND recipe = r.digest)
    AND NOT EXISTS (SELECT 1 FROM entry WHERE recipe <> x'' AND recipe = r.digest)
    AND NOT EXISTS (SELECT 1 FROM change WHERE recipe <> x'' AND recipe = r.digest) LIMIT ?)"""


class ContentsWriter(Snapshot):
    """For `Transaction`."""

    def __init__(self, connection: Connection, authors: dict[int, Author]) -> None:
        super().__init__(connection, authors)
        self._run: Callable[..., int] = connection.run
        self._many: Callable[[str, Iterable[Sequence[object]]], None] = connection.many

    def end(self) -> None:
        super().end()
        self._run = ended
        self._many = ended

    def _number(self, author: Author) -> int:
        """The author's row, made on first sight."""
        raise NotImplementedError

    def _write_unwritten(self) -> None:
        """Let SQLite know everything."""
        raise NotImplementedError

    # ---- contents

    def put_recipe(self, digest: Digest, packed: bytes) -> None:
        self._run("INSERT OR IGNORE INTO recipe (digest, packed) VALUES (?, ?)", (digest, packed))

    def put_chunks(self, content: Digest, chunks: tuple[Chunk, ...]) -> None:
        self._run("INSERT OR IGNORE INTO content (digest) VALUES (?)", (content,))
        ((number,),) = self._rows("SELECT id FROM content WHERE digest = ?", (content,))
        # Each row says something true of the content whatever cut it up, so rows of an earlier recipe may stay.
        self._many(
            "INSERT OR IGNORE INTO chunk (digest, content, start, length) VALUES (?, ?, ?, ?)",
            ((chunk.digest, number, chunk.offset, chunk.length) for chunk in chunks),
        )

    def prune_contents(self, limit: int) -> int:
        """Forget chunk lists and recipes that belong to no base, entry or noted change any more, up to `limit` of each,
        and the oldest changes beyond `CHANGES_KEPT_MAX`.

        Returns:
            how many were forgotten; 0: nothing is left to prune.
        """
        self._write_unwritten()
        self._run("DELETE FROM change WHERE number <= (SELECT max(number) FROM change) - ?", (CHANGES_KEPT_MAX,))
        contents = self._rows(_UNUSED_CONTENTS, (limit,))
        self._many("DELETE FROM chunk WHERE content = ?", contents)
        self._many("DELETE FROM content WHERE id = ?", contents)
        return len(contents) + self._run(_DROP_UNUSED_RECIPES, (limit,))

    # ---- small values, long pulls

    def put_meta(self, key: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def put_aside(self, pull: int, entries: tuple[Entry, ...]) -> None:
        """Keep entries of the pull, after those already kept. One without siblings says nothing and is left out."""
        ((last,),) = self._rows("SELECT coalesce(max(number), 0) FROM aside WHERE pull = ?", (pull,))
        rows = []
        for number, entry in enumerate(entries, last + 1):
            key = blob(tree_key(entry.path))
            for dot, version in entry.siblings.items():
                rows.append((key, self._number(dot.author), dot.seq, *version_values(version), pull, number))
        self._many(_PUT_ASIDE, rows)

    def aside(self, pull: int) -> Iterator[Entry]:
        for _, group in groupby(self._aside_rows(pull), itemgetter(-1)):
            rows = list(group)
            yield Entry(path_of(rows[0][0]), self._decoded(rows))

    def drop_aside(self, pull: int | None) -> None:
        if pull is None:
            self._run("DELETE FROM aside")
        else:
            self._run("DELETE FROM aside WHERE pull = ?", (pull,))

    def _aside_rows(self, pull: int) -> Iterator[Row]:
        after: tuple[object, ...] = (-1, -1, -1)
        while page := self._rows(_ASIDE_PAGE, (pull, *after)):
            yield from page
            last = page[-1]
            after = (last[-1], last[1], last[2])
