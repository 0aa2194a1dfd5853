"""What follows from a set of authentic roster operations: who is a member, which invites stand, who was taken off.

Invariant: the answer is a function of the set: operations are read in the order of their ids, never of their coming.

1. The genesis makes its founder a member. An invite counts when one who ever was a member signed it; an admission
   counts when its invite counts. Where an invite for a single use has admitted several (on both sides of a partition,
   or its code was passed on), the one of the lowest operation id stays and the others are suspended; one for several
   uses may overshoot, since whoever made it meant a crowd, and people are told. That is a least fixed point, so it has
   no order. Being removed does not undo what was signed before: an admission carries no time, and half a pool would
   vanish with whoever had invited it. The invites of a removed member admit nobody *new*: they show as revoked.
2. A node that gave itself a new key is followed by the new one.
3. Removals: all count, save those that members aim at each other in a ring; there the most senior of the ring (the
   founder, then the shortest chain of invites, then the lowest operation id) cannot be removed by the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from meerkat.model.ids import NodeId
from meerkat.model.member import Member
from meerkat.model.roster import AddOp, GenesisOp, InviteOp, RekeyOp, RemoveOp, RevokeOp, RosterOp, Shown


@dataclass(frozen=True, slots=True)
class InviteState:
    """An invite as it stands.

    Attributes:
        id: of its operation.
        used: nodes that it has admitted, the since removed included; may exceed `uses`, see above.
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


@dataclass(frozen=True, slots=True)
class Suspended:
    """A node that is no member, because the invite that it shows was for somebody else alone: somebody has passed the
    code on, or it was used on both sides of a partition.

    Attributes:
        name: under which it joined.
        invite: operation id of that invite; `signer_name` made it.
    """

    name: str
    invite: bytes
    signer_name: str


@dataclass(slots=True)
class _Member:
    """A node while the set is read. `rank` orders by seniority, lowest first."""

    shown: Shown
    name: str
    rank: tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class Membership:
    """All that follows from one set of operations.

    Attributes:
        removed: nodes that were taken off, or have gone over to a new key.
        invites: by the fingerprint of their certificate; used up and revoked ones too.
        by_fingerprint: present members by the fingerprint of each certificate that they may show.
    """

    members: dict[NodeId, Member]
    removed: frozenset[NodeId]
    suspended: dict[NodeId, Suspended]
    invites: dict[bytes, InviteState]
    by_fingerprint: dict[bytes, NodeId]


def read_membership(ops: Iterable[RosterOp], names: dict[NodeId, str]) -> Membership:
    """Read the set. `names`: what nodes call themselves by now, instead of the name under which they joined."""
    return _Reading(ops).conclude(names)


