"""Which paths are ignored: by the pool's shared file, and by this node's own."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import until

from meerkat.disk.root import Root
from meerkat.model.limits import IGNORE_FILE_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.node.rules import Rules, Written


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


def test_the_rules_are_stale_when_a_file_has_changed(root: Root, rules: Rules) -> None:
    """Either file, come, changed or gone."""
    rules.read()
    for place in (root.directory / ".meerkatignore", root.metadata_dir / "ignore"):
        place.write_text("*.o\n")
        assert rules.are_stale()
        rules.read()
        assert not rules.are_stale()
        place.unlink()
        assert rules.are_stale()
        rules.read()


def test_rules_that_cannot_be_read_stay_in_force(root: Root, rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble with the disk shares nothing that was to be kept out; a file that is gone is gone."""
    (root.directory / ".meerkatignore").write_text("*.o\n")
    (root.metadata_dir / "ignore").write_text("*.secret\n")
    rules.read()

    def refuse(*args: object, **named: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patches:
        patches.setattr(Path, "read_text", refuse)
        patches.setattr(Path, "stat", refuse)
        patches.setattr(Root, "_open", refuse)
        rules.read()
        assert rules.ignored(RelPath("a.o"))
        assert rules.ignored(RelPath("a.secret"))
        anew = Rules(root, root.metadata_dir / "ignore")
        anew.remember(Written("*.o\n", "*.secret\n"))
        anew.read()
        assert anew.ignored(RelPath("a.o")), "nor when the node is started again"
        assert anew.ignored(RelPath("a.secret"))
    assert rules.are_stale(), "they are read again"
    (root.directory / ".meerkatignore").unlink()
    (root.metadata_dir / "ignore").unlink()
    rules.read()
    assert not rules.ignored(RelPath("a.o"))
    assert not rules.ignored(RelPath("a.secret"))


# ---- rules that change, on whole nodes


async def sharing(nodes: NodePool) -> tuple[Running, Running]:
    """Two nodes that share a folder with a film in it, and enough besides for its going to be no accident."""
    ada = await nodes.found("ada")
    bob = await nodes.join("bob", ada)
    await nodes.linked()
    for number in range(9):
        ada.put(f"other/{number}", b"other %d" % number)
    ada.put("films/one", b"a film")
    await nodes.settled()
    return ada, bob


async def with_rules(nodes: NodePool, node: Running, text: str, *, stopped: bool) -> None:
    """The node's own rules become these, while it runs or not."""
    if stopped:
        await nodes.stop(node)
    (node.folder / ".meerkat" / "ignore").write_text(text)
    if stopped:
        await nodes.start(node)


async def heard(ada: Running, bob: Running, word: str) -> None:
    """What bob had to tell before, ada has been told."""
    await bob.ask("scan")
    bob.put(f"word/{word}", word.encode())
    await until(word, lambda: ada.read(f"word/{word}"))


@pytest.mark.parametrize("stopped", [False, True])
def test_what_goes_from_a_disk_that_does_not_want_it_stays_elsewhere(tmp_path: Path, stopped: bool) -> None:
    """Somebody writes a rule of their own for a folder, and takes it off their disk. Nobody else loses it, neither then
    nor when the rule goes: it comes back."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await sharing(nodes)
            await with_rules(nodes, bob, "films/\n", stopped=stopped)
            shutil.rmtree(bob.folder / "films")
            await heard(ada, bob, "gone here")
            assert ada.read("films/one") == b"a film"
            await with_rules(nodes, bob, "", stopped=stopped)
            await heard(ada, bob, "wanted again")
            await until("it is back", lambda: bob.read("films/one"))
            assert ada.read("films/one") == bob.read("films/one") == b"a film"

    asyncio.run(play())


def test_what_goes_while_all_ignore_it_comes_back_where_it_is_shared_again(tmp_path: Path) -> None:
    """The same for the pool's rules."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await sharing(nodes)
            ada.put(".meerkatignore", b"films/\n")
            await nodes.settled()
            shutil.rmtree(bob.folder / "films")
            await heard(ada, bob, "gone here")
            ada.put(".meerkatignore", b"")
            await until("it is back", lambda: bob.read("films/one"))
            assert ada.read("films/one") == bob.read("films/one") == b"a film"

    asyncio.run(play())


def test_a_rule_holds_for_what_is_written_after_it(tmp_path: Path) -> None:
    """Also a node's own, of which nobody tells."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await sharing(nodes)
            await with_rules(nodes, bob, "*.secret\n", stopped=False)
            bob.put("a.secret", b"for nobody")
            await heard(ada, bob, "said")
            assert ada.read("a.secret") is None

    asyncio.run(play())


def test_an_edit_while_it_is_ignored_is_an_edit(tmp_path: Path) -> None:
    """What was deleted and made anew meanwhile, as builds are, is no conflict when it is shared again."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await sharing(nodes)
            await with_rules(nodes, bob, "films/\n", stopped=False)
            shutil.rmtree(bob.folder / "films")
            await bob.ask("scan")
            bob.put("films/one", b"another cut")
            await with_rules(nodes, bob, "", stopped=False)
            await bob.ask("scan")
            await until("it is told", lambda: ada.read("films/one") == b"another cut")
            assert await ada.ask("conflicts") == []

    asyncio.run(play())
