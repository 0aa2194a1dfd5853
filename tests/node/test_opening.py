"""From a folder to an index that may be written: who writes, what is learnt again first, what was cut off."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Dot
from meerkat.model.fault import Fault
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Entry, Kind, Version
from meerkat.node.home import open_home
from meerkat.node.opening import Opened, close_index, new_author, open_index
from meerkat.node.ports import Intent

ME, OTHER = NodeId("m" * 32), NodeId("n" * 32)
DATA = b"new"
VERSION = Version(Kind.FILE, len(DATA), 7, 0o644, Digest(blake3(DATA).digest()))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the witness lies: outside the folder."""
    place = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "shared"
    place.mkdir()
    return place


@contextmanager
def opened(folder: Path, node: NodeId = ME, *, clean: bool = True) -> Iterator[tuple[Opened, Stage, Trash]]:
    """A node's start, and its end: clean, or sudden."""
    with ExitStack() as held:
        home = held.enter_context(open_home(folder))
        root = Root(folder)
        held.callback(root.close)
        stage = Stage(root)
        held.callback(stage.close)
        trash = Trash(root)
        held.callback(trash.close)
        found = open_index(home, node, root, stage, trash)
        held.callback(found.index.close)
        yield found, stage, trash
        if clean:
            close_index(found, node)


def said(found: Opened) -> tuple[object, str]:
    """The author of the next write, and what is to be recovered."""
    with found.index.write() as tx:
        return tx.author(), (tx.meta("recovering") or b"").decode()


def recovered(folder: Path) -> object:
    """A first start whose recovery has ended; its author."""
    with opened(folder) as (found, *_):
        with found.index.write() as tx:
            tx.put_meta("recovering", b"")
        return said(found)[0]


def write_dots(found: Opened, count: int) -> None:
    with found.index.write() as tx:
        for _ in range(count):
            tx.next_seq()


def test_a_new_index_knows_nothing(folder: Path) -> None:
    """It has a life of its own, gives no dots before it has learnt what the pool holds, and counts its starts."""
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert why == "lost"
        assert found.starts == 1
        assert found.set_aside == ""
    assert author == (ME, pytest.approx(author[1]))  # type: ignore[index]


def test_an_unfinished_recovery_is_taken_up(folder: Path) -> None:
    """A stop in the middle does not make an index that knows nothing count as one that knows."""
    with opened(folder):
        pass
    with opened(folder) as (found, *_):
        assert said(found)[1] == "lost"


def test_after_a_clean_stop_the_life_goes_on(folder: Path) -> None:
    """The witness agrees in everything: the same author, nothing to recover."""
    first = recovered(folder)
    with opened(folder) as (found, *_):
        write_dots(found, 3)
    with opened(folder) as (found, *_):
        assert said(found) == (first, "")
        assert found.starts == 3


def test_after_a_crash_a_new_life_begins(folder: Path) -> None:
    """Whether the last writes are all there cannot be proven, so no sequence is continued; nothing is recovered."""
    first = recovered(folder)
    with opened(folder, clean=False) as (found, *_):
        write_dots(found, 2)
        assert said(found)[0] == first
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert author != first
        assert why == ""


def test_without_a_witness_a_new_life_begins(folder: Path, state: Path) -> None:
    """A folder that came to another machine, or whose user's state is gone."""
    first = recovered(folder)
    shutil.rmtree(state)
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert author != first
        assert why == ""


def test_a_copied_index_begins_a_new_life(folder: Path) -> None:
    """The same bytes in another inode: a restored or copied folder, even where nothing is missing."""
    first = recovered(folder)
    index = folder / ".meerkat" / "index.db"
    shutil.copy2(index, index.with_name("copy"))
    os.replace(index.with_name("copy"), index)
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert author != first
        assert why == ""


@pytest.mark.parametrize("clean", [True, False], ids=["clean stop", "crash"])
def test_an_older_index_learns_first(folder: Path, clean: bool) -> None:
    """An index that was newer once begins a new life and gives no dots before it has heard from a member."""
    first = recovered(folder)
    index = folder / ".meerkat" / "index.db"
    shutil.copy2(index, folder / ".meerkat" / "kept")
    with opened(folder, clean=clean) as (found, *_):
        write_dots(found, 1)
    os.replace(folder / ".meerkat" / "kept", index)
    for each in index.parent.glob("index.db-*"):
        each.unlink()
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert author != first
        assert why == "older"


def test_another_nodes_index_is_not_continued(folder: Path) -> None:
    """The folder has got another key: its writes have another name."""
    recovered(folder)
    with opened(folder, OTHER) as (found, *_):
        assert said(found)[0][0] == OTHER  # type: ignore[index]


def test_lives_are_never_given_twice() -> None:
    """Epochs are random, never zero, and fit what the wire can carry."""
    epochs = {new_author(ME).epoch for _ in range(100)}
    assert len(epochs) == 100
    assert all(0 < epoch < 2**63 for epoch in epochs)


