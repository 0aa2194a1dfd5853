"""Dialling one member at several addresses: which are tried when, who wins, and what is told when none does."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from node_pool import pool
from node_rooms import until

from meerkat.model.ids import PoolId
from meerkat.model.member import Member
from meerkat.node import dialling
from meerkat.node.dialling import Dialling
from meerkat.node.ports import Connection
from meerkat.node.registry import Registry, found_pool
from meerkat.node.surroundings import Grpc
from meerkat.node.tasks import Tasks
from meerkat.wire.client import DialFailed
from meerkat.wire.identity import Identity

AT = [f"192.0.2.{number}:7" for number in range(1, 5)]


class Answered:
    """As much of a connection as a dial gives: where it leads, and whether it was closed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.closed.set()


class Lines(Grpc):
    """A network on which each address does what the test says."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self.begun: list[str] = []
        self.cut: list[str] = []
        self.made: list[Answered] = []
        self.doing: dict[str, Callable[[], Awaitable[None]]] = {}

    async def dial(self, address: str, member: Member) -> Connection:
        self.begun.append(address)
        try:
            await self.doing[address]()
        except asyncio.CancelledError:
            self.cut.append(address)
            raise
        made = Answered(address)
        self.made.append(made)
        return made  # type: ignore[return-value]


async def silence() -> None:
    await asyncio.Event().wait()


async def answer() -> None:
    pass


def refusal(address: str, code: str = "refused") -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise DialFailed(address, code, f"because of {code}")

    return refuse


async def dialler(tmp_path: Path, addresses: list[str]) -> tuple[Dialling, Lines, Tasks, Identity]:
    """A node that knows one member (itself, for the roster's sake) at these addresses."""
    identity = Identity.create()
    pool_id: PoolId = await found_pool(tmp_path, identity, "ada", "ours")
    registry = Registry(tmp_path, identity, pool_id)
    await registry.load()
    await registry.tell_record("ada", addresses)
    tasks, lines = Tasks(), Lines(identity)
    return Dialling(lines, registry, tasks), lines, tasks, identity


def test_a_silent_address_costs_a_moment(tmp_path: Path) -> None:
    """The next address is tried while the first still says nothing; who answers wins, and nobody else is tried."""

    async def play() -> None:
        dials, lines, tasks, identity = await dialler(tmp_path, AT)
        lines.doing = {AT[0]: silence, AT[1]: answer, AT[2]: answer}
        connection = await dials.dial(identity.node)
        assert connection.address == AT[1]
        assert lines.begun == AT[:2]
        await until("the silent one is cut", lambda: lines.cut == [AT[0]])
        await tasks.stop()

    asyncio.run(play())


def test_a_refusal_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an address fails at once, the next is tried at once, whatever the moment between two is."""
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 3600.0)

    async def play() -> None:
        dials, lines, tasks, identity = await dialler(tmp_path, AT)
        lines.doing = {AT[0]: refusal(AT[0]), AT[1]: refusal(AT[1]), AT[2]: answer}
        assert (await dials.dial(identity.node)).address == AT[2]
        await tasks.stop()

    asyncio.run(play())


def test_only_one_of_several_that_answer_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that answer together make one connection; the other is closed, and so is one that answers late."""
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 0.0)

    async def play() -> None:
        dials, lines, tasks, identity = await dialler(tmp_path, AT)
        together = asyncio.Event()

        async def late() -> None:
            try:
                await together.wait()
            except asyncio.CancelledError:
                pass  # too late to be cut: it answers all the same

        lines.doing = dict.fromkeys(AT, late)
        work = asyncio.ensure_future(dials.dial(identity.node))
        await until("all are tried", lambda: lines.begun == AT)
        together.set()
        connection = await work
        await until("all have answered", lambda: len(lines.made) == len(AT))
        others = [made for made in lines.made if made.address != connection.address]
        await asyncio.gather(*(other.closed.wait() for other in others))
        assert not next(made for made in lines.made if made.address == connection.address).closed.is_set()
        await tasks.stop()

    asyncio.run(play())


def test_when_none_answers_each_cause_is_told(tmp_path: Path) -> None:
    """In the order of the addresses, under the code that says most of why there is no link."""

    async def play() -> None:
        dials, lines, tasks, identity = await dialler(tmp_path, AT)
        codes = ["timed_out", "refused", "not_member", "something new"]
        random.Random(3).shuffle(codes)
        lines.doing = {address: refusal(address, code) for address, code in zip(AT, codes, strict=True)}
        with pytest.raises(DialFailed) as failed:
            await dials.dial(identity.node)
        assert failed.value.code == "not_member"
        expected = "; ".join(f"{address}: because of {code}" for address, code in zip(AT, codes, strict=True))
        assert failed.value.cause == expected
        await tasks.stop()

    asyncio.run(play())


def test_who_has_told_no_address_is_not_dialled(tmp_path: Path) -> None:
    """Nothing to try is a cause of its own."""

    async def play() -> None:
        dials, lines, tasks, identity = await dialler(tmp_path, [])
        with pytest.raises(DialFailed) as failed:
            await dials.dial(identity.node)
        assert failed.value.code == "no_address"
        assert lines.begun == []
        await tasks.stop()

    asyncio.run(play())


def test_a_real_node_is_reached_past_a_silent_address(tmp_path: Path) -> None:
    """Bob tells an address first that swallows every byte; he is reached at the second, and the dial of the first is
    cut: it would have ended everything after ten seconds."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            real = bob.address
            await nodes.stop(bob)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                hidden = f"127.0.0.1:{silent.getsockname()[1]}"
                await nodes.start(bob, advertise=(hidden, real))
                await until("ada is told", lambda: ada.node.registry.told_addresses(bob.id) == (hidden, real))
                ada.node.registry._seen.clear()  # or where he answered last would be tried first
                connection = await ada.node.peers._dialler.dial(bob.id)
                assert connection.address == real
                await connection.close()

    asyncio.run(play())
