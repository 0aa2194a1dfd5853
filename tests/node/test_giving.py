"""Content is given on: by those that have just been given it, and by those to whom it is still coming."""

import asyncio
from pathlib import Path

import pytest
from blake3 import blake3
from node_rooms import CARRIED, WITHIN_S, Rooms, Tube, attending, node_id, path, tube, until
from scripted_sources import LARGE, fetch_large, large_of, scripted, silent, staged

from meerkat.model.frame import CarryFrame, Give, Lack, Piece, PieceAsk
from meerkat.model.ids import Digest
from meerkat.model.limits import RECENT_BYTES_MAX
from meerkat.node import giving as giving_room
from meerkat.node.stage_names import stage_name

DATA = b"a part of something larger" * 100
PART = Piece(Digest(b"o" * 32), 4096, len(DATA), Digest(blake3(DATA).digest()))


def attended(ada: Rooms, name: str) -> Tube[CarryFrame]:
    """A member's end of a stream with ada."""
    mine, theirs = tube(CARRIED)
    ada.tasks.spawn(f"{name} is attended", attending(ada.asking.attend(node_id(name), mine)))
    return theirs


async def answered(end: Tube[CarryFrame]) -> Give | Lack:
    """The next answer; questions are passed over."""
    async with asyncio.timeout(WITHIN_S):
        while not isinstance(frame := await end.next(), Give | Lack):
            pass
    return frame


def test_many_fetch_at_once_and_the_origin_gives_one_copy(tmp_path: Path) -> None:
    """Three nodes want what one has: each piece leaves the origin about once, and the rest they give each other."""

    async def play() -> None:
        async with (
            Rooms(tmp_path / "ada") as ada,
            Rooms(tmp_path / "bob", "bob") as bob,
            Rooms(tmp_path / "cy", "cy") as cy,
            Rooms(tmp_path / "dan", "dan") as dan,
        ):
            version, _, packed = await large_of(ada)
            fetchers = [bob, cy, dan]
            for number, rooms in enumerate(fetchers):
                rooms.carry(ada)
                for other in fetchers[number + 1 :]:
                    rooms.carry(other)
            await until("all are linked", lambda: all(len(each.asking._pipes) == 3 for each in (ada, *fetchers)))
            given = 0
            look = ada.asking.giving._look

            async def counted(*words: object) -> list[bytes | None]:
                nonlocal given
                answers: list[bytes | None] = await look(*words)  # type: ignore[arg-type]
                given += sum(len(data) for data in answers if data is not None)
                return answers

            ada.asking.giving._look = counted  # type: ignore[method-assign,assignment]
            name = stage_name(path("large"), version)
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(*(each.transfer.bulk(name, version, (ada.node,)) for each in fetchers))
            for each in fetchers:
                assert staged(each, name) == LARGE
            assert given <= 2.5 * len(LARGE) + 3 * len(packed)  # three without it; who waits long is given it

    asyncio.run(play())


def test_the_second_who_asks_is_pointed_and_given_it_if_it_asks_again(tmp_path: Path) -> None:
    """Only where it says that it understands, and only for parts of larger files."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            version, recipe, _ = await large_of(ada)
            chunk = recipe.chunks[1]
            piece = Piece(version.digest, chunk.offset, chunk.length, chunk.digest)
            data = LARGE[chunk.offset :][: chunk.length]
            bob, cy = attended(ada, "bob"), attended(ada, "cy")
            await bob.send(PieceAsk(1, (piece,), elsewhere=True))
            assert await answered(bob) == Give(1, 0, (data,))
            await cy.send(PieceAsk(1, (piece,), elsewhere=True))
            assert await answered(cy) == Lack(1, (), ((0, node_id("bob")),))
            await cy.send(PieceAsk(2, (piece,), elsewhere=True))
            assert await answered(cy) == Give(2, 0, (data,))
            await bob.send(PieceAsk(2, (piece,)))
            assert await answered(bob) == Give(2, 0, (data,)), "an earlier version is not pointed anywhere"

    asyncio.run(play())


def test_what_is_coming_is_passed_on(tmp_path: Path) -> None:
    """A piece that this node has asked of somebody else is given to whoever waits, before it lies on the disk."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            origin, asks = scripted(ada, "origin", silent)
            await until("the origin is there", lambda: ada.asking._pipes)
            wanting = ada.tasks.spawn("want", ada.asking.piece(PART, urgent=False))
            await until("the origin was asked", lambda: asks)
            bob = attended(ada, "bob")
            await bob.send(PieceAsk(5, (PART,)))
            await until("bob waits", lambda: ada.asking.giving._held == 1)
            await origin.send(Give(asks[0].id, 0, (DATA,)))
            assert await answered(bob) == Give(5, 0, (DATA,))
            assert await wanting == DATA
            await until("nobody waits", lambda: ada.asking.giving._held == 0)

    asyncio.run(play())


