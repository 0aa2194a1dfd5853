"""What other nodes are given: checked bytes of shared content, or nothing."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from blake3 import blake3
from node_rooms import Rooms, file_version

from meerkat.model.frame import Delta, Give, Lack, Piece
from meerkat.model.ids import Digest
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import MARKER
from meerkat.model.recipe import unpack_recipe
from meerkat.node.serve import answer, into_messages, serve


class NoPartials:
    def staged(self, content: Digest) -> list[str]:
        return []


class Partials:
    """One file that is being assembled."""

    def __init__(self, content: Digest, name: str) -> None:
        self.content, self.name = content, name

    def staged(self, content: Digest) -> list[str]:
        return [self.name] if content == self.content else []


def whole(data: bytes) -> Piece:
    """A small file as one piece."""
    digest = Digest(blake3(data).digest())
    return Piece(digest, 0, len(data), digest)


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


async def served(ada: Rooms, *pieces: Piece) -> list[bytes | None]:
    return await ada.books.read(lambda view: serve(view, ada.root, ada.stage, ada.trash, NoPartials(), pieces))


def test_pieces_of_files_and_recipes_are_given(tmp_path: Path) -> None:
    """A small file whole, a large one chunk by chunk, and the list of its chunks."""
    large = os.urandom(SINGLE_CHUNK_BYTES_MAX * 2)

    async def scene(ada: Rooms) -> None:
        ada.put("small", b"small")
        ada.put("large", large)
        await ada.scan()
        (version,) = await ada.living("large")
        (packed,) = await served(ada, Piece(version.recipe, 0, 1 << 20, recipe=True))
        assert packed is not None
        chunks = unpack_recipe(packed, len(large)).chunks
        pieces = [Piece(version.digest, chunk.offset, chunk.length, chunk.digest) for chunk in chunks]
        small, *parts = await served(ada, whole(b"small"), *pieces)
        assert small == b"small"
        assert b"".join(part or b"" for part in parts) == large
        assert await served(ada, Piece(version.recipe, 4, 8, recipe=True)) == [packed[4:12]]

    run(tmp_path, scene)


def test_what_is_not_shared_is_not_given(tmp_path: Path) -> None:
    """Files that the index does not know, ignored ones, and the node's own are nobody's business."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / MARKER / "ignore").write_text("secret\n")
        ada.rules.read()
        ada.put("secret", b"ignored")
        await ada.scan()
        ada.put("unseen", b"not scanned")
        key = (ada.folder / MARKER / "ignore").read_bytes()
        assert await served(ada, whole(b"ignored"), whole(b"not scanned"), whole(key)) == [None, None, None]

    run(tmp_path, scene)


def test_a_file_that_has_changed_is_not_given(tmp_path: Path) -> None:
    """Its old bytes are gone, its new ones were not asked for; another place with that content will do."""

    async def scene(ada: Rooms) -> None:
        ada.put("a", b"content")
        ada.put("b", b"content")
        await ada.scan()
        ada.put("a", b"CONTENT")
        assert await served(ada, whole(b"content"), whole(b"CONTENT")) == [b"content", None]
        (ada.folder / "b").unlink()
        assert await served(ada, whole(b"content")) == [None]

    run(tmp_path, scene)


def test_rot_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that changed under an unchanged stat are checked against what was asked for."""

    async def scene(ada: Rooms) -> None:
        ada.put("a", b"content")
        await ada.scan()
        real = os.pread
        monkeypatch.setattr(os, "pread", lambda handle, count, at: real(handle, count, at)[:-1] + b"?")
        assert await served(ada, whole(b"content")) == [None]

    run(tmp_path, scene)


def test_what_is_still_being_assembled_is_given_in_parts(tmp_path: Path) -> None:
    """Who downloads gives on what it has checked; what has not come yet is not given as zeros."""
    first, second = b"a" * 1000, b"b" * 1000
    content = Digest(blake3(first + second).digest())

    async def scene(ada: Rooms) -> None:
        ada.stage.prepare("big.1", 2000)
        ada.stage.write("big.1", 0, first)
        pieces = tuple(
            Piece(content, at, 1000, Digest(blake3(data).digest())) for at, data in ((0, first), (1000, second))
        )
        partials = Partials(content, "big.1")
        assert await ada.books.read(lambda view: serve(view, ada.root, ada.stage, ada.trash, partials, pieces)) == [
            first,
            None,
        ]

    run(tmp_path, scene)


@pytest.mark.parametrize(
    ("answers", "runs", "lacking"),
    [
        ([], [], []),
        ([b"a", b"b"], [(0, (b"a", b"b"))], []),
        ([None, None], [], [0, 1]),
        ([b"a", None, b"c"], [(0, (b"a",)), (2, (b"c",))], [1]),
        ([b"aaa", b"bb", b"c"], [(0, (b"aaa",)), (1, (b"bb", b"c"))], []),
        ([b"aaaaa", b"b"], [(0, (b"aaaaa",)), (1, (b"b",))], []),
        ([b"", b"", b"", b""], [(0, (b"", b"", b"")), (3, (b"",))], []),
    ],
)
def test_answers_travel_in_bounded_messages(
    answers: list[bytes | None], runs: list[tuple[int, tuple[bytes, ...]]], lacking: list[int]
) -> None:
    """Runs of consecutive pieces, at most 4 bytes and 3 pieces each (a larger piece alone); gaps are named."""
    sent: list[tuple[int, tuple[bytes | Delta, ...]]] = []
    assert into_messages(answers, 4, 3, lambda first, data: sent.append((first, data))) == lacking
    assert sent == runs


def test_a_files_digest_is_its_name(tmp_path: Path) -> None:
    """A piece is found by content, wherever the file lies by now."""

    async def scene(ada: Rooms) -> None:
        ada.put("a", b"content")
        await ada.scan()
        os.rename(ada.folder / "a", ada.folder / "moved")
        await ada.scan()
        assert file_version(b"content").digest == whole(b"content").object
        assert await served(ada, whole(b"content")) == [b"content"]

    run(tmp_path, scene)


def test_what_is_lacking_is_said_first() -> None:
    """So that it can be asked of others while the rest is under way; nothing is said of nothing."""
    assert answer(7, [b"a", None, b"b"]) == [Lack(7, (1,)), Give(7, 0, (b"a",)), Give(7, 2, (b"b",))]
    assert answer(7, [b"a"]) == [Give(7, 0, (b"a",))]
    assert answer(7, []) == []
