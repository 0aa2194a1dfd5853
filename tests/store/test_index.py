"""The index's file: transactions and snapshots, and what is said and kept when the file is damaged."""

import pathlib
import sqlite3
import threading

import pytest

from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Entry, Kind, Stat, Version
from meerkat.node import ports
from meerkat.store.errors import IndexDamaged, IndexTooNew, IndexUnavailable
from meerkat.store.index import Index

HERE = Author(NodeId("a" * 32), 1)
FILE = Version(Kind.FILE, size=10, digest=Digest(b"d" * 32))
SQLITE_PAGE_BYTES = 4096


def fill(index: Index, count: int, prefix: str = "f") -> None:
    with index.write() as tx:
        tx.renew_author(HERE)
        for number in range(count):
            path = RelPath(f"{prefix}{number:05}")
            tx.put_siblings(path, {Dot(HERE, tx.next_seq()): FILE})
            tx.put_base(path, Base(FILE.content, Stat(Kind.FILE, 10, 1, 2, 3, 0o644)))


def paths_in(view: ports.View) -> list[str]:
    return [entry.path for entry in view.entries()]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "index.db"


def unclean(path: pathlib.Path) -> None:
    """Make the file look as if its last run had been killed, with everything copied home from the WAL."""
    raw = sqlite3.connect(path)
    raw.execute("UPDATE state SET clean = 0")
    raw.commit()
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()


def scribble(path: pathlib.Path, page: int) -> bytes:
    """Overwrite one page with noise; answers what the file holds then."""
    data = bytearray(path.read_bytes())
    start = page * SQLITE_PAGE_BYTES
    assert start < len(data)
    data[start : start + SQLITE_PAGE_BYTES] = bytes((i * 37 + 11) % 256 for i in range(SQLITE_PAGE_BYTES))
    path.write_bytes(data)
    return bytes(data)


def page_in_use(path: pathlib.Path, table: str) -> int:
    """The root page of a table, counted from 0."""
    raw = sqlite3.connect(path)
    ((root,),) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    raw.close()
    return int(root) - 1


# ---- the ports


def test_the_index_fits_the_engines_port(path: pathlib.Path) -> None:
    """The engine can use the shipped index as its `ports.Index`; the type checker holds the rest."""
    index: ports.Index = Index.open(path)
    with index.write() as tx:
        fits_tx: ports.Tx = tx
        fits_tx.renew_author(HERE)
    with index.read() as view:
        fits_view: ports.View = view
        assert fits_view.context() == {}
    index.close()


# ---- transactions


def test_what_was_written_is_there_after_a_restart(path: pathlib.Path) -> None:
    """A committed write survives closing and opening, and the index says that it was closed properly."""
    index = Index.open(path)
    assert index.created
    fill(index, 3)
    index.close()
    again = Index.open(path)
    assert again.was_clean
    assert not again.created
    with again.read() as view:
        assert paths_in(view) == ["f00000", "f00001", "f00002"]
    again.close()


