"""The watch for every platform, by the `watchfiles` package (FSEvents, kqueue, ReadDirectoryChangesW, inotify).

It does not tell when a writer closed a file, so everything but a deletion is told as still open, and settles by being
quiet. Its blocking iterator runs in a thread of its own; what it yields is handed to the loop.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final

from watchfiles import Change, watch

from meerkat.disk.root import Root
from meerkat.disk.scan import Skip, walk
from meerkat.disk.touch import OnEvent, Overflowed, Touched
from meerkat.model.limits import WATCH_BATCH_MAX, WATCH_FAILURES_MAX
from meerkat.model.path import MARKER, ROOT, PathFault, RelPath, ancestors, parent, parse_path
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Kind

_DEBOUNCE_MS: Final = 50
_STEP_MS: Final = 20
_TURN_MS: Final = 200  # how often it yields without news; the first time tells that it has begun


class PortableWatch:
    """See `touch.Watch`. `skip` is called from a thread."""

    def __init__(self, root: Root, skip: Skip, on_event: OnEvent) -> None:
        self.degraded = ""
        self._root = root
        self._skip = skip
        self._on_event = on_event
        self._attended: frozenset[RelPath] = frozenset()
        self._stop = threading.Event()
        self._ready = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        await self._ready.wait()

    def attend(self, folder: RelPath) -> None:
        self._attended |= {folder}

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    # ---- in the thread

    def _run(self) -> None:
        """Watch until stopped. `watchfiles` ends at a name that is not UTF-8: then begin again, and say so."""
        failures = 0
        while not self._stop.is_set():
            try:
                for batch in self._batches():
                    if failures:  # only now, with the new watch in place, does a scan find everything
                        self._tell_later([Overflowed()])
                    failures = 0
                    self._call(self._ready.set)
                    self._take(batch)
            except (OSError, RuntimeError) as error:  # both are what watchfiles raises for the system's refusals
                failures += 1
                if failures > WATCH_FAILURES_MAX:
                    self.degraded = f"watching failed ({error}): changes are found by scanning"
                    self._tell_later([Overflowed()])
                    break
        self._call(self._ready.set)

    def _batches(self) -> Iterator[set[tuple[Change, str]]]:
        return watch(
            self._root.directory,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._stop,
            rust_timeout=_TURN_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )

    def _take(self, batch: set[tuple[Change, str]]) -> None:
        told: list[Touched | Overflowed] = []
        for change, place in sorted(batch, key=lambda item: item[1]):
            told += self._translate(change, place)
            if len(told) >= WATCH_BATCH_MAX:
                self._tell_later(told)
                told = []
        self._tell_later(told)

    def _translate(self, change: Change, place: str) -> list[Touched | Overflowed]:
        directory = str(self._root.directory)
        if place == directory:
            return [Touched(ROOT, closed=True)]
        prefix = directory.rstrip(os.sep) + os.sep
        if not place.startswith(prefix):
            return [Overflowed()]
        text = self._root.naming.listed(place.removeprefix(prefix).replace(os.sep, "/"))
        if MARKER in text.split("/"):
            written = change is Change.modified and parent(RelPath(text)) in self._attended
            return [Touched(RelPath(text), closed=False)] if written else []
        try:
            path = parse_path(text)
        except PathFault:
            return [Touched(_nearest(text), closed=True)]
        if any(self._skip(folder, True) for folder in ancestors(path)):
            return []
        try:
            seen = self._root.lstat(path)
        except PathBlocked:
            seen = None
        is_folder = seen is not None and seen.kind is Kind.FOLDER
        if self._skip(path, is_folder):
            return []
        closed = seen is None or seen.kind is not Kind.FILE
        arrived = is_folder and change is Change.added
        told: list[Touched | Overflowed] = [Touched(path, closed, arrived)]
        if arrived:  # what was made in it before it was watched
            told += [Touched(item[0], False) for item in walk(self._root, path, self._skip) if isinstance(item, tuple)]
        return told

    # ---- to the loop

    def _call(self, function: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _tell_later(self, events: list[Touched | Overflowed]) -> None:
        if events:
            self._call(lambda: self._tell(events))

    def _tell(self, events: list[Touched | Overflowed]) -> None:
        for event in events:
            if self._stop.is_set():
                return
            self._on_event(event)


def _nearest(text: str) -> RelPath:
    """The nearest folder above a path that cannot be told."""
    while text := parent(RelPath(text)):
        try:
            return parse_path(text)
        except PathFault:
            continue
    return ROOT
