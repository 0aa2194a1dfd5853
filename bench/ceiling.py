"""What gRPC itself can move: one bare stream of 1 MiB messages over the same TLS, between two processes.

    python -m bench.ceiling serve FILE IDENTITIES    prints its address, then serves the file until it is ended
    python -m bench.ceiling fetch ADDRESS IDENTITIES [INTO]

The server reads the file, the client drops the bytes; with INTO it does what any synchroniser has to: hashes them,
writes them and flushes the file. No figure of ours can be better than the first; the second is the fair ceiling.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
from blake3 import blake3

from meerkat.wire.client import secure_channel
from meerkat.wire.identity import Identity
from meerkat.wire.transport import SERVER_OPTIONS

MESSAGE_BYTES = 1 << 20
SERVICE, METHOD = "meerkat.bench", "Stream"


def make_identities(folder: Path) -> None:
    for side in ("server", "client"):
        Identity.create().save(folder / side)


async def serve(source: Path, folder: Path) -> None:
    ours, theirs = Identity.load(folder / "server"), Identity.load(folder / "client")

    async def stream(_: bytes, context: object) -> AsyncIterator[bytes]:
        with source.open("rb") as file:
            while data := file.read(MESSAGE_BYTES):
                yield data

    server = grpc.aio.server(options=SERVER_OPTIONS)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {METHOD: grpc.unary_stream_rpc_method_handler(stream)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    credentials = grpc.ssl_server_credentials(
        [(ours.key_pem, ours.certificate_pem)], theirs.certificate_pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def fetch(address: str, folder: Path, into: Path | None) -> None:
    ours, theirs = Identity.load(folder / "client"), Identity.load(folder / "server")
    async with secure_channel(address, theirs.certificate, theirs.node, ours.key_pem, ours.certificate_pem) as channel:
        await channel.channel_ready()
        start, cpu = time.monotonic(), time.process_time()
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/{METHOD}")
        call = method(b"")
        total = await _keep(call, into) if into is not None else await _drop(call)
        took = {"seconds": time.monotonic() - start, "cpu_s": time.process_time() - cpu, "bytes": total}
    print(json.dumps(took), flush=True)


async def _drop(call: AsyncIterable[bytes]) -> int:
    total = 0
    async for data in call:
        total += len(data)
    return total


async def _keep(call: AsyncIterable[bytes], into: Path) -> int:
    hasher, total = blake3(), 0
    with into.open("wb") as file:
        async for data in call:
            hasher.update(data)
            file.write(data)
            total += len(data)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return total


def main(words: list[str]) -> None:
    match words:
        case ["serve", source, folder]:
            asyncio.run(serve(Path(source), Path(folder)))
        case ["fetch", address, folder]:
            asyncio.run(fetch(address, Path(folder), None))
        case ["fetch", address, folder, into]:
            asyncio.run(fetch(address, Path(folder), Path(into)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
