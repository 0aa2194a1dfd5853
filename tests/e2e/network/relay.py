"""A line with a delay, for kernels that cannot delay packets: what comes on a port goes to another host's, and back,
each piece so much later.

    python relay.py PORT HOST:PORT SECONDS
"""

import asyncio
import sys

PIECE_BYTES = 64 << 10
UNDER_WAY_MAX = 4096


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Pass on what comes, in order, until it ends."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY_MAX)

    async def arrive() -> None:
        while True:
            at, piece = await under_way.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with asyncio.TaskGroup() as both:
        both.create_task(arrive())  # a program of its own
        while piece := await reader.read(PIECE_BYTES):
            await under_way.put((loop.time() + delay_s, piece))
        await under_way.put((loop.time() + delay_s, b""))


async def main(port: int, target: str, delay_s: float) -> None:
    host, _, target_port = target.rpartition(":")

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(target_port))
        except OSError:
            writer.transport.abort()
            return
        ends = ((reader, far_writer), (far_reader, writer))
        ways = [asyncio.ensure_future(carry(*end, delay_s)) for end in ends]
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.transport.abort()
        far_writer.transport.abort()

    server = await asyncio.start_server(accepted, "0.0.0.0", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
