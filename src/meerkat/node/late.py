"""What is written late, into a file that has been replaced or deleted here on a member's word, comes back (R8, G2).

A process may hold the old file open for as long as it likes. That very file lies in the trash, so its writes arrive
there; once there are any, the file itself moves back into the tree, to the name that a conflict copy with its bytes
has. Whatever the process writes from then on goes into a visible, synced file, seen as any edit: a logger that appends
for hours makes one copy, not hundreds. Moving a file that is being written is safe at any time.

The watch tells of writes at once. As it may miss some (writes through shared memory, a system without inotify, the
moment before a folder of the trash is watched), what came in lately is looked at after seconds and then ever more
seldom, and everything in the trash at the start and as often as the tree is scanned. A crash between any two steps
leaves the file in the trash, where the next start finds it, or in the tree, where the next scan does.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from meerkat.core.resolve import copy_path
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.touch import Overflowed, Touched, Watch
from meerkat.disk.trash import Kept, Trash
from meerkat.disk.trouble import GONE, blocked
from meerkat.model.limits import (
    COPY_NAMES_TRIED_MAX,
    LATE_AGAIN_S_MAX,
    LATE_DAYS_ATTENDED_MAX,
    LATE_LOOK_S,
    LATE_QUIET_S,
    LATE_RECENT_MAX,
    RESCAN_DEGRADED_S,
)
from meerkat.model.path import MARKER, ROOT, PathFault, RelPath, ancestors, join, name, parse_path
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Content, Kind, Stat
from meerkat.node.hub import Hub
from meerkat.node.tasks import until

log = logging.getLogger("meerkat.late")

T = TypeVar("T")

PLACE: Final = f"{MARKER}/trash/"
_FOLDER_MODE: Final = 0o755


class Late:
    """Brings back what is written late. `put_away`: tries again what could not be put into the trash."""

    def __init__(
        self,
        root: Root,
        trash: Trash,
        hub: Hub,
        threads: ThreadPoolExecutor,
        look_again: Callable[[Sequence[RelPath]], None],
        put_away: Callable[[], None],
    ) -> None:
        self._root = root
        self._trash = trash
        self._hub = hub
        self._threads = threads
        self._look_again = look_again
        self._put_away = put_away
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._written: dict[str, float] = {}  # ids that were written to, and when to look
        self._recent: dict[str, tuple[float, float]] = {}  # ids that came in lately: when to look, after how long
        self._all_due = True
        self._attended: list[str] = []
        trash.on_kept = self._kept

    # ---- events

    def heard(self, event: Touched | Overflowed) -> None:
        """What the watch says of the trash (in the event loop)."""
        match event:
            case Overflowed():
                self._all_due = True
                self._wake.set()
            case Touched(path) if path.startswith(PLACE):
                entry_id = path.removeprefix(PLACE)
                if entry_id not in self._written:
                    # The first write decides when: whoever writes all the time is never quiet.
                    self._written[entry_id] = self._loop.time() + LATE_QUIET_S
                    self._wake.set()
            case _:
                pass

    def _kept(self, entry_id: str) -> None:
        """In a worker thread."""
        self._loop.call_soon_threadsafe(self._came_in, entry_id)

    def _came_in(self, entry_id: str) -> None:
        if len(self._recent) >= LATE_RECENT_MAX:
            self._recent.clear()
            self._all_due = True
        if not self._recent or entry_id.partition("/")[0] not in self._attended:
            self._wake.set()
        self._recent[entry_id] = (self._loop.time() + LATE_LOOK_S, LATE_LOOK_S)

    # ---- the driver

    async def run(self, watch: Watch, interval_s: float) -> None:
        """Look at whatever is due, for ever. The watch has been started.

        Args:
            interval_s: between two looks at everything: as between two scans of the tree, and for the same reason.
        """
        all_at = self._loop.time()
        while True:
            self._wake.clear()
            now = self._loop.time()
            await self._attend(watch)
            if self._all_due or all_at <= now:
                self._all_due = False
                all_at = now + (min(interval_s, RESCAN_DEGRADED_S) if watch.degraded else interval_s)
                await self._in_thread(self._put_away)
                await self._in_thread(self._look_at_all)
            if written := self._take_written(now):
                await self._in_thread(partial(self._look_at, written, written=True))
            if recent := self._take_recent(now):
                await self._in_thread(partial(self._look_at, recent, written=False))
            due = min([all_at, *self._written.values()])
            if self._recent:
                due = min(due, max(now + LATE_LOOK_S, min(at for at, _ in self._recent.values())))
            await until(self._wake, max(0.0, due - self._loop.time()))

    async def _attend(self, watch: Watch) -> None:
        """Have the newest folders of the trash watched; each holds what came in on one day."""
        try:
            days = (await self._in_thread(self._trash.days))[-LATE_DAYS_ATTENDED_MAX:]
        except PathBlocked as error:
            log.warning("the trash cannot be listed: %s", error)
            return
        for day in days:
            if day not in self._attended:
                watch.attend(RelPath(PLACE + day))
        self._attended = days

    def _take_written(self, now: float) -> list[str]:
        due = [entry_id for entry_id, at in self._written.items() if at <= now]
        for entry_id in due:
            del self._written[entry_id]
        return due

    def _take_recent(self, now: float) -> list[str]:
        due = [(entry_id, wait) for entry_id, (at, wait) in self._recent.items() if at <= now]
        for entry_id, wait in due:
            del self._recent[entry_id]
            if 2 * wait <= LATE_AGAIN_S_MAX:
                self._recent[entry_id] = (now + 2 * wait, 2 * wait)
        return [entry_id for entry_id, _ in due]

    # ---- in a worker thread

    def _look_at_all(self) -> None:
        try:
            for kept in self._trash.entries():
                self._check(kept, written=False)
        except PathBlocked as error:
            log.warning("the trash cannot be looked at: %s", error)

    def _look_at(self, entry_ids: Sequence[str], *, written: bool) -> None:
        for entry_id in entry_ids:
            try:
                kept = self._trash.entry(entry_id)
            except KeyError:
                continue  # a note, or nothing of ours
            except PathBlocked as error:
                log.warning("%s cannot be looked at: %s", entry_id, error)
                continue
            if kept is not None:
                self._check(kept, written=written)

    def _check(self, kept: Kept, *, written: bool) -> None:
        """Bring one thing back if it was written to since it came in.

        Args:
            written: somebody was seen to write there, so that looks alone prove nothing.
        """
        if kept.content.kind is not Kind.FILE or not (kept.late or kept.unproven or written):
            return
        try:
            path = parse_path(kept.path)
            content, seen = self._trash.read_content(kept.id)
            if content == kept.content:
                if kept.late or kept.unproven:
                    self._trash.vouch(kept, content, seen)
                return
            self._bring_back(kept, path, content, seen)
        except PathFault:
            return  # its note was lost, and nobody knows where to put it; the trash lists it
        except KeyError:
            return  # gone meanwhile
        except PathBlocked as error:
            log.warning("%s was written late and stays in the trash as %s: %s", kept.path, kept.id, error)

    def _bring_back(self, kept: Kept, path: RelPath, content: Content, seen: Stat) -> None:
        target = self._ensure_folders(path)
        for _ in range(COPY_NAMES_TRIED_MAX):
            target = copy_path(target, content)
            if self._trash.release(kept.id, target):
                self._hub.tell("file.late", path=path, copy=target)
                log.warning("%s was written late, by a program that had the old file open: see %s", path, target)
                self._look_again([*ancestors(target), target])
                return
            there = look(self._root, target, None).base
            if there is not None and there.content == content:
                self._trash.vouch(kept, content, seen)  # the tree has these bytes; what comes after them is late again
                return
        log.warning("%s was written late and stays in the trash as %s: all names are taken", path, kept.id)

    def _ensure_folders(self, path: RelPath) -> RelPath:
        """Have the folders above a path again. Where something else stands in place of one: the path's name in the last
        folder that there is.

        Raises:
            PathBlocked: the system refuses.
        """
        folder = ROOT
        for above in reversed(list(ancestors(path))):
            try:
                with self._root.parent(above) as (handle, last):
                    os.mkdir(last, _FOLDER_MODE, dir_fd=handle)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno in GONE:
                    break
                raise blocked(above, error) from error
            seen = self._root.lstat(above)
            if seen is None or seen.kind is not Kind.FOLDER:
                break
            folder = above
        return join(folder, name(path))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
