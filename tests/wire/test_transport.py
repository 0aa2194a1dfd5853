"""The bare look at a server's certificate."""

import asyncio
import resource
import socket
import ssl

import pytest
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.model.limits import CONNECTIONS_MAX
from meerkat.wire.address import AddressFault
from meerkat.wire.transport import connections_max, fetch_certificate


def test_a_nodes_certificate_is_seen_without_being_known_there() -> None:
    """A newcomer without any certificate sees the server's; nothing more is open to it."""

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            assert await fetch_certificate(served.address, TIMEOUT_S) == pool.founder.certificate

    asyncio.run(run())


def test_what_is_no_node_is_told_apart() -> None:
    """A port that speaks something else, one that says nothing, a closed one and no address differ."""

    async def run() -> None:
        async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(chatter, "127.0.0.1", 0)
        async with server:
            with pytest.raises(ssl.SSLError):
                await fetch_certificate(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", TIMEOUT_S)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ConnectionRefusedError):
                await fetch_certificate(address, TIMEOUT_S)
            silent.listen()
            with pytest.raises(TimeoutError):
                await fetch_certificate(address, 0.1)
        with pytest.raises(AddressFault):
            await fetch_certificate("nowhere", TIMEOUT_S)

    asyncio.run(run())


@pytest.mark.parametrize(("soft", "most"), [(1024, 256), (20_000, CONNECTIONS_MAX), (resource.RLIM_INFINITY, 4096)])
def test_connections_leave_file_handles_for_the_disk(soft: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few files may be open, strangers at the port get a share of them."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert connections_max() == most


async def bytes_shown(address: str) -> int:
    """How much the server says to a stranger in a handshake, until it waits for the stranger's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(coming, going)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    count = 0
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(going.read())
                data = await reader.read(1 << 16)
                count += len(data)
                coming.write(data)
    writer.transport.abort()
    return count


def test_an_outsider_does_not_see_whom_the_server_would_let_in() -> None:
    """TLS can name all certificates that a server takes, which would tell a stranger every member: ours names none."""

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            alone = await bytes_shown(served.address)
            for number in range(20):
                pool.member(f"member {number}")
            pool.invite()
            assert abs(await bytes_shown(served.address) - alone) < 20  # signatures differ by a few bytes

    asyncio.run(run())
