"""The roster: a set of signed operations that any two members merge by union, and each node's newest record.

Invariants: what it holds depends on what came, not on the order nor on how often it came; an operation is kept only
when the certificate that it names as its signer's has signed it; while that has not come, it waits, to be judged then.
Authentic is not yet allowed: whose word counts is read from the whole set, in `membership`.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import assert_never

from msgspec import Struct

from meerkat.core.membership import InviteState as InviteState
from meerkat.core.membership import Membership, Suspended, read_membership
from meerkat.model.frame import RosterPart, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import MEMBERS_MAX, ROSTER_OPS_MAX, ROSTER_PENDING_MAX
from meerkat.model.member import Member, Record
from meerkat.model.roster import AddOp, GenesisOp, InviteOp, RekeyOp, RemoveOp, RevokeOp, RosterOp, Shown

Verify = Callable[[bytes, bytes, bytes], bool]
"""(certificate DER, body, signature) -> whether the certificate's key signed the body."""

_SIGNATURES_PER_OP_MAX = 4  # several may claim one body while nobody can tell which is true
_RECORDS_PER_NODE_MAX = 4  # likewise, until the node's certificate has come
_PART_OVERHEAD_BYTES = 16  # protobuf framing around each operation


class _Held(Struct):
    """An operation and the signatures that claim it: one, once it could be judged."""

    op: RosterOp
    body: bytes
    signatures: list[bytes]


class Roster:
    """The roster of one pool.

    Args:
        verify: checks a signature; called once for each operation that can be judged.
        pool: whose roster; left out, the first operation decides.
    """

    def __init__(self, verify: Verify, pool: PoolId | None = None) -> None:
        self.pool = pool
        self._verify = verify
        self._ops: dict[bytes, _Held] = {}  # authentic, in the order in which they could be judged
        self._pending: dict[bytes, _Held] = {}
        self._awaited: dict[bytes, list[bytes]] = {}  # signer -> pending operations that claim it
        self._signers: dict[bytes, bytes] = {}  # certificates, by fingerprint; an invite's by its operation's id
        self._keys: dict[NodeId, bytes] = {}  # any certificate of that node: all of them hold the same key
        self._records: dict[NodeId, tuple[Record, Signed]] = {}
        self._claims: dict[NodeId, list[tuple[Record, Signed]]] = {}
        self._derived: Membership | None = None
        self._digest: bytes | None = None

    # ---- taking in

    def add(self, op: RosterOp, signed: Signed) -> bool:
        """Keep the operation; True when that is news worth passing on.

        False: known already, another pool's, signed by somebody else than it names, or beyond the limits. What cannot
        be judged yet, because its signer has not come, is kept and is news as well.
        """
        if (self.pool is not None and op.pool != self.pool) or op.id in self._ops:
            return False
        if op.id in self._pending:
            held = self._pending[op.id]
            if signed.signature not in held.signatures:
                held.signatures = sorted([*held.signatures, signed.signature])[:_SIGNATURES_PER_OP_MAX]
            return False
        if len(self._ops) + len(self._pending) >= ROSTER_OPS_MAX + (MEMBERS_MAX if self._takes_off(op) else 0):
            return False
        held = _Held(op, signed.body, [signed.signature])
        signer = _signer_of(op)
        certificate = op.founder.certificate if isinstance(op, GenesisOp) else self._signers.get(signer)
        if certificate is None:
            if len(self._pending) >= ROSTER_PENDING_MAX:
                return False
            self._pending[op.id] = held
            self._awaited.setdefault(signer, []).append(op.id)
        elif not self._accept(held, certificate):
            return False
        self.pool = op.pool
        self._derived = self._digest = None
        return True

    def _takes_off(self, op: RosterOp) -> bool:
        """A first removal of a known node by a known signer: whoever fills the roster up must not be safe in it."""
        if not isinstance(op, RemoveOp) or op.node not in self._keys or op.signer not in self._signers:
            return False
        held = (each.op for each in self._ops.values())
        return not any(isinstance(each, RemoveOp) and (each.signer, each.node) == (op.signer, op.node) for each in held)

    def _accept(self, held: _Held, certificate: bytes) -> bool:
        """Keep the operation if `certificate`'s key signed it, and judge whatever waited for it, and so on."""
        if not self._authentic(held, certificate):
            return False
        fresh = [held]
        while fresh:
            held = fresh.pop()
            self._ops[held.op.id] = held
            for signer, shown in _signers_in(held.op):
                if signer in self._signers:
                    continue
                self._signers[signer] = shown.certificate
                for waiting in self._awaited.pop(signer, ()):
                    other = self._pending.pop(waiting)
                    if self._authentic(other, shown.certificate):
                        fresh.append(other)
                if not isinstance(held.op, InviteOp):
                    self._settle_claims(shown)
        return True

    def _authentic(self, held: _Held, certificate: bytes) -> bool:
        held.signatures = [one for one in held.signatures if self._verify(certificate, held.body, one)][:1]
        return bool(held.signatures)

    def put_record(self, record: Record, signed: Signed) -> bool:
        """Keep what a node says of itself, when it is newer than what is known; True when that is news.

        A record of a node whose certificate has not come yet is kept aside until it does.
        """
        known = self._records.get(record.node)
        if known is not None and _age(record, signed) <= _age(*known):
            return False
        certificate = self._keys.get(record.node)
        if certificate is not None:
            if not self._verify(certificate, signed.body, signed.signature):
                return False
            self._records[record.node] = (record, signed)
            self._derived = self._digest = None
            return True
        claims = self._claims.get(record.node, [])
        if (record, signed) in claims or (not claims and len(self._claims) >= MEMBERS_MAX):
            return False
        newest = sorted([*claims, (record, signed)], key=lambda claim: _age(*claim), reverse=True)
        self._claims[record.node] = newest[:_RECORDS_PER_NODE_MAX]
        return (record, signed) in self._claims[record.node]

    def _settle_claims(self, shown: Shown) -> None:
        """A node's certificate has come: judge what was said in its name."""
        self._keys.setdefault(shown.node, shown.certificate)
        for record, signed in self._claims.pop(shown.node, ()):
            self.put_record(record, signed)

    # ---- telling

    def members(self) -> dict[NodeId, Member]:
        """The present members, under the names of their newest records."""
        return self._derive().members

    def removed(self) -> frozenset[NodeId]:
        """Nodes that were taken off, or have gone over to a new key."""
        return self._derive().removed

    def suspended(self) -> dict[NodeId, Suspended]:
        """Nodes that show an invite which was for somebody else alone."""
        return self._derive().suspended

    def holds(self, op_id: bytes) -> bool:
        """Whether that operation is here and was judged to be true: then it need not be taken apart again."""
        return op_id in self._ops

    def invites(self) -> list[InviteState]:
        """All invites that count, used up and revoked ones too, oldest first."""
        return sorted(self._derive().invites.values(), key=lambda invite: (invite.made_at, invite.id))

    def invite_of(self, fingerprint: bytes) -> InviteState | None:
        """The invite whose derived certificate has that fingerprint."""
        return self._derive().invites.get(fingerprint)

    def member_of(self, fingerprint: bytes) -> NodeId | None:
        """The present member that shows the certificate with that fingerprint."""
        return self._derive().by_fingerprint.get(fingerprint)

    def records(self) -> dict[NodeId, Record]:
        """What nodes say of themselves: the newest of each."""
        return {node: record for node, (record, _) in self._records.items()}

    def ops(self) -> list[Signed]:
        """All operations that are kept, each after those that it rests on; at the end those not yet to be judged."""
        kept = [*self._ops.values(), *(held for _, held in sorted(self._pending.items()))]
        return [Signed(held.body, signature) for held in kept for signature in held.signatures]

    def genesis(self) -> bytes:
        """The signed bytes with which the pool began, as every member holds them; empty while they have not come."""
        return next((held.body for held in self._ops.values() if isinstance(held.op, GenesisOp)), b"")

    def digest(self) -> bytes:
        """32 bytes over the ids of all operations and the newest records: equal sets have equal digests."""
        if self._digest is None:
            state = hashlib.sha256()
            for op_id in sorted([*self._ops, *self._pending]):
                state.update(op_id)
            for node in sorted(self._records):
                state.update(hashlib.sha256(self._records[node][1].body).digest())
            self._digest = state.digest()
        return self._digest

    def all_parts(self, bytes_max: int) -> list[RosterPart]:
        """Everything, in parts whose signed bytes stay within `bytes_max`; at least one, the last marked."""
        ops = _batches(self.ops(), bytes_max)
        records = _batches((signed for _, (_, signed) in sorted(self._records.items())), bytes_max)
        parts = [RosterPart(ops=batch, last=False) for batch in ops]
        parts += [RosterPart(records=batch, last=False) for batch in records]
        last = parts.pop() if parts else RosterPart()
        return [*parts, RosterPart(ops=last.ops, records=last.records, last=True)]

    def _derive(self) -> Membership:
        if self._derived is None:
            names = {node: record.name for node, (record, _) in self._records.items()}
            self._derived = read_membership((held.op for held in self._ops.values()), names)
        return self._derived


