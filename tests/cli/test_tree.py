"""Comparing folders from outside."""

import os
from pathlib import Path

import pytest

from meerkat.cli.tree import TreeReader, differences


def grow(folder: Path) -> Path:
    (folder / ".meerkat").mkdir(parents=True)
    (folder / ".meerkat" / "node.toml").write_text(folder.name)
    (folder / "docs").mkdir()
    (folder / "docs" / "a.txt").write_text("a")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("docs/a.txt")
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return grow(tmp_path / "one"), grow(tmp_path / "two")


def compare(pair: tuple[Path, Path], reader: TreeReader | None = None) -> list[str]:
    reader = reader or TreeReader()
    return differences({"one": reader.read(pair[0]), "two": reader.read(pair[1])})


def test_equal_folders_do_not_differ(pair: tuple[Path, Path]) -> None:
    """What belongs to the node itself does not count; all else is looked at."""
    assert compare(pair) == []
    assert set(TreeReader().read(pair[0])) == {"docs", "docs/a.txt", "run.sh", "link"}


def test_each_kind_of_difference_is_found(pair: tuple[Path, Path]) -> None:
    """Content, bits, target, kind and absence are each a difference, told with the path and both sides."""
    two = pair[1]
    (two / "docs" / "a.txt").write_text("b")
    (two / "run.sh").chmod(0o644)
    (two / "link").unlink()
    (two / "link").symlink_to("elsewhere")
    (two / "extra").mkdir()
    found = compare(pair)
    assert [line.split(":")[0] for line in found] == ["docs/a.txt", "extra", "link", "run.sh"]
    assert "one: missing, two: folder" in found[1]
    assert "file 755" in found[3]


def test_an_edit_of_equal_length_is_seen_though_digests_are_kept(pair: tuple[Path, Path]) -> None:
    """The reader saves itself reading unchanged files, but not changed ones."""
    reader = TreeReader()
    assert compare(pair, reader) == []
    path = pair[1] / "docs" / "a.txt"
    path.write_text("b")
    os.utime(path, ns=(1, 1))
    assert len(compare(pair, reader)) == 1


def test_forgetting_reads_every_byte_again(pair: tuple[Path, Path]) -> None:
    """The last comparison of a demo believes no digest from before."""
    reader = TreeReader()
    reader.read(pair[0])
    reader._digests = dict.fromkeys(reader._digests, "a lie")
    assert reader.read(pair[0])["docs/a.txt"].ident == "a lie"
    reader.forget()
    assert compare(pair, reader) == []


def test_the_list_of_differences_is_bounded(tmp_path: Path) -> None:
    """A pool that is entirely off does not fill the screen."""
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    one.mkdir()
    for number in range(30):
        (one / str(number)).write_text("")
    assert len(compare((one, two))) == 10
