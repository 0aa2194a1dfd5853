"""Migrations: an older file is brought up to date, once, as a whole, and keeps what it holds."""

import pathlib

import pytest

from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Kind, Version
from meerkat.store import index as index_module
from meerkat.store.connection import Connection
from meerkat.store.errors import IndexTooNew
from meerkat.store.index import Index
from meerkat.store.migration import Migration, migrate, shipped_migrations, version_of

HERE = Author(NodeId("a" * 32), 1)
FILE = Version(Kind.FILE, size=10, digest=Digest(b"d" * 32))


def connect(path: pathlib.Path) -> Connection:
    path.touch()
    return Connection(path, durable=False, cache_bytes=1 << 20)


def tables(connection: Connection) -> set[str]:
    return {name for (name,) in connection.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_the_shipped_scripts_are_numbered_and_whole(tmp_path: pathlib.Path) -> None:
    """The package carries its scripts, from 1 without gaps, and a new file ends at the last one's number."""
    shipped = shipped_migrations()
    assert [migration.number for migration in shipped] == list(range(1, len(shipped) + 1))
    connection = connect(tmp_path / "x.db")
    migrate(connection, shipped)
    assert version_of(connection) == len(shipped)
    migrate(connection, shipped)
    assert version_of(connection) == len(shipped)
    connection.close()


def test_an_older_index_is_brought_up_to_date_and_keeps_its_entries(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a file of an earlier version applies what it lacks; what it holds stays."""
    path = tmp_path / "index.db"
    index = Index.open(path)
    with index.write() as tx:
        tx.renew_author(HERE)
        tx.put_siblings(RelPath("f"), {Dot(HERE, tx.next_seq()): FILE})
    index.close()
    later = len(shipped_migrations()) + 1
    extra = Migration(later, "CREATE TABLE extra (x INTEGER); INSERT INTO extra VALUES (1);")
    scripts = (*shipped_migrations(), extra)
    monkeypatch.setattr(index_module, "shipped_migrations", lambda: scripts)
    for _ in range(2):
        index = Index.open(path)
        assert version_of(index._writer) == later
        assert index._writer.rows("SELECT x FROM extra") == [(1,)]
        with index.read() as view:
            assert view.siblings(RelPath("f")) == {Dot(HERE, 1): FILE}
        index.close()
    monkeypatch.undo()
    with pytest.raises(IndexTooNew):
        Index.open(path)


def test_a_failing_script_changes_nothing(tmp_path: pathlib.Path) -> None:
    """A script that fails half-way leaves the file at the version before, without the half that had worked."""
    connection = connect(tmp_path / "x.db")
    good = Migration(1, "CREATE TABLE one (x INTEGER);")
    bad = Migration(2, "CREATE TABLE two (x INTEGER); INSERT INTO missing VALUES (1);")
    with pytest.raises(Exception, match="missing"):
        migrate(connection, (good, bad))
    assert version_of(connection) == 1
    assert tables(connection) == {"one"}
    mended = Migration(2, "CREATE TABLE two (x INTEGER);")
    migrate(connection, (good, mended))
    assert version_of(connection) == 2
    assert tables(connection) == {"one", "two"}
    connection.close()
