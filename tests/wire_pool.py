"""A small pool for the wire's tests: real identities, a gate over a real roster, real TLS on 127.0.0.1."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from meerkat.core.roster import InviteState, Roster
from meerkat.model.frame import JoinAnswer, JoinAsk, RosterPart, Signed
from meerkat.model.ids import NodeId
from meerkat.model.limits import ROSTER_PART_BYTES_MAX
from meerkat.model.member import Member
from meerkat.wire.client import dial
from meerkat.wire.connection import WireConnection
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import InviteSecret
from meerkat.wire.rosterops import make_add, make_genesis, make_invite, make_remove, parse_op, pool_id_of
from meerkat.wire.server import Server

TIMEOUT_S = 20.0  # generous: the machine that runs the tests may be busy


class Pool:
    """A pool as one node sees it: the roster, and the gate over it."""

    def __init__(self) -> None:
        self.founder = Identity.create()
        genesis = make_genesis(self.founder, "founder", "our pool")
        self.id = pool_id_of(genesis.body)
        self.roster = Roster(verify, self.id)
        self.version = 0
        self.asks: list[JoinAsk] = []
        assert self.take(genesis)

    def take(self, signed: Signed) -> bool:
        self.version += 1
        return self.roster.add(parse_op(signed), signed)

    def invite(self, uses: int = 1) -> InviteSecret:
        """An open invite, signed by the founder."""
        secret = InviteSecret.new()
        assert self.take(
            make_invite(
                self.id, self.founder, secret, uses=uses, not_after=2_000_000_000, made_at=1, signer_name="founder"
            )
        )
        return secret

    def member(self, name: str = "member") -> Identity:
        """A node that has joined."""
        secret, identity = self.invite(), Identity.create()
        assert self.take(make_add(self.id, secret, self.invite_id(secret), identity.certificate, name))
        return identity

    def invite_id(self, secret: InviteSecret) -> bytes:
        return next(one.id for one in self.roster.invites() if one.certificate == secret.certificate)

    def remove(self, identity: Identity) -> None:
        assert self.take(make_remove(self.id, self.founder, identity.node))

    def as_member(self, identity: Identity) -> Member:
        return Member(identity.node, "somebody", identity.certificate, identity.fingerprint)

    # ---- Gate

    def member_of(self, fingerprint: bytes) -> NodeId | None:
        return self.roster.member_of(fingerprint)

    def invite_of(self, fingerprint: bytes) -> InviteState | None:
        return self.roster.invite_of(fingerprint)

    def certificates(self) -> tuple[int, list[bytes]]:
        members = [member.certificate for member in self.roster.members().values()]
        return self.version, members + [invite.certificate for invite in self.roster.invites()]

    async def on_join(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        """A sponsor as the engine is one, without its finer points."""
        self.asks.append(ask)
        if ask.admission is None:
            yield JoinAnswer(pool=self.id, files=3, bytes=1234)
            return
        if invite.used >= invite.uses:
            yield JoinAnswer(refused="invite_used", reason="this invite was used up")
            return
        self.take(ask.admission)
        parts = self.roster.all_parts(ROSTER_PART_BYTES_MAX)
        for part in parts:
            yield JoinAnswer(roster=RosterPart(part.ops, part.records, part.last))


@dataclass
class Served:
    """A running port, and the connections that it hands to the engine."""

    address: str
    server: Server
    connections: asyncio.Queue[WireConnection] = field(default_factory=asyncio.Queue)


@asynccontextmanager
async def serving(pool: Pool, identity: Identity | None = None, listen: str = "127.0.0.1:0") -> AsyncIterator[Served]:
    """Runs a node's port, the founder's unless said otherwise."""
    connections: asyncio.Queue[WireConnection] = asyncio.Queue()

    async def on_connection(connection: WireConnection) -> None:
        connections.put_nowait(connection)

    server = Server(identity or pool.founder, pool, listen, on_connection, pool.on_join)
    served = Served(await server.start(), server, connections)
    try:
        yield served
    finally:
        await server.stop()


@asynccontextmanager
async def linked(pool: Pool) -> AsyncIterator[tuple[WireConnection, WireConnection]]:
    """A member's link to the founder: the dialled end and the served end."""
    member = pool.member()
    async with serving(pool) as served:
        dialled = await dial(served.address, pool.as_member(pool.founder), member, TIMEOUT_S)
        accepted = await served.connections.get()
        try:
            yield dialled, accepted
        finally:
            await dialled.close()
