"""A node whose index is new, lost or older than its disk: it gives no dots before it has learnt what the pool knows
(MERGE rules R11, R12), then adopts what its disk holds. Joining with files is the same.
"""

import asyncio
from collections.abc import Callable

from meerkat.model.ids import NodeId
from meerkat.node.books import Books
from meerkat.node.outward import Outward
from meerkat.node.pull import Puller


class Recovery:
    """Waits for a member's whole index, then adopts.

    Args:
        others: the other members of the roster.
    """

    def __init__(
        self, self_id: NodeId, books: Books, puller: Puller, outward: Outward, others: Callable[[], set[NodeId]]
    ) -> None:
        self._self_id = self_id
        self._books = books
        self._puller = puller
        self._outward = outward
        self._others = others
        self._news = asyncio.Event()

    def look(self) -> None:
        """Members, links or what was pulled have changed."""
        self._news.set()

    async def run(self) -> None:
        """Return once the index may be written: at once for one that is sound."""
        while self._books.recovering:
            self._news.clear()
            if self._may_adopt():
                await self._outward.scan(adopting=True)
                await self._books.write(lambda tx: tx.put_meta("recovering", b""))
                return
            await self._news.wait()

    def _may_adopt(self) -> bool:
        others = self._others()
        return self._books.pulled_whole or not others or self._all_recovering(others)

    def _all_recovering(self, others: set[NodeId]) -> bool:
        """Nobody has an index: the lowest id begins, the others learn from it."""
        sources = {source.node: source.recovering for source in self._puller.sources()}
        return others <= sources.keys() and all(sources.values()) and self._self_id < min(others)
