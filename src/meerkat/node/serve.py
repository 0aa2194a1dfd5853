"""Answering other nodes' questions for content, in worker threads.

Invariant (G9): no byte is served that was not just checked against the digest it was asked by. A file that rotted or
changed since it was hashed is not served; neither is anything that the index does not know as shared content.
"""

import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from blake3 import blake3

from meerkat.core.delta import difference
from meerkat.disk.root import Root, stat_of
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.frame import Delta, Give, Lack, Piece, PieceAsk, given_bytes
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import CHUNK_BYTES_MAX, PIECES_PER_ASK_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Content, Kind
from meerkat.node.ports import View
from meerkat.node.stage_names import may_hold, own_name


class Staged(Protocol):
    """Where (a part of) a content lies in the stage."""

    def staged(self, content: Digest) -> list[str]: ...


class Partials:
    """What is being assembled here: the stage names that hold (a part of) a content."""

    def __init__(self) -> None:
        self._names: dict[Digest, set[str]] = {}

    @contextmanager
    def assembling(self, content: Digest, name: str) -> Iterator[None]:
        """Until the end of the block that content is being assembled under that name."""
        names = self._names.setdefault(content, set())
        names.add(name)
        try:
            yield
        finally:
            names.discard(name)
            if not names:
                self._names.pop(content, None)

    def staged(self, content: Digest) -> list[str]:
        """Under which names; may be asked by any thread."""
        return list(self._names.get(content, ()))


class Assembled:
    """As `Staged`, for one question: what is being assembled, else what lies in the stage and waits there for what
    keeps it from being put down. Nobody else may have that."""

    def __init__(self, active: Staged, stage: Stage) -> None:
        self._active = active
        self._stage = stage
        self._names: list[str] | None = None

    def staged(self, content: Digest) -> list[str]:
        active = self._active.staged(content)
        if active:
            return active
        if self._names is None:
            try:
                self._names = self._stage.names()
            except PathBlocked:
                self._names = []
        return [name for name in self._names if may_hold(own_name(name), content)]


def serve(
    view: View,
    root: Root,
    stage: Stage,
    trash: Trash,
    partials: Staged,
    pieces: tuple[Piece, ...],
    suspect: Callable[[RelPath], None] = lambda path: None,
) -> list[bytes | None]:
    """The bytes of each piece, or None where this node cannot give them.

    Args:
        suspect: called with the path of a file that looks as it should, and has not the bytes that were asked for. It
            may be rotten; or whoever asks has named another digest.
    """
    return [_piece(view, root, stage, trash, partials, piece, suspect) for piece in pieces]


def _piece(
    view: View,
    root: Root,
    stage: Stage,
    trash: Trash,
    partials: Staged,
    piece: Piece,
    suspect: Callable[[RelPath], None],
) -> bytes | None:
    if piece.recipe:
        packed = view.recipe(piece.object)
        return None if packed is None else packed[piece.offset : piece.offset + piece.length]
    for path, base in view.locate_content(Content(Kind.FILE, piece.object)):
        data = read_file(root, path, base, piece.offset, piece.length)
        if data is None:
            continue
        if blake3(data).digest() == piece.digest:
            return data
        suspect(path)
    for name in partials.staged(piece.object):
        data = stage.read(name, piece.offset, piece.length)
        if len(data) == piece.length and blake3(data).digest() == piece.digest:
            return data
    kept = trash.find(piece.object)  # somebody may want a past version back, or lack a loser's bytes
    if kept is not None:
        data = trash.read(kept, piece.offset, piece.length)
        if len(data) == piece.length and blake3(data).digest() == piece.digest:
            return data
    return None


def own(view: View, root: Root, stage: Stage, trash: Trash, partials: Staged, pieces: tuple[Piece, ...]) -> list[bool]:
    """Whether this disk has each piece, also as a part of any other file."""

    def elsewhere(piece: Piece) -> bool:
        for place in view.locate_chunk(piece.digest):
            data = read_file(root, place.path, place.base, place.offset, place.length)
            if data is not None and is_piece(piece, data):
                return True
        return False

    given = serve(view, root, stage, trash, partials, pieces)
    return [data is not None or elsewhere(piece) for piece, data in zip(pieces, given, strict=True)]


def read_file(root: Root, path: RelPath, base: Base, offset: int, length: int) -> bytes | None:
    """`length` bytes of a file that still looks as its base says, else None."""
    try:
        descriptor = root.open_read(path)
    except (OSError, PathBlocked):
        return None
    try:
        if stat_of(os.fstat(descriptor)) != base.stat:
            return None
        data = os.pread(descriptor, min(length, CHUNK_BYTES_MAX), offset)
        return data if len(data) == length else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_piece(piece: Piece, data: bytes | Delta) -> bool:
    """True when the bytes are what the piece names, as far as one piece can tell."""
    if isinstance(data, Delta):
        return False
    if piece.recipe:
        whole = piece.offset == 0 and len(data) < piece.length
        return len(data) <= piece.length and (not whole or blake3(data).digest() == piece.object)
    return len(data) == piece.length and blake3(data).digest() == piece.digest


def shortened(answers: list[bytes | None], ask: PieceAsk) -> list[bytes | Delta | None]:
    """What is asked for with a sketch told as a difference, where that is shorter."""
    given: list[bytes | Delta | None] = list(answers)
    for index, sketch in ask.sketches:
        data = answers[index]
        if data is not None:
            given[index] = difference(data, sketch) or data
    return given


def answer(
    ask: int,
    answers: Sequence[bytes | Delta | None],
    kept_back: Container[int] = (),
    elsewhere: tuple[tuple[int, NodeId], ...] = (),
) -> list[Lack | Give]:
    """What goes back to whoever asked, in this order: what is lacking can be asked of others at once.

    Args:
        kept_back: indexes of what is not here and not lacking either.
        elsewhere: of these, what somebody else is to be asked for.
    """
    given: list[Lack | Give] = []
    lacking = into_messages(
        answers, CHUNK_BYTES_MAX, PIECES_PER_ASK_MAX, lambda first, data: given.append(Give(ask, first, data))
    )
    lacking = [index for index in lacking if index not in kept_back]
    return [Lack(ask, tuple(lacking), elsewhere), *given] if lacking or elsewhere else given


def into_messages(
    answers: Sequence[bytes | Delta | None],
    bytes_max: int,
    items_max: int,
    send: Callable[[int, tuple[bytes | Delta, ...]], None],
) -> list[int]:
    """Cut answers into runs of consecutive pieces of bounded size; calls `send(first, data)` for each run.

    Returns:
        the indexes that are lacking.
    """
    lacking: list[int] = []
    run: list[bytes | Delta] = []
    first = weight = 0
    for index, data in enumerate(answers):
        if data is None:
            lacking.append(index)
        if run and (data is None or weight + given_bytes(data) > bytes_max or len(run) >= items_max):
            send(first, tuple(run))
            run, weight = [], 0
        if data is not None:
            if not run:
                first = index
            run.append(data)
            weight += given_bytes(data)
    if run:
        send(first, tuple(run))
    return lacking
