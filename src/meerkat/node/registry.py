"""The roster at work: read from disk, grown by what members say, asked by the port who may come in.

Invariant: an operation is on this disk before anything follows from it here or anyone is told of it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

from meerkat.core.membership import Suspended
from meerkat.core.pace import Pace
from meerkat.core.roster import InviteState, Roster
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import JoinAnswer, JoinAsk, PeerFault, RosterPart, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import (
    ADDRESSES_MAX,
    ADDRESSES_SEEN_MAX,
    CONTROL_PART_BYTES_MAX,
    INVITE_LIFE_S_MAX,
    INVITE_USES_MAX,
    INVITES_OVER_TOLD_MAX,
    RECORD_RETELL_S,
    ROSTER_JUDGED_BURST,
    ROSTER_JUDGED_PER_S,
    ROSTER_SLICE,
    WAYS_MAX,
)
from meerkat.model.member import Member
from meerkat.model.roster import AddOp
from meerkat.store.roster import RosterStore
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity, node_of, verify
from meerkat.wire.invite import InviteSecret, encode_invite

MARKS_OF_INVITE = 12
"""Hexadecimal digits of an invite's id that people are shown."""

log = logging.getLogger("meerkat.registry")


def wall_clock() -> int:
    """Seconds since 1970: what an invite's end is told in (nothing else is decided by it)."""
    return int(time.time())  # noqa: TID251


