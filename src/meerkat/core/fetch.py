"""Which piece to ask from whom next: a machine that keeps every source busy and no source flooded.

Theory of operation. A wanted piece waits in a backlog, is part of exactly one ask, or is stuck. The common backlog
holds what anyone may be asked for; a source's own backlog holds what should go to it: pieces that others lack, or
that a hint names it for. After each event `_dispatch` hands asks to the source with the least in flight, as long as
one has room:

- Urgent pieces (small files) go before bulk, and bulk leaves them room.
- What is asked of a source at once (its window) starts at two asks, grows while answers are fast and halves when they
  are slow, so that a slow source holds little, and what is urgent waits behind little.
- A partial ask goes out only to a source that would otherwise idle (Nagle's rule), so small files travel in batches.
- An ask without progress is cancelled and its pieces go elsewhere; the source comes last for a while, and more
  patience is had with it. What arrives late is welcome all the same.
- A source that lacked all of an ask is left alone briefly; `SourceProgressed` makes it worth asking again.
- Where no source is open, what is wanted is stuck: whoever wants it hears of that, and does not wait for a link.
- A source may point to another (`PiecesPointed`), which is asked then; if that one lacks the piece, the first again.

Invariants: bytes in flight never exceed `PEER_INFLIGHT_BYTES_MAX` per source and `NODE_INFLIGHT_BYTES_MAX` in all;
a piece that some open source neither lacks nor spoiled is never stuck. Each event costs a few steps per source,
whatever the number of wanted pieces; only a source that opens or progresses costs a step for each stuck piece.
"""

import heapq
import random
from typing import assert_never

from meerkat.core.backlog import Ask, Backlog, Wanted
from meerkat.core.fetch_words import (
    CancelAsk,
    Command,
    Event,
    PieceLacked,
    PiecesArrived,
    PieceSpoiled,
    PiecesPointed,
    PiecesWanted,
    PieceUnwanted,
    PieceWanted,
    ReportStuck,
    SendAsk,
    SourceClosed,
    SourceOpened,
    SourceProgressed,
    Tick,
    Want,
)
from meerkat.core.source import Source, hinted, is_left_to_others
from meerkat.model.frame import Piece
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    ASK_BYTES_MAX,
    ASKS_PIPELINED_MAX,
    ASKS_PIPELINED_MIN,
    NODE_INFLIGHT_BYTES_MAX,
    PEER_INFLIGHT_BYTES_MAX,
    PIECES_PER_ASK_MAX,
    POINTED_MAX,
    SPOILED_KEPT_MAX,
    SPOILED_REST_S,
    URGENT_RESERVE_BYTES,
)

__all__ = [
    "CancelAsk",
    "Command",
    "Event",
    "Fetch",
    "PieceLacked",
    "PieceSpoiled",
    "PieceUnwanted",
    "PieceWanted",
    "PiecesArrived",
    "PiecesPointed",
    "PiecesWanted",
    "ReportStuck",
    "SendAsk",
    "SourceClosed",
    "SourceOpened",
    "SourceProgressed",
    "Tick",
    "Want",
]


