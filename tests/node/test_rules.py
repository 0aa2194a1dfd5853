"""The rules of ignoring come from the shared file and from this node's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.disk.root import Root
from meerkat.model.path import RelPath
from meerkat.node.rules import Rules


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / ".meerkat").mkdir()
    made = Root(tmp_path)
    yield made
    made.close()


def test_both_files_count_and_the_own_one_comes_last(root: Root, tmp_path: Path) -> None:
    """This node may take back what the shared file ignores."""
    (tmp_path / ".meerkatignore").write_text("*.o\nbuild/\n")
    local = tmp_path / ".meerkat" / "ignore"
    local.write_text("!keep.o\nsecret\n")
    rules = Rules(root, local)
    assert not rules.skip(RelPath("a.o"), False), "nothing is ignored before the files are read"
    rules.read()
    assert rules.skip(RelPath("d/a.o"), False)
    assert not rules.skip(RelPath("keep.o"), False)
    assert rules.skip(RelPath("secret"), False)
    assert rules.skip(RelPath("build"), True)
    assert not rules.skip(RelPath("build"), False)
    assert rules.ignored(RelPath("build")), "of a name alone nobody knows whether it is a folder's"
    assert not rules.skip(RelPath(".meerkatignore"), False)


def test_missing_and_strange_files_ignore_nothing(root: Root, tmp_path: Path) -> None:
    """A link in place of the rules is not followed, whatever it points to."""
    (tmp_path / "elsewhere").write_text("*\n")
    (tmp_path / ".meerkatignore").symlink_to(tmp_path / "elsewhere")
    rules = Rules(root, tmp_path / "none")
    rules.read()
    assert not rules.skip(RelPath("a"), False)
