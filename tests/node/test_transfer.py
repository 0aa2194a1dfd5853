"""Content comes from whoever has it: checked piece by piece, resumed, and never wrong whatever a source sends."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from blake3 import blake3
from node_rooms import CARRIED, WITHIN_S, Rooms, Tube, attending, author_of, file_version, node_id, tube, until

from meerkat.model.dot import Author, Dot
from meerkat.model.frame import Cancel, CarryFrame, Give, Lack, LinkLost, Piece, PieceAsk
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.recipe import Recipe, unpack_recipe
from meerkat.model.version import Kind, Version
from meerkat.node import transfer as transfer_room
from meerkat.node.transfer import likely_holders

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
    ada.tasks.spawn(f"{name} is attended", attending(ada.transfer.attend(node_id(name), mine)))
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


def test_a_small_file_comes_from_a_member(tmp_path: Path) -> None:
    """Asked for once, checked, staged; traffic is counted."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("a", DATA)
            await bob.scan()
            ada.carry(bob)
            await until("a source", lambda: ada.transfer._pipes)
            inodes, problems = await fetch_small(ada)
            assert problems == []
            assert inodes == {"s.1": ada.stage.inode("s.1")}
            assert staged(ada, "s.1") == DATA
            assert (ada.hub.traffic.received, ada.hub.traffic.reused) == (len(DATA), 0)

    asyncio.run(play())


def test_what_is_on_this_disk_is_not_asked_for(tmp_path: Path) -> None:
    """A copy of what is here already needs no member; one that changed under the index is no source."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", DATA)
            await ada.scan()
            assert (await fetch_small(ada))[1] == []
            assert (ada.hub.traffic.received, ada.hub.traffic.reused) == (0, len(DATA))
            ada.put("a", DATA.upper())
            ada.stage.drop("s.1")  # what was staged already would do, too
            _, (problem,) = await fetch_small(ada)
            assert problem.reason is Reason.NO_SOURCE_ONLINE

    asyncio.run(play())


def test_wrong_bytes_are_refused_and_another_is_asked(tmp_path: Path) -> None:
    """A lying or rotten source costs a retry, never a wrong file."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            _, lies = scripted(ada, "liar", lie)
            await until("the liar is there", lambda: ada.transfer._pipes)
            _, problems = await fetch_small(ada)
            assert [problem.reason for problem in problems] == [Reason.NO_SOURCE_ONLINE]
            assert len(lies) == 1, "the same lie is not asked for again"
            _, truths = scripted(ada, "bob", honest(DATA))
            await until("bob is there", lambda: len(ada.transfer._pipes) == 2)
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
            await until("both are there", lambda: len(ada.transfer._pipes) == 2)
            _, (problem,) = await fetch_small(ada)
            assert problem.reason is Reason.NO_SOURCE_ONLINE

    asyncio.run(play())


def test_the_same_word_again_is_no_progress(tmp_path: Path) -> None:
    """What every source lacks is told to be so, however often they say how far they are; more than before is news."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            _, asked = scripted(ada, "bob", lack)
            assert not ada.transfer.progressed(node_id("zoe"), {})
            await until("linked", lambda: ada.transfer.progressed(node_id("bob"), {author_of("bob"): 1}))
            assert not ada.transfer.progressed(node_id("bob"), {author_of("bob"): 1})
            _, problems = await fetch_small(ada)
            assert [problem.reason for problem in problems] == [Reason.NO_SOURCE_ONLINE]
            assert len(asked) == 1
            assert ada.transfer.progressed(node_id("bob"), {author_of("bob"): 2})

    asyncio.run(play())


def test_a_source_that_goes_away_is_replaced(tmp_path: Path) -> None:
    """The link ends with the question unanswered: it goes to another member."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end, asks = scripted(ada, "bob", silent)
            await until("bob is there", lambda: ada.transfer._pipes)
            fetching = ada.tasks.spawn("fetch", fetch_small(ada))
            await until("bob was asked", lambda: asks)
            scripted(ada, "cy", honest(DATA))
            end.cut()
            assert (await fetching)[1] == []
            assert staged(ada, "s.1") == DATA
            assert set(ada.transfer._pipes) == {node_id("cy")}

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
            await until("bob is there", lambda: ada.transfer._pipes)
            piece = Piece(SMALL.digest, 0, len(DATA), SMALL.digest)
            wants = [ada.tasks.spawn("want", ada.transfer.piece(piece, urgent=True)) for _ in range(3)]
            await until("bob was asked", lambda: asks)
            wants[0].cancel()
            await asyncio.sleep(0)
            release.set()
            assert await asyncio.gather(*wants[1:]) == [DATA, DATA]
            assert len(asks) == 1
            assert not any(isinstance(frame, Cancel) for frame in end.other.sent)
            assert (len(ada.transfer._waiting), len(ada.transfer._wanters), len(ada.transfer._fetch)) == (0, 0, 0)

    asyncio.run(play())


