"""Questions for content: from whoever has it, checked piece by piece, in both directions."""

import asyncio
import random
from pathlib import Path

import pytest
from node_rooms import CARRIED, WITHIN_S, Rooms, Tube, attending, author_of, file_version, node_id, tube, until
from scripted_sources import (
    DATA,
    LARGE,
    SMALL,
    fetch_large,
    fetch_small,
    honest,
    lack,
    large_of,
    lie,
    scripted,
    silent,
    staged,
)

from meerkat.core.delta import Basis
from meerkat.core.fetch import Want
from meerkat.model.frame import Cancel, CarryFrame, Delta, DeltaStep, Give, Lack, LinkLost, Piece, PieceAsk
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import DELTA_BASES_BYTES_MAX, DELTA_MARKS_PER_ASK_MAX
from meerkat.model.problem import PathBlocked, Reason


def test_wrong_bytes_are_refused_and_another_is_asked(tmp_path: Path) -> None:
    """A lying or rotten source costs a retry, never a wrong file."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            _, lies = scripted(ada, "liar", lie)
            await until("the liar is there", lambda: ada.asking._pipes)
            _, problems = await fetch_small(ada)
            assert [problem.reason for problem in problems] == [Reason.NO_SOURCE_ONLINE]
            assert len(lies) == 1, "the same lie is not asked for again"
            _, truths = scripted(ada, "bob", honest(DATA))
            await until("bob is there", lambda: len(ada.asking._pipes) == 2)
            _, problems = await fetch_small(ada)
            assert problems == []
            assert staged(ada, "s.1") == DATA
            assert (len(lies), len(truths)) == (1, 1)

    asyncio.run(play())


def test_without_a_source_it_says_so_at_once(tmp_path: Path) -> None:
    """Nobody linked, or nobody who has it: the reason is the same, and nothing hangs."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            _, (problem,) = await fetch_small(ada)
            assert problem.reason is Reason.NO_SOURCE_ONLINE
            scripted(ada, "bob", lack)
            scripted(ada, "cy", lack)
            await until("both are there", lambda: len(ada.asking._pipes) == 2)
            _, (problem,) = await fetch_small(ada)
            assert problem.reason is Reason.NO_SOURCE_ONLINE

    asyncio.run(play())


def test_the_same_word_again_is_no_progress(tmp_path: Path) -> None:
    """What every source lacks is told to be so, however often they say how far they are; more than before is news."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            _, asked = scripted(ada, "bob", lack)
            assert not ada.asking.progressed(node_id("zoe"), {})
            await until("linked", lambda: ada.asking.progressed(node_id("bob"), {author_of("bob"): 1}))
            assert not ada.asking.progressed(node_id("bob"), {author_of("bob"): 1})
            _, problems = await fetch_small(ada)
            assert [problem.reason for problem in problems] == [Reason.NO_SOURCE_ONLINE]
            assert len(asked) == 1
            assert ada.asking.progressed(node_id("bob"), {author_of("bob"): 2})

    asyncio.run(play())


def test_a_source_that_goes_away_is_replaced(tmp_path: Path) -> None:
    """The link ends with the question unanswered: it goes to another member."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end, asks = scripted(ada, "bob", silent)
            await until("bob is there", lambda: ada.asking._pipes)
            fetching = ada.tasks.spawn("fetch", fetch_small(ada))
            await until("bob was asked", lambda: asks)
            scripted(ada, "cy", honest(DATA))
            end.cut()
            assert (await fetching)[1] == []
            assert staged(ada, "s.1") == DATA
            assert set(ada.asking._pipes) == {node_id("cy")}

    asyncio.run(play())


