"""What is held against members: what each has done that no honest one does, and for how long nobody talks with it.

Kept for this run only, and for members only, so that it stays bounded and a restart is a new beginning.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from meerkat.core.conduct import Conduct
from meerkat.model.ids import NodeId
from meerkat.model.limits import OUTRUNS_MAX, SPOILS_MAX

log = logging.getLogger("meerkat.blame")


class Blame:
    """The book of faults.

    Args:
        name_of: what people call a node.
        on_blamed: called with each fault, its reason, and the time until which its author rests (monotonic seconds).
    """

    def __init__(self, name_of: Callable[[NodeId], str], on_blamed: Callable[[NodeId, str, float], None]) -> None:
        self._name_of = name_of
        self._on_blamed = on_blamed
        self._conduct = Conduct()
        self._outruns: Counter[NodeId] = Counter()
        self._spoils: Counter[NodeId] = Counter()

    def fault_of(self, node: NodeId) -> str:
        """What that member did wrong, while nobody here talks with it for that; else empty."""
        return self._conduct.fault(node, asyncio.get_running_loop().time())

    def remembered(self, node: NodeId) -> str:
        """What that member did wrong in the last hour, for people; else empty."""
        return self._conduct.remembered(node, asyncio.get_running_loop().time())

    def until(self, node: NodeId) -> float:
        """When its rest ends, or has ended."""
        return self._conduct.until(node)

    def only(self, members: set[NodeId]) -> None:
        """Forget everybody else."""
        self._conduct.only(members)
        for counter in (self._outruns, self._spoils):
            for node in counter.keys() - members:
                del counter[node]

    def blame(self, node: NodeId, why: str) -> None:
        """The member said what no honest one says."""
        now = asyncio.get_running_loop().time()
        rest = self._conduct.blame(node, why, now)
        log.warning("%s (%s) broke the rules: %s; no link with it for %.0f s", self._name_of(node), node, why, rest)
        self._on_blamed(node, why, now + rest)

    def outrun_by(self, node: NodeId) -> None:
        """The member knows writes in this node's name that this node does not know. That is so once, after this index
        was rolled back; each time costs a new epoch, so whoever says it again and again is not believed."""
        self._outruns[node] += 1
        if self._outruns[node] > OUTRUNS_MAX:
            self.blame(node, "it claims writes of this node that were never made, again and again")

    def spoiled_by(self, node: NodeId) -> None:
        """The member gave other bytes than were asked for. Honest ones check what they give."""
        self._spoils[node] += 1
        if self._spoils[node] >= SPOILS_MAX:
            del self._spoils[node]
            self.blame(node, f"{SPOILS_MAX} times it gave other bytes than were asked for")
