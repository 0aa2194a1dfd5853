"""One source as the machine in `fetch` sees it: what is in flight to it, and how much is asked of it at once.

The window starts at two asks, grows by one while answers are fast and the window is really used, and halves when they
are slow; patience doubles after a time-out, or a lone slow source would be asked for ever in vain. A source that lacked
all of an ask is dry: it is left alone for a moment that doubles.
"""

import random
from collections.abc import Callable, Iterable, Mapping

from meerkat.core.backlog import Ask, Backlog, Wanted
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import (
    ANSWER_FAST_S,
    ANSWER_SLOW_S,
    ASK_BYTES_MAX,
    ASKS_PIPELINED_MIN,
    CHUNK_PATIENCE_S_MAX,
    CHUNK_TIMEOUT_S,
    DRY_MAX_S,
    DRY_MIN_S,
    PEER_INFLIGHT_BYTES_MAX,
    POOR_OBJECTS_MAX,
    URGENT_RESERVE_BYTES,
)

WINDOW_BYTES_MIN = ASKS_PIPELINED_MIN * ASK_BYTES_MAX
WINDOW_BYTES_MAX = PEER_INFLIGHT_BYTES_MAX - URGENT_RESERVE_BYTES


class Source:
    """An open source. Times are monotonic seconds.

    Attributes:
        generation: changes when what the source lacked is to be forgotten.
        bytes: in flight.
        urgent: asks in flight that hold something urgent.
        window: bytes that may be in flight to it, urgent ones aside.
        slow_until: it comes last until then.
        dry_until: nothing is asked of it until then.
        backlog: what should go to this source.
        proven: it has given something since it was waited for in vain.
        poor: objects of which it lacked something: it is asked for more of them where nobody else has them, or where it
            is pointed to.
    """

    __slots__ = (
        "asks",
        "backlog",
        "bytes",
        "dry_s",
        "dry_until",
        "generation",
        "node",
        "patience",
        "poor",
        "proven",
        "slow_until",
        "urgent",
        "window",
    )

    def __init__(self, node: NodeId, generation: int, rng: random.Random) -> None:
        self.node = node
        self.generation = generation
        self.asks: dict[int, Ask] = {}
        self.bytes = 0
        self.urgent = 0
        self.window = WINDOW_BYTES_MIN
        self.patience = CHUNK_TIMEOUT_S
        self.slow_until = float("-inf")
        self.dry_until = float("-inf")
        self.dry_s = DRY_MIN_S
        self.backlog = Backlog(rng)
        self.proven = False
        self.poor: set[Digest] = set()

    @property
    def load(self) -> int:
        """Bytes in flight, and those that wait for this source."""
        return self.bytes + self.backlog.bytes

    def is_awake(self, now: float) -> bool:
        """Neither slow nor dry."""
        return max(self.slow_until, self.dry_until) <= now

    def rank(self, item: Wanted, now: float) -> tuple[bool, bool, int]:
        """The least is best asked for what cannot be had everywhere."""
        return not self.is_awake(now), self.node not in item.hints, self.load

    def answered(self, ask: Ask, now: float) -> bool:
        """The last word on an ask has come. True when the source has just run dry (until `dry_until`)."""
        took = now - ask.sent
        if took < CHUNK_TIMEOUT_S:
            self.patience = CHUNK_TIMEOUT_S
        if took > ANSWER_SLOW_S:
            self.window = max(self.window // 2, WINDOW_BYTES_MIN)
        elif took < ANSWER_FAST_S and ask.arrived and 2 * self.bytes >= self.window:
            self.window = min(self.window + ASK_BYTES_MAX, WINDOW_BYTES_MAX)
        if ask.arrived or self.dry_until > now:
            return False
        self.dry_until = now + self.dry_s
        self.dry_s = min(self.dry_s * 2, DRY_MAX_S)
        return True

    def lacked(self, content: Digest) -> None:
        """It has not all of that object."""
        if len(self.poor) >= POOR_OBJECTS_MAX:
            self.poor.clear()
        self.poor.add(content)

    def timed_out(self, now: float) -> None:
        """An ask was waited for in vain: others first, for as long as was waited, and more patience next time. One that
        has never given anything, or nothing since it was waited for before, comes last until it does."""
        self.slow_until = now + self.patience if self.proven else float("inf")
        self.proven = False
        self.patience = min(self.patience * 2, CHUNK_PATIENCE_S_MAX)
        self.window = WINDOW_BYTES_MIN

    def prove(self, now: float) -> None:
        """It gave something."""
        self.proven = True
        self.slow_until = min(self.slow_until, now)
        self.freshen()

    def freshen(self) -> None:
        """It gave something, or has more than before: worth asking at once."""
        self.dry_until, self.dry_s = float("-inf"), DRY_MIN_S


def hinted(
    item: Wanted, source: Source, sources: Mapping[NodeId, Source], now: float, can: Callable[[Source, Wanted], bool]
) -> Source | None:
    """A source that is believed to have the item and has room for it, unless `source` is such a one itself."""
    if not item.hints or source.node in item.hints:
        return None
    best = None
    for node in item.hints:
        other = sources.get(node)
        if (
            other is not None
            and other.is_awake(now)
            and other.load + item.piece.length <= other.window
            and (best is None or other.load < best.load)
            and can(other, item)
        ):
            best = other
    return best


def is_left_to_others(
    item: Wanted, source: Source, sources: Iterable[Source], now: float, can: Callable[[Source, Wanted], bool]
) -> bool:
    """True when the source has lacked other parts of this, and another, which has not, will take it soon."""
    content = item.piece.object
    return content in source.poor and any(
        content not in other.poor and other.is_awake(now) and can(other, item) for other in sources
    )
