"""Who is a member: a set of signed operations, and what follows from it.

Invariants: members, invites and removals are functions of the *set* of operations, so any two nodes that hold the same
set agree, in whatever order and how often the operations came; a signature counts only under a certificate that the
set itself makes a member's (or an invite's); what cannot be judged yet is kept and judged again when more has come;
a removed key is never a member again.

How the set is read:
1. The genesis makes its founder a member. An invite counts when one who ever was a member signed it; an admission
   counts when its invite counts and the invite's key signed it, for the first `uses` nodes by operation id. That is a
   least fixed point, so it has no order. Being removed does not undo what was signed before: an admission carries no
   time, and half a pool would vanish with whoever had invited it. The invites of a removed member admit nobody *new*:
   they show as revoked.
2. A node that gave itself a new key is followed by the new one.
3. Removals: all count, save those that members aim at each other in a ring; there the most senior of the ring (the
   founder, then the shortest chain of invites, then the lowest operation id) cannot be removed by the others.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class InviteState:
    """An invite as it stands.

    Attributes:
        id: of its operation.
        used: nodes that it has admitted, the since removed included.
        not_after, made_at: seconds since 1970 by the inviter's clock; whoever admits compares, the roster does not.
        revoked: by a revocation, or because its signer was removed.
    """

    id: bytes
    certificate: bytes = field(repr=False)
    fingerprint: bytes
    proof_key: bytes = field(repr=False)
    uses: int
    used: int
    not_after: int
    made_at: int
    signer_name: str
    revoked: bool
    admitted: frozenset[NodeId] = frozenset()


@dataclass(slots=True)
class _Held:
    """An operation and the signatures that claim it: one when verified."""

    op: RosterOp
    body: bytes
    signatures: list[bytes]
    place: int = -1  # in the order in which operations were verified; -1: not yet

    @property
    def verified(self) -> bool:
        return self.place >= 0


@dataclass(slots=True)
class _Member:
    """A node while the set is read. `rank` orders by seniority, lowest first."""

    shown: Shown
    name: str
    rank: tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class _Derived:
    """All that follows from the present set."""

    members: dict[NodeId, Member]
    ever: dict[NodeId, _Member]
    removed: frozenset[NodeId]
    suspended: frozenset[NodeId]
    invites: dict[bytes, InviteState]  # by certificate fingerprint
    by_fingerprint: dict[bytes, NodeId]


class Roster:
    """The roster of one pool.

    Args:
        verify: checks a signature; its answers are kept, so it is called about once an operation.
        pool: whose roster; left out, the first operation decides.
    """

    def __init__(self, verify: Verify, pool: PoolId | None = None) -> None:
        self.pool = pool
        self._verify = verify
        self._ops: dict[bytes, _Held] = {}
        self._pending: set[bytes] = set()
        self._signers: dict[bytes, bytes] = {}  # what verifies: by member's fingerprint, or by invite's operation id
        self._records: dict[NodeId, tuple[Record, Signed]] = {}
        self._claimed: dict[NodeId, list[tuple[Record, Signed]]] = {}
        self._places = 0
        self._derived: _Derived | None = None
        self._digest: bytes | None = None

    # ---- taking in

    def add(self, op: RosterOp, signed: Signed) -> bool:
        """Keep the operation; True when that is news worth passing on.

        False: known already, another pool's, signed wrongly as far as can be told, or beyond the limits.
        """
        if self.pool is not None and op.pool != self.pool:
            return False
        held = self._ops.get(op.id)
        if held is not None:
            if not held.verified and signed.signature not in held.signatures:
                held.signatures = sorted({*held.signatures, signed.signature})[:_SIGNATURES_PER_OP_MAX]
                self._changed()
            return False
        if len(self._pending) >= ROSTER_PENDING_MAX:
            self._derive()
        if len(self._ops) >= ROSTER_OPS_MAX or len(self._pending) >= ROSTER_PENDING_MAX:
            return False
        held = _Held(op, signed.body, [signed.signature])
        certificate = op.founder.certificate if isinstance(op, GenesisOp) else self._signers.get(_signer_of(op))
        if certificate is not None:
            if not self._verify(certificate, signed.body, signed.signature):
                return False
            held.place = self._places
            self._places += 1
        else:
            # Judged when the set is read next; to read it now for each of thousands would take minutes.
            self._pending.add(op.id)
        self._ops[op.id] = held
        self.pool = op.pool
        self._changed()
        return True

    def put_record(self, record: Record, signed: Signed) -> bool:
        """Keep what a node says of itself, when it is newer than what is known; True when that is news.

        A record of a node that is not on the roster (yet) is kept aside until it is.
        """
        known = self._records.get(record.node)
        if known is not None and _age(record, signed) <= _age(*known):
            return False
        author = self._derive().ever.get(record.node)
        if author is not None:
            if not self._verify(author.shown.certificate, signed.body, signed.signature):
                return False
            self._records[record.node] = (record, signed)
            self._changed()
            return True
        claims = self._claimed.get(record.node, [])
        if (record, signed) in claims or (not claims and len(self._claimed) >= MEMBERS_MAX):
            return False
        newest = sorted([*claims, (record, signed)], key=lambda claim: _age(*claim), reverse=True)
        self._claimed[record.node] = newest[:_RECORDS_PER_NODE_MAX]
        return (record, signed) in self._claimed[record.node]

    def _changed(self) -> None:
        self._derived = None
        self._digest = None

    # ---- telling

    def members(self) -> dict[NodeId, Member]:
        """The present members, under the names of their newest records."""
        return self._derive().members

    def removed(self) -> frozenset[NodeId]:
        """Nodes that were taken off, or have gone over to a new key."""
        return self._derive().removed

    def suspended(self) -> frozenset[NodeId]:
        """Nodes that an invite would have admitted beyond its uses: somebody has passed the code on."""
        return self._derive().suspended

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
        self._derive()
        return {node: record for node, (record, _) in self._records.items()}

    def ops(self) -> list[Signed]:
        """All operations that are kept, each after those that it rests on; at the end those not yet to be judged."""
        self._derive()
        order = sorted(self._ops.values(), key=lambda held: (not held.verified, held.place, held.op.id))
        return [Signed(held.body, signature) for held in order for signature in held.signatures]

    def digest(self) -> bytes:
        """32 bytes over the ids of all operations and the newest records: equal sets have equal digests."""
        if self._digest is None:
            self._derive()
            state = hashlib.sha256()
            for op_id in sorted(self._ops):
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

    # ---- reading the set

    def _derive(self) -> _Derived:
        if self._derived is None:
            reading = _Reading(self._ops, self._verify, self._places)
            reading.admit()
            self._drop_forged(reading)
            self._settle_claims(reading)
            self._derived = reading.conclude({node: record.name for node, (record, _) in self._records.items()})
            self._digest = None
        return self._derived

    def _drop_forged(self, reading: "_Reading") -> None:
        """Forget what turned out to be signed by nobody."""
        for op_id in reading.forged:
            del self._ops[op_id]
        self._pending = {op_id for op_id in self._pending if op_id in self._ops and not self._ops[op_id].verified}
        self._signers = reading.signers()
        self._places = reading.places

    def _settle_claims(self, reading: "_Reading") -> None:
        for node in [node for node in self._claimed if node in reading.ever]:
            certificate = reading.ever[node].shown.certificate
            for record, signed in self._claimed.pop(node):
                known = self._records.get(node)
                newer = known is None or _age(record, signed) > _age(*known)
                if newer and self._verify(certificate, signed.body, signed.signature):
                    self._records[node] = (record, signed)


class _Reading:
    """One pass over a set of operations. `ever` holds everybody whom it ever made a member."""

    def __init__(self, ops: dict[bytes, _Held], verify: Verify, places: int) -> None:
        self._verify = verify
        self._held = [held for _, held in sorted(ops.items())]
        self.places = places
        self.ever: dict[NodeId, _Member] = {}
        self.forged: list[bytes] = []
        self._shown: dict[bytes, Shown] = {}
        self._invites: dict[bytes, InviteOp] = {}
        self._admitted: dict[bytes, list[NodeId]] = {}
        self._surplus: set[NodeId] = set()
        self._heirs: dict[NodeId, NodeId] = {}
        self._own_right: set[NodeId] = set()  # members not only as somebody's new key

    def _of_kind(self, kind: type[RosterOp]) -> Iterator[_Held]:
        return (held for held in self._held if isinstance(held.op, kind))

    def _signed(self, held: _Held, certificate: bytes) -> bool:
        """Judge the operation now that its signer's certificate is known; once forged, it is dropped for good."""
        if not held.verified:
            true = [one for one in held.signatures if self._verify(certificate, held.body, one)]
            if not true:
                if held.op.id not in self.forged:
                    self.forged.append(held.op.id)
                return False
            held.signatures = true[:1]
            held.place = self.places
            self.places += 1
        return True

    def _take(self, shown: Shown, name: str, rank: tuple[int, bytes, int]) -> None:
        self._shown.setdefault(shown.fingerprint, shown)
        known = self.ever.get(shown.node)
        if known is None or rank < known.rank:
            self.ever[shown.node] = _Member(shown, name, rank)

    def signers(self) -> dict[bytes, bytes]:
        """The certificates that verify operations: members' by fingerprint, invites' by operation id."""
        members = {fingerprint: shown.certificate for fingerprint, shown in self._shown.items()}
        return members | {op_id: invite.shown.certificate for op_id, invite in self._invites.items()}

    def admit(self) -> None:
        """Steps 1 and 2: everybody who was ever taken in, one generation of inviters after the other, so that who is
        found first is found by the shortest chain."""
        for held in self._of_kind(GenesisOp):
            assert isinstance(held.op, GenesisOp)
            self._own_right.add(held.op.founder.node)
            self._take(held.op.founder, held.op.name, (0, b"", 0))
        adds: dict[bytes, list[_Held]] = {}
        for held in self._of_kind(AddOp):
            assert isinstance(held.op, AddOp)
            adds.setdefault(held.op.invite, []).append(held)
        while True:
            self._follow_all()
            generation = dict(self._shown)
            for held in self._of_kind(InviteOp):
                assert isinstance(held.op, InviteOp)
                signer = generation.get(held.op.signer)
                if signer is None or held.op.id in self._invites or not self._signed(held, signer.certificate):
                    continue
                self._invites[held.op.id] = held.op
                self._redeem(held.op, signer.node, adds.get(held.op.id, []))
            if len(self._shown) == len(generation):
                break
        for held in self._held:
            if isinstance(held.op, RemoveOp | RevokeOp):
                signer = self._shown.get(held.op.signer)
                if signer is not None:
                    self._signed(held, signer.certificate)

    def _redeem(self, invite: InviteOp, signer: NodeId, adds: list[_Held]) -> None:
        admitted: list[NodeId] = []
        depth = self.ever[signer].rank[0] + 1
        for held in adds:
            assert isinstance(held.op, AddOp)
            if not self._signed(held, invite.shown.certificate):
                continue
            node = held.op.shown.node
            if node not in admitted:
                if len(admitted) >= invite.uses:
                    self._surplus.add(node)
                    continue
                admitted.append(node)
            self._own_right.add(node)
            self._take(held.op.shown, held.op.name, (depth, held.op.id, 0))
        self._admitted[invite.id] = admitted

    def _follow_all(self) -> None:
        """Let new keys follow old ones until nothing follows any more (a new key may be replaced in its turn)."""
        while True:
            known = len(self._heirs)
            for held in self._of_kind(RekeyOp):
                op = held.op
                assert isinstance(op, RekeyOp)
                signer = self._shown.get(op.signer)
                if signer is None or signer.node != op.node or not self._signed(held, signer.certificate):
                    continue
                if op.node not in self._heirs:  # operations come in the order of their ids: the lowest has it
                    self._heirs[op.node] = op.shown.node
                    old = self.ever[op.node]
                    self._take(op.shown, old.name, (old.rank[0], old.rank[1], old.rank[2] + 1))
            if len(self._heirs) == known:
                return

    def conclude(self, names: dict[NodeId, str]) -> _Derived:
        """Step 3, and the answers."""
        out = self._taken_off()
        for node in list(out):
            # A removal takes the later keys of that node with it; but naming somebody else's certificate as one's new
            # key must not give power over them.
            while (heir := self._heirs.get(node)) is not None and heir not in out and heir not in self._own_right:
                out.add(heir)
                node = heir
        removed = frozenset(out | {old for old in self._heirs if old in self.ever})
        present = {node: member for node, member in self.ever.items() if node not in removed}
        members = {
            node: Member(node, names.get(node) or one.name, one.shown.certificate, one.shown.fingerprint)
            for node, one in present.items()
        }
        revoked = {
            held.op.invite
            for held in self._held
            if isinstance(held.op, RevokeOp) and held.verified and held.op.signer in self._shown
        }
        invites: dict[bytes, InviteState] = {}
        for _, invite in sorted(self._invites.items()):
            gone = invite.id in revoked or self._shown[invite.signer].node in removed
            invites.setdefault(invite.shown.fingerprint, self._state_of(invite, gone))
        return _Derived(
            members=members,
            ever=self.ever,
            removed=removed,
            suspended=frozenset(self._surplus - self.ever.keys()),
            invites=invites,
            by_fingerprint={
                fingerprint: shown.node for fingerprint, shown in self._shown.items() if shown.node in members
            },
        )

    def _state_of(self, invite: InviteOp, revoked: bool) -> InviteState:
        return InviteState(
            id=invite.id,
            certificate=invite.shown.certificate,
            fingerprint=invite.shown.fingerprint,
            proof_key=invite.proof_key,
            uses=invite.uses,
            used=len(self._admitted[invite.id]),
            not_after=invite.not_after,
            made_at=invite.made_at,
            signer_name=invite.signer_name,
            revoked=revoked,
            admitted=frozenset(self._admitted[invite.id]),
        )

    def _taken_off(self) -> set[NodeId]:
        """Whom the removals take off, rings of mutual removal resolved by seniority."""
        aims: dict[NodeId, set[NodeId]] = {}
        out: set[NodeId] = set()
        for held in self._of_kind(RemoveOp):
            assert isinstance(held.op, RemoveOp)
            signer = self._shown.get(held.op.signer)  # None: was admitted once, but beyond an invite's uses
            if not held.verified or signer is None:
                continue
            if signer.node == held.op.node:
                out.add(signer.node)  # leaving is everybody's own affair
            else:
                aims.setdefault(signer.node, set()).add(held.op.node)
        reach = {node: _reachable(aims, node) for node in aims}
        for node, targets in aims.items():
            ring = {other for other in reach[node] if node in reach.get(other, ())}
            for target in targets:
                if target in ring and target == min(ring, key=lambda other: self.ever[other].rank):
                    continue
                out.add(target)
        return out


def _signer_of(op: InviteOp | AddOp | RemoveOp | RevokeOp | RekeyOp) -> bytes:
    """Under what the certificate that verifies the operation is kept."""
    return op.invite if isinstance(op, AddOp) else op.signer


def _reachable(aims: dict[NodeId, set[NodeId]], start: NodeId) -> set[NodeId]:
    """All nodes that a chain of removals leads to from `start`."""
    found: set[NodeId] = set()
    open_ends = [start]
    while open_ends:
        for target in aims.get(open_ends.pop(), ()):
            if target not in found:
                found.add(target)
                open_ends.append(target)
    return found


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
