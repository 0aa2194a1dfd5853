"""Which paths are ignored: by the pool's shared file, and by this node's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.disk.root import Root
from meerkat.model.limits import IGNORE_FILE_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.node.rules import Rules


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / ".meerkat").mkdir()
    held = Root(tmp_path)
    yield held
    held.close()


@pytest.fixture
def rules(root: Root) -> Rules:
    return Rules(root, root.metadata_dir / "ignore")


def test_without_files_nothing_is_ignored(rules: Rules) -> None:
    """Neither before nor after the first reading."""
    assert not rules.ignored(RelPath("a"))
    rules.read()
    assert not rules.ignored(RelPath("a"))


def test_both_files_count_and_the_nodes_own_comes_last(root: Root, rules: Rules) -> None:
    """A node may ignore more than the pool does, and may take back for itself what the pool ignores."""
    (root.directory / ".meerkatignore").write_text("*.o\n*.log\n")
    (root.metadata_dir / "ignore").write_text("big/\n!keep.log\n")
    rules.read()
    ignored = {name for name in ("a.o", "a.log", "keep.log", "big", "a.txt") if rules.ignored(RelPath(name))}
    assert ignored == {"a.o", "a.log", "big"}


def test_a_rule_for_folders_does_not_hit_a_file(root: Root, rules: Rules) -> None:
    """What is there decides; where only a name is known, either kind counts."""
    (root.directory / ".meerkatignore").write_text("build/\n")
    rules.read()
    assert rules.skip(RelPath("build"), True)
    assert not rules.skip(RelPath("build"), False)
    assert rules.skip(RelPath("build/a"), False)
    assert rules.ignored(RelPath("build"))


def test_a_change_counts_when_it_is_read(root: Root, rules: Rules) -> None:
    """And a file that went away takes its rules along."""
    (root.directory / ".meerkatignore").write_text("*.o\n")
    assert not rules.ignored(RelPath("a.o"))
    rules.read()
    assert rules.ignored(RelPath("a.o"))
    (root.directory / ".meerkatignore").unlink()
    rules.read()
    assert not rules.ignored(RelPath("a.o"))


def test_a_shared_file_that_leads_outside_is_not_followed(tmp_path: Path, root: Root, rules: Rules) -> None:
    """Another member could have made it a link to anything here."""
    (tmp_path / "secret").write_text("*\n")
    (root.directory / ".meerkatignore").symlink_to("secret")
    rules.read()
    assert not rules.ignored(RelPath("a"))


def test_rules_come_from_other_members_and_are_bounded(root: Root, rules: Rules) -> None:
    """A file of rubbish, or without end, costs neither the node nor its memory."""
    (root.directory / ".meerkatignore").write_bytes(b"*.o\n\xff\xfe[[[\n" + b"\n" * IGNORE_FILE_BYTES_MAX + b"*.txt\n")
    rules.read()
    assert rules.ignored(RelPath("a.o"))
    assert not rules.ignored(RelPath("a.txt")), "beyond what is read of such a file"