class _Reading:
    """One pass over the set. `_ever` holds everybody whom it ever made a member."""

    def __init__(self, ops: Iterable[RosterOp]) -> None:
        ordered = sorted(ops, key=lambda op: op.id)
        self._invitations = [op for op in ordered if isinstance(op, InviteOp)]
        self._removals = [op for op in ordered if isinstance(op, RemoveOp)]
        self._revocations = [op for op in ordered if isinstance(op, RevokeOp)]
        self._rekeys = [op for op in ordered if isinstance(op, RekeyOp)]
        self._adds: dict[bytes, list[AddOp]] = {}
        self._ever: dict[NodeId, _Member] = {}
        self._shown: dict[bytes, Shown] = {}
        self._invites: dict[bytes, InviteOp] = {}
        self._admitted: dict[bytes, list[NodeId]] = {}
        self._surplus: dict[NodeId, Suspended] = {}
        self._heirs: dict[NodeId, NodeId] = {}
        self._own_right: set[NodeId] = set()  # members not only as somebody's new key
        for op in ordered:
            if isinstance(op, AddOp):
                self._adds.setdefault(op.invite, []).append(op)
            elif isinstance(op, GenesisOp):
                self._own_right.add(op.founder.node)
                self._take(op.founder, op.name, (0, b"", 0))
        self._admit()

    def _take(self, shown: Shown, name: str, rank: tuple[int, bytes, int]) -> None:
        self._shown.setdefault(shown.fingerprint, shown)
        known = self._ever.get(shown.node)
        if known is None or rank < known.rank:
            self._ever[shown.node] = _Member(shown, name, rank)

    def _admit(self) -> None:
        """Steps 1 and 2: everybody who was ever taken in, one generation of inviters after the other, so that who is
        found first is found by the shortest chain."""
        while True:
            self._follow()
            generation = dict(self._shown)
            for invite in self._invitations:
                signer = generation.get(invite.signer)
                if signer is not None and invite.id not in self._invites:
                    self._invites[invite.id] = invite
                    self._redeem(invite, signer.node)
            if len(self._shown) == len(generation):
                return

    def _redeem(self, invite: InviteOp, signer: NodeId) -> None:
        admitted: list[NodeId] = []
        depth = self._ever[signer].rank[0] + 1
        for add in self._adds.get(invite.id, ()):
            node = add.shown.node
            if node not in admitted:
                if admitted and invite.uses == 1:
                    self._surplus.setdefault(node, Suspended(add.name, invite.id, invite.signer_name))
                    continue
                admitted.append(node)
            self._own_right.add(node)
            self._take(add.shown, add.name, (depth, add.id, 0))
        self._admitted[invite.id] = admitted

    def _follow(self) -> None:
        """Let new keys follow old ones until nothing follows any more (a new key may be replaced in its turn)."""
        while True:
            known = len(self._heirs)
            for op in self._rekeys:
                signer = self._shown.get(op.signer)
                # Operations come in the order of their ids: of two new keys for one node the lowest has it.
                if signer is not None and signer.node == op.node and op.node not in self._heirs:
                    self._heirs[op.node] = op.shown.node
                    old = self._ever[op.node]
                    self._take(op.shown, old.name, (old.rank[0], old.rank[1], old.rank[2] + 1))
            if len(self._heirs) == known:
                return

    def conclude(self, names: dict[NodeId, str]) -> Membership:
        """Step 3, and the answers."""
        out = self._taken_off()
        for node in list(out):
            # A removal takes the later keys of that node with it; but naming somebody else's certificate as one's new
            # key must not give power over them.
            while (heir := self._heirs.get(node)) is not None and heir not in out and heir not in self._own_right:
                out.add(heir)
                node = heir
        removed = frozenset(out | {old for old in self._heirs if old in self._ever})
        present = {node: member for node, member in self._ever.items() if node not in removed}
        members = {
            node: Member(node, names.get(node) or one.name, one.shown.certificate, one.shown.fingerprint)
            for node, one in present.items()
        }
        revoked = {op.invite for op in self._revocations if op.signer in self._shown}
        invites: dict[bytes, InviteState] = {}
        for _, invite in sorted(self._invites.items()):
            gone = invite.id in revoked or self._shown[invite.signer].node in removed
            invites.setdefault(invite.shown.fingerprint, self._state_of(invite, gone))
        return Membership(
            members=members,
            removed=removed,
            suspended={node: one for node, one in sorted(self._surplus.items()) if node not in self._ever},
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
        for op in self._removals:
            signer = self._shown.get(op.signer)  # None: was admitted beyond an invite's uses
            if signer is None:
                continue
            if signer.node == op.node:
                out.add(signer.node)  # leaving is everybody's own affair
            else:
                aims.setdefault(signer.node, set()).add(op.node)
        reach = {node: _reachable(aims, node) for node in aims}
        for node, targets in aims.items():
            ring = {other for other in reach[node] if node in reach.get(other, ())}
            for target in targets:
                if target in ring and target == min(ring, key=lambda other: self._ever[other].rank):
                    continue
                out.add(target)
        return out


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
