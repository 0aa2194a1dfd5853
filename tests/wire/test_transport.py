"""The bare look at a server's certificate."""

import asyncio
import socket
import ssl

import pytest
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.wire.address import AddressFault
from meerkat.wire.transport import fetch_certificate


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