class Fetch:
    """The machine. `rng` only varies the order, nothing depends on it. Times are monotonic seconds."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._items: dict[Piece, Wanted] = {}
        self._ready = Backlog(rng)
        self._stuck: dict[Piece, Wanted] = {}
        self._sources: dict[NodeId, Source] = {}
        self._spoiled: dict[tuple[NodeId, Piece], None] = {}  # oldest first
        self._bytes = 0  # in flight
        self._ask_id = 0
        self._generation = 0
        self._timers: list[tuple[float, NodeId, int]] = []  # ask 0: the source is dry no more
        self._out: list[Command] = []
        self._passing: set[NodeId] = set()  # sources that leave the common backlog to others, in this round
        self._stirred = False  # something may be asked for that could not be before

    def __len__(self) -> int:
        """Distinct pieces that are wanted."""
        return len(self._items)

    @property
    def inflight_bytes(self) -> int:
        return self._bytes

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in what happened, tell what is to be done, in this order."""
        match event:
            case PieceWanted(want):
                self._want(want)
            case PiecesWanted(wants):
                for want in wants:
                    self._want(want)
            case PieceUnwanted(piece):
                self._unwant(piece)
            case SourceOpened(node):
                self._open(node, now)
            case SourceClosed(node):
                self._close(node)
            case SourceProgressed(node):
                self._progress(node)
            case PiecesArrived(node, ask_id, pieces):
                for piece in pieces:
                    self._arrive(node, ask_id, piece, now)
            case PieceLacked(node, ask_id, piece):
                self._lack(node, ask_id, piece, now)
            case PiecesPointed(node, ask_id, pointed):
                for piece, to in pointed:
                    self._point(node, ask_id, piece, to, now)
            case PieceSpoiled(node, piece):
                self._spoil(node, piece, now)
            case Tick():
                pass
            case _:
                assert_never(event)
        self._ring(now)
        if self._stirred:
            self._stirred = False
            self._dispatch(now)
        out, self._out = self._out, []
        return out

    def asked_of(self, piece: Piece) -> NodeId | None:
        """The source that has been asked for the piece and has not answered yet."""
        item = self._items.get(piece)
        return item.ask.node if item is not None and item.ask is not None else None

    def is_open(self, node: NodeId, ask_id: int) -> bool:
        """True while an answer to that ask is of use."""
        source = self._sources.get(node)
        return source is not None and ask_id in source.asks

    def wake_at(self) -> float | None:
        """When to send a `Tick` (perhaps in vain); None: not before the next event."""
        while self._timers:
            when, node, ask_id = self._timers[0]
            source = self._sources.get(node)
            ask = source.asks.get(ask_id) if source is not None else None
            if ask_id == 0 and source is not None and source.dry_until >= when:
                return when
            if source is not None and ask is not None:
                deadline = ask.last + source.patience
                if deadline <= when:
                    return when
                heapq.heapreplace(self._timers, (deadline, node, ask_id))
                continue
            heapq.heappop(self._timers)
        return None

    # ---- wants

    def _want(self, want: Want) -> None:
        self._stirred = True
        item = self._items.get(want.piece)
        if item is None:
            item = self._items[want.piece] = Wanted(want.piece, want.hints, want.urgent)
            self._ready.push(item)
            return
        if want.piece in self._stuck:  # whoever asks now has not heard of it
            self._out.append(ReportStuck(want.piece))
        item.count += 1
        item.hints = want.hints or item.hints
        if want.urgent and not item.urgent:
            backlog = item.backlog
            if backlog is not None:
                backlog.leave(item)
            item.urgent = True
            if backlog is not None:
                backlog.push(item)

    def _unwant(self, piece: Piece) -> None:
        item = self._items.get(piece)
        if item is not None:
            item.count -= 1
            if item.count == 0:
                self._finish(item)

    def _finish(self, item: Wanted) -> None:
        """Nobody wants the item any more."""
        del self._items[item.piece]
        self._stuck.pop(item.piece, None)
        if item.backlog is not None:
            item.backlog.leave(item)
        ask, item.ask = item.ask, None
        if ask is not None:
            ask.live -= 1
            if ask.live == 0:
                self._cancel(ask)

    # ---- sources

    def _open(self, node: NodeId, now: float) -> None:
        if node in self._sources:
            self._close(node)
        self._generation += 1
        source = self._sources[node] = Source(node, self._generation, self._rng)
        if any(liar == node for liar, _ in self._spoiled):  # closing the link does not clear a name
            source.slow_until = now + SPOILED_REST_S
        self._unstick(source)

    def _close(self, node: NodeId) -> None:
        source = self._sources.pop(node, None)
        if source is None:
            return
        self._stirred = True
        for ask in source.asks.values():
            self._bytes -= ask.bytes
            self._requeue(ask)
        for item in source.backlog.drain():
            self._ready.push(item)

    def _progress(self, node: NodeId) -> None:
        source = self._sources.get(node)
        if source is not None:
            self._generation += 1
            source.generation = self._generation
            source.poor.clear()
            source.freshen()
            self._unstick(source)

    def _unstick(self, source: Source) -> None:
        """What no one had may be had from this one."""
        self._stirred = True
        for item in [item for item in self._stuck.values() if self._can(source, item)]:
            del self._stuck[item.piece]
            source.backlog.push(item)

    def _can(self, source: Source, item: Wanted) -> bool:
        """False when the source is known to lack the piece or to have a spoiled one."""
        return item.lacks.get(source.node) != source.generation and (source.node, item.piece) not in self._spoiled

    # ---- answers

    def _arrive(self, node: NodeId, ask_id: int, piece: Piece, now: float) -> None:
        source = self._sources.get(node)
        if source is not None:
            source.prove(now)
            ask = source.asks.get(ask_id)
            if ask is not None:
                self._answer(source, ask, piece, now, arrived=True)
        item = self._items.get(piece)
        if item is not None:
            self._finish(item)

    def _lack(self, node: NodeId, ask_id: int, piece: Piece, now: float) -> None:
        source = self._sources.get(node)
        if source is None:
            return
        item = self._items.get(piece)
        if item is not None:
            item.lacks[node] = source.generation
            source.lacked(piece.object)
        ask = source.asks.get(ask_id)
        if ask is not None:
            mine = item is not None and item.ask is ask
            self._answer(source, ask, piece, now, arrived=False)
            if mine and item is not None:
                self._route(item, now)

    def _point(self, node: NodeId, ask_id: int, piece: Piece, to: NodeId, now: float) -> None:
        source = self._sources.get(node)
        ask = source.asks.get(ask_id) if source is not None else None
        if source is None or ask is None:
            return
        item = self._items.get(piece)
        mine = item is not None and item.ask is ask
        self._answer(source, ask, piece, now, arrived=True)
        if not mine or item is None:
            return
        self._stirred = True
        item.pointed += 1
        other = self._sources.get(to, source)
        if item.pointed > POINTED_MAX:  # nobody honest sends us round and round
            item.lacks[node] = source.generation
            self._route(item, now)
        elif other is source:
            self._ready.push(item)  # asked again there, it is given
        else:
            item.lacks.pop(to, None)
            other.freshen()
            other.backlog.push(item)

    def _spoil(self, node: NodeId, piece: Piece, now: float) -> None:
        self._spoiled.pop((node, piece), None)
        self._spoiled[(node, piece)] = None
        if len(self._spoiled) > SPOILED_KEPT_MAX:
            del self._spoiled[next(iter(self._spoiled))]
        source = self._sources.get(node)
        if source is None:
            return
        item = self._items.get(piece)
        ask = item.ask if item is not None else None
        if item is not None and ask is not None and ask.node == node:
            self._answer(source, ask, piece, now, arrived=False)
            self._route(item, now)
        source.slow_until = max(source.slow_until, now + SPOILED_REST_S)
        self._stirred = True

    def _answer(self, source: Source, ask: Ask, piece: Piece, now: float, *, arrived: bool) -> None:
        """The source has said its word on one piece of an ask."""
        item = ask.remaining.pop(piece, None)
        if item is None:
            return
        source.bytes -= piece.length
        self._bytes -= piece.length
        ask.bytes -= piece.length
        ask.last = now
        ask.arrived += arrived
        if item.ask is ask:
            item.ask = None
            ask.live -= 1
        if ask.remaining:
            if ask.live == 0:
                self._cancel(ask)
            return
        self._drop(source, ask)
        if source.answered(ask, now):
            heapq.heappush(self._timers, (source.dry_until, source.node, 0))

    def _drop(self, source: Source, ask: Ask) -> None:
        """Take the ask off the books; `ask.bytes` are those that have not arrived."""
        del source.asks[ask.id]
        source.bytes -= ask.bytes
        self._bytes -= ask.bytes
        source.urgent -= ask.urgent
        self._stirred = True

    def _cancel(self, ask: Ask) -> None:
        source = self._sources.get(ask.node)
        if source is not None and source.asks.get(ask.id) is ask:
            self._drop(source, ask)
            self._out.append(CancelAsk(ask.node, ask.id))

    def _requeue(self, ask: Ask) -> None:
        """The pieces of a dropped ask wait again, for anyone."""
        for item in ask.remaining.values():
            if item.ask is ask:
                item.ask = None
                self._ready.push(item)

    def _ring(self, now: float) -> None:
        """Move away what has waited too long."""
        while (when := self.wake_at()) is not None and when <= now:
            _, node, ask_id = heapq.heappop(self._timers)
            self._stirred = True
            source = self._sources[node]
            if ask_id == 0:
                continue
            for ask in [each for each in source.asks.values() if each.id == ask_id or not source.proven]:
                self._cancel(ask)  # all at once of who has never answered: patience doubles, and they would wait on
                self._requeue(ask)
            for item in source.backlog.drain():
                self._ready.push(item)
            source.timed_out(now)

    # ---- asking

    def _route(self, item: Wanted, now: float) -> None:
        """Let an item wait that not everyone can be asked for."""
        self._stirred = True
        able = [source for source in self._sources.values() if self._can(source, item)]
        if able and len(able) == len(self._sources):
            self._ready.push(item)
        elif able:
            min(able, key=lambda source: source.rank(item, now)).backlog.push(item)
        else:
            self._stuck[item.piece] = item
            self._out.append(ReportStuck(item.piece))

    def _dispatch(self, now: float) -> None:
        """Hand out asks while a source has room and something to be asked for."""
        if not self._sources:
            for item in self._ready.drain():
                self._route(item, now)
        awake = [source for source in self._sources.values() if source.dry_until <= now]
        if not awake:
            return
        best_is_slow = all(source.slow_until > now for source in awake)
        self._passing.clear()
        while True:
            chosen = None
            for source in awake:
                common = (best_is_slow or source.slow_until <= now) and source.node not in self._passing
                if (chosen is None or source.bytes < chosen[0].bytes) and self._has_room(source, common):
                    chosen = (source, common)
            if chosen is None:
                return
            source, common = chosen
            items = self._fill(source, common, now)
            if items:
                self._ask_id += 1
                ask = Ask(source.node, self._ask_id, items, now)
                source.asks[ask.id] = ask
                source.bytes += ask.bytes
                source.urgent += ask.urgent
                self._bytes += ask.bytes
                heapq.heappush(self._timers, (now + source.patience, source.node, ask.id))
                self._out.append(SendAsk(source.node, ask.id, tuple(ask.remaining)))

    def _has_room(self, source: Source, common: bool) -> bool:
        """May the source be asked, is there something to ask, and is it enough to be worth it?"""
        asks = len(source.asks)
        urgent = source.backlog.urgent + (self._ready.urgent if common else 0)
        if urgent:
            room = (
                asks < ASKS_PIPELINED_MAX
                and source.bytes + ASK_BYTES_MAX <= PEER_INFLIGHT_BYTES_MAX
                and self._bytes + ASK_BYTES_MAX <= NODE_INFLIGHT_BYTES_MAX
            )
            if room and (source.urgent < ASKS_PIPELINED_MIN or urgent >= PIECES_PER_ASK_MAX):
                return True
        count = source.backlog.count + (self._ready.count if common else 0)
        if not count or not self._has_bulk_room(source):
            return False
        size = source.backlog.bytes + (self._ready.bytes if common else 0)
        return asks < ASKS_PIPELINED_MIN or size >= ASK_BYTES_MAX or count >= PIECES_PER_ASK_MAX

    def _has_bulk_room(self, source: Source) -> bool:
        return (
            len(source.asks) < ASKS_PIPELINED_MAX - ASKS_PIPELINED_MIN
            and source.bytes + ASK_BYTES_MAX <= source.window
            and self._bytes + ASK_BYTES_MAX <= NODE_INFLIGHT_BYTES_MAX - URGENT_RESERVE_BYTES
        )

    def _fill(self, source: Source, common: bool, now: float) -> list[Wanted]:
        """The next ask's pieces. What is found to be better asked elsewhere moves there; may end up empty."""
        items: list[Wanted] = []
        size = 0
        bulk = self._has_bulk_room(source)
        while len(items) < PIECES_PER_ASK_MAX:
            own = source.backlog
            backlog = own if own.urgent or not (common and self._ready.urgent) else self._ready
            if not backlog.urgent:
                if not bulk:
                    break
                backlog = own if own.count or not common else self._ready
            item = backlog.pop()
            if item is None:
                break
            if not self._can(source, item):
                self._route(item, now)
            elif backlog is self._ready and is_left_to_others(item, source, self._sources.values(), now, self._can):
                backlog.unpop(item)
                self._passing.add(source.node)
                break
            elif backlog is self._ready and (better := hinted(item, source, self._sources, now, self._can)) is not None:
                better.backlog.push(item)
            elif size + item.piece.length > ASK_BYTES_MAX and items:
                backlog.unpop(item)
                break
            else:
                items.append(item)
                size += item.piece.length
        return items
