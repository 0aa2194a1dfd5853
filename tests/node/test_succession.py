"""A copied folder that runs beside its original takes a name of its own, and a crash on the way changes nothing."""

import asyncio
import shutil
from pathlib import Path

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import until

from meerkat.core.roster import Roster
from meerkat.model.frame import RosterPart
from meerkat.node import succession as succession_room
from meerkat.node.home import open_home
from meerkat.node.registry import Registry
from meerkat.node.succession import Succession, succeed
from meerkat.wire.identity import Identity, verify


async def copied(nodes: NodePool, original: Running, name: str) -> Running:
    """A copy of a stopped node's folder, started beside the original."""
    await nodes.stop(original)
    shutil.copytree(original.folder, nodes.base / name, symlinks=True)
    await nodes.start(original)
    copy = nodes.folder(name)
    await nodes.start(copy, name=None)
    return copy


def test_a_copy_takes_a_name_of_its_own(tmp_path: Path) -> None:
    """The original stays who it is, also when the copy came up first; all three get what any of them writes."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            bob.put("before", b"before")
            await nodes.settled()
            copy = await copied(nodes, bob, "copied")
            was = bob.id
            bob.put("of the original", b"1")
            copy.put("of the copy", b"2")
            await until("three members", lambda: len(ada.node.registry.members()) == 3)
            await until("the copy is another node", lambda: nodes._made[copy.folder].identity.node != was)
            copy.engine = nodes._made[copy.folder]
            await nodes.linked()
            assert bob.id == was
            assert copy.node.name == "bob-copy"
            assert {member.name for member in ada.node.registry.members().values()} == {"ada", "bob", "bob-copy"}
            tree = await nodes.settled()
            assert {"before", "of the original", "of the copy"} == set(tree)
            copy.put("later", b"3")
            bob.put("later too", b"4")
            assert len(await nodes.settled()) == 5
            await nodes.stop(copy)
            await nodes.start(copy, name=None)
            assert (copy.node.name, copy.id != was) == ("bob-copy", True)
            assert bob.address in ada.node.registry.addresses(was)

    asyncio.run(play())


def test_crashes_between_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a member's word the old key stays and the same admission is offered again; after it the new one comes."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            registry, identity = ada.node.registry, ada.node.identity
            await nodes.stop(ada)
            home = open_home(ada.folder)
            stopped: list[bool] = []

            def again() -> Succession:
                return Succession(home, identity, registry, "ada", lambda: stopped.append(True))

            first = again()
            part = await first.offer()
            assert part is not None
            assert len(part.ops) == 2
            assert await again().offer() == part  # a crash: the same again
            assert not succeed(home)
            assert Identity.load(home.identity).node == identity.node
            await first.admitted("0" * 64)
            assert not stopped
            number = admitted_by(registry, part)
            await first.admitted(number)
            assert stopped == [True]

            def cut_off(folder: Path) -> None:
                raise InterruptedError

            with monkeypatch.context() as patched:  # the power fails before the last rename is durable
                patched.setattr(succession_room, "_sync", cut_off)
                with pytest.raises(InterruptedError):
                    succeed(home)
            home.identity_in("old").rename(home.identity_in("next"))
            assert succeed(home)
            assert not succeed(home)
            assert home.config.name == "ada-copy"
            new = Identity.load(home.identity)
            assert new.node != identity.node
            fresh = Registry(home.roster, new, registry.pool)
            await fresh.load()
            assert fresh.members()[new.node].name == "ada-copy"
            hasty = Succession(home, new, fresh, "ada-copy", lambda: None)
            assert await hasty.offer() is None, "not again for a long while"
            home.close()

    asyncio.run(play())


def admitted_by(registry: Registry, part: RosterPart) -> str:
    """What a member answers once it has taken the admission in."""
    assert registry.admitted_by(part) is None
    member = Registry.__new__(Registry)
    member._roster = Roster(verify, registry.pool)
    member._take(RosterPart(ops=tuple(registry._store.load().ops) + part.ops))
    number = member.admitted_by(part)
    assert number is not None
    return number.hex()
