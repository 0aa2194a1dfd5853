"""Names of things that are not paths: nodes, pools, contents."""

from typing import NewType

NodeId = NewType("NodeId", str)
"""32 lower-case base32 characters: the first 20 bytes of SHA-256 over the node's public key (SPKI DER)."""

PoolId = NewType("PoolId", str)
"""32 lower-case base32 characters: the first 20 bytes of SHA-256 over the pool's genesis operation."""

Digest = NewType("Digest", bytes)
"""BLAKE3-256, 32 bytes."""

NO_DIGEST = Digest(b"")

ID_CHARS = 32
DIGEST_BYTES = 32
_BASE32 = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def is_id(text: str) -> bool:
    """True when `text` has the form of a node or pool id."""
    return len(text) == ID_CHARS and _BASE32.issuperset(text)
