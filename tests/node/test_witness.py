"""An author goes on only where its continuity is proven from outside the folder."""

import shutil
from pathlib import Path

import pytest

from meerkat.node.witness import Verdict, Witness

NODE = "a" * 32
PROVEN, UNPROVEN, OLDER = Verdict(True, False), Verdict(False, False), Verdict(False, True)
MOVED = Verdict(False, False, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "index.db").write_bytes(b"index")
    return made


def witness(folder: Path, home: Path) -> Witness:
    return Witness(folder, folder / "index.db", home=lambda: home)


def test_a_clean_stop_proves_the_next_start(folder: Path, tmp_path: Path) -> None:
    """Same machine, same index, same count of starts, same sequence."""
    seen = witness(folder, tmp_path)
    assert seen.judge(NODE, 3, 10) == MOVED, "nobody has seen anything"
    assert seen.testify(NODE, 3, 10, clean=True)
    assert seen.judge(NODE, 3, 10) == PROVEN
    assert seen.judge("b" * 32, 3, 10) == MOVED


def test_an_unclean_stop_proves_nothing(folder: Path, tmp_path: Path) -> None:
    """After kill -9 nobody knows what was written last."""
    seen = witness(folder, tmp_path)
    seen.testify(NODE, 3, 10, clean=False)
    assert seen.judge(NODE, 3, 10) == UNPROVEN


@pytest.mark.parametrize(("starts", "seq"), [(2, 10), (3, 9)])
def test_an_older_index_is_recognised(folder: Path, tmp_path: Path, starts: int, seq: int) -> None:
    """A restored backup counts fewer starts, or fewer writes, than were seen."""
    seen = witness(folder, tmp_path)
    seen.testify(NODE, 3, 10, clean=True)
    assert seen.judge(NODE, starts, seq) == OLDER


def test_a_copied_index_is_another(folder: Path, tmp_path: Path) -> None:
    """The copy has an inode of its own, and a folder of its own has no witness at all."""
    seen = witness(folder, tmp_path)
    seen.testify(NODE, 3, 10, clean=True)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert witness(copy, tmp_path).judge(NODE, 3, 10) == MOVED
    fresh = folder / "fresh"
    fresh.write_bytes(b"index")
    fresh.rename(folder / "index.db")
    assert seen.judge(NODE, 3, 10) == MOVED


def test_garbage_and_forgetting(folder: Path, tmp_path: Path) -> None:
    """A witness that cannot be read, or was forgotten, proves nothing; one that cannot write says so."""
    seen = witness(folder, tmp_path)
    seen.testify(NODE, 3, 10, clean=True)
    (file,) = (tmp_path / "meerkat").glob("*.json")
    file.write_text("{")
    assert seen.judge(NODE, 3, 10) == MOVED
    seen.testify(NODE, 3, 10, clean=True)
    seen.forget()
    assert seen.judge(NODE, 3, 10) == MOVED
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assert not witness(folder, tmp_path / "blocked").testify(NODE, 1, 1, clean=True)
