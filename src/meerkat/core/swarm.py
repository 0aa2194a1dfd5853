"""Who is sent to whom: of what many fetch at once, the origin gives each piece about once.

Whoever has just been given a piece can give it on. So a node remembers for a while whom it gave which piece, and points
the next who ask for it there. Those that fetch the same file ask in different orders, so each is soon pointed to, and
gives, its share. Who is pointed to a member and asks again did not get the piece there, and is given it: nobody depends
on the goodwill of more than the node that it asks.
"""

from collections.abc import Container

from meerkat.model.frame import Piece
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import SWARM_GIVEN_MAX, SWARM_MEMORY_S


def is_part(piece: Piece) -> bool:
    """True for a chunk of a larger file: small files and recipes cost less than asking twice."""
    return not piece.recipe and piece.object != piece.digest


class _Given:
    __slots__ = ("at", "node", "pointed")

    def __init__(self, node: NodeId, at: float, pointed: set[NodeId]) -> None:
        self.node = node
        self.at = at
        self.pointed = pointed


class Swarm:
    """What was given to whom. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._given: dict[tuple[Digest, int], _Given] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._given)

    def asked(self, piece: Piece, asker: NodeId, linked: Container[NodeId], now: float) -> NodeId | None:
        """Where to point `asker`; None: the piece is to be given, and is taken to be given from now on.

        Args:
            linked: members that are online, as far as is known here.
        """
        key = piece.object, piece.offset
        given = self._given.get(key)
        if (
            given is not None
            and given.node != asker
            and asker not in given.pointed
            and given.node in linked
            and now - given.at <= SWARM_MEMORY_S
        ):
            given.pointed.add(asker)
            return given.node
        self._given.pop(key, None)
        self._given[key] = _Given(asker, now, given.pointed if given is not None else set())
        if len(self._given) > SWARM_GIVEN_MAX:
            del self._given[next(iter(self._given))]
        return None

    def lacked(self, piece: Piece) -> None:
        """It was not given after all: it is not here."""
        self._given.pop((piece.object, piece.offset), None)