def test_an_exception_leaves_no_trace(path: pathlib.Path) -> None:
    """Rows, sums, sequences and new authors of a failed transaction are all gone, for readers and the next writer."""
    index = Index.open(path, durable=False)
    fill(index, 2)
    stranger = Author(NodeId("b" * 32), 5)
    another = Author(NodeId("c" * 32), 6)
    with index.read() as view:
        before = (view.fingerprint(), view.totals(), view.context(), view.pending_count(), paths_in(view))

    def interrupted() -> None:
        with index.write() as tx:
            tx.put_siblings(RelPath("x"), {Dot(stranger, 1): FILE})
            tx.join_context({stranger: 1}, {stranger: 1})
            assert tx.next_seq() == 3
            tx.clear_pending(RelPath("f00000"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with index.read() as view:
        assert (view.fingerprint(), view.totals(), view.context(), view.pending_count(), paths_in(view)) == before
    with index.write() as tx:
        assert tx.next_seq() == 3
        # The row that the rolled back author had is another's now.
        tx.put_siblings(RelPath("y"), {Dot(another, 1): FILE})
    with index.read() as view:
        assert view.siblings(RelPath("y")) == {Dot(another, 1): FILE}
        assert stranger not in view.context()
    index.close()


def test_a_full_disk_is_not_damage(path: pathlib.Path) -> None:
    """When the file cannot grow, the transaction is dropped whole, the caller is told why, and later writes work."""
    index = Index.open(path, durable=False)
    fill(index, 1)
    ((pages,),) = index._writer.rows("PRAGMA page_count")
    index._writer.rows(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(IndexUnavailable) as told:
        fill(index, 2000, "g")
    assert told.value.full
    index._writer.rows("PRAGMA max_page_count = 1000000")
    with index.read() as view:
        assert paths_in(view) == ["f00000"]
    fill(index, 2000, "g")
    with index.read() as view:
        assert view.totals().files == 2001
        assert view.context() == {HERE: 2001}
    index.close()


def test_a_failed_statement_cannot_be_committed(path: pathlib.Path) -> None:
    """A caller who swallows a failure inside the block does not commit half of a change."""
    index = Index.open(path, durable=False)
    fill(index, 1)
    ((pages,),) = index._writer.rows("PRAGMA page_count")

    def swallowing() -> None:
        with index.write() as tx:
            index._writer.rows(f"PRAGMA max_page_count = {pages + 2}")
            try:
                for number in range(2000):
                    tx.put_siblings(RelPath(f"g{number}"), {Dot(HERE, tx.next_seq()): FILE})
            except IndexUnavailable:
                index._writer.rows("PRAGMA max_page_count = 1000000")

    with pytest.raises(IndexUnavailable):
        swallowing()
    with index.read() as view:
        assert paths_in(view) == ["f00000"]
    index.close()


def test_a_write_inside_a_write_is_refused(path: pathlib.Path) -> None:
    """A thread that would wait for itself is told so instead; the outer transaction goes on."""
    index = Index.open(path, durable=False)
    with index.write() as tx:
        with pytest.raises(RuntimeError, match="inside a write"):
            with index.write():
                pass
        with pytest.raises(RuntimeError, match="inside a write"):
            index.close()
        tx.put_meta("k", b"v")
    with index.read() as view:
        assert view.meta("k") == b"v"
    index.close()
    with pytest.raises(RuntimeError, match="closed"):
        with index.read():
            pass
    with pytest.raises(RuntimeError, match="closed"):
        with index.write():
            pass
    index.close()


def test_a_view_ends_with_its_block(path: pathlib.Path) -> None:
    """A view, a transaction or a half-read answer kept beyond its block is refused, not answered from elsewhere."""
    index = Index.open(path, durable=False)
    fill(index, 3000)
    with index.read() as view:
        answer = view.entries()
        next(answer)
    with index.write() as tx:
        pass
    with pytest.raises(RuntimeError, match="ended"):
        view.context()
    with pytest.raises(RuntimeError, match="ended"):
        list(answer)
    with pytest.raises(RuntimeError, match="ended"):
        tx.put_meta("k", b"v")
    index.close()


# ---- snapshots


def test_a_snapshot_stays_as_it_was(path: pathlib.Path) -> None:
    """Commits after a snapshot began are invisible in it, to questions asked later and to a walk under way."""
    index = Index.open(path, durable=False)
    fill(index, 1500)
    with index.read() as view:
        walk = view.entries()
        seen = [next(walk)]
        with index.write() as tx:
            for entry in list(tx.entries()):
                tx.put_siblings(entry.path, {})
                tx.put_base(entry.path, None)
            tx.join_context({HERE: 99_999}, {})
        seen.extend(walk)
        assert len(seen) == 1500
        assert view.context() == {HERE: 1500}
        assert view.totals().files == 1500
        assert len(list(view.bases())) == 1500
        with index.read() as later:
            assert paths_in(later) == []
            assert later.context() == {HERE: 99_999}
    index.close()


def test_a_snapshot_is_pinned_before_its_first_question(path: pathlib.Path) -> None:
    """A write between entering the block and the first question is not seen."""
    index = Index.open(path, durable=False)
    with index.read() as view:
        fill(index, 1)
        assert paths_in(view) == []
    index.close()


def test_an_abandoned_walk_does_not_pin_the_next_snapshot(path: pathlib.Path) -> None:
    """A connection that goes back to the pool with a half-read answer shows the newest commit to its next user."""
    index = Index.open(path, durable=False)
    fill(index, 3000)
    with index.read() as view:
        abandoned = view.entries()
        next(abandoned)
    with index.write() as tx:
        tx.put_siblings(RelPath("new"), {Dot(HERE, tx.next_seq()): FILE})
    with index.read() as view:
        assert view.siblings(RelPath("new"))
    index.close()


def test_readers_and_a_writer_in_threads_see_whole_transactions(path: pathlib.Path) -> None:
    """Each snapshot taken while another thread writes holds both halves of every transaction or neither."""
    index = Index.open(path, durable=False)
    fill(index, 1)
    torn: list[object] = []
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(200):
                with index.write() as tx:
                    version = Version(Kind.FILE, size=number, digest=FILE.digest)
                    tx.put_siblings(RelPath("one"), {Dot(HERE, tx.next_seq()): version})
                    tx.put_siblings(RelPath("two"), {Dot(HERE, tx.next_seq()): version})
        finally:
            done.set()

    def read() -> None:
        last = False
        while not last:
            last = done.is_set()
            with index.read() as view:
                one, two = (list(view.siblings(RelPath(name)).values()) for name in ("one", "two"))
                if [v.size for v in one] != [v.size for v in two] or view.totals().files not in (1, 3):
                    torn.append((one, two, view.totals()))

    threads = [threading.Thread(target=work) for work in (write, read, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []
    with index.read() as view:
        assert view.context() == {HERE: 401}
    index.close()


def test_an_index_for_simulations_leaves_nothing_behind() -> None:
    """`in_memory` gives snapshots like the real one and is gone after `close`."""
    index = Index.in_memory()
    folder = index.path.parent
    with index.read() as view:
        fill(index, 2)
        assert paths_in(view) == []
    index.close()
    assert not folder.exists()


# ---- coming into being


def test_what_a_crash_left_of_making_an_index_is_made_anew(path: pathlib.Path) -> None:
    """Leftovers under the building name are no obstacle and never become the index."""
    for end in ("", "-journal", "-wal"):
        pathlib.Path(f"{path}.new{end}").write_bytes(b"half of something")
    index = Index.open(path)
    assert index.created
    fill(index, 1)
    index.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["index.db"]


def test_the_index_is_for_its_owner_alone(path: pathlib.Path) -> None:
    """Nobody else on the machine may read the file, nor its WAL."""
    index = Index.open(path)
    fill(index, 1)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    index.close()


def test_a_missing_folder_is_trouble_not_damage(tmp_path: pathlib.Path) -> None:
    """Where the folder is not there, the index cannot be made now; nothing is called damaged."""
    with pytest.raises(IndexUnavailable):
        Index.open(tmp_path / "none" / "index.db")


# ---- damage


@pytest.mark.parametrize(
    "data", [b"", b"S", b"garbage" * 5000, b"SQLite format 3\0", b"SQLite format 3\0" + b"x" * 9000]
)
def test_a_file_that_is_no_database_is_damage(path: pathlib.Path, data: bytes) -> None:
    """An empty, short or shapeless file under the index's name is damage, never an empty index."""
    path.write_bytes(data)
    with pytest.raises(IndexDamaged):
        Index.open(path)
    assert path.read_bytes() == data


def test_somebody_elses_database_is_damage(path: pathlib.Path) -> None:
    """A sound SQLite file of another program is not taken over."""
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE t (x)")
    raw.execute("PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(IndexDamaged, match="not an index"):
        Index.open(path)


@pytest.mark.parametrize("table", ["state", "entry", "conflicted"])
def test_a_lost_table_is_damage(path: pathlib.Path, table: str) -> None:
    """An index without one of its tables is damage at the start, not a surprise later."""
    Index.open(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"DROP TABLE {table}")
    raw.close()
    with pytest.raises(IndexDamaged, match="lost"):
        Index.open(path)


@pytest.mark.parametrize("keep", [SQLITE_PAGE_BYTES // 2, SQLITE_PAGE_BYTES, 3 * SQLITE_PAGE_BYTES])
def test_a_truncated_file_is_damage(path: pathlib.Path, keep: int) -> None:
    """A file shorter than its header says is refused at the start, also after a clean stop."""
    index = Index.open(path)
    fill(index, 500)
    index.close()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IndexDamaged):
        Index.open(path)


def test_a_flipped_page_is_found_at_the_start_after_a_crash(path: pathlib.Path) -> None:
    """After an unclean stop the whole file is checked before anything is believed."""
    index = Index.open(path)
    fill(index, 2000)
    index.close()
    unclean(path)
    scribble(path, page_in_use(path, "entry"))
    with pytest.raises(IndexDamaged):
        Index.open(path)


@pytest.mark.parametrize("writing", [False, True])
def test_a_flipped_page_is_damage_when_it_is_met(path: pathlib.Path, writing: bool) -> None:
    """After a clean stop a bad page is met by whoever reads it, as `IndexDamaged`, in snapshots and in writes."""
    index = Index.open(path)
    fill(index, 2000)
    index.close()
    data = scribble(path, page_in_use(path, "entry"))
    again = Index.open(path)
    if writing:
        with pytest.raises(IndexDamaged):
            with again.write() as tx:
                tx.put_siblings(RelPath("f00000"), {})
    else:
        with pytest.raises(IndexDamaged):
            with again.read() as view:
                paths_in(view)
    again.close()
    with pytest.raises(IndexDamaged):
        Index.open(path)  # damage seen is not called a clean stop
    aside = Index.set_aside(path)
    assert len(aside.read_bytes()) == len(data)


def test_an_impossible_row_is_damage(path: pathlib.Path) -> None:
    """A row that no noun can be made of is damage, not a crash of the engine."""
    index = Index.open(path)
    fill(index, 1)
    index.close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE entry SET kind = 9")
    raw.execute("UPDATE base SET path = x'fe'")
    raw.commit()
    raw.close()
    index = Index.open(path)
    with index.read() as view:
        with pytest.raises(IndexDamaged):
            paths_in(view)
        with pytest.raises(IndexDamaged):
            list(view.bases())
    index.close()


def test_an_index_of_a_newer_version_is_left_alone(path: pathlib.Path) -> None:
    """A file with a higher version is refused by name and not changed."""
    Index.open(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(IndexTooNew, match="99"):
        Index.open(path)
    assert path.read_bytes() == before


def test_setting_aside_keeps_every_byte(path: pathlib.Path) -> None:
    """The database and its WAL get new names that still belong together; a second one does not overwrite the first."""
    path.write_bytes(b"one")
    pathlib.Path(f"{path}-wal").write_bytes(b"wal of one")
    first = Index.set_aside(path)
    path.write_bytes(b"two")
    second = Index.set_aside(path)
    assert first.name == "index.db.damaged-1"
    assert second.name == "index.db.damaged-2"
    assert first.read_bytes() == b"one"
    assert pathlib.Path(f"{first}-wal").read_bytes() == b"wal of one"
    assert second.read_bytes() == b"two"
    index = Index.open(path)
    assert index.created
    index.close()


def test_a_wal_without_its_database_is_damage(path: pathlib.Path) -> None:
    """A crash half-way through setting aside, or a deleted database, does not feed an old WAL to a new index."""
    index = Index.open(path)
    fill(index, 5)
    wal = pathlib.Path(f"{path}-wal").read_bytes()
    index.close()
    path.unlink()
    pathlib.Path(f"{path}-wal").write_bytes(wal)
    with pytest.raises(IndexDamaged, match="WAL"):
        Index.open(path)
    aside = Index.set_aside(path)
    assert pathlib.Path(f"{aside}-wal").read_bytes() == wal
    Index.open(path).close()


def test_entries_are_found_again_with_their_implied_folders_pending(path: pathlib.Path) -> None:
    """A file that begins to live makes the folders above it pending; an edit of it does not."""
    index = Index.open(path, durable=False)
    fill(index, 1)
    deep = RelPath("a/b/c")
    with index.write() as tx:
        tx.put_siblings(deep, {Dot(HERE, tx.next_seq()): FILE})
        assert tx.pending(RelPath(""), 9) == ["a", "a/b", "a/b/c", "f00000"]
        for pending in tx.pending(RelPath(""), 9):
            tx.clear_pending(pending)
        tx.put_siblings(deep, {Dot(HERE, tx.next_seq()): Version(Kind.FILE, size=11, digest=FILE.digest)})
        assert tx.pending(RelPath(""), 9) == ["a/b/c"]
        tx.put_siblings(deep, {Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        assert tx.pending(RelPath(""), 9) == ["a", "a/b", "a/b/c"]
        assert list(tx.entries(RelPath("a/b"))) == [Entry(deep, {Dot(HERE, 4): Version(Kind.TOMBSTONE)})]
    index.close()
