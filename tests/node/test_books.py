"""The index behind its threads: what is at hand is what is durable, and trouble with the disk is waited for."""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from node_rooms import WITHIN_S, Rooms, author_of, file_version, path, until

from meerkat.model.limits import INDEX_RETRY_MIN_S
from meerkat.node import books as books_room
from meerkat.node.books import Books
from meerkat.node.ports import Tx, View
from meerkat.store.errors import IndexUnavailable
from meerkat.store.index import Index


class Failing:
    """An index whose disk is full for the first few transactions."""

    def __init__(self, index: Index, failures: int) -> None:
        self._index = index
        self.failures = failures

    def write(self) -> AbstractContextManager[Tx]:
        self._fail()
        return self._index.write()

    def read(self) -> AbstractContextManager[View]:
        self._fail()
        return self._index.read()

    def close(self) -> None:
        self._index.close()

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise IndexUnavailable("the disk is full")


def test_what_is_at_hand_is_what_was_committed(tmp_path: Path) -> None:
    """Listeners hear of a transaction after it is durable, with the vectors of just that; a failed one leaves all."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            heard: list[dict[object, int]] = []

            def listen() -> None:
                durable = ada.books.read_here(lambda view: view.context())
                assert durable == ada.books.context
                heard.append(dict(durable))

            ada.books.on_written(listen)
            ada.put("a", b"a")
            await ada.scan()
            assert heard[-1] == {ada.author: 1}
            before = ada.books.generation, ada.books.fingerprint, len(heard)

            def fail(tx: Tx) -> None:
                tx.next_seq()
                tx.put_siblings(path("b"), {})
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await ada.books.write(fail)
            assert (ada.books.generation, ada.books.fingerprint, len(heard)) == before
            assert await ada.books.write(lambda tx: tx.next_seq()) == 2, "no sequence was lost or given twice"

    asyncio.run(play())


def test_writes_come_one_after_the_other_and_reads_beside(tmp_path: Path) -> None:
    """Many tasks write at once: each sees what the one before wrote, and readers see whole transactions."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:

            def count(tx: Tx) -> int:
                number = int(tx.meta("number") or b"0") + 1
                tx.put_meta("number", b"%d" % number)
                tx.put_meta("twin", b"%d" % number)
                return number

            reads = [ada.books.read(lambda view: (view.meta("number"), view.meta("twin"))) for _ in range(20)]
            numbers, pairs = await asyncio.gather(
                asyncio.gather(*(ada.books.write(count) for _ in range(20))), asyncio.gather(*reads)
            )
            assert sorted(numbers) == list(range(1, 21))
            assert all(one == other for one, other in pairs)

    asyncio.run(play())


def test_a_full_disk_is_waited_for_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails: the trouble is told each time, and its end once; then the work is done."""
    monkeypatch.setattr(books_room, "INDEX_RETRY_MIN_S", INDEX_RETRY_MIN_S / 100)

    async def play() -> None:
        index = Index.in_memory()
        with index.write() as tx:
            tx.renew_author(author_of("ada"))
        failing = Failing(index, 0)
        books = Books(failing)
        told: list[str] = []
        books.on_trouble = lambda error: told.append("over" if error is None else str(error))
        await books.open()
        assert told == []
        failing.failures = 2
        assert await books.write(lambda tx: tx.next_seq()) == 1
        assert told == ["the disk is full", "the disk is full", "over"]
        failing.failures = 1
        assert await books.read(lambda view: view.context()) == {author_of("ada"): 1}
        assert told[3:] == ["the disk is full", "over"]
        await books.close()

    asyncio.run(play())


def test_a_write_whose_waiter_is_gone_is_told_all_the_same(tmp_path: Path) -> None:
    """A thread cannot be called off: what it has committed counts, for everybody else."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            heard: list[int] = []
            ada.books.on_written(lambda: heard.append(ada.books.generation))
            task = ada.tasks.spawn("write", ada.books.write(lambda tx: tx.next_seq()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until("told", lambda: heard)
            assert ada.books.context == {ada.author: 1}

    asyncio.run(play())


def test_recovering_is_read_from_the_index(tmp_path: Path) -> None:
    """Whoever waits for a sound index is woken by the transaction that makes it so."""

    async def play() -> None:
        index = Index.in_memory()
        with index.write() as tx:
            tx.renew_author(author_of("ada"))
            tx.put_meta("recovering", b"older")
        books = Books(index)
        await books.open()
        assert books.recovering == "older"
        assert not books.recovered.is_set()
        await books.write(lambda tx: tx.put_meta("recovering", b""))
        async with asyncio.timeout(WITHIN_S):
            await books.recovered.wait()
        assert books.recovering == ""
        await books.close()

    asyncio.run(play())


def test_measuring_brings_the_totals_up_to_date(tmp_path: Path) -> None:
    """What the faces show of the folder, what is certainly here, and which copies there are."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", b"12345")
            ada.put("x.conflict-0a1b2c3d.txt", b"copy")
            await ada.scan()
            await ada.told("b", file_version(b"123"))
            await ada.books.measure()
            totals = ada.books.totals
            assert (totals.files, totals.folders, totals.bytes) == (3, 0, 12)
            assert (totals.behind_files, totals.behind_bytes) == (1, 3)
            assert ada.books.copies == {"x.conflict-0a1b2c3d.txt"}
            assert ada.books.context == {ada.author: 2, author_of("zoe"): 1}
            assert ada.books.complete.get(author_of("zoe"), 0) == 0, "what is not on this disk is not claimed"
            assert ada.books.complete[ada.author] == 2

    asyncio.run(play())


def test_the_last_bases_are_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the index holds them, the newest few; a base that goes is forgotten, a failed transaction changes nothing."""
    monkeypatch.setattr(books_room, "BASES_RECENT_MAX", 2)

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            for name in ("a", "b", "c"):
                ada.put(name, name.encode())
                await ada.scan()
            assert list(ada.books.recent) == ["b", "c"]
            assert ada.books.recent[path("c")] == await ada.base("c")
            before = dict(ada.books.recent)

            def fail(tx: Tx) -> None:
                tx.put_base(path("c"), None)
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await ada.books.write(fail)
            assert ada.books.recent == before
            await ada.books.write(lambda tx: tx.put_base(path("c"), None))
            assert list(ada.books.recent) == ["b"]

    asyncio.run(play())