def test_two_that_lack_the_same_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Who is asked for a piece is told at once that it is not here."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            mine, theirs = tube(CARRIED)
            ada.tasks.spawn("attend", attending(ada.asking.attend(node_id("bob"), mine)))
            await until("bob is there", lambda: ada.asking._pipes)
            ada.tasks.spawn("want", ada.asking.piece(PART, urgent=False))
            ask = await theirs.next()
            assert isinstance(ask, PieceAsk)
            await theirs.send(PieceAsk(9, (PART,)))
            assert await answered(theirs) == Lack(9, (0,))
            await theirs.send(Give(ask.id, 0, (DATA,)))

    asyncio.run(play())


def test_what_does_not_come_is_lacking_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long on another's hope; and no more wait than there is room for."""
    monkeypatch.setattr(giving_room, "COMING_WAIT_S", 0.05)
    monkeypatch.setattr(giving_room, "COMING_MAX", 1)

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            other = Piece(PART.object, 0, len(DATA), PART.digest)
            _, asks = scripted(ada, "origin", silent)
            await until("the origin is there", lambda: ada.asking._pipes)
            for piece in (PART, other):
                ada.tasks.spawn("want", ada.asking.piece(piece, urgent=False))
            await until("the origin was asked", lambda: sum(len(ask.pieces) for ask in asks) == 2)
            bob = attended(ada, "bob")
            await bob.send(PieceAsk(5, (PART, other)))
            assert await answered(bob) == Lack(5, (1,)), "there is room for one"
            assert await answered(bob) == Lack(5, (0,))

    asyncio.run(play())


def test_waiting_takes_no_slot(tmp_path: Path) -> None:
    """Many questions that wait keep nobody from being answered on the same stream."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            ada.put("small", b"small")
            await ada.scan()
            small = Digest(blake3(b"small").digest())
            origin, asks = scripted(ada, "origin", silent)
            await until("the origin is there", lambda: ada.asking._pipes)
            ada.tasks.spawn("want", ada.asking.piece(PART, urgent=False))
            await until("the origin was asked", lambda: asks)
            bob = attended(ada, "bob")
            for number in range(40):
                await bob.send(PieceAsk(number, (PART,)))
            await bob.send(PieceAsk(99, (Piece(small, 0, 5, small),)))
            assert await answered(bob) == Give(99, 0, (b"small",))
            await origin.send(Give(asks[0].id, 0, (DATA,)))
            assert {(await answered(bob)).id for _ in range(40)} == set(range(40))

    asyncio.run(play())


def test_nothing_is_kept_when_nothing_is_fetched(tmp_path: Path) -> None:
    """What came is at hand for a moment, within its bound, and then it lies on the disk alone."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, _, _ = await large_of(bob)
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            kept = []
            arrived = ada.asking.giving.arrived

            def watched(piece: Piece, data: bytes) -> None:
                arrived(piece, data)
                kept.append(ada.asking.giving._recent_bytes)

            ada.asking.giving.arrived = watched  # type: ignore[method-assign]
            await fetch_large(ada, version)
            assert 0 < max(kept) <= RECENT_BYTES_MAX
            assert (ada.asking.giving._recent, ada.asking.giving._recent_bytes) == ({}, 0)

    asyncio.run(play())
