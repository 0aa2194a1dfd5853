"""The first and the last word on a link."""

import asyncio

from meerkat.model.frame import Bye, Hello, LinkFrame, LinkLost
from meerkat.model.limits import PIPE_DRAIN_S
from meerkat.node.ports import Pipe

ENOUGH = Bye("enough", "this node has links enough")


async def greet(pipe: Pipe[LinkFrame], hello: Hello) -> Hello:
    """Greet, and wait for the other side's greeting.

    Raises:
        LinkLost: it ended, said goodbye, or something else first.
    """
    await pipe.send(hello)
    async for frame in pipe.frames():
        if isinstance(frame, Hello):
            return frame
        if isinstance(frame, Bye):
            raise LinkLost(frame.text or frame.why)
        raise LinkLost("it did not greet first")
    raise LinkLost("it hung up")


async def send(pipe: Pipe[LinkFrame], *frames: LinkFrame) -> None:
    """Say it, if anybody is there still."""
    try:
        for frame in frames:
            await pipe.send(frame)
    except LinkLost:
        pass


async def say_farewell(pipe: Pipe[LinkFrame], *farewell: LinkFrame) -> None:
    """The last frames, unless the other side has not read what was said before."""
    try:
        async with asyncio.timeout(PIPE_DRAIN_S):
            await send(pipe, *farewell)
    except TimeoutError:
        pass


def refused_for(fault: str) -> Bye:
    return Bye("refused", f"you broke the rules: {fault}")
