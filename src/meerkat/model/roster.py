"""The operations that the roster is made of, taken apart.

Invariant: `id` is the SHA-256 of the very bytes that were signed, so an operation is the same everywhere and no order
of arrival can change it. A certificate's node and fingerprint stand beside it, because the pure core cannot read X.509.
"""

from dataclasses import dataclass, field

from meerkat.model.dot import Author
from meerkat.model.ids import NodeId, PoolId


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate (DER), the SHA-256 of it, and the node whose key it holds (of an invite: what stands there)."""

    certificate: bytes = field(repr=False)
    fingerprint: bytes
    node: NodeId


@dataclass(frozen=True, slots=True)
class GenesisOp:
    """The pool's beginning, signed by its founder; its hash is the pool's id."""

    id: bytes
    pool: PoolId
    founder: Shown
    name: str
    pool_name: str


@dataclass(frozen=True, slots=True)
class InviteOp:
    """A member (fingerprint `signer`) lets up to `uses` nodes in. Times in seconds since 1970, by the signer's clock;
    the secret itself is in the invite code alone."""

    id: bytes
    pool: PoolId
    signer: bytes
    shown: Shown
    proof_key: bytes = field(repr=False)
    uses: int
    not_after: int
    made_at: int
    signer_name: str


@dataclass(frozen=True, slots=True)
class AddOp:
    """A newcomer takes itself in, signed with the key of the invite that it names (by operation id)."""

    id: bytes
    pool: PoolId
    shown: Shown
    name: str
    invite: bytes


@dataclass(frozen=True, slots=True)
class RemoveOp:
    """A member (fingerprint `signer`) takes `node` off the roster, or itself. `cut`: up to where its writes are still
    taken."""

    id: bytes
    pool: PoolId
    signer: bytes
    node: NodeId
    cut: tuple[tuple[Author, int], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RevokeOp:
    """A member (fingerprint `signer`) ends an invite, named by operation id. Who has joined by it stays."""

    id: bytes
    pool: PoolId
    signer: bytes
    invite: bytes


@dataclass(frozen=True, slots=True)
class RekeyOp:
    """A node gives itself a new key: `node`, whose certificate is `signer`, is followed by the one in `shown`."""

    id: bytes
    pool: PoolId
    signer: bytes
    node: NodeId
    shown: Shown


RosterOp = GenesisOp | InviteOp | AddOp | RemoveOp | RevokeOp | RekeyOp
