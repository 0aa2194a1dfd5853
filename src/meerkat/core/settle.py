"""Which touched paths have gone quiet: the watch's raw events come in, paths worth a look come out.

A path is looked at when its writer closed it, or when nothing happened to it for a moment; never at each tick of a
writer, and never later than a bound after the first touch, so a file that is written for hours is still taken.

The moment when a path comes due, counted from its touches since it was last taken:

    quiet = QUIET_CLOSED_S if the last touch closed it, else QUIET_OPEN_S
    bound = QUIET_SAVED_MAX_S if the last touch closed it, else QUIET_MAX_S
    due   = min(max(first + min(quiet * 2**heat, bound), last + quiet), first + QUIET_MAX_S)

`heat` grows by one each time a path is taken and touched again soon ("soon" is a few seconds for a file that its
writer closes, because people save that often, and `QUIET_MAX_S` for one held open, which is what logs do), and falls
when it rests. So a hot path is taken at intervals that double, and the first edit after a rest is taken at once.

While the node itself writes a path, the path is held: what is heard of it then is kept until it is released, and a
look is taken afterwards. Our own echo costs a look that finds nothing; a person's edit in that moment is not missed.
"""

import heapq
from typing import NamedTuple

from meerkat.model.limits import (
    HOT_AGAIN_S,
    QUIET_CLOSED_S,
    QUIET_MAX_S,
    QUIET_OPEN_S,
    QUIET_SAVED_MAX_S,
    SETTLE_PATHS_MAX,
)
from meerkat.model.path import RelPath

_HEAT_MAX = 16
"""Beyond this even the shortest quiet time, doubled, exceeds `QUIET_MAX_S`."""

_HEAP_SLACK = 1024
"""Outdated heap items that may lie about before the heap is built anew."""


class _Taken(NamedTuple):
    """When a path was last taken, whether its writer had closed it, and how hot it is."""

    when: float
    closed: bool
    heat: int


class _Touched:
    """A path that waits. `again`: touched soon after it was taken. `key`: its time in the heap; None: not there."""

    __slots__ = ("again", "closed", "first", "heat", "key", "last")

    def __init__(self, now: float, heat: int, again: bool) -> None:
        self.first = now
        self.last = now
        self.closed = False
        self.heat = heat
        self.again = again
        self.key: float | None = None

    def due(self) -> float:
        quiet, bound = (QUIET_CLOSED_S, QUIET_SAVED_MAX_S) if self.closed else (QUIET_OPEN_S, QUIET_MAX_S)
        hot = min(quiet * (1 << self.heat), bound)
        return min(max(self.first + hot, self.last + quiet), self.first + QUIET_MAX_S)


class Settle:
    """All times are monotonic seconds, and never go back from one call to the next.

    Attributes:
        overflowed: more than `SETTLE_PATHS_MAX` paths waited, and all were forgotten: everything has to be scanned.
            Events are dropped until the caller sets it to False, which it does *before* that scan begins.
    """

    def __init__(self) -> None:
        self.overflowed = False
        self._waiting: dict[RelPath, _Touched] = {}
        self._heap: list[tuple[float, RelPath]] = []
        self._held: set[RelPath] = set()
        self._taken: dict[RelPath, _Taken] = {}  # oldest first

    def __len__(self) -> int:
        """Paths that wait, the held ones among them."""
        return len(self._waiting)

    def touched(self, path: RelPath, closed: bool, now: float) -> None:
        """Something happened at `path`. `closed`: nobody is in the middle of writing it (closed, renamed, removed)."""
        if self.overflowed and path not in self._held:
            return
        item = self._waiting.get(path)
        if item is None:
            if len(self._waiting) >= SETTLE_PATHS_MAX:
                self._overflow()
                if path not in self._held:
                    return
            item = self._waiting[path] = self._begin(path, now)
        item.last = now
        item.closed = closed
        if path not in self._held:
            self._schedule(path, item)

    def held(self, path: RelPath) -> None:
        """The node is about to write `path` itself: it does not come due until released."""
        self._held.add(path)

    def released(self, path: RelPath) -> None:
        """The node has done writing; what was heard meanwhile (or before) may come due."""
        self._held.discard(path)
        item = self._waiting.get(path)
        if item is not None:
            self._schedule(path, item)

    def waiting(self) -> list[RelPath]:
        """What was touched and has not come due yet."""
        return list(self._waiting)

    def calm(self, path: RelPath) -> None:
        """The look at `path` found nothing new (our own echo, a mere read): it does not count as heat."""
        taken = self._taken.get(path)
        if taken is not None:
            self._taken[path] = taken._replace(heat=max(0, taken.heat - 1))

    def due(self, now: float) -> list[RelPath]:
        """Take, and forget, the paths that have gone quiet by `now`, the longest quiet first."""
        paths = []
        while self._skip_outdated() and self._heap[0][0] <= now:
            key, path = heapq.heappop(self._heap)
            item = self._waiting[path]
            item.key = None
            if item.due() > key:  # touched again since it was scheduled
                self._schedule(path, item)
                continue
            del self._waiting[path]
            self._remember(path, item, now)
            paths.append(path)
        return paths

    def wake_at(self) -> float | None:
        """When `due` is worth calling again (perhaps in vain); None: not before the next event."""
        return self._heap[0][0] if self._skip_outdated() else None

    def _schedule(self, path: RelPath, item: _Touched) -> None:
        """Make sure that the heap holds the path at or before its due time: later touches then cost nothing."""
        due = item.due()
        if item.key is not None and item.key <= due:
            return
        item.key = due
        heapq.heappush(self._heap, (due, path))
        if len(self._heap) > 2 * len(self._waiting) + _HEAP_SLACK:
            self._heap = [(item.key, path) for path, item in self._waiting.items() if item.key is not None]
            heapq.heapify(self._heap)

    def _skip_outdated(self) -> bool:
        """Bring a live item to the top of the heap; False when there is none."""
        heap = self._heap
        while heap:
            key, path = heap[0]
            item = self._waiting.get(path)
            if item is not None and item.key == key:
                if path not in self._held:
                    return True
                item.key = None
            heapq.heappop(heap)
        return False

    def _begin(self, path: RelPath, now: float) -> _Touched:
        """A path's first touch since it was last taken: how hot is it?"""
        heat, again = 0, False
        taken = self._taken.get(path)
        if taken is not None:
            rested = now - taken.when
            soon = HOT_AGAIN_S if taken.closed else QUIET_MAX_S
            again = rested <= soon
            heat = max(0, taken.heat - int(rested / soon))
        return _Touched(now, heat, again)

    def _remember(self, path: RelPath, item: _Touched, now: float) -> None:
        """Note that the path is taken, and forget those that have rested."""
        self._taken.pop(path, None)  # so that the dict stays in the order of taking
        self._taken[path] = _Taken(now, item.closed, min(item.heat + item.again, _HEAT_MAX))
        while self._taken:
            oldest = next(iter(self._taken))
            if len(self._taken) <= SETTLE_PATHS_MAX and now - self._taken[oldest].when <= QUIET_MAX_S:
                break
            del self._taken[oldest]

    def _overflow(self) -> None:
        """Forget all but what was heard about held paths: the scan may pass them while the node still writes."""
        self.overflowed = True
        self._waiting = {path: item for path, item in self._waiting.items() if path in self._held}
        self._heap.clear()
        for item in self._waiting.values():
            item.key = None
        self._taken.clear()
