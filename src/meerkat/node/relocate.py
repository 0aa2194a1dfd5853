"""What was moved elsewhere is moved here as well: one rename for a whole tree, or a large file, where all of it agrees.

The pool knows no moves, only that something is gone here and the same is there. Where the disk shows at the one path,
to the lstat, just what is to stand at the other, and nothing else, one rename does what would else be a copy and a
removal of each file. Nothing is replaced by it, so nothing can be lost: what a person writes there before, meanwhile or
after moves along, and is found as their doing by the look that follows.

Before the rename a note in the index says which folder goes where. After a crash the folder's inode tells whether it
went; where it is at neither place nothing is concluded, so that at worst what a person has just deleted comes back.
"""

import asyncio
import errno
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from meerkat.core.compare import differing
from meerkat.disk import commit, platform
from meerkat.disk.root import Root
from meerkat.disk.scan import look, recognise, walk
from meerkat.disk.trouble import GONE, blocked
from meerkat.model.limits import MOVE_WAIT_S, MOVED_PATHS_MAX, RACY_WINDOW_NS
from meerkat.model.path import MARKER, RelPath
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Kind, Stat
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.hub import Hub
from meerkat.node.ports import Tx, View

log = logging.getLogger("meerkat.relocate")

T = TypeVar("T")

NOTE = "relocating"
NOTHING = Stat(Kind.FILE, 0, 0, 0, 0, 0)  # how it looks where somebody has taken it away again


class Disagreement(Exception):
    """The disk is not what the bases say, so the tree is to be dealt with path by path."""


class Relocator:
    """Moves whole folders, and large files, on the pool's word."""

    def __init__(
        self,
        root: Root,
        books: Books,
        claims: Claims,
        hub: Hub,
        threads: ThreadPoolExecutor,
        look_again: Callable[[Sequence[RelPath]], None],
        ignored: Callable[[RelPath], bool],
    ) -> None:
        self._root = root
        self._books = books
        self._claims = claims
        self._hub = hub
        self._threads = threads
        self._look_again = look_again
        self._ignored = ignored

    async def sources(self, wanted: Sequence[RelPath]) -> dict[RelPath, RelPath]:
        """For what is to come: what of this disk each may be."""
        if not wanted or self._root.naming.folds:
            return {}
        return await self._books.read(
            lambda view: {new: old for new in wanted if (old := view.moved_from(new)) is not None}
        )

    async def move(self, old: RelPath, new: RelPath) -> bool:
        """Move `old` to `new`. False: they do not agree (any more), or somebody is at work there; nothing was done."""
        paths = await self._books.read(partial(paths_within, old))
        if len(paths) > MOVED_PATHS_MAX:
            return False
        wanted = [*paths, *(elsewhere(path, old, new) for path in paths)]
        if any(map(self._ignored, wanted)):
            return False  # what is ignored stays where it is, and nothing is put down for it
        try:
            async with asyncio.timeout(MOVE_WAIT_S):  # whoever looks at one of them is done in a moment
                await self._claims.until_free(wanted)
        except TimeoutError:
            return False
        claimed = self._claims.take(wanted)
        try:
            return len(claimed) == len(wanted) and await self._move(old, new)
        finally:
            self._claims.free(claimed)

    async def _move(self, old: RelPath, new: RelPath) -> bool:
        if not await self._in_thread(partial(self._books.read_here, partial(self._agrees, old))):
            return False
        if not await self._books.write(partial(_intend, old, new)):
            return False
        moved = await self._in_thread(partial(self._rename, old, new))
        base = await self._books.write(partial(_record, old, new, moved))
        if base is not None:
            self._look_again(await self._in_thread(partial(self._books.read_here, partial(self._changed, new))))
            self._hub.tell("file.applied", path=new, kind=base.content.kind.name.lower(), size=base.stat.size)
            self._hub.tell("file.applied", path=old, kind="deleted", size=0)
        return base is not None

    def _agrees(self, old: RelPath, view: View) -> bool:
        """In a worker thread: the disk shows at and below `old` what the bases say, and nothing besides. Where an equal
        lstat proves nothing, it is read."""
        try:
            for path, _ in differing(self._walked(old), view.bases(old)):
                known = view.base(path)
                if known is None or not known.racy:
                    return False
                is_file = known.content.kind is Kind.FILE
                seen = recognise(self._root, path, known) if is_file else look(self._root, path, known).base
                if seen is None or (seen.content, seen.stat) != (known.content, known.stat):
                    return False
            return True
        except (Disagreement, PathBlocked):
            return False

    def _changed(self, new: RelPath, view: View) -> list[RelPath]:
        """In a worker thread: what is not as it was when it was agreed on that this goes here."""
        try:
            return [path for path, _ in differing(self._walked(new), view.bases(new))]
        except Disagreement:
            return [new]

    def _walked(self, under: RelPath) -> Iterator[tuple[RelPath, Stat]]:
        """Everything that stands there, what is ignored too.

        Raises:
            Disagreement: something of it is no path of ours: a special file, a mount, another pool's folder.
        """
        for each in walk(self._root, under, lambda path, is_folder: False):
            if not isinstance(each, tuple):
                raise Disagreement
            path, stat = each
            if stat.kind is Kind.FOLDER and self._holds_marker(path):
                raise Disagreement
            yield path, stat

    def _holds_marker(self, folder: RelPath) -> bool:
        try:
            return self._root.lstat(RelPath(f"{folder}/{MARKER}")) is not None
        except PathBlocked:
            return True

    def _rename(self, old: RelPath, new: RelPath) -> Stat | None:
        """In a worker thread: how it looks at its new place. None: it was not moved, or the disk does not say that this
        is durable; then it is not recorded, but looked at."""
        try:
            if not _renamed(self._root, old, new):
                return None
            commit.sync_parents(self._root, [old, new])
            return self._root.lstat(new) or NOTHING
        except PathBlocked as error:
            log.error("%s cannot be moved to %s: %s", old, new, error)
            self._look_again([old, new])
            return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _renamed(root: Root, old: RelPath, new: RelPath) -> bool:
    """Move the folder at `old`, with all that is in it, to `new`, where nothing may be. False: nothing was moved.

    Raises:
        PathBlocked: the system refuses.
    """
    try:
        with root.parent(old) as (above_old, last_old), root.parent(new) as (above_new, last_new):
            platform.rename_noreplace(above_old, last_old, above_new, last_new)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in GONE or error.errno in (errno.EXDEV, errno.EINVAL):
            return False
        raise blocked(new, error) from error
    return True


