"""Announcing and hearing on this machine's loopback, with real multicast. Each test has names of its own: all that run
at once hear each other."""

import asyncio
import importlib.util
import socket
from contextlib import AsyncExitStack

import pytest
from node_rooms import until
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meerkat.model.limits import DISCOVERED_ADDRESSES_MAX
from meerkat.wire import discover
from meerkat.wire.discover import SERVICE, Discovery, is_installed

LOOPBACK = ["127.0.0.1"]
WITHIN_S = 60.0


async def opened(stack: AsyncExitStack, *wanted: str) -> Discovery:
    made = Discovery(lambda name: name in wanted)
    await made.start(LOOPBACK)
    stack.push_async_callback(made.stop)
    return made


async def heard(ear: Discovery) -> tuple[str, tuple[str, ...]]:
    async with asyncio.timeout(WITHIN_S):
        return await ear.next()


def test_a_wanted_name_is_heard_with_where_it_is() -> None:
    """Whoever wants the name is told the addresses; when they change, again."""

    async def play() -> None:
        async with AsyncExitStack() as stack:
            ear, voice = await opened(stack, "0a1b"), await opened(stack)
            await voice.announce("0a1b", ["192.0.2.7:4242", "[2001:db8::7]:4242"])
            name, addresses = await heard(ear)
            assert (name, set(addresses)) == ("0a1b", {"192.0.2.7:4242", "[2001:db8::7]:4242"})
            await voice.announce("0a1b", ["192.0.2.8:4243"])
            while addresses != ("192.0.2.8:4243",):
                _, addresses = await heard(ear)

    asyncio.run(play())


def test_another_name_takes_the_place_of_the_first() -> None:
    """A name of yesterday is taken back when that of today is announced."""

    async def play() -> None:
        async with AsyncExitStack() as stack:
            voice = await opened(stack)
            ear = await opened(stack, "yesterday", "today")
            await voice.announce("yesterday", ["192.0.2.7:1"])
            assert (await heard(ear))[0] == "yesterday"
            await voice.announce("today", ["192.0.2.7:1"])
            while (await heard(ear))[0] != "today":
                pass
            await until("the other is taken back", lambda: "yesterday" not in ear._heard)

    asyncio.run(play())


def test_names_heard_before_they_were_wanted_are_not_lost() -> None:
    """A member's name may come before this node has heard of the member."""

    async def play() -> None:
        async with AsyncExitStack() as stack:
            known: set[str] = set()
            ear = Discovery(lambda name: name in known)
            await ear.start(LOOPBACK)
            stack.push_async_callback(ear.stop)
            voice = await opened(stack)
            await voice.announce("late", ["192.0.2.7:1"])
            await until("it was heard", lambda: "late" in ear._heard)
            known.add("late")
            ear.look_again()
            assert await heard(ear) == ("late", ("192.0.2.7:1",))

    asyncio.run(play())


def test_an_outsider_learns_the_name_the_addresses_and_the_port_alone() -> None:
    """No text, no name of the machine: all that is in the announcement is what was given to it."""

    async def play() -> None:
        async with AsyncExitStack() as stack:
            voice = await opened(stack)
            await voice.announce("0e5f", ["127.0.0.1:4242"])
            outsider = AsyncZeroconf(interfaces=LOOPBACK)
            stack.push_async_callback(outsider.async_close)
            seen = AsyncServiceInfo(SERVICE, f"0e5f.{SERVICE}")
            assert await seen.async_request(outsider.zeroconf, WITHIN_S * 1000)
            assert seen.properties == {}
            assert seen.server == "0e5f.local."
            assert (seen.port, seen.parsed_addresses(IPVersion.All)) == (4242, ["127.0.0.1"])
            everything = repr(seen.dns_service()) + repr(seen.dns_text()) + repr(seen.dns_addresses())
            assert socket.gethostname() not in everything

    asyncio.run(play())


def test_liars_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names without end, and a wanted name with many addresses or senseless ones: what is kept of it is bounded."""
    monkeypatch.setattr(discover, "DISCOVERED_NAMES_MAX", 3)
    monkeypatch.setattr(discover, "DISCOVERED_QUEUE_MAX", 2)

    async def play() -> None:
        async with AsyncExitStack() as stack:
            liar = AsyncZeroconf(interfaces=LOOPBACK)
            stack.push_async_callback(liar.async_close)
            ear = Discovery(lambda name: True)
            for number in range(10):
                ear._on_change(liar.zeroconf, SERVICE, f"n{number}.{SERVICE}", ServiceStateChange.Added)
            assert len(ear._heard) == 3
            assert list(ear._queue) == ["n0", "n1"]
            wanting = await opened(stack, "liar")
            hosts = ["0.0.0.0", "224.0.0.1", *(f"192.0.2.{number}" for number in range(20))]
            info = AsyncServiceInfo(
                SERVICE,
                f"liar.{SERVICE}",
                addresses=[socket.inet_aton(host) for host in hosts],
                port=7,
                properties={b"x": b"y" * 200},
                server="liar.local.",
            )
            await (await liar.async_register_service(info, cooperating_responders=True))
            _, addresses = await heard(wanting)
            assert len(addresses) == DISCOVERED_ADDRESSES_MAX
            assert not {"0.0.0.0:7", "224.0.0.1:7"} & set(addresses)

    asyncio.run(play())


def test_without_the_extra_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is there can be asked without it."""
    assert is_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not is_installed()


def test_nobody_else_is_listened_to() -> None:
    """Services of other kinds are not among what is heard."""

    async def play() -> None:
        async with AsyncExitStack() as stack:
            ear = await opened(stack, "printer", "node")
            other = AsyncZeroconf(interfaces=LOOPBACK)
            stack.push_async_callback(other.async_close)
            kind = "_ipp._tcp.local."
            info = AsyncServiceInfo(
                kind, f"printer.{kind}", addresses=[socket.inet_aton("127.0.0.1")], port=7, server="printer.local."
            )
            await (await other.async_register_service(info, cooperating_responders=True))
            told = asyncio.Event()
            browser = AsyncServiceBrowser(
                other.zeroconf, kind, handlers=[lambda zeroconf, service_type, name, state_change: told.set()]
            )
            async with asyncio.timeout(WITHIN_S):
                await told.wait()
            await browser.async_cancel()
            voice = await opened(stack)
            await voice.announce("node", ["127.0.0.1:1"])
            assert (await heard(ear))[0] == "node"
            assert "printer" not in ear._heard

    asyncio.run(play())
