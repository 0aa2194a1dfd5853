"""Has this very member these bytes? Asked of each linked member by itself, apart from fetching.

The fetching machine stops at the first member that has a piece, and takes silence for a reason to ask elsewhere. Before
a person gives something up, each member must have said that it lacks it: silence, a lost link and wrong bytes all count
as "it may have them" (invariant: only a member's own Lack is a no).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct, field

from meerkat.model.frame import CarryFrame, Delta, Give, Lack, Piece, PieceAsk
from meerkat.model.ids import NodeId
from meerkat.model.limits import INQUIRY_FIRST_ID, INQUIRY_TIMEOUT_S

Answers = tuple[bytes | None, ...]


class _Question(Struct, eq=False):
    """What was asked, and by the index of the piece, what came: bytes, or None where it is lacking."""

    pieces: tuple[Piece, ...]
    whole: "asyncio.Future[Answers | None]"
    answers: dict[int, bytes | None] = field(default_factory=dict)


class Inquiry:
    """Questions under way, over the same streams as fetching, with numbers of their own.

    Args:
        send: puts a frame on a member's stream; returns also when the stream is gone.
        fits: true when these are the bytes that the piece names.
    """

    def __init__(
        self, send: Callable[[NodeId, CarryFrame], Awaitable[None]], fits: Callable[[Piece, bytes], bool]
    ) -> None:
        self._send = send
        self._fits = fits
        self._open: dict[tuple[NodeId, int], _Question] = {}
        self._number = INQUIRY_FIRST_ID

    async def ask(self, node: NodeId, pieces: Sequence[Piece]) -> Answers | None:
        """The bytes of each piece, None for those that the member says it lacks; None instead of all that when it did
        not answer every one of them in time, or with wrong bytes.

        Args:
            pieces: as many as one ask can hold.
        """
        self._number += 1
        key = node, self._number
        question = _Question(tuple(pieces), asyncio.get_running_loop().create_future())
        self._open[key] = question
        try:
            async with asyncio.timeout(INQUIRY_TIMEOUT_S):
                await self._send(node, PieceAsk(self._number, question.pieces))
                return await question.whole
        except TimeoutError:
            return None
        finally:
            del self._open[key]

    def heard(self, node: NodeId, frame: Give | Lack) -> bool:
        """Take in an answer; False when it is none of ours."""
        question = self._open.get((node, frame.id))
        if question is None:
            return frame.id >= INQUIRY_FIRST_ID  # one that was given up
        match frame:
            case Give():
                for index, data in enumerate(frame.data, frame.first):
                    if isinstance(data, Delta):  # never asked for: no sketch went along
                        self._end(question, None)
                        continue
                    if index >= len(question.pieces) or not self._fits(question.pieces[index], data):
                        self._end(question, None)
                    question.answers[index] = data
            case Lack():
                for index in frame.pieces:
                    question.answers.setdefault(index, None)
        wanted = range(len(question.pieces))
        if all(index in question.answers for index in wanted):
            self._end(question, tuple(question.answers[index] for index in wanted))
        return True

    def closed(self, node: NodeId) -> None:
        """The member's stream has ended: nothing more comes."""
        for (asked, _), question in self._open.items():
            if asked == node:
                self._end(question, None)

    def _end(self, question: _Question, answers: Answers | None) -> None:
        if not question.whole.done():
            question.whole.set_result(answers)
