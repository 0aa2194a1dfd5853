"""The watch on Linux: one inotify watch per folder, kept in step with the tree.

Folders are opened without following links and watched through their handles, so no swapped-in link leads the watch out
of the folder (G7). A folder is watched first and listed afterwards: what was made before the watch is found by the
list, what comes later by the watch. One worker thread does everything that changes the set of watches, in the order of
the events; the loop only reads. `_lock` guards the two maps between them.
"""

import asyncio
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from inotify_simple import INotify, flags, parse_events

from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.touch import OnEvent, Overflowed, Touched
from meerkat.model.limits import NAME_BYTES_MAX, QUIET_OPEN_S, WATCH_BATCH_MAX, WATCH_READ_BYTES_MAX
from meerkat.model.path import MARKER, ROOT, PathFault, RelPath, check_name, is_below, join, parse_path
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Kind

log = logging.getLogger("meerkat.watch")

# Plain numbers: each event is held against most of them, and looking a member up costs more than the rest of it.
_CREATE: Final = int(flags.CREATE)
_MODIFY: Final = int(flags.MODIFY)
_ATTRIB: Final = int(flags.ATTRIB)
_MOVED_FROM: Final = int(flags.MOVED_FROM)
_MOVED_TO: Final = int(flags.MOVED_TO)
_ISDIR: Final = int(flags.ISDIR)
_IGNORED: Final = int(flags.IGNORED)
_Q_OVERFLOW: Final = int(flags.Q_OVERFLOW)
_ARRIVED: Final = _CREATE | _MOVED_TO
_SELF_GONE: Final = int(flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT)
_MASK: Final = int(
    flags.CREATE
    | flags.DELETE
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
    | flags.EXCL_UNLINK
)
_MASK_ATTENDED: Final = int(flags.MODIFY | flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK)
_HANDLES: Final = Path("/proc/self/fd")
_LIMIT_FILE: Final = Path("/proc/sys/fs/inotify/max_user_watches")


