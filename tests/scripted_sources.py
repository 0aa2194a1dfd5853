"""Members that answer questions for content as a test says, and what is asked for in these tests."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from node_rooms import CARRIED, WITHIN_S, Rooms, Tube, attending, file_version, node_id, tube

from meerkat.model.frame import CarryFrame, Give, Lack, PieceAsk
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.problem import Problem
from meerkat.model.recipe import Recipe, unpack_recipe
from meerkat.model.version import Version

Answer = Callable[[Tube[CarryFrame], PieceAsk], Awaitable[None]]

DATA = b"the content"
SMALL = file_version(DATA)
LARGE = os.urandom(SINGLE_CHUNK_BYTES_MAX * 4)


def scripted(ada: Rooms, name: str, answer: Answer) -> tuple[Tube[CarryFrame], list[PieceAsk]]:
    """A member that answers asks as the test says; its end of the stream, and what it was asked."""
    mine, theirs = tube(CARRIED)
    asks: list[PieceAsk] = []

    async def speak() -> None:
        async for frame in theirs.frames():
            if isinstance(frame, PieceAsk):
                asks.append(frame)
                await answer(theirs, frame)

    ada.tasks.spawn(f"{name} speaks", attending(speak()))
    ada.tasks.spawn(f"{name} is attended", attending(ada.asking.attend(node_id(name), mine)))
    return theirs, asks


async def lie(end: Tube[CarryFrame], ask: PieceAsk) -> None:
    """Wrong bytes of the right length."""
    await end.send(Give(ask.id, 0, tuple(bytes(piece.length) for piece in ask.pieces)))


async def lack(end: Tube[CarryFrame], ask: PieceAsk) -> None:
    await end.send(Lack(ask.id, tuple(range(len(ask.pieces)))))


async def silent(end: Tube[CarryFrame], ask: PieceAsk) -> None:
    pass


def honest(data: bytes, recipe: bytes = b"") -> Answer:
    """Has one file."""

    async def answer(end: Tube[CarryFrame], ask: PieceAsk) -> None:
        parts = [(recipe if piece.recipe else data)[piece.offset :][: piece.length] for piece in ask.pieces]
        await end.send(Give(ask.id, 0, tuple(parts)))

    return answer


async def fetch_small(ada: Rooms, version: Version = SMALL) -> tuple[dict[str, int], list[Problem]]:
    problems: list[Problem] = []
    async with asyncio.timeout(WITHIN_S):
        inodes = await ada.transfer.small([("s.1", version, ())], lambda _, problem: problems.append(problem))
    return inodes, problems


async def fetch_large(ada: Rooms, version: Version) -> None:
    async with asyncio.timeout(WITHIN_S):
        await ada.transfer.bulk("l.1", version, ())


async def large_of(bob: Rooms) -> tuple[Version, Recipe, bytes]:
    """A file of several chunks on bob's disk."""
    bob.put("large", LARGE)
    await bob.scan()
    (version,) = await bob.living("large")
    packed = await bob.books.read(lambda view: view.recipe(version.recipe))
    assert packed is not None
    return version, unpack_recipe(packed, version.size), packed


def staged(ada: Rooms, name: str) -> bytes:
    return (ada.root.metadata_dir / "stage" / name).read_bytes()
