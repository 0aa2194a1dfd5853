"""Whoever is no member, at the port of a real node: a thousand silent, half-open, rubbish and cut-off connections, and
a bearer of an invite that asks without end. The pool goes on as if nobody were there, and memory and file handles stay
bounded, also where a process may open no more than the usual 1024 files."""

import asyncio
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import psutil
import pytest
from e2e.pool import Node, Pool

from meerkat.model.frame import JoinAsk
from meerkat.model.limits import CONNECTIONS_FILES_SHARE, HANDSHAKE_TIMEOUT_S
from meerkat.wire.client import secure_channel
from meerkat.wire.connection import SERVICE
from meerkat.wire.convert import NONCE_BYTES, encode_join_ask
from meerkat.wire.identity import Identity, check_certificate
from meerkat.wire.invite import decode_invite, join_claim
from meerkat.wire.transport import fetch_certificate

pytestmark = pytest.mark.e2e

MIB = 1 << 20
CROWD = 1100
FILES_MAX = 1024
MEMORY_GROWTH_MAX = 150 * MIB

FEW_FILES = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES_MAX}, {FILES_MAX}))
from meerkat.cli.main import main
main()
"""


def connected(node: Node) -> socket.socket:
    host, _, port = str(node.ready["listen"]).rpartition(":")
    end = socket.create_connection((host, int(port)), timeout=10)
    end.setblocking(False)
    return end


def hello_of_tls() -> bytes:
    """What a TLS client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


HELLO = hello_of_tls()
STRANGERS: dict[str, bytes] = {
    "silent": b"",
    "garbage": bytes(range(256)) * 12,
    "half a handshake": HELLO[: len(HELLO) // 2],
    "a handshake that stops": HELLO,
    "plain HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
}


@contextmanager
def crowd(node: Node, says: bytes) -> Iterator[list[socket.socket]]:
    """A thousand strangers that say this and stay."""
    ends: list[socket.socket] = []
    try:
        for _ in range(CROWD):
            ends.append(connected(node))
            try:
                ends[-1].send(says)
            except OSError:
                pass  # it was closed already
        yield ends
    finally:
        for end in ends:
            end.close()


def ensure_syncing(pool: Pool, one: Node, two: Node, name: str) -> None:
    """What is written at each reaches the other."""
    for here, there in ((one, two), (two, one)):
        here.path(f"{name} {here.name}").write_bytes(name.encode())
        pool.until(f"{name} reaches {there.name}", there.path(f"{name} {here.name}").exists)


def test_a_thousand_strangers(pool: Pool) -> None:
    """Each kind of stranger by the thousand: what is written meanwhile arrives, file handles and memory are bounded,
    and when their time for a handshake is over a newcomer joins through that very port."""
    pool.program = (sys.executable, "-c", FEW_FILES)
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    assert one.process is not None
    process = psutil.Process(one.process.pid)
    memory = process.memory_info().rss
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    if limit[1] < 2 * CROWD:
        pytest.skip(f"this process may open no more than {limit[1]} files, too few for a crowd")
    try:
        for kind, says in STRANGERS.items():
            with crowd(one, says):
                assert process.num_fds() < FILES_MAX // CONNECTIONS_FILES_SHARE + 100, kind
                ensure_syncing(pool, one, two, kind.replace("/", " "))
                assert process.memory_info().rss - memory < MEMORY_GROWTH_MAX, kind
        with crowd(one, b"") as ends:
            held = process.num_fds()
            pool.until("the silent are sent away", lambda: process.num_fds() < held // 2, 6 * HANDSHAKE_TIMEOUT_S)
            assert len(ends) == CROWD
            pool.join("newcomer", one)
        pool.wait_equal()
        assert process.memory_info().rss - memory < MEMORY_GROWTH_MAX
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_bearer_that_asks_without_end(pool: Pool) -> None:
    """Calls by the thousand under an invite, opened and never asked, asked and never read, asked for everything again
    and again: members sync and link, a newcomer with another invite joins, memory is bounded."""
    one = pool.start("one")
    two = pool.join("two", one)
    for number in range(200):
        one.path(f"file {number}").write_bytes(os.urandom(50))
    pool.wait_equal()
    assert one.process is not None
    memory = psutil.Process(one.process.pid).memory_info().rss
    code = pool.invite(one)

    async def pester(meanwhile: Callable[[], None]) -> dict[str, int]:
        invite = decode_invite(code)
        address = str(one.ready["listen"])
        certificate = await fetch_certificate(address, 10)
        nonce, me = bytes(NONCE_BYTES), Identity.create()
        claim = join_claim(nonce=nonce, invite=invite.secret.certificate, sponsor=certificate, newcomer=me.certificate)
        question = encode_join_ask(JoinAsk(nonce, me.certificate, me.sign(claim), plan=True))
        ends: dict[str, int] = {}
        calls: list[Any] = []
        channels = [
            secure_channel(
                address,
                certificate,
                check_certificate(certificate),
                invite.secret.key_pem,
                invite.secret.certificate_pem,
            )
            for _ in range(20)
        ]
        for channel in channels:
            method: Any = channel.stream_stream(f"/{SERVICE}/Join")
            for number in range(60):
                call: Any = method(timeout=60)
                calls.append(call)
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # refused before it was asked
                    if number % 3:
                        await call.write(question)
                    if number % 3 == 2:
                        await call.done_writing()
        await asyncio.to_thread(meanwhile)
        for call in calls:
            call.cancel()
            name = (await call.code()).name if call.done() else "open"
            ends[name] = ends.get(name, 0) + 1
        for channel in channels:
            await channel.close()
        return ends

    def meanwhile() -> None:
        ensure_syncing(pool, one, two, "meanwhile")
        pool.stop(two)
        pool.restart(two)
        pool.wait_linked(one, two)
        pool.join("newcomer", one)
        pool.wait_equal()

    asyncio.run(pester(meanwhile))
    assert psutil.Process(one.process.pid).memory_info().rss - memory < MEMORY_GROWTH_MAX
    assert set(pool.roster(one)) == {"one", "two", "newcomer"}