class InotifyWatch:
    """See `touch.Watch`. `skip` is also called from a worker thread."""

    def __init__(self, root: Root, skip: Skip, on_event: OnEvent) -> None:
        self.degraded = ""
        self._root = root
        self._skip = skip
        self._on_event = on_event
        self._paths: dict[int, RelPath] = {}
        self._watches: dict[RelPath, int] = {}
        self._attended: dict[int, RelPath] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self._stopped = False
        self._through_handles = _HANDLES.is_dir()
        self._inotify: INotify | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Watch the whole tree. Nothing is told of what is there already: that is the first scan's task."""
        self._loop = asyncio.get_running_loop()
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            self.degraded = f"the system gives no inotify instance ({error.strerror}; fs.inotify.max_user_instances)"
            return
        self._loop.add_reader(self._inotify.fileno(), self._read)
        await self._loop.run_in_executor(self._worker, self._guarded, self._renew)

    def attend(self, folder: RelPath) -> None:
        self._submit(lambda: self._attend(folder))

    async def stop(self) -> None:
        self._stopped = True
        loop = asyncio.get_running_loop()
        if self._inotify is not None:
            loop.remove_reader(self._inotify.fileno())
        await loop.run_in_executor(None, self._worker.shutdown)
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    # ---- in the loop's thread

    def _read(self) -> None:
        """Take what the kernel has queued, a bounded part of it; the loop calls again while there is more."""
        if self._inotify is None:
            return
        try:
            data = os.read(self._inotify.fileno(), WATCH_READ_BYTES_MAX)
        except BlockingIOError:
            return
        last: Touched | Overflowed | None = None
        for event in parse_events(data):
            told = self._translate(event.wd, event.mask, event.name)
            if told is not None and told != last:
                last = told
                self._on_event(told)

    def _translate(self, watch: int, mask: int, name: str) -> Touched | Overflowed | None:
        """What one event of the kernel means; orders the worker to follow when folders come and go."""
        if mask & _Q_OVERFLOW:
            self._submit(self._renew)
            return Overflowed()
        with self._lock:
            attended = self._attended.get(watch)
            if attended is not None:
                if mask & _IGNORED:
                    del self._attended[watch]
                return Touched(RelPath(f"{attended}/{name}"), closed=False) if name else None
            folder = self._paths.get(watch)
            if mask & _IGNORED:
                self._unmap(watch)
                return None
        if folder is None:
            return None
        if mask & _SELF_GONE:
            return Overflowed() if folder == ROOT else None
        if not name:
            return None  # the folder's own bits: the watch of the folder above tells the same
        try:
            check_name(name)
            path = join(folder, name)
            if len(path) > NAME_BYTES_MAX:
                parse_path(path)
        except PathFault:
            return None if name == MARKER else Touched(folder, closed=True)
        is_folder = bool(mask & _ISDIR)
        if self._skip(path, is_folder):
            return None
        if is_folder:
            if mask & _MOVED_FROM:
                self._submit(lambda: self._follow_leaving(path))
            elif mask & _ARRIVED or (mask & _ATTRIB and path not in self._watches):
                self._submit(lambda: self._add_tree(path))
            return Touched(path, closed=True, arrived=bool(mask & _MOVED_TO))
        if mask & _CREATE:
            return Touched(path, closed=self._is_whole(path))
        return Touched(path, closed=not mask & _MODIFY)

    def _is_whole(self, path: RelPath) -> bool:
        """True when a thing just created is never closed by a writer: a link, another name of a file, or gone again."""
        try:
            with self._root.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return True
        return (found.st_mode & 0o170000) != 0o100000 or found.st_nlink > 1

    def _tell(self, events: list[Touched | Overflowed]) -> None:
        for event in events:
            if self._stopped:
                return
            self._on_event(event)

    # ---- in the worker's thread

    def _submit(self, task: Callable[[], None]) -> None:
        if not self._stopped:
            self._worker.submit(self._guarded, task)

    def _guarded(self, task: Callable[[], None]) -> None:
        """A worker that fails in silence would leave folders unwatched: say so instead (G11)."""
        try:
            task()
        except OSError as error:
            self._degrade(f"watching failed ({error.strerror}): changes are found by scanning")

    def _degrade(self, why: str) -> None:
        first = not self.degraded
        self.degraded = why
        if first:
            self._tell_later([Overflowed()])

    def _tell_later(self, events: list[Touched | Overflowed]) -> None:
        if events and not self._stopped and self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, events)

    def _renew(self) -> None:
        """Watch every folder of the tree, and none that is not in it any more."""
        self.degraded = ""
        seen = set(self._add_folders(ROOT, None))
        with self._lock:
            stale = [watch for path, watch in self._watches.items() if path not in seen]
        if not self.degraded:
            self._drop(stale)

    def _attend(self, folder: RelPath) -> None:
        if self._inotify is None:
            return
        try:
            handle = self._root.open_folder(folder)
            try:
                place = f"{_HANDLES}/{handle}/." if self._through_handles else str(self._root.directory / folder)
                with self._lock:
                    self._attended[int(self._inotify.add_watch(place, _MASK_ATTENDED))] = folder
            finally:
                os.close(handle)
        except OSError as error:
            log.info("%s cannot be watched (%s); it is looked at from time to time", folder, error.strerror)

    def _add_tree(self, path: RelPath) -> None:
        """Watch a folder that has just come, and tell of everything in it."""
        found: list[Touched | Overflowed] = []
        for _ in self._add_folders(path, found):
            if len(found) >= WATCH_BATCH_MAX:
                self._tell_later(list(found))
                found.clear()
        self._tell_later(found)

    def _add_folders(self, path: RelPath, found: list[Touched | Overflowed] | None) -> Iterator[RelPath]:
        """Watch `path` and the folders below, yielding each; what is in them is put into `found`, if given."""
        waiting = [path]
        while waiting and not self._stopped:
            folder = waiting.pop()
            try:
                handle = self._root.open_folder(folder)
            except OSError:
                continue  # gone, or not readable: the scan reports that, and its bits' change brings us back here
            try:
                watched = self._add_watch(folder, handle)
                if watched:
                    yield folder
                elif found is None and self.degraded:
                    return  # no more watches to be had
                waiting.extend(self._list(folder, handle, found))
            except PermissionError:
                continue
            finally:
                os.close(handle)

    def _list(self, folder: RelPath, handle: int, found: list[Touched | Overflowed] | None) -> list[RelPath]:
        folders: list[RelPath] = []
        with os.scandir(handle) as entries:
            for entry in entries:
                try:
                    check_name(entry.name)
                    path = join(folder, entry.name)
                    if len(path) > NAME_BYTES_MAX:
                        parse_path(path)
                except PathFault:
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                if self._skip(path, is_folder):
                    continue
                if is_folder:
                    folders.append(path)
                if found is not None:
                    found.append(Touched(path, closed=is_folder or _is_quiet(entry)))
        return folders

    def _add_watch(self, path: RelPath, handle: int) -> bool:
        """Watch the open folder `handle` as `path`. False: no watch to be had, or it is not `path` any more."""
        if self._inotify is None:
            return False
        # "/." makes the kernel go through the handle; without it the link in /proc itself would be refused.
        place = f"{_HANDLES}/{handle}/." if self._through_handles else str(self._root.directory / path)
        own = int(flags.DELETE_SELF | flags.MOVE_SELF) if path == ROOT else 0
        with self._lock:
            try:
                watch = int(self._inotify.add_watch(place, _MASK | own))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    return False
                if error.errno != errno.ENOSPC:
                    raise
                watch = -1
            else:
                self._unmap(watch)
                self._unmap(self._watches.get(path, -1))
                self._paths[watch] = path
                self._watches[path] = watch
        if watch < 0:
            self._degrade(f"the limit of {_limit()} watched folders is reached (fs.inotify.max_user_watches)")
            return False
        # Moved between opening and now? Then its event has been handled already, and nobody else would correct this.
        try:
            seen = self._root.lstat(path)
        except PathBlocked:
            seen = None
        if seen is None or seen.kind is not Kind.FOLDER or seen.inode != os.fstat(handle).st_ino:
            self._drop([watch])
            return False
        return True

    def _follow_leaving(self, path: RelPath) -> None:
        """A folder was moved away; where it was exchanged for another, that one is there by now."""
        self._forget_tree(path)
        self._add_tree(path)

    def _forget_tree(self, path: RelPath) -> None:
        """A folder was moved away: watches stay with what they watch, so those below would tell wrong paths."""
        with self._lock:
            below = [watch for each, watch in self._watches.items() if each == path or is_below(each, path)]
        self._drop(below)

    def _drop(self, watches: list[int]) -> None:
        for watch in watches:
            with self._lock:
                self._unmap(watch)
            if self._inotify is not None:
                try:
                    self._inotify.rm_watch(watch)
                except OSError:
                    continue  # its folder is gone, and the watch with it

    def _unmap(self, watch: int) -> None:
        path = self._paths.pop(watch, None)
        if path is not None and self._watches.get(path) == watch:
            del self._watches[path]


def _is_quiet(entry: os.DirEntry[str]) -> bool:
    """True when a file found in a new folder has lain untouched so long that a watch would have called it closed."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return True
    return entry.is_symlink() or abs(time.time_ns() - found.st_mtime_ns) > QUIET_OPEN_S * 1e9


def _limit() -> str:
    try:
        return _LIMIT_FILE.read_text().strip()
    except OSError:
        return "all"
