"""Whom not to talk with for a while: members that said what no honest member says.

A fault ends the link at once. So that a broken or hostile member costs no endless dialling, it then rests: twice as
long after each further fault, and as at first when it has behaved for an hour. Nothing about data or membership follows
from a rest: what others pass on of that member's writes counts as ever.
"""

from msgspec import Struct

from meerkat.model.ids import NodeId
from meerkat.model.limits import FAULT_FORGIVEN_S, FAULT_REST_MAX_S, FAULT_REST_MIN_S


class _Record(Struct):
    """The last fault, when it was, how many there were in a row, and until when its author rests."""

    why: str
    at: float
    count: int
    until: float


class Conduct:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._records: dict[NodeId, _Record] = {}

    def blame(self, node: NodeId, why: str, now: float) -> float:
        """The node broke a rule; how many seconds it rests."""
        known = self._records.get(node)
        count = known.count + 1 if known is not None and now - known.at < FAULT_FORGIVEN_S else 1
        rest = min(FAULT_REST_MAX_S, FAULT_REST_MIN_S * (1 << min(count - 1, 16)))
        self._records[node] = _Record(why, now, count, now + rest)
        return rest

    def fault(self, node: NodeId, now: float) -> str:
        """What the node did wrong, while it rests for it; else empty."""
        known = self._records.get(node)
        return known.why if known is not None and now < known.until else ""

    def remembered(self, node: NodeId, now: float) -> str:
        """What the node did wrong last, for as long as its next fault would be a further one; else empty."""
        known = self._records.get(node)
        return known.why if known is not None and now - known.at < FAULT_FORGIVEN_S else ""

    def until(self, node: NodeId) -> float:
        """When its rest ends, or has ended."""
        known = self._records.get(node)
        return known.until if known is not None else float("-inf")

    def only(self, nodes: set[NodeId]) -> None:
        """Forget everybody else: they are no members any more."""
        for node in self._records.keys() - nodes:
            del self._records[node]