def test_a_damaged_index_is_set_aside(folder: Path) -> None:
    """It is kept under another name; the new one is learnt from the pool, under a new life."""
    first = recovered(folder)
    (folder / ".meerkat" / "index.db").write_bytes(b"no database at all")
    with opened(folder) as (found, *_):
        author, why = said(found)
        assert author != first
        assert why == "lost"
        assert Path(found.set_aside).read_bytes() == b"no database at all"


def test_an_index_of_a_newer_version_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is told, and nothing was touched."""
    recovered(folder)
    index = folder / ".meerkat" / "index.db"
    before = index.read_bytes()
    monkeypatch.setattr("meerkat.store.index.shipped_migrations", list)
    with pytest.raises(Fault) as caught, opened(folder):
        pass
    assert caught.value.code == "index_too_new"
    assert index.read_bytes() == before


def test_what_was_cut_off_is_ended_first(folder: Path) -> None:
    """R9: the intent is gone before anybody can look, the base is what was put there, and the path is looked at."""
    recovered(folder)
    with opened(folder, clean=False) as (found, stage, _):
        inode = stage.write_small("staged", DATA, VERSION)
        with found.index.write() as tx:
            tx.put_intent(Intent(RelPath("f"), VERSION, "staged", inode, None))
        os.rename(folder / ".meerkat" / "stage" / "staged", folder / "f")
    with opened(folder) as (found, *_), found.index.read() as view:
        base = view.base(RelPath("f"))
        assert view.intents() == []
        assert base is not None
        assert base.content == VERSION.content
        assert view.pending(RelPath(""), 9) == [RelPath("f")]


def test_what_cannot_be_ended_yet_is_told_and_spared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came out lies under the name of a download: while its intent stays, nobody takes it for one."""
    recovered(folder)
    name = f"{'0' * 40}.{'a' * 12}"
    with opened(folder, clean=False) as (found, stage, _):
        inode = stage.write_small(name, DATA, VERSION)
        with found.index.write() as tx:
            tx.put_intent(Intent(RelPath("f"), VERSION, name, inode + 1, None))

    def refuse(*args: object, **named: object) -> bool:
        raise PathBlocked(Problem("f", Reason.DISK_FULL, "no room"))

    with monkeypatch.context() as patches:
        patches.setattr("meerkat.disk.commit.put_back", refuse)
        with opened(folder, clean=False) as (found, stage, _):
            assert found.cut_off == (RelPath("f"),)
            assert stage.names() == [name]
    with opened(folder) as (found, stage, _):
        assert (found.cut_off, stage.names()) == ((), [])


def test_parts_of_a_pull_are_thrown_away(folder: Path) -> None:
    """R10: what had arrived of a long answer before the stop is not merged with another one's parts."""
    recovered(folder)
    with opened(folder) as (found, *_), found.index.write() as tx:
        tx.put_aside(1, (Entry(RelPath("f"), {Dot(new_author(OTHER), 1): VERSION}),))
    with opened(folder) as (found, *_), found.index.write() as tx:
        assert list(tx.aside(1)) == []


@pytest.mark.parametrize("lost", [False, True])
def test_downloads_in_the_stage(folder: Path, lost: bool) -> None:
    """Half a download stays while something is to be fetched; where the index is lost it may be a person's: trash."""
    recovered(folder)
    half = f"{'0' * 40}.{'a' * 12}"
    with opened(folder) as (found, stage, _):
        stage.prepare(half, 4)
        stage.write(half, 0, b"half")
        with found.index.write() as tx:
            tx.set_pending(RelPath("f"))
    if lost:
        for each in (folder / ".meerkat").glob("index.db*"):
            each.unlink()
    with opened(folder) as (found, stage, trash):
        assert stage.names() == ([] if lost else [half])
        assert [kept.size for kept in trash.entries()] == ([4] if lost else [])


def test_a_recovery_cut_off_still_drops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: the process dies again right after it has begun anew: the next start knows no better whose the bytes are."""
    recovered(folder)
    name = f"{'0' * 40}.{'a' * 12}"
    with opened(folder) as (_, stage, _):
        stage.write_small(name, DATA, VERSION)
    for each in (folder / ".meerkat").glob("index.db*"):
        each.unlink()

    def die(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr("meerkat.node.opening.clean_stage", die)
        with pytest.raises(KeyboardInterrupt), opened(folder):
            pass
    shutil.rmtree(folder.parent / "state")
    with opened(folder) as (_, stage, trash):
        assert stage.names() == []
        assert [kept.content for kept in trash.entries()] == [VERSION.content]


def test_a_clean_stop_is_what_the_witness_has_seen(folder: Path) -> None:
    """It says the very sequence that the index has durably given."""
    recovered(folder)
    with opened(folder) as (found, *_):
        write_dots(found, 5)
        close_index(found, ME)
        verdict = found.witness.judge(ME, found.starts, 5)
        assert verdict.proven
        assert not found.witness.judge(ME, found.starts, 4).proven
