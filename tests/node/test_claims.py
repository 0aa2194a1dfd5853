"""Both halves of the engine never work on one path at once."""

import asyncio

from meerkat.model.path import RelPath
from meerkat.node.claims import Claims

A, B, BELOW = RelPath("a"), RelPath("b"), RelPath("a/x")


def test_a_path_is_taken_once() -> None:
    """Whoever comes second gets only what is free, until it is given back."""

    async def scene() -> None:
        claims = Claims()
        assert claims.take([A, B]) == [A, B]
        assert claims.take([B, BELOW]) == [BELOW]
        assert A in claims
        assert sorted(claims.at_or_below([A])) == [A, BELOW]
        claims.free([A])
        assert claims.take([A]) == [A]

    asyncio.run(scene())


def test_one_can_wait_until_paths_are_free() -> None:
    """The wait ends when the last of them is given back, and not before."""

    async def scene() -> None:
        claims = Claims()
        claims.take([A, B])
        waiting = asyncio.ensure_future(claims.until_free([A, B]))
        claims.free([A])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        claims.free([B])
        async with asyncio.timeout(10):
            await waiting
        await claims.until_free([A])

    asyncio.run(scene())