def _signer_of(op: RosterOp) -> bytes:
    """Under what the certificate that verifies the operation is known: a fingerprint, or an invite's operation id."""
    match op:
        case GenesisOp():
            return op.founder.fingerprint
        case AddOp():
            return op.invite
        case InviteOp() | RemoveOp() | RevokeOp() | RekeyOp():
            return op.signer
        case _:
            assert_never(op)


def _signers_in(op: RosterOp) -> list[tuple[bytes, Shown]]:
    """The certificates that an operation brings, each under what signers name it by."""
    match op:
        case GenesisOp():
            return [(op.founder.fingerprint, op.founder)]
        case InviteOp():
            return [(op.id, op.shown)]
        case AddOp() | RekeyOp():
            return [(op.shown.fingerprint, op.shown)]
        case RemoveOp() | RevokeOp():
            return []
        case _:
            assert_never(op)


def _age(record: Record, signed: Signed) -> tuple[int, bytes]:
    """Newer records compare greater; two of one counter are told apart by their bytes, the same everywhere."""
    return record.counter, signed.body


def _batches(items: Iterable[Signed], bytes_max: int) -> list[tuple[Signed, ...]]:
    batches: list[tuple[Signed, ...]] = []
    batch: list[Signed] = []
    size = 0
    for item in items:
        weight = len(item.body) + len(item.signature) + _PART_OVERHEAD_BYTES
        if batch and size + weight > bytes_max:
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(item)
        size += weight
    if batch:
        batches.append(tuple(batch))
    return batches
