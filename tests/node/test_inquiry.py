"""Only a member's own word that it lacks a piece counts as a no."""

import asyncio
from pathlib import Path
from unittest.mock import patch

from blake3 import blake3
from node_rooms import CARRIED, Rooms, attending, tube

from meerkat.model.frame import Give, Lack, Piece, PieceAsk
from meerkat.model.ids import Digest
from meerkat.node import inquiry

DATA = b"the bytes"


def piece(data: bytes = DATA) -> Piece:
    digest = Digest(blake3(data).digest())
    return Piece(digest, 0, len(data), digest)


def test_a_member_answers_for_itself(tmp_path: Path) -> None:
    """What it has comes with its bytes, what it lacks as a no, in the order of asking."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("file", DATA)
            await bob.scan()
            ada.carry(bob)
            await asyncio.sleep(0)
            assert await ada.asking.inquiry.ask(bob.node, [piece(b"other"), piece()]) == (None, DATA)

    asyncio.run(play())


def test_silence_a_lost_link_and_wrong_bytes_are_no_answer(tmp_path: Path) -> None:
    """Each of them leaves it open whether the member has the piece; so does an answer to half of the pieces."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            mine, theirs = tube(CARRIED)
            bob = Rooms(tmp_path / "bob", "bob").node
            ada.tasks.spawn("carry", attending(ada.asking.attend(bob, mine)))
            await asyncio.sleep(0)

            async def asked(answers: list[Give | Lack], *, cut: bool = False) -> object:
                question = asyncio.ensure_future(ada.asking.inquiry.ask(bob, [piece(), piece(b"2")]))
                ask = await theirs.next()
                assert isinstance(ask, PieceAsk)
                for each in answers:
                    given = Give(ask.id, each.first, each.data) if isinstance(each, Give) else Lack(ask.id, each.pieces)
                    await theirs.send(given)
                if cut:
                    theirs.cut()
                return await question

            assert await asked([Lack(0, (0, 1))]) == (None, None)
            assert await asked([Lack(0, (1,)), Give(0, 0, (DATA,))]) == (DATA, None)
            assert await asked([Give(0, 0, (b"wrong by",))]) is None
            with patch.object(inquiry, "INQUIRY_TIMEOUT_S", 0.05):
                assert await asked([Lack(0, (0,))]) is None
                assert await asked([]) is None
            assert await asked([Lack(0, (0,))], cut=True) is None

    asyncio.run(play())