def test_what_nobody_wants_any_more_is_called_off(tmp_path: Path) -> None:
    """The source is told, and a late answer does no harm."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end, asks = scripted(ada, "bob", silent)
            await until("bob is there", lambda: ada.transfer._pipes)
            piece = Piece(SMALL.digest, 0, len(DATA), SMALL.digest)
            want = ada.tasks.spawn("want", ada.transfer.piece(piece, urgent=True))
            await until("bob was asked", lambda: asks)
            want.cancel()
            await until("bob was told", lambda: any(isinstance(frame, Cancel) for frame in end.other.sent))
            await end.send(Give(asks[0].id, 0, (DATA,)))
            await end.send(Give(999, 0, (DATA,)))
            await end.send(Lack(999, (0,)))
            again = ada.tasks.spawn("want", ada.transfer.piece(piece, urgent=True))
            await until("bob was asked again", lambda: len(asks) == 2)
            await end.send(Give(asks[1].id, 0, (DATA,)))
            assert await again == DATA

    asyncio.run(play())


def test_a_large_file_comes_chunk_by_chunk(tmp_path: Path) -> None:
    """Recipe first, then the chunks; the whole is checked, and its chunks can be found here from then on."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            ada.carry(bob)
            await until("a source", lambda: ada.transfer._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) == packed
            assert ada.hub.traffic.received == len(LARGE) + len(packed)
            assert len(recipe.chunks) > 4
            assert ada.transfer.staged(version.digest) == [], "it is assembled no more"

    asyncio.run(play())