def test_two_who_want_the_same_ask_once(tmp_path: Path) -> None:
    """The same content at two paths is fetched once; one that gives up does not take it from the other."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            release = asyncio.Event()

            async def slow(end: Tube[CarryFrame], ask: PieceAsk) -> None:
                await release.wait()
                await honest(DATA)(end, ask)

            end, asks = scripted(ada, "bob", slow)
            await until("bob is there", lambda: ada.asking._pipes)
            piece = Piece(SMALL.digest, 0, len(DATA), SMALL.digest)
            wants = [ada.tasks.spawn("want", ada.asking.piece(piece, urgent=True)) for _ in range(3)]
            await until("bob was asked", lambda: asks)
            wants[0].cancel()
            await asyncio.sleep(0)
            release.set()
            assert await asyncio.gather(*wants[1:]) == [DATA, DATA]
            assert len(asks) == 1
            assert not any(isinstance(frame, Cancel) for frame in end.other.sent)
            assert (len(ada.asking._waiting), len(ada.asking._wanters), len(ada.asking._fetch)) == (0, 0, 0)

    asyncio.run(play())


def test_what_nobody_wants_any_more_is_called_off(tmp_path: Path) -> None:
    """The source is told, and a late answer does no harm."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end, asks = scripted(ada, "bob", silent)
            await until("bob is there", lambda: ada.asking._pipes)
            piece = Piece(SMALL.digest, 0, len(DATA), SMALL.digest)
            want = ada.tasks.spawn("want", ada.asking.piece(piece, urgent=True))
            await until("bob was asked", lambda: asks)
            want.cancel()
            await until("bob was told", lambda: any(isinstance(frame, Cancel) for frame in end.other.sent))
            await end.send(Give(asks[0].id, 0, (DATA,)))
            await end.send(Give(999, 0, (DATA,)))
            await end.send(Lack(999, (0,)))
            again = ada.tasks.spawn("want", ada.asking.piece(piece, urgent=True))
            await until("bob was asked again", lambda: len(asks) == 2)
            await end.send(Give(asks[1].id, 0, (DATA,)))
            assert await again == DATA

    asyncio.run(play())


def test_questions_are_answered_in_both_directions(tmp_path: Path) -> None:
    """Over the one stream that ada dialled, bob gets from ada what he lacks, and hears what ada has not."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", DATA)
            await ada.scan()
            mine, theirs = tube(CARRIED)
            ada.tasks.spawn("attend", attending(ada.asking.attend(node_id("bob"), mine)))
            nothing = Digest(bytes(32))
            pieces = (Piece(SMALL.digest, 0, len(DATA), SMALL.digest), Piece(nothing, 0, 4, nothing))
            await theirs.send(PieceAsk(7, pieces))
            answers = [await theirs.next(), await theirs.next()]
            assert Give(7, 0, (DATA,)) in answers
            assert Lack(7, (1,)) in answers
            theirs.cut()
            with pytest.raises(LinkLost):
                await theirs.send(PieceAsk(8, pieces))
            await until("the source is gone", lambda: not ada.asking._pipes)

    asyncio.run(play())


def test_what_is_being_assembled_is_given_on(tmp_path: Path) -> None:
    """A node that still downloads serves the chunks that it has checked: the origin need not give everyone a copy."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            release = asyncio.Event()
            given: list[Piece] = []

            async def first_chunk(end: Tube[CarryFrame], ask: PieceAsk) -> None:
                """Of everything that it is asked for, the origin gives the first chunk; the rest when it is told to."""
                if ask.pieces[0].recipe:
                    await honest(LARGE, packed)(end, ask)
                    return
                for index, piece in enumerate(ask.pieces):
                    if given:
                        await release.wait()
                    given.append(piece)
                    await end.send(Give(ask.id, index, (LARGE[piece.offset :][: piece.length],)))

            scripted(ada, "origin", first_chunk)
            await until("the origin is there", lambda: ada.asking._pipes)
            fetching = ada.tasks.spawn("fetch", fetch_large(ada, version))
            await until("some chunks came", lambda: ada.hub.traffic.received > len(packed))
            mine, theirs = tube(CARRIED)
            ada.tasks.spawn("attend", attending(ada.asking.attend(node_id("cy"), mine)))
            served: dict[Piece, bytes | Delta] = {}

            async def ask_for_all() -> None:
                wanted = [piece for piece in given if piece not in served]
                await theirs.send(PieceAsk(1, tuple(wanted[:1])))
                while isinstance(answer := await theirs.next(), PieceAsk):
                    pass  # ada asks cy as well
                if isinstance(answer, Give):
                    served[wanted[0]] = answer.data[0]

            async with asyncio.timeout(WITHIN_S):
                while not served:
                    await ask_for_all()
            ((piece, data),) = served.items()
            assert data == LARGE[piece.offset :][: piece.length]
            theirs.cut()
            release.set()
            await fetching
            assert len(recipe.chunks) > 4

    asyncio.run(play())