class Registry:
    """This node's roster. Also the `Gate` of the pool's port."""

    def __init__(self, folder: Path, identity: Identity, pool: PoolId) -> None:
        self.pool = pool
        self._identity = identity
        self._store = RosterStore(folder)
        self._roster = Roster(verify, pool)
        self._certificates: tuple[int, list[bytes]] = (0, [])
        self._fresh: list[RosterPart] = []
        self._listeners: list[Callable[[], None]] = []
        self._write = asyncio.Lock()
        self._admitting = asyncio.Lock()
        self._paces: dict[NodeId, Pace] = {}
        self._seen: dict[NodeId, tuple[str, ...]] = {}
        self._met: dict[NodeId, tuple[str, ...]] = {}

    async def load(self) -> None:
        """Read what earlier starts have kept."""
        stored = await asyncio.to_thread(self._store.load)
        for name in stored.damaged:
            log.error("%s in the roster was damaged and set aside; members hand it over again", name)
        self._seen = dict(stored.seen)
        self._take(RosterPart(ops=tuple(stored.ops), records=tuple(stored.records.values())))
        self._swap_certificates()

    def on_changed(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    # ---- the gate (asked from gRPC's threads too: reads only)

    def member_of(self, fingerprint: bytes) -> NodeId | None:
        return self._roster.member_of(fingerprint)

    def invite_of(self, fingerprint: bytes) -> InviteState | None:
        return self._roster.invite_of(fingerprint)

    def certificates(self) -> tuple[int, list[bytes]]:
        return self._certificates

    def _swap_certificates(self) -> None:
        """Invites that are over stay among the roots for a while: only so can their bearer be told why they are
        refused. The newest of them do; TLS parses all roots anew whenever the roster changes."""
        members = [member.certificate for member in self._roster.members().values()]
        now = wall_clock()
        invites = self._roster.invites()
        usable = [invite.certificate for invite in invites if is_usable(invite, now)]
        over = [invite.certificate for invite in invites if not is_usable(invite, now)][-INVITES_OVER_TOLD_MAX:]
        self._certificates = (self._certificates[0] + 1, members + usable + over)

    # ---- asking

    def members(self) -> dict[NodeId, Member]:
        return self._roster.members()

    def name_of(self, node: NodeId) -> str:
        member = self._roster.members().get(node)
        return member.name if member is not None else node[:8]

    def addresses(self, node: NodeId) -> list[str]:
        """Where the node may answer: where it did last, as long as it says so itself; whatever else it says; and where
        it once did, or said to be in the local network."""
        told, seen = self.told_addresses(node), self._seen.get(node, ())
        still = [each for each in seen if each in told]
        return list(dict.fromkeys([*still, *told, *self._met.get(node, ()), *seen]))[:WAYS_MAX]

    def told_addresses(self, node: NodeId) -> tuple[str, ...]:
        """Where it says that it is, in its newest record."""
        record = self._roster.records().get(node)
        return record.addresses if record is not None else ()

    def digest(self) -> bytes:
        return self._roster.digest()

    def all_parts(self, bytes_max: int) -> list[RosterPart]:
        return self._roster.all_parts(bytes_max)

    def fresh_parts(self) -> list[RosterPart]:
        """What is new since the last call, to be passed on."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def invites(self) -> list[InviteState]:
        return self._roster.invites()

    def removed(self) -> frozenset[NodeId]:
        """Nodes that were taken off, or have gone over to a new key."""
        return self._roster.removed()

    def suspended(self) -> dict[NodeId, Suspended]:
        """Nodes that show an invite which was for somebody else alone."""
        return self._roster.suspended()

    @property
    def is_out(self) -> bool:
        """This node was taken off, or has turned out to be one too many for its invite."""
        return self._identity.node in self._roster.removed() or self._identity.node in self._roster.suspended()

    def why_out(self, folder: Path) -> Fault:
        """What a person is told whose node is no member any more."""
        surplus = self._roster.suspended().get(self._identity.node)
        if surplus is None:
            return Fault(
                "not_member",
                f"this node was taken off the pool of {folder}",
                hint="join anew with an invite, after moving .meerkat away; the files stay",
                exit_code=Exit.NOT_ALLOWED,
            )
        return Fault(
            "not_member",
            f"another node has joined the pool of {folder} with the same invite, which was for one",
            cause=f"the invite of {surplus.signer_name} was used twice while members could not reach each other, or "
            "somebody else has its code",
            hint="ask for another invite and join anew, after moving .meerkat away; the files stay",
            exit_code=Exit.NOT_ALLOWED,
        )

    # ---- growing

    async def hear(self, part: RosterPart, node: NodeId) -> None:
        """A member hands over a part. What it brings that has to be judged, true or not, is work for this node and, if
        it is news, for all others: who brings more of it than a pool has is heard more slowly."""
        judged = await self.take_in(part, self.name_of(node))
        for other in self._paces.keys() - self._roster.members().keys():
            del self._paces[other]
        pace = self._paces.setdefault(node, Pace(ROSTER_JUDGED_PER_S, ROSTER_JUDGED_BURST))
        if wait := pace.spend(judged, asyncio.get_running_loop().time()):
            await asyncio.sleep(wait)

    async def take_in(self, part: RosterPart, sender: str = "") -> int:
        """Keep what is new of a part, tell the listeners. `sender`: the name of the member that sent it.

        Returns:
            how many operations and records had to be judged.
        """
        judged = 0
        async with self._write:
            ops: list[Signed] = []
            records: list[Signed] = []
            for piece in self._unjudged(part):
                judged += len(piece.ops) + len(piece.records)
                fresh = self._take(piece, sender)
                ops += fresh.ops
                records += fresh.records
                await asyncio.sleep(0)  # a roster of thousands must not keep pings waiting
            if not ops and not records:
                return judged
            fresh = RosterPart(tuple(ops), tuple(records))
            await asyncio.to_thread(self._keep, fresh)
            self._swap_certificates()
            self._fresh.append(fresh)
        for listener in self._listeners:
            listener()
        return judged

    def _unjudged(self, part: RosterPart) -> list[RosterPart]:
        """A part without the operations that are here already, in small pieces."""
        ops = [signed for signed in part.ops if not self._roster.holds(rosterops.op_id(signed.body))]
        pieces = [RosterPart(ops=tuple(ops[at : at + ROSTER_SLICE])) for at in range(0, len(ops), ROSTER_SLICE)]
        for at in range(0, len(part.records), ROSTER_SLICE):
            pieces.append(RosterPart(records=tuple(part.records[at : at + ROSTER_SLICE])))
        return pieces

    def _take(self, part: RosterPart, sender: str = "") -> RosterPart:
        source = f" from {sender}" if sender else ""
        ops, records = [], []
        for signed in part.ops:
            try:
                if self._roster.add(rosterops.parse_op(signed), signed):
                    ops.append(signed)
            except PeerFault as fault:
                log.warning("a roster operation%s was refused: %s", source, fault)
        for signed in part.records:
            try:
                if self._roster.put_record(rosterops.parse_record(signed), signed):
                    records.append(signed)
            except PeerFault as fault:
                log.warning("a node's record%s was refused: %s", source, fault)
        return RosterPart(tuple(ops), tuple(records))

    def _keep(self, part: RosterPart) -> None:
        self._store.put_ops(part.ops)
        for signed in part.records:
            self._store.put_record(rosterops.parse_record(signed).node, signed)

    def admitted_by(self, part: RosterPart) -> bytes | None:
        """The id of the part's last operation, if that is an admission that counts by now."""
        if not part.ops:
            return None
        try:
            op = rosterops.parse_op(part.ops[-1])
        except PeerFault:
            return None
        return op.id if isinstance(op, AddOp) and op.shown.node in self._roster.members() else None

    async def tell_record(self, name: str, addresses: Iterable[str]) -> None:
        """Say under which name and where this node is, if that is news."""
        told = tuple(dict.fromkeys(addresses))[:ADDRESSES_MAX]
        if self.tells(name, told):
            return
        known = self._roster.records().get(self._identity.node)
        counter = known.counter + 1 if known is not None else 1
        await self.take_in(RosterPart(records=(rosterops.make_record(self._identity, counter, name, told),)))

    async def stay_told(self, told: Callable[[], tuple[str, Iterable[str]]]) -> None:
        """For ever, put right what members hold for this node's newest word: a copy of it may have spoken in its name,
        or this roster was set back, and what it says since is older than what they know."""
        news = asyncio.Event()
        self._listeners.append(news.set)
        while True:
            await news.wait()
            news.clear()
            await asyncio.sleep(RECORD_RETELL_S)
            await self.tell_record(*told())

    def tells(self, name: str, addresses: Iterable[str]) -> bool:
        """Whether that is what members are told of this node (not so after a copy of it has spoken in its name)."""
        known = self._roster.records().get(self._identity.node)
        told = tuple(dict.fromkeys(addresses))[:ADDRESSES_MAX]
        return known is not None and (known.name, known.addresses) == (name, told)

    def was_linked(self, node: NodeId) -> bool:
        """Whether there ever was a link with the node, in this life or an earlier one."""
        return node in self._seen

    def linked(self, node: NodeId) -> None:
        """There is a link, whoever dialled."""
        if node not in self._seen:
            self._seen[node] = ()
            self._store.put_seen(node, ())

    def answered(self, node: NodeId, address: str) -> None:
        """The node answered there: try there first next time."""
        before = self._seen.get(node, ())
        if before[:1] != (address,):
            self._seen[node] = (address, *(each for each in before if each != address))[:ADDRESSES_SEEN_MAX]
            self._store.put_seen(node, self._seen[node])

    def met(self, node: NodeId, addresses: tuple[str, ...]) -> bool:
        """Somebody in the local network says that the node is there; whether that is news. Not signed, not kept."""
        before = set(self.addresses(node))
        self._met[node] = addresses
        return not before.issuperset(addresses)

    def genesis(self) -> bytes:
        """The signed bytes with which the pool began."""
        return self._roster.genesis()

    # ---- invites

    async def invite(self, name: str, addresses: Iterable[str], *, uses: int, life_s: int) -> tuple[str, InviteState]:
        """A new invite: its code and how it stands.

        Raises:
            Fault: uses or life out of range (usage).
        """
        if not 1 <= uses <= INVITE_USES_MAX:
            raise Fault("bad_value", f"an invite has 1 to {INVITE_USES_MAX} uses", exit_code=Exit.USAGE)
        if not 1 <= life_s <= INVITE_LIFE_S_MAX:
            raise Fault("bad_value", "an invite lives between a second and a year", exit_code=Exit.USAGE)
        secret = InviteSecret.new()
        now = wall_clock()
        signed = rosterops.make_invite(
            self.pool, self._identity, secret, uses=uses, not_after=now + life_s, made_at=now, signer_name=name
        )
        await self.take_in(RosterPart(ops=(signed,)))
        number = rosterops.op_id(signed.body)
        state = next(invite for invite in self._roster.invites() if invite.id == number)
        return encode_invite(self.pool, secret, list(addresses)), state

    async def revoke(self, beginning: str) -> InviteState:
        """End an invite, named by its id's beginning."""
        found = [invite for invite in self._roster.invites() if invite.id.hex().startswith(beginning.lower())]
        if len(found) != 1:
            what = "no invite" if not found else f"{len(found)} invites"
            raise Fault(
                "not_found",
                f"{what} with an id that begins with {beginning!r}",
                hint="meerkat invite list",
                exit_code=4,
            )
        await self.take_in(RosterPart(ops=(rosterops.make_revoke(self.pool, self._identity, found[0].id),)))
        return found[0]

    async def admit(self, ask: JoinAsk, invite: InviteState, files: int, size: int) -> AsyncGenerator[JoinAnswer, None]:
        """Answer a newcomer that showed an invite's certificate (the port has proved to it that we know the invite)."""
        if ask.admission is None:
            # Whoever it has admitted already may have missed the answer, and asks from the beginning.
            refused = self._unusable(invite, node_of(ask.certificate))
            if refused is None:
                yield JoinAnswer(pool=self.pool, files=files, bytes=size)
            else:
                yield refused
            return
        try:
            op = rosterops.parse_op(ask.admission)
        except PeerFault as fault:
            yield JoinAnswer(refused="bad", reason=str(fault))
            return
        if not isinstance(op, AddOp) or op.shown.certificate != ask.certificate or op.invite != invite.id:
            yield JoinAnswer(refused="bad", reason="the admission is not for this newcomer and this invite")
            return
        node = op.shown.node
        records = (ask.record,) if ask.record is not None else ()
        async with self._admitting:  # two at once for the last use: who was told that it is in must stay in
            refused = self._unusable(invite, node)
            if refused is None:
                await self.take_in(RosterPart(ops=(ask.admission,), records=records))
        if refused is not None:
            yield refused
            return
        if node not in self._roster.members():
            refused = self._unusable(invite, node)
            yield refused if refused is not None else JoinAnswer(refused="bad", reason="the admission does not count")
            return
        for part in self._roster.all_parts(CONTROL_PART_BYTES_MAX):
            yield JoinAnswer(pool=self.pool, roster=part)

    def _unusable(self, invite: InviteState, node: NodeId) -> JoinAnswer | None:
        """Why the invite does not admit that node: whoever it has admitted already, and is in, may ask again."""
        current = next((each for each in self._roster.invites() if each.id == invite.id), invite)
        if node in self._roster.removed():
            return JoinAnswer(refused="removed", reason="this node was taken off the pool, which its key cannot undo")
        if node in current.admitted and node in self._roster.members():
            return None
        made = f"it was made by {current.signer_name}"
        if current.revoked:
            return JoinAnswer(refused="invite_revoked", reason=f"this invite was revoked; {made}")
        if current.used >= current.uses:
            return JoinAnswer(refused="invite_used", reason=f"this invite was used already; {made}")
        if current.not_after <= wall_clock():
            return JoinAnswer(refused="invite_expired", reason=f"this invite has expired; {made}")
        return None

    # ---- leaving

    async def remove(self, node: NodeId, reason: str) -> None:
        """Take a member (this node itself: leaving) off the roster, for good."""
        await self.take_in(RosterPart(ops=(rosterops.make_remove(self.pool, self._identity, node, reason=reason),)))


async def found_pool(folder: Path, identity: Identity, name: str, pool_name: str) -> PoolId:
    """Begin a new pool with this node as its only member; durable when this returns."""
    genesis = rosterops.make_genesis(identity, name, pool_name)
    await asyncio.to_thread(RosterStore(folder).put_op, genesis)
    return rosterops.pool_id_of(genesis.body)


async def keep_roster(folder: Path, ops: Iterable[Signed], records: Iterable[Signed]) -> None:
    """Write down the roster that a newcomer was handed."""
    store = RosterStore(folder)

    def keep() -> None:
        store.put_ops(ops)
        for signed in records:
            store.put_record(rosterops.parse_record(signed).node, signed)

    await asyncio.to_thread(keep)


def is_usable(invite: InviteState, now: int) -> bool:
    """Whether somebody can still join by it. `now`: seconds since 1970."""
    return not invite.revoked and invite.used < invite.uses and invite.not_after > now


def is_overused(invite: InviteState, suspended: Iterable[Suspended]) -> bool:
    """Whether more nodes have shown the invite than it is for: its code is in more hands than was meant."""
    return invite.used > invite.uses or any(one.invite == invite.id for one in suspended)