def heal_relocation(root: Root, tx: Tx) -> None:
    """Restart (R9), before anything else is concluded: a move that was cut off either happened or did not."""
    note = tx.meta(NOTE)
    if not note:
        return
    said = json.loads(note)
    old, new, inode = RelPath(said["old"]), RelPath(said["new"]), int(said["inode"])
    tx.put_meta(NOTE, b"")
    try:
        there, here = root.lstat(new), root.lstat(old)
        if there is None or there.inode != inode or tx.base(new) is not None:
            return
        if here is not None and here.inode == inode:
            return
        commit.sync_parents(root, [old, new])
    except PathBlocked as error:
        log.error("whether %s was moved to %s cannot be seen: %s", old, new, error)
        return
    tx.move_bases(old, new)


def paths_within(old: RelPath, view: View) -> list[RelPath]:
    """The folder and what stands in it, one more than may be moved at most."""
    return [path for path, _ in islice(view.bases(old), MOVED_PATHS_MAX + 1)]


def elsewhere(path: RelPath, old: RelPath, new: RelPath) -> RelPath:
    """Where a path at or below `old` is when that is at `new`."""
    return RelPath(new + path[len(old) :])


def _intend(old: RelPath, new: RelPath, tx: Tx) -> bool:
    """The note, if the index still says that all of it agrees."""
    base = tx.base(old)
    if base is None or not tx.moved_whole(old, new):
        return False
    tx.put_meta(NOTE, json.dumps({"old": old, "new": new, "inode": base.stat.inode}).encode())
    return True


def _record(old: RelPath, new: RelPath, seen: Stat | None, tx: Tx) -> Base | None:
    tx.put_meta(NOTE, b"")
    if seen is None:
        return None
    tx.move_bases(old, new)
    base = tx.base(new)
    if base is not None and seen._replace(ctime_ns=0) == base.stat._replace(ctime_ns=0):
        # A file's own rename shows in its ctime; a write, which sets the time to now, would show in the other as well.
        racy = base.racy or (seen.kind is Kind.FILE and abs(time.time_ns() - seen.mtime_ns) <= RACY_WINDOW_NS)
        base = replace(base, stat=seen, racy=racy)
        tx.put_base(new, base)
    return base
