"""The ignore rules in force: the folder's shared `.meerkatignore` and this node's own `.meerkat/ignore`.

Ignoring never deletes, here or anywhere. So what has gone from this disk while it was ignored was not deleted for the
others: when it is shared again it comes back. For that the rules that were in force last are remembered in the index;
a node that is stopped may be started under others.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from meerkat.core.ignore import IGNORE_FILE, Ignore
from meerkat.disk.root import Root
from meerkat.model.limits import IGNORE_FILE_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Kind
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.ports import Tx, View

log = logging.getLogger("meerkat.rules")

_IN_FORCE: Final = "ignore rules"


class Written(Struct, frozen=True):
    """The rules as they are written in both files. `looks`: how the files looked just before they were read; empty:
    they are to be read again."""

    shared: str = ""
    local: str = ""
    looks: tuple[object, ...] = ()

    def parsed(self) -> Ignore:
        return Ignore(self.shared.splitlines(), self.local.splitlines())

    def packed(self) -> bytes:
        """For the index."""
        return f"{self.shared}\0{self.local}".encode("utf-8", "surrogateescape")

    @classmethod
    def unpacked(cls, packed: bytes) -> "Written":
        shared, _, local = packed.decode("utf-8", "surrogateescape").partition("\0")
        return cls(shared, local)


class Rules:
    """Answers whether a path is ignored. Reading is blocking; asking is safe from any thread.

    Args:
        local: the file of this node's own rules, which need not exist.

    Attributes:
        keep: puts the rules in force that are written now. Nobody tells of this node's own file, so whoever is about to
            take in what is on the disk, or is not there, asks for it.
    """

    def __init__(self, root: Root, local: Path) -> None:
        self._root = root
        self._local = local
        self._ignore = Ignore((), ())
        self._in_force = Written()
        self.keep: Callable[[], Awaitable[None]] = _as_they_are

    def read(self) -> None:
        """Read the files anew."""
        self.use(self.written())

    def written(self) -> Written:
        """What is in the files now. One that is there and cannot be read counts as it was read last: trouble with a
        disk must not share what was to be kept out."""
        looks = self._look()
        try:
            local = self._local.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            local = ""
        except OSError as error:
            log.warning("this node's own ignore rules cannot be read: %s", error)
            local, looks = self._in_force.local, ()
        shared = self._shared()
        return Written(shared, local, looks) if shared is not None else Written(self._in_force.shared, local)

    def remember(self, written: Written) -> None:
        """These were in force in an earlier run: they count until the files have been read."""
        if self._in_force == Written():
            self._in_force = written

    def use(self, written: Written) -> None:
        """From now on these are the rules."""
        self._ignore = written.parsed()
        self._in_force = written
        for problem in self._ignore.problems:
            log.warning("ignore rules: %s", problem)

    def are_stale(self) -> bool:
        """True when one of the files has changed since the rules in force were read."""
        return self._look() != self._in_force.looks

    def _look(self) -> tuple[object, ...]:
        try:
            found = self._local.stat()
            local = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        except OSError:
            local = None
        try:
            return (local, self._root.lstat(IGNORE_FILE))
        except PathBlocked:
            return (local, None)

    def _shared(self) -> str | None:
        """None: it cannot be read."""
        try:
            seen = self._root.lstat(IGNORE_FILE)
            if seen is None or seen.kind is not Kind.FILE:
                return ""
            descriptor = self._root.open_read(IGNORE_FILE)
        except PathBlocked as error:
            if error.problem.reason is Reason.NAME_NOT_ALLOWED:  # a device, or the like
                return ""
            log.warning("the shared ignore rules cannot be read: %s", error)
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read(IGNORE_FILE_BYTES_MAX).decode("utf-8", "replace")

    def skip(self, path: RelPath, is_folder: bool) -> bool:
        """True when what is there is ignored."""
        return self._ignore.ignored(path, is_folder)

    def ignored(self, path: RelPath) -> bool:
        """True when whatever could be there is ignored: for paths of which only the name is known."""
        return _ignored(self._ignore, path)


class RulesKeeper:
    """Puts the rules in force that are written.

    Attributes:
        on_turned: called when they were others than before.
    """

    def __init__(self, rules: Rules, root: Root, books: Books) -> None:
        self._rules = rules
        self._root = root
        self._books = books
        self._turning = asyncio.Lock()
        rules.keep = self._keep
        self.on_turned: Callable[[], object] = lambda: None

    async def _keep(self) -> None:
        if await asyncio.to_thread(lambda: self._rules.are_stale() and self._root.check_marker()):
            await self.turn()

    async def turn(self) -> None:
        """Read them again."""
        async with self._turning:
            before = await self._books.read(lambda view: view.meta(_IN_FORCE))
            if before is not None:
                self._rules.remember(Written.unpacked(before))
            written = await asyncio.to_thread(self._rules.written)
            if before == written.packed():
                self._rules.use(written)
                return
            if before is not None:
                gone = await asyncio.to_thread(self._books.read_here, partial(self._gone, before, written))
                await self._books.write(partial(ledger.forget_bases, paths=gone))
            self._rules.use(written)  # before anything is due again, or it would be passed over
            await self._books.write(partial(_turned, written))
        self.on_turned()

    def _gone(self, before: bytes, written: Written, view: View) -> list[RelPath]:
        """In a worker thread: what was ignored, is not any more, and is not on this disk."""
        was, now = Written.unpacked(before).parsed(), written.parsed()
        gone = []
        for path, _ in view.bases():
            if _ignored(was, path) and not _ignored(now, path):
                try:
                    if self._root.lstat(path) is None:
                        gone.append(path)
                except PathBlocked:
                    continue
        return gone


async def _as_they_are() -> None:
    """Nobody keeps them."""


def _ignored(ignore: Ignore, path: RelPath) -> bool:
    return ignore.ignored(path, False) or ignore.ignored(path, True)


def _turned(written: Written, tx: Tx) -> None:
    tx.put_meta(_IN_FORCE, written.packed())
    ledger.derive_pending(tx)
