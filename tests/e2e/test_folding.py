"""A member whose disk takes names for one another: a clash is told and waits, nothing is lost, renamed or deleted (G2,
G11)."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.pool import Node, Pool
from folding_disk import mounted

pytestmark = pytest.mark.e2e

COMPOSED = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.fixture
def pair(pool: Pool, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """One on an ordinary disk, one on a disk that folds."""
    with mounted(tmp_path / "disk", tmp_path / "shown", "case", "forms") as shown:
        one = pool.start("one")
        yield one, pool.admit(pool.node("folds", shown / "folder"), one)
        pool.ensure_alive()
        pool.stop(pool.nodes[1])


def clashes(pool: Pool, node: Node) -> dict[str, str]:
    """Path to text of what a node says about itself."""
    rows = [row for row in pool.status(node)["problems"] if row["node"] == node.id]
    assert all(row["reason"] == "case_clash" and row["hint"] for row in rows), rows
    return {row["path"]: row["text"] for row in rows}


def files(node: Node) -> dict[str, str]:
    """Every file by the name that is listed, with its text."""
    found = {}
    for folder, folders, names in os.walk(node.folder):
        folders[:] = [each for each in folders if each != ".meerkat"]
        for name in names:
            at = Path(folder, name)
            found[at.relative_to(node.folder).as_posix()] = at.read_text()
    return found


def test_the_second_of_two_names_waits(pool: Pool, pair: tuple[Node, Node]) -> None:
    """What came first stays, the other waits and is told on every node; both live on where they can; it comes when the
    one that stands in its way is deleted, there or elsewhere, or when it is renamed itself."""
    one, folds = pair
    one.path("foo").write_text("the first\n")
    pool.wait_equal()
    one.path("Foo").write_text("the second\n")
    one.path("fine").write_text("goes on\n")
    pool.until("the clash is told", lambda: "Foo" in clashes(pool, folds))
    assert "'foo'" in clashes(pool, folds)["Foo"]
    pool.until("the rest goes on", lambda: "fine" in files(folds))
    pool.until("the others know", lambda: any(row["node"] == folds.id for row in pool.status(one)["problems"]))
    assert pool.cli("scan", folds).exit == 0
    assert pool.cli("wait", one, "--timeout", "20s").exit in (0, 7)
    assert files(one) == {"foo": "the first\n", "Foo": "the second\n", "fine": "goes on\n"}
    assert files(folds) == {"foo": "the first\n", "fine": "goes on\n"}
    folds.path("foo").write_text("the first, edited\n")
    pool.until("the edit is of the one that is here", lambda: files(one)["foo"] == "the first, edited\n")
    one.path("Foo").write_text("the second, edited\n")
    one.path("foo").unlink()
    assert set(pool.wait_equal()) == {"Foo", "fine"}
    assert files(folds)["Foo"] == "the second, edited\n"
    one.path("foo").write_text("back\n")
    pool.until("it clashes", lambda: "foo" in clashes(pool, folds))
    folds.path("Foo").rename(folds.path("another"))
    assert set(pool.wait_equal()) == {"foo", "another", "fine"}
    one.path("FOO").write_text("once more\n")
    pool.until("it clashes again", lambda: "FOO" in clashes(pool, folds))
    one.path("FOO").rename(one.path("free"))
    assert set(pool.wait_equal()) == {"foo", "another", "free", "fine"}


def test_names_that_come_at_once(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Of clashing names that arrive together, the first in order stands; Unicode twins clash as well; a folder that
    cannot be made says so for all that is in it; a restart changes nothing."""
    one, folds = pair
    pool.stop(folds)
    one.path("a").write_text("lower\n")
    one.path("A").write_text("upper\n")
    one.path(COMPOSED).write_text("composed\n")
    one.path(DECOMPOSED).write_text("decomposed\n")
    for name in ("Docs", "docs"):
        one.path(name).mkdir()
        one.path(f"{name}/x").write_text(f"{name}\n")
    one.path("docs/only").write_text("in the second\n")
    before = files(one)
    pool.restart(folds)
    waiting = {"a", COMPOSED, "docs", "docs/x", "docs/only"}
    pool.until("all clashes are told", lambda: set(clashes(pool, folds)) == waiting)
    assert "\\xe9" in clashes(pool, folds)[COMPOSED]
    standing = {"A": "upper\n", DECOMPOSED: "decomposed\n", "Docs/x": "Docs\n"}
    pool.until("the others stand", lambda: files(folds) == standing)
    pool.stop(folds)
    pool.restart(folds)
    assert pool.cli("scan", folds).exit == 0
    pool.until("all clashes are told again", lambda: set(clashes(pool, folds)) == waiting)
    assert files(folds) == standing
    assert files(one) == before
    one.path("docs").rename(one.path("papers"))
    one.path("A").unlink()
    one.path(COMPOSED).unlink()
    assert {"papers/x", "papers/only", "a", DECOMPOSED} <= set(pool.wait_equal())


def test_renames_of_case_alone(pool: Pool, pair: tuple[Node, Node]) -> None:
    """`foo` becomes `Foo` and a folder with it, done by a person on either kind of disk; nothing is taken for deleted,
    and the folding disk shows the new spelling."""
    one, folds = pair
    one.path("foo").write_text("text\n")
    one.path("folder/deep").mkdir(parents=True)
    one.path("folder/deep/f").write_text("deep\n")
    pool.wait_equal()
    one.path("foo").rename(one.path("Foo"))
    one.path("folder").rename(one.path("FOLDER"))
    assert set(pool.wait_equal()) == {"Foo", "FOLDER", "FOLDER/deep", "FOLDER/deep/f"}
    for old, new in (("Foo", "fOO"), ("FOLDER", "Folder")):
        folds.path(old).rename(folds.path("on the way"))  # the kernel takes one step for none
        folds.path("on the way").rename(folds.path(new))
    assert set(pool.wait_equal()) == {"fOO", "Folder", "Folder/deep", "Folder/deep/f"}
    assert files(one) == {"fOO": "text\n", "Folder/deep/f": "deep\n"}


def test_a_file_written_under_another_spelling(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A program that asks for `REPORT` and gets `report` has edited `report`."""
    one, folds = pair
    one.path("folder").mkdir()
    one.path("folder/report").write_text("first\n")
    pool.wait_equal()
    folds.path("FOLDER/REPORT").write_text("second\n")
    pool.until("the edit has come", lambda: files(one) == {"folder/report": "second\n"})
    assert files(folds) == {"folder/report": "second\n"}


def test_the_other_writes_to_what_waits_and_to_what_stands(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Both clashing files are edited and deleted apart: an edit beats a deletion for each of them by itself."""
    one, folds = pair
    one.path("foo").write_text("stands\n")
    pool.wait_equal()
    one.path("FOO").write_text("waits\n")
    pool.until("the clash is told", lambda: "FOO" in clashes(pool, folds))
    pool.stop(folds)
    folds.path("foo").unlink()
    one.path("foo").write_text("stands, edited\n")
    pool.restart(folds)
    pool.until("one of the two stands", lambda: len(files(folds)) == 1)
    pool.until("the other waits", lambda: len(clashes(pool, folds)) == 1)
    assert files(one) == {"foo": "stands, edited\n", "FOO": "waits\n"}
    assert set(files(folds)) | set(clashes(pool, folds)) == {"foo", "FOO"}
