"""Names under which nodes announce themselves to their own network: members know whose they are, nobody else does.

A name is a keyed hash of the node and of the day. The key follows from the pool's first operation, which members hold
and nobody else is shown: who listens learns that something of this program is there, and neither which pool nor which
node; and a name of today cannot be told to be one of yesterday. A removed member knows the key as well. Nothing is
believed on the ground of a name: it says where to knock, and who is there must prove it as anywhere else.
"""

import hashlib
import hmac
from collections.abc import Iterable

from meerkat.model.ids import NodeId

NAME_BYTES = 16
DAY_S = 86_400


def beacon_key(genesis: bytes) -> bytes:
    """The key of the pool that begins with these signed bytes (its id is another hash of them, which outsiders may
    have seen)."""
    return hashlib.sha256(b"meerkat beacon 1\0" + genesis).digest()


def beacon_name(key: bytes, node: NodeId, day: int) -> str:
    """What `node` is called on that day (days since 1970), in hexadecimal digits."""
    word = b"%d\0%s" % (day, node.encode("ascii"))
    return hmac.digest(key, word, "sha256")[:NAME_BYTES].hex()


def names_near(key: bytes, nodes: Iterable[NodeId], day: int) -> dict[str, NodeId]:
    """Whom each name means that is in use about that day: clocks differ, and yesterday's names are still heard."""
    return {beacon_name(key, node, near): node for node in nodes for near in (day - 1, day, day + 1)}
