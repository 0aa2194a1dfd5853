"""Pieces that wait to be asked for: urgent ones first in the order of their coming, bulk in random runs.

Bulk goes in random order because nodes that fetch the same content at the same time can then serve each other; in
runs of neighbours, because those share a disk's seek and a question. Leaving the queue early is free: the item is
marked and skipped when its turn comes, and the counts are right at any moment.
"""

import random
from collections import deque

from meerkat.model.frame import Piece
from meerkat.model.ids import NodeId
from meerkat.model.limits import ASK_BYTES_MAX, PIECES_PER_ASK_MAX

_SLACK = 1024
"""Left-over items that may lie about before a queue is swept."""


class Wanted:
    """A piece until it has arrived or nobody wants it.

    Attributes:
        count: how many want it.
        hints: sources that are believed to have it.
        lacks: which sources said that they lack it, and in which of their generations they said so.
        pointed: how often a source has said that another should be asked.
        backlog: where it waits; None while it is asked for or stuck.
        ask: the question that it is part of; None while it waits or is stuck.
    """

    __slots__ = ("ask", "backlog", "count", "hints", "lacks", "piece", "pointed", "urgent")

    def __init__(self, piece: Piece, hints: tuple[NodeId, ...], urgent: bool) -> None:
        self.piece = piece
        self.count = 1
        self.hints = hints
        self.urgent = urgent
        self.lacks: dict[NodeId, int] = {}
        self.pointed = 0
        self.backlog: Backlog | None = None
        self.ask: Ask | None = None


class Ask:
    """A question under way. `live` counts the remaining pieces that are still wanted from it."""

    __slots__ = ("arrived", "bytes", "id", "last", "live", "node", "remaining", "sent", "urgent")

    def __init__(self, node: NodeId, id_: int, items: list[Wanted], now: float) -> None:
        self.node = node
        self.id = id_
        for item in items:
            item.ask = self
        self.remaining = {item.piece: item for item in items}
        self.bytes = sum(item.piece.length for item in items)
        self.live = len(items)
        self.arrived = 0
        self.urgent = any(item.urgent for item in items)
        self.sent = now
        self.last = now


class Backlog:
    """Waiting items. `count` and `bytes` cover those that are still to be taken, `urgent` the urgent among them."""

    def __init__(self, rng: random.Random) -> None:
        self.count = 0
        self.bytes = 0
        self.urgent = 0
        self._rng = rng
        self._first: deque[Wanted] = deque()
        self._runs: list[deque[Wanted]] = []
        self._run: deque[Wanted] = deque()  # the run that is being taken
        self._growing: tuple[deque[Wanted], int] | None = None  # the newest run and its bytes
        self._held = 0  # items in the structures, those that have left included

    def push(self, item: Wanted) -> None:
        """Let the item wait here; it must not wait elsewhere."""
        assert item.backlog is None
        assert item.ask is None
        item.backlog = self
        self.count += 1
        self.bytes += item.piece.length
        self.urgent += item.urgent
        self._held += 1
        if item.urgent:
            self._first.append(item)
        else:
            self._grow(item)
        if self._held > 2 * self.count + _SLACK:
            self._sweep()

    def unpop(self, item: Wanted) -> None:
        """Put the item that was popped last back to where it came from."""
        item.backlog = self
        self.count += 1
        self.bytes += item.piece.length
        self.urgent += item.urgent
        self._held += 1
        (self._first if item.urgent else self._run).appendleft(item)

    def leave(self, item: Wanted) -> None:
        """The item no longer waits here."""
        assert item.backlog is self
        item.backlog = None
        self.count -= 1
        self.bytes -= item.piece.length
        self.urgent -= item.urgent

    def pop(self) -> Wanted | None:
        """Take the next item."""
        while self.count:
            if self.urgent:
                item = self._first.popleft()
            else:
                self._held -= len(self._first)  # all of these have left
                self._first.clear()
                if not self._run:
                    self._run = self._take_run()
                item = self._run.popleft()
            self._held -= 1
            if item.backlog is self:
                self.leave(item)
                return item
        return None

    def drain(self) -> list[Wanted]:
        """Take everything."""
        items = []
        while (item := self.pop()) is not None:
            items.append(item)
        return items

    def _grow(self, item: Wanted) -> None:
        if self._growing is not None:
            run, size = self._growing
            if (
                size + item.piece.length <= ASK_BYTES_MAX
                and len(run) < PIECES_PER_ASK_MAX
                and run[-1].piece.object == item.piece.object
            ):
                run.append(item)
                self._growing = (run, size + item.piece.length)
                return
        run = deque([item])
        self._runs.append(run)
        self._growing = (run, item.piece.length)

    def _take_run(self) -> deque[Wanted]:
        at = self._rng.randrange(len(self._runs))
        self._runs[at], self._runs[-1] = self._runs[-1], self._runs[at]
        run = self._runs.pop()
        if self._growing is not None and self._growing[0] is run:
            self._growing = None
        return run

    def _sweep(self) -> None:
        """Drop what has left: the same items in the same order."""
        seen: set[int] = set()

        def keep(items: deque[Wanted]) -> deque[Wanted]:
            kept: deque[Wanted] = deque()
            for item in items:
                if item.backlog is self and id(item) not in seen:
                    seen.add(id(item))
                    kept.append(item)
            return kept

        self._first = keep(self._first)
        self._run = keep(self._run)
        self._runs = [run for run in map(keep, self._runs) if run]
        self._growing = None
        self._held = len(seen)
