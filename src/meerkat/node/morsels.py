"""Content of very small files that rides with their entries, so that it need not be asked for.

Whoever has just written such a file sends it along with the entry, to everybody who asks for what is new, for a while
from memory (it was read to be hashed); whoever gets it keeps it in memory until the file is put down. Only what was new
content when it was recorded rides along, and only with the path where it was new: a file that was moved is made from
what the other side has already. Nothing
relies on any of it: what does not ride, or is dropped because there is too much, is asked for as usual, and what is
used is checked against its digest (G9).
"""

import asyncio
import threading
from collections.abc import Iterable, Mapping

from blake3 import blake3

from meerkat.disk.root import Root
from meerkat.disk.scan import Sight
from meerkat.model.ids import Digest
from meerkat.model.limits import (
    MORSEL_BYTES_MAX,
    MORSELS_FRESH_MAX,
    MORSELS_GIVEN_BYTES_MAX,
    MORSELS_KEPT_BYTES_MAX,
    MORSELS_KEPT_S,
)
from meerkat.model.path import RelPath
from meerkat.model.version import Entry, Kind, Version
from meerkat.node.outward import Outward
from meerkat.node.ports import View
from meerkat.node.pull import Puller
from meerkat.node.serve import read_file
from meerkat.node.transfer import Transfer


class Shelf:
    """Contents by digest, bounded in bytes and in time; what has lain longest makes room. Guarded by its owner."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._things: dict[Digest, tuple[float, bytes]] = {}  # when it came; oldest first

    def put(self, digest: Digest, data: bytes, now: float) -> None:
        self.take(digest)
        self._things[digest] = (now, data)
        self._bytes += len(data)
        while self._bytes > self._bytes_max:
            self.take(next(iter(self._things)))

    def get(self, digest: Digest) -> bytes | None:
        found = self._things.get(digest)
        return None if found is None else found[1]

    def take(self, digest: Digest) -> bytes | None:
        _, data = self._things.pop(digest, (0.0, None))
        self._bytes -= len(data or b"")
        return data

    def expire(self, before: float) -> None:
        """Forget what came then or earlier."""
        while self._things:
            digest = next(iter(self._things))
            if self._things[digest][0] > before:
                break
            self.take(digest)


class Morsels:
    """Both sides of it. Calls may come from several threads."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh: dict[Digest, RelPath] = {}  # where it was new; oldest first
        self._given = Shelf(MORSELS_GIVEN_BYTES_MAX)  # of those, what need not be read from the disk again
        self._kept = Shelf(MORSELS_KEPT_BYTES_MAX)
        self._lock = threading.Lock()

    def ride(self, outward: Outward, puller: Puller, transfer: Transfer) -> None:
        """Take part: the puller's answers carry what outward records anew, and the transfer uses what they brought."""
        self._loop = asyncio.get_running_loop()
        outward.note_new, transfer.morsel = self.note_new, self.take
        puller.riding, puller.on_morsels = self.riding, self.arrived

    # ---- giving

    def note_new(self, sights: Iterable[Sight], view: View) -> None:
        """Before these are recorded: remember which of them hold what this disk did not have anywhere."""
        now = 0.0 if self._loop is None else self._loop.time()
        held = False
        for sight in sights:
            base = sight.base
            if sight.same or base is None or base.content.kind is not Kind.FILE:
                continue
            if 0 < base.stat.size <= MORSEL_BYTES_MAX and not view.locate_content(base.content):
                self._note(Digest(base.content.ident), sight.path, sight.data, now)
                held = held or sight.data is not None
        if held and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, MORSELS_KEPT_S, self._expire, now)

    def _note(self, digest: Digest, path: RelPath, data: bytes | None, now: float) -> None:
        with self._lock:
            if self._fresh.setdefault(digest, path) != path:  # moved, and its old name was recorded as gone before
                return
            if data is not None:
                self._given.put(digest, data, now)
            if len(self._fresh) > MORSELS_FRESH_MAX:
                del self._fresh[next(iter(self._fresh))]

    def riding(self, view: View, entry: Entry) -> dict[Digest, bytes]:
        """What is to ride with this entry."""
        found = {}
        for version in entry.siblings.values():
            if self._fresh.get(version.digest) == entry.path and is_morsel(version):
                with self._lock:
                    data = self._given.get(version.digest)
                if data is None:
                    data = self._read(view, version)
                if data is not None:
                    found[version.digest] = data
        return found

    def _read(self, view: View, version: Version) -> bytes | None:
        for path, base in view.locate_content(version.content):
            data = read_file(self._root, path, base, 0, version.size)
            if data is not None and blake3(data).digest() == version.digest:
                return data
        return None

    # ---- getting

    def arrived(self, morsels: Mapping[Digest, bytes]) -> None:
        """In the event loop: keep what came along, for a while; what has waited longest makes room."""
        if not morsels:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            for digest, data in morsels.items():
                self._kept.put(digest, data, loop.time())
        loop.call_later(MORSELS_KEPT_S, self._expire, loop.time())

    def take(self, version: Version) -> bytes | None:
        """The checked bytes, if they came along; they are given once."""
        with self._lock:
            data = self._kept.take(version.digest)
        if data is None or len(data) != version.size or blake3(data).digest() != version.digest:
            return None
        return data

    def _expire(self, before: float) -> None:
        with self._lock:
            self._kept.expire(before)
            self._given.expire(before)


def is_morsel(version: Version) -> bool:
    return version.kind is Kind.FILE and 0 < version.size <= MORSEL_BYTES_MAX