def test_a_download_is_resumed(tmp_path: Path) -> None:
    """What an earlier try has left in the stage is checked and kept; rotten parts of it are fetched again."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            kept, rotten = recipe.chunks[1:-1], recipe.chunks[1]
            ada.stage.prepare("l.1", version.size)
            for chunk in kept:
                ada.stage.write("l.1", chunk.offset, LARGE[chunk.offset :][: chunk.length])
            ada.stage.write("l.1", rotten.offset, b"rot")
            ada.carry(bob)
            await until("a source", lambda: ada.transfer._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE
            reused = sum(chunk.length for chunk in kept[1:])
            assert (ada.hub.traffic.reused, ada.hub.traffic.received) == (reused, len(LARGE) - reused + len(packed))

    asyncio.run(play())


def test_a_changed_file_is_made_of_its_old_parts(tmp_path: Path) -> None:
    """Some bytes in the middle are new: only the chunks around them are fetched."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.put("old", LARGE)
            await ada.scan()
            middle = len(LARGE) // 2
            bob.put("large", LARGE[:middle] + b"inserted" + LARGE[middle:])
            await bob.scan()
            (version,) = await bob.living("large")
            ada.carry(bob)
            await until("a source", lambda: ada.transfer._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == bob.read("large")
            assert ada.hub.traffic.received < len(LARGE) // 2
            assert ada.hub.traffic.reused > len(LARGE) // 2

    asyncio.run(play())


def test_a_false_recipe_is_not_believed(tmp_path: Path) -> None:
    """The list of chunks is checked against its own digest before anything is asked by it."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, _, packed = await large_of(bob)
            forged = packed[36:] + packed[:36]
            scripted(ada, "liar", honest(LARGE, forged))
            await until("the liar is there", lambda: ada.transfer._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.NO_SOURCE_ONLINE
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) is None
            ada.carry(bob)
            await until("bob is there", lambda: len(ada.transfer._pipes) == 2)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE

    asyncio.run(play())


def test_a_recipe_of_several_parts_is_checked_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts have no digests of their own, so only the whole tells whether it is the one announced."""
    monkeypatch.setattr(transfer_room, "CHUNK_BYTES_MAX", 36 * 3)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            assert len(recipe.chunks) > 6, "parts: one would be checked by itself"
            scripted(ada, "liar", honest(LARGE, packed[36:] + packed[:36]))
            await until("the liar is there", lambda: ada.transfer._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) is None

    asyncio.run(play())


@pytest.mark.parametrize(
    ("what", "packed", "size"),
    [
        ("it does not add up", b"d" * 32 + (1000).to_bytes(4, "big"), SINGLE_CHUNK_BYTES_MAX + 1),
        ("it is cut short", b"d" * 30, SINGLE_CHUNK_BYTES_MAX + 1),
        ("a chunk without bytes", b"d" * 32 + (0).to_bytes(4, "big"), SINGLE_CHUNK_BYTES_MAX + 1),
    ],
)
def test_a_recipe_that_makes_no_sense_is_the_writers_fault(tmp_path: Path, what: str, packed: bytes, size: int) -> None:
    """A true digest over a recipe that cannot be: every source would give the same, so the path says so."""
    assert what

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            recipe = Digest(blake3(packed).digest())
            version = Version(Kind.FILE, size=size, digest=Digest(b"x" * 32), recipe=recipe)
            scripted(ada, "liar", honest(b"", packed))
            await until("the liar is there", lambda: ada.transfer._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH

    asyncio.run(play())


def test_chunks_that_make_another_file_are_refused(tmp_path: Path) -> None:
    """Every chunk is as the recipe says, and the whole is not what was announced: nothing is put down."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, _, packed = await large_of(bob)
            other = Version(Kind.FILE, size=version.size, digest=Digest(b"x" * 32), recipe=version.recipe)
            scripted(ada, "liar", honest(LARGE, packed))
            await until("the liar is there", lambda: ada.transfer._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, other)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH

    asyncio.run(play())


def test_a_large_file_without_a_recipe_is_refused(tmp_path: Path) -> None:
    """A size that does not fit one message, and no list of chunks: nobody is asked for gigabytes at once."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            _, asks = scripted(ada, "bob", lack)
            await until("bob is there", lambda: ada.transfer._pipes)
            huge = Version(Kind.FILE, size=1 << 30, digest=Digest(b"x" * 32))
            _, (problem,) = await fetch_small(ada, huge)
            assert problem.reason is Reason.DIGEST_MISMATCH
            assert asks == []

    asyncio.run(play())


def test_questions_are_answered_in_both_directions(tmp_path: Path) -> None:
    """Over the one stream that ada dialled, bob gets from ada what he lacks, and hears what ada has not."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", DATA)
            await ada.scan()
            mine, theirs = tube(CARRIED)
            ada.tasks.spawn("attend", attending(ada.transfer.attend(node_id("bob"), mine)))
            nothing = Digest(bytes(32))
            pieces = (Piece(SMALL.digest, 0, len(DATA), SMALL.digest), Piece(nothing, 0, 4, nothing))
            await theirs.send(PieceAsk(7, pieces))
            answers = [await theirs.next(), await theirs.next()]
            assert Give(7, 0, (DATA,)) in answers
            assert Lack(7, (1,)) in answers
            theirs.cut()
            with pytest.raises(LinkLost):
                await theirs.send(PieceAsk(8, pieces))
            await until("the source is gone", lambda: not ada.transfer._pipes)

    asyncio.run(play())


def test_what_is_being_assembled_is_given_on(tmp_path: Path) -> None:
    """A node that still downloads serves the chunks that it has checked: the origin need not give everyone a copy."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            release = asyncio.Event()
            given: list[Piece] = []

            async def one_chunk(end: Tube[CarryFrame], ask: PieceAsk) -> None:
                if not ask.pieces[0].recipe:
                    if given:
                        await release.wait()
                    given.extend(ask.pieces)
                await honest(LARGE, packed)(end, ask)

            scripted(ada, "origin", one_chunk)
            await until("the origin is there", lambda: ada.transfer._pipes)
            fetching = ada.tasks.spawn("fetch", fetch_large(ada, version))
            await until("some chunks came", lambda: ada.hub.traffic.received > len(packed))
            mine, theirs = tube(CARRIED)
            ada.tasks.spawn("attend", attending(ada.transfer.attend(node_id("cy"), mine)))
            served: dict[Piece, bytes] = {}

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


def test_writers_are_likely_holders() -> None:
    """Each node that wrote a version, once."""
    one, other = NodeId("a" * 32), NodeId("b" * 32)
    dots = [Dot(Author(one, 1), 1), Dot(Author(one, 2), 1), Dot(Author(other, 1), 5)]
    assert sorted(likely_holders(dots)) == [one, other]
