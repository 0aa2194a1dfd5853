"""Giving up a version whose bytes no member has any more, by a person's word (MERGE rule R7, its last sentence).

Invariant: nothing is given up that this disk or a linked member has: each of them is asked for every piece, and only a
clear no counts. Who cannot be asked may have it, and a person must say that they know. What is written then is an
ordinary write that replaces the dots of that content alone: should its bytes turn up all the same, they go to the trash
of whoever brings them.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from blake3 import blake3
from msgspec import Struct, field

from meerkat.core.resolve import view as outlook_of
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import Piece
from meerkat.model.ids import NodeId
from meerkat.model.limits import ABANDON_ASKS_MAX, ASK_BYTES_MAX, CHUNK_BYTES_MAX, PIECES_PER_ASK_MAX
from meerkat.model.path import RelPath
from meerkat.model.recipe import Recipe, RecipeFault, recipe_bytes_max, unpack_recipe
from meerkat.model.version import Content, Kind, Version
from meerkat.node import ledger
from meerkat.node.asking import Asking
from meerkat.node.books import Books
from meerkat.node.history import version_name
from meerkat.node.outward import Outward
from meerkat.node.ports import View
from meerkat.node.status import Status
from meerkat.node.transfer import Transfer

Json = dict[str, object]


class Sought(Struct, frozen=True):
    """A version that the path waits for: shown by the pool and not here, or a loser that has no copy yet."""

    version: Version
    writer: NodeId


class Found(Struct):
    """What asking for it came to.

    Attributes:
        silent: members that were asked and did not answer.
        lacking: some piece is with nobody who answered.
        had: some piece is with somebody.
    """

    silent: set[NodeId] = field(default_factory=set)
    lacking: bool = False
    had: bool = False


class Abandon:
    """Answers `meerkat abandon`.

    Args:
        fresh: told of the path once it waits for nothing more.
    """

    def __init__(
        self,
        books: Books,
        asking: Asking,
        transfer: Transfer,
        outward: Outward,
        status: Status,
        fresh: Callable[[Sequence[RelPath]], None],
    ) -> None:
        self._books = books
        self._asking = asking
        self._transfer = transfer
        self._outward = outward
        self._status = status
        self._fresh = fresh

    async def abandon(self, path: RelPath, *, sure: bool) -> Json:
        """Give up the version at the path that nobody has.

        Args:
            sure: also when members that cannot be asked now may have it.

        Raises:
            Fault: not_found (the path waits for nothing), still_had, may_be_had (both refused), recovering, changed.
        """
        if self._books.recovering:
            raise Fault(
                "recovering",
                "this node has lost its index and learns it anew",
                hint="link it with a member that is up, or say it on another node",
            )
        await self._outward.scan()  # what lies somewhere here, not looked at yet, is here as well
        waiting = await self._books.read(partial(_sought, path))
        if not waiting:
            raise Fault(
                "not_found",
                f"{path!r} waits for nothing",
                hint="meerkat why shows what is not everywhere",
                exit_code=Exit.NOT_FOUND,
            )
        for sought in waiting:
            found = await self._look(sought.version)
            if found.lacking:
                return await self._give_up(path, sought, found, sure=sure)
        raise Fault(
            "still_had",
            f"the bytes of {path!r} are not lost: this node or a linked one has them",
            hint=f"meerkat why '{path}' tells what it waits for",
            exit_code=Exit.REFUSED,
        )

    async def _give_up(self, path: RelPath, sought: Sought, found: Found, *, sure: bool) -> Json:
        linked = self._asking.linked()
        others = [row for row in self._status.nodes() if not row["self"]]
        unasked = [row for row in others if row["node"] not in linked or row["node"] in found.silent]
        names = [str(row["name"]) for row in unasked]
        if unasked and not sure:
            told = ", ".join(
                f"{row['name']} ({'did not answer' if row['node'] in found.silent else row['state']})"
                for row in unasked
            )
            raise Fault(
                "may_be_had",
                f"nodes that cannot be asked now may have the bytes of {path!r}: {told}",
                cause="a version is given up on all nodes, and for good",
                hint=f"start {' or '.join(names)}; or, sure that the bytes are lost: meerkat abandon --yes",
                exit_code=Exit.REFUSED,
            )
        left = await self._books.write(lambda tx: ledger.abandon(tx, path, sought.version.content))
        if left is None:
            raise Fault("changed", f"{path!r} has changed meanwhile", hint="meerkat why, then try again")
        self._fresh([path])
        by = {NodeId(str(row["node"])): str(row["name"]) for row in self._status.nodes()}
        return {
            "path": path,
            "version": version_name(sought.version),
            "size": sought.version.size,
            "written_by": {"node": sought.writer, "name": by.get(sought.writer, sought.writer[:8])},
            "left": version_name(left) if left.living else None,
            "may_have": [{"node": row["node"], "name": row["name"], "state": row["state"]} for row in unasked],
            "parts": found.had,
        }

    # ---- who has it

    async def _look(self, version: Version) -> Found:
        """Ask this disk and every linked member for all of it, until a piece is with nobody."""
        found = Found()
        if self._transfer.morsel(version) is not None:
            return found  # its bytes came with its entry
        asked = self._asking.linked()
        pieces: Sequence[Piece]
        if version.recipe:
            recipe = await self._recipe(version, asked, found)
            if recipe is None:
                found.lacking = True
                return found
            pieces = [Piece(version.digest, each.offset, each.length, each.digest) for each in recipe.chunks]
        else:
            pieces = [Piece(version.digest, 0, version.size, version.digest)]
        for number, batch in enumerate(_batches(pieces)):
            if found.lacking and (found.had or number >= ABANDON_ASKS_MAX):
                break
            here = await self._asking.giving.own(batch)
            missing = [piece for piece, mine in zip(batch, here, strict=True) if not mine]
            having = await self._having(missing, asked, found)
            found.had = found.had or any(here) or bool(having)
            found.lacking = found.lacking or not having.issuperset(missing)
        return found

    async def _having(self, pieces: list[Piece], asked: set[NodeId], found: Found) -> set[Piece]:
        having: set[Piece] = set()
        nodes = sorted(asked - found.silent)
        if not pieces:
            return having
        for node, answers in zip(
            nodes, await asyncio.gather(*(self._asking.inquiry.ask(node, pieces) for node in nodes)), strict=True
        ):
            if answers is None:
                found.silent.add(node)
                continue
            having.update(piece for piece, data in zip(pieces, answers, strict=True) if data is not None)
        return having

    async def _recipe(self, version: Version, asked: set[NodeId], found: Found) -> Recipe | None:
        """The version's recipe, from here or the first member that has it."""
        packed = await self._books.read(lambda view: view.recipe(version.recipe))
        for node in sorted(asked):
            if packed is not None:
                break
            packed = await self._recipe_of(node, version, found)
        try:
            return None if packed is None else unpack_recipe(packed, version.size)
        except RecipeFault:
            return None  # made up by whoever wrote it: nobody can have such a file

    async def _recipe_of(self, node: NodeId, version: Version, found: Found) -> bytes | None:
        packed = b""
        while len(packed) < recipe_bytes_max(version.size):
            part = Piece(version.recipe, len(packed), CHUNK_BYTES_MAX, recipe=True)
            answers = await self._asking.inquiry.ask(node, [part])
            if answers is None:
                found.silent.add(node)
                return None
            packed += answers[0] or b""
            if answers[0] is None or len(answers[0]) < CHUNK_BYTES_MAX:
                break
        return packed if blake3(packed).digest() == version.recipe else None


def _sought(path: RelPath, view: View) -> list[Sought]:
    """The files that the path waits for: what the pool shows there and this disk does not, then losers."""
    siblings, base = view.siblings(path), view.base(path)
    outlook = outlook_of(siblings, view.has_living_below(path))
    shown: Content | None = None if base is None else base.content
    items = [each for each in (outlook.winner, *outlook.losers) if each is not None and each.content != shown]
    return [
        Sought(each.version, NodeId(each.version.copy_of or max(each.dots).author.node))
        for each in items
        if each.dots and each.version.kind is Kind.FILE and each.version.size
    ]


def _batches(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """As many pieces to a question as one may hold."""
    batch: list[Piece] = []
    weight = 0
    for piece in pieces:
        if batch and (weight + piece.length > ASK_BYTES_MAX or len(batch) >= PIECES_PER_ASK_MAX):
            yield batch
            batch, weight = [], 0
        batch.append(piece)
        weight += piece.length
    if batch:
        yield batch
