"""What people are told of the roster: each thing once, and only what is so."""

import asyncio
from pathlib import Path

from meerkat.model.frame import RosterPart, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.node.census import REFUSED, Census
from meerkat.node.hub import Hub
from meerkat.node.registry import Registry, found_pool
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteSecret


class Ada:
    """The founder of a pool, and what its hub was told."""

    def __init__(self, folder: Path, identity: Identity, pool: PoolId) -> None:
        self.identity, self.pool = identity, pool
        self.registry = Registry(folder, identity, pool)
        self.hub = Hub(identity.node)
        self.census = Census(identity.node, self.registry, self.hub)

    @classmethod
    async def founded(cls, folder: Path) -> "Ada":
        identity = Identity.create()
        ada = cls(folder, identity, await found_pool(folder, identity, "ada", "pool"))
        await ada.registry.load()
        return ada

    async def take(self, *ops: Signed) -> None:
        await self.registry.take_in(RosterPart(ops=ops))
        self.census.look()

    async def invite(self, uses: int) -> tuple[InviteSecret, bytes]:
        secret = InviteSecret.new()
        op = rosterops.make_invite(
            self.pool, self.identity, secret, uses=uses, not_after=1 << 40, made_at=1, signer_name="ada"
        )
        await self.take(op)
        return secret, rosterops.op_id(op.body)

    async def admit(self, secret: InviteSecret, invite: bytes, name: str) -> NodeId:
        identity = Identity.create()
        await self.take(rosterops.make_add(self.pool, secret, invite, identity.certificate, name))
        return identity.node

    def told(self, kind: str) -> list[str]:
        """Names in the events of that type so far."""
        found = []
        for event in self.hub.recent(1000):
            data = event["data"]
            if event["type"] == kind and isinstance(data, dict):
                found.append(str(data.get("name", data.get("cause"))))
        return found


def test_who_comes_and_goes_is_told_once(tmp_path: Path) -> None:
    """Not those who were there at the start, nor this node itself; each other one when it comes and when it goes."""

    async def scene() -> None:
        ada = await Ada.founded(tmp_path)
        secret, number = await ada.invite(uses=9)
        assert ada.told("node.joined") == []
        bob = await ada.admit(secret, number, "bob")
        ada.census.look()
        assert ada.told("node.joined") == ["bob"]
        await ada.registry.remove(bob, "")
        ada.census.look()
        ada.census.look()
        assert ada.told("node.left") == ["bob"]

    asyncio.run(scene())


def test_an_invite_in_too_many_hands_is_told_once(tmp_path: Path) -> None:
    """One for a single node keeps the others out, one for several lets them in; both are told, with who made it."""

    async def scene() -> None:
        ada = await Ada.founded(tmp_path)
        single, crowd = await ada.invite(uses=1), await ada.invite(uses=2)
        names = {await ada.admit(*single, name): name for name in ("bob", "eve")}
        for name in ("c1", "c2", "c3"):
            await ada.admit(*crowd, name)
        (out,) = ada.registry.suspended()
        assert ada.told("node.blocked") == [names[out]]
        (cause,) = ada.told("pool.state")
        assert cause.startswith("3 nodes joined by invite ")
        assert "of ada, which is for 2" in cause
        assert ada.registry.members().keys() & names.keys() == names.keys() - {out}

    asyncio.run(scene())


def test_a_refusal_counts_where_there_was_a_link_before(tmp_path: Path) -> None:
    """Whoever never had a link with this node may simply not have heard of it. Any link that stands clears it: what
    that member knows of a removal it would have said."""

    async def scene() -> None:
        ada = await Ada.founded(tmp_path)
        secret, number = await ada.invite(uses=9)
        bob, cy = [await ada.admit(secret, number, name) for name in ("bob", "cy")]
        ada.census.refused(bob)
        assert ada.census.refused_by() == []
        ada.census.linked({bob})
        ada.census.linked(set())
        for _ in range(3):
            ada.census.refused(bob)
        ada.census.refused(cy)
        assert ada.census.refused_by() == ["bob"]
        assert ada.told("node.blocked") == ["ada"]
        again = Ada(tmp_path, ada.identity, ada.pool)
        await again.registry.load()
        again.census.look()
        again.census.refused(bob)
        assert again.census.refused_by() == ["bob"], "a restart has not forgotten who it had met"
        again.census.linked({cy})
        assert again.census.refused_by() == []
        assert REFUSED in str(ada.hub.recent(1000))

    asyncio.run(scene())
