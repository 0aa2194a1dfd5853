"""Looking at an address: who answers there, whether it lets us in, and what is in the way."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.model.frame import Way
from meerkat.wire.identity import Identity
from meerkat.wire.look import look


def looked(address: str, pool: Pool, whom: Identity, who: Identity, timeout_s: float = TIMEOUT_S) -> Way:
    """What `who` finds where the founder's port is (or at another address) when it wants `whom`."""

    async def run() -> Way:
        async with serving(pool) as served:
            found = await look(address or served.address, pool.as_member(whom), who, timeout_s)
            assert served.connections.empty(), "a look makes no link"
            return found

    return asyncio.run(run())


def test_a_member_that_knows_us_is_reached() -> None:
    """Who is there is told, and no link comes of it."""
    pool = Pool()
    found = looked("", pool, pool.founder, pool.member())
    assert (found.code, found.text, found.shown) == ("reached", "", pool.founder.node)
    assert found.ms >= 0


def test_who_does_not_know_us_says_so() -> None:
    """A stranger and a removed member find the node, and that it does not let them in."""
    pool = Pool()
    member = pool.member()
    pool.remove(member)
    for who in (Identity.create(), member):
        found = looked("", pool, pool.founder, who)
        assert (found.code, found.shown) == ("not_member", pool.founder.node)
        assert "removed" in found.text


def test_who_was_removed_after_the_handshake_is_not_let_in() -> None:
    """The roots may still hold its certificate: it is the roster that decides."""
    pool = Pool()
    member = pool.member()
    version, certificates = pool.certificates()
    pool.remove(member)
    pool.certificates = lambda: (version, certificates)  # type: ignore[method-assign]
    assert looked("", pool, pool.founder, member).code == "not_member"


def test_another_node_is_named() -> None:
    """Where somebody else listens by now, it is told who."""
    pool = Pool()
    one, other = pool.member(), pool.member()
    found = looked("", pool, other, one)
    assert (found.code, found.shown) == ("another_node", pool.founder.node)


@pytest.mark.parametrize(
    ("address", "code"),
    [("nowhere", "no_such_host"), ("name-that-does-not-exist.invalid:7", "no_such_host"), ("127.0.0.1:{}", "refused")],
)
def test_what_cannot_be_connected_to_is_told(address: str, code: str) -> None:
    """No address, no such name, nothing that listens."""
    pool = Pool()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = looked(address.format(unused.getsockname()[1]), pool, pool.founder, pool.member())
    assert (found.code, bool(found.text), found.shown) == (code, True, "")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def other_program(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()
    writer.close()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass
    writer.close()


@pytest.mark.parametrize(("serve", "code"), [(greets, "not_tls"), (hangs_up, "not_tls"), (waits, "silent")])
def test_other_programs_are_told_apart(serve: Serve, code: str) -> None:
    """One that speaks something else, one that hangs up on TLS, and one that accepts and waits."""
    pool = Pool()

    async def run() -> Way:
        async with other_program(serve) as address:
            return await look(
                address, pool.as_member(pool.founder), pool.member(), 0.3 if code == "silent" else TIMEOUT_S
            )

    found = asyncio.run(run())
    assert (found.code, found.shown) == (code, "")


def test_an_address_that_swallows_everything_times_out() -> None:
    """No answer to the connection itself is another thing than a program that says nothing."""
    pool = Pool()
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.setblocking(False)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # the queue of a port that nobody serves is full: the system drops what comes after
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        found = asyncio.run(look(f"127.0.0.1:{port}", pool.as_member(pool.founder), pool.member(), 0.3))
        for each in waiting:
            each.close()
    assert found.code == "timed_out"
