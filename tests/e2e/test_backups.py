"""Parts of a node that come back from a backup or are lost: nothing is deleted in bulk, nothing that was deleted
returns, and equal files are no conflicts (G2, G4; MERGE R11, R12)."""

import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.pool import Node, NotUp, Pool
from e2e.tree import Tree

pytestmark = pytest.mark.e2e

FILES = 30


class Restored:
    """Two nodes that went on after `backup` was taken of the second, which is down now."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.one = pool.start("one")
        self.two = pool.join("two", self.one)
        for number in range(FILES):
            self.one.path(f"{number}.txt").write_text(f"number {number}\n")
        pool.wait_settled()
        self.live = pool.base / "live"
        copy(self.two.folder, self.live)  # while it runs, the index in the middle of its work
        pool.stop(self.two)
        self.backup = pool.base / "backup"
        copy(self.two.folder, self.backup)
        pool.restart(self.two)
        pool.wait_linked()
        for number in range(5):
            self.one.path(f"{number}.txt").unlink()
            self.one.path(f"{number + 5}.txt").write_text(f"number {number + 5}, edited by one\n")
            self.two.path(f"{number + 10}.txt").write_text(f"number {number + 10}, edited by two\n")
            self.two.path(f"new {number}.txt").write_text(f"new {number}\n")
        pool.wait_settled()
        self.expected: Tree = pool.wait_equal()
        assert len(self.expected) == FILES
        pool.stop(self.two)

    def comes_back(self) -> None:
        """Start the second node; both show what the pool showed, and nobody is bothered."""
        self.pool.restart(self.two)
        self.shows_the_pool()

    def forget(self) -> None:
        """Nothing outside the folder remembers this node: another machine, or another user."""
        shutil.rmtree(self.pool.private / "state" / "meerkat")

    def shows_the_pool(self) -> None:
        self.pool.wait_linked()
        self.one.path("marker").write_text("marker\n")
        self.pool.until("both are in touch", self.two.path("marker").exists)
        self.two.path("marker").unlink()
        self.pool.until("both ways", lambda: not self.one.path("marker").exists())
        self.pool.wait_settled()
        assert self.pool.wait_equal() == self.expected
        assert self.pool.ask("conflicts", self.one) == []


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@pytest.fixture
def restored(pool: Pool) -> Restored:
    return Restored(pool)


def files_of(node: Node) -> list[Path]:
    return [path for path in node.folder.iterdir() if path.name != ".meerkat"]


def test_the_whole_folder_is_older(restored: Restored) -> None:
    """Files and index of one time: it is merely behind."""
    shutil.rmtree(restored.two.folder)
    copy(restored.backup, restored.two.folder)
    restored.comes_back()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another machine"])
def test_the_whole_folder_is_older_and_was_copied_while_it_ran(restored: Restored, elsewhere: bool) -> None:
    """Without a stop before it, and with nobody outside who could tell: merely behind, and who it was."""
    shutil.rmtree(restored.two.folder)
    copy(restored.live, restored.two.folder)
    if elsewhere:
        restored.forget()
    was = restored.two.id
    restored.comes_back()
    assert restored.two.id == was
    assert len(restored.pool.ask("nodes", restored.one)) == 2


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another machine"])
def test_the_index_is_older_than_the_files(restored: Restored, elsewhere: bool) -> None:
    """What the index has not heard of yet is neither new nor gone: the pool is asked first. Where nothing outside the
    folder tells that the index was newer once, the others do."""
    shutil.rmtree(restored.two.folder / ".meerkat")
    copy(restored.backup / ".meerkat", restored.two.folder / ".meerkat")
    if elsewhere:
        restored.forget()
    restored.comes_back()


def test_the_files_are_older_than_the_index(restored: Restored) -> None:
    """To the node, a person has put the old files back, and that is what all show then; the newer are in the trash."""
    for path in files_of(restored.two):
        path.unlink()
    for path in restored.backup.iterdir():
        if path.name != ".meerkat":
            copy(path, restored.two.path(path.name))
    restored.pool.restart(restored.two)
    restored.pool.until("the old text is back", lambda: restored.one.path("5.txt").read_text() == "number 5\n")
    restored.pool.wait_settled()
    assert set(restored.pool.wait_equal()) == {f"{number}.txt" for number in range(FILES)}
    assert restored.pool.ask("conflicts", restored.one) == []
    said = restored.pool.cli("restore", restored.one, "new 0.txt")
    assert said.exit == 0, said
    assert restored.one.path("new 0.txt").read_text() == "new 0\n"


def test_the_index_is_lost(restored: Restored) -> None:
    """And the files are older, too: the pool tells what became of each."""
    shutil.rmtree(restored.two.folder)
    copy(restored.backup, restored.two.folder)
    for each in (restored.two.folder / ".meerkat").glob("index.db*"):
        each.unlink()
    restored.comes_back()


def test_the_key_is_lost(restored: Restored) -> None:
    """It is not replaced unasked, for nobody would know the new one: the person is told, and joins anew."""
    shutil.rmtree(restored.two.folder / ".meerkat" / "identity")
    with pytest.raises(NotUp) as caught:
        restored.pool.restart(restored.two)
    assert caught.value.said.error["code"] == "identity_damaged"
    assert list((restored.two.folder / ".meerkat" / "identity").iterdir()) == []
    (restored.two.folder / ".meerkat").rename(restored.pool.base / "away")
    joins_anew(restored)


def test_everything_of_the_node_is_lost(restored: Restored) -> None:
    """`.meerkat` is gone and the files are from the backup: joining anew undoes nothing that the pool did."""
    shutil.rmtree(restored.two.folder)
    copy(restored.backup, restored.two.folder)
    shutil.rmtree(restored.two.folder / ".meerkat")
    joins_anew(restored)


def joins_anew(restored: Restored) -> None:
    restored.two.name = "two again"
    restored.pool.admit(restored.two, restored.one, "--merge")
    restored.shows_the_pool()