OLD = random.Random(3).randbytes(64 * 1024)
NEW = OLD[:30_000] + b"an edit" + OLD[30_000:]
EDITED = Piece(file_version(NEW).digest, 0, len(NEW), file_version(NEW).digest)


async def asked_with_a_basis(ada: Rooms) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        return await ada.asking.piece(EDITED, urgent=True, basis=Basis(OLD, b"saltsalt"))


def test_what_both_have_does_not_travel(tmp_path: Path) -> None:
    """An edit costs its surroundings; nothing is kept of what it was compared with."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("a", NEW)
            await bob.scan()
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            assert await asked_with_a_basis(ada) == NEW
            assert ada.hub.traffic.received < 12 * 1024
            assert ada.hub.traffic.received + ada.hub.traffic.reused == len(NEW)
            assert (ada.asking._bases, ada.asking._bases_bytes, ada.asking._asked) == ({}, 0, {})

    asyncio.run(play())


def test_who_does_not_know_sketches_gives_the_piece(tmp_path: Path) -> None:
    """A member of an earlier version reads past what it does not know."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            _, asks = scripted(ada, "bob", honest(NEW))
            await until("bob is there", lambda: ada.asking._pipes)
            assert await asked_with_a_basis(ada) == NEW
            assert [index for index, _ in asks[0].sketches] == [0]
            assert ada.hub.traffic.received == len(NEW)

    asyncio.run(play())


@pytest.mark.parametrize(
    "steps",
    [
        (DeltaStep(0, 3, b"not this"),),
        (DeltaStep(0, 2000, b""),),
        (DeltaStep(0, 0, bytes(len(NEW))),),
        (DeltaStep(0, 0, bytes(len(NEW) + 1)),),
        (),
    ],
    ids=["others", "no such parts", "zeros", "too long", "nothing"],
)
def test_a_false_difference_costs_a_retry(tmp_path: Path, steps: tuple[DeltaStep, ...]) -> None:
    """It counts as wrong bytes, and another is asked; so does one that answers a question without a sketch."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            spoilers: list[NodeId] = []
            ada.asking.on_spoiled = spoilers.append

            async def false(end: Tube[CarryFrame], ask: PieceAsk) -> None:
                await end.send(Give(ask.id, 0, (Delta(steps),)))

            scripted(ada, "liar", false)
            await until("the liar is there", lambda: ada.asking._pipes)
            with pytest.raises(PathBlocked):
                await asked_with_a_basis(ada)
            with pytest.raises(PathBlocked):
                await ada.asking.piece(Piece(SMALL.digest, 0, len(DATA), SMALL.digest), urgent=True)
            assert spoilers == [node_id("liar")] * 2
            scripted(ada, "bob", honest(NEW))
            await until("bob is there", lambda: len(ada.asking._pipes) == 2)
            assert await asked_with_a_basis(ada) == NEW

    asyncio.run(play())


def test_sketches_keep_to_their_room(tmp_path: Path) -> None:
    """However many pieces resemble something: what is held in memory and what a question carries is bounded."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            _, asks = scripted(ada, "bob", silent)
            await until("bob is there", lambda: ada.asking._pipes)
            pieces = [Piece(Digest(bytes([n]) * 32), 0, 20_000, Digest(bytes([n]) * 32)) for n in range(200)]
            bases = {piece: Basis(random.Random(n).randbytes(100_000), b"saltsalt") for n, piece in enumerate(pieces)}
            wanting = ada.tasks.spawn("want", ada.asking.pieces([Want(piece, urgent=True) for piece in pieces], bases))
            await until("bob was asked", lambda: asks)
            assert 0 < len(ada.asking._bases) < 200
            assert ada.asking._bases_bytes <= DELTA_BASES_BYTES_MAX
            for ask in asks:
                assert sum(sketch.count for _, sketch in ask.sketches) <= DELTA_MARKS_PER_ASK_MAX
            wanting.cancel()
            await until("all is forgotten", lambda: not ada.asking._bases and not ada.asking._bases_bytes)

    asyncio.run(play())
