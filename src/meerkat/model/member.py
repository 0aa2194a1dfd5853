"""The pool's nodes as they know each other."""

from enum import StrEnum

from msgspec import Struct

from meerkat.model.dot import Vector
from meerkat.model.ids import NodeId


class Member(Struct, frozen=True):
    """A node on the roster.

    Attributes:
        certificate: the node's self-signed certificate, DER.
        fingerprint: SHA-256 of that DER, 32 bytes; what every call is checked against.
    """

    node: NodeId
    name: str
    certificate: bytes
    fingerprint: bytes


class Record(Struct, frozen=True):
    """What a node says of itself, signed by it; the greater counter replaces the lesser."""

    node: NodeId
    counter: int
    name: str
    addresses: tuple[str, ...]


class NodeState(StrEnum):
    """How a node stands, in the words that every face uses."""

    UP_TO_DATE = "up_to_date"
    SYNCING = "syncing"
    BLOCKED = "blocked"
    OFFLINE = "offline"
    PAUSED = "paused"
    UNKNOWN = "unknown"


class Summary(Struct, frozen=True):
    """What a node tells the pool of its own progress; spread like rumours, the greater (run, counter) replaces.

    Attributes:
        run: a number that grows with every start of the node.
        complete: everything covered by this vector is on that node's disk.
        context: everything that the node has heard of.
        reasons: why paths wait there: `(path, reason, text)`, the first few.
    """

    node: NodeId
    run: int
    counter: int
    state: NodeState
    behind_files: int
    behind_bytes: int
    complete: Vector
    context: Vector
    reasons: tuple[tuple[str, str, str], ...] = ()
