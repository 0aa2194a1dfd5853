"""After a crash at any step of a commit, whatever a person did around it: nothing is lost, nothing is misread (R9).

Real folder, real stage, real index. The commit is the real one, stopped at a step; then people act; then it is healed.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from meerkat.core.resolve import copy_path
from meerkat.disk import commit, platform
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import COPY_NAMES_TRIED_MAX
from meerkat.model.path import ROOT, RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import FOLDER, Base, Content, Kind, Version
from meerkat.node import heal
from meerkat.node.heal import clean_stage, drop_leftovers, heal_at, heal_intents, run_after
from meerkat.node.ports import Intent
from meerkat.node.stage_names import out_name
from meerkat.store.index import Index
from meerkat.store.transaction import Transaction

F = RelPath("f")
TIME_NS = 1_600_000_000_000_000_000
NAME = f"{'0' * 40}.{'a' * 12}"
Act = Callable[[Path], object]


class Died(BaseException):
    """The process ended here."""


class Node:
    """One folder with its index."""

    def __init__(self, folder: Path) -> None:
        (folder / ".meerkat").mkdir(parents=True)
        self.folder = folder
        self.root = Root(folder)
        self.stage = Stage(self.root)
        self.trash = Trash(self.root)
        self.index = Index.in_memory()
        with self.index.write() as tx:
            tx.renew_author(Author(NodeId("m" * 32), 1))

    def close(self) -> None:
        self.index.close()
        for held in (self.trash, self.stage, self.root):
            held.close()

    def shows(self, text: str | None) -> Base | None:
        """This node once put that there, and has recorded it."""
        if text is None:
            return None
        save(self.folder, text)
        os.utime(self.folder / "f", ns=(TIME_NS - 10**9, TIME_NS - 10**9))
        base = look(self.root, F, None).base
        assert base is not None
        with self.index.write() as tx:
            tx.put_base(F, base)
        return base

    def intend(self, target: Version | None, name: str, inode: int, old: Base | None) -> None:
        with self.index.write() as tx:
            tx.put_intent(Intent(F, target, name, inode, old))

    def heal(self) -> int:
        after: list[heal.After] = []
        with self.index.write() as tx:
            count = heal_intents(self.root, self.stage, self.trash, tx, after)
        run_after(after)
        return count

    def base(self) -> Base | None:
        with self.index.read() as view:
            return view.base(F)

    def changed(self) -> bool:
        """Whether the next scan would take what stands there for a person's doing."""
        base = self.base()
        now = look(self.root, F, base).base
        return (now and now.content) != (base and base.content)

    def texts(self) -> set[str]:
        """Every text in the folder and the trash."""
        found = (each for each in self.folder.rglob("*") if each.is_file() and each.suffix != ".json")
        inside = self.folder / ".meerkat"
        return {each.read_text() for each in found if inside not in each.parents or inside / "trash" in each.parents}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    held = Node(tmp_path / "shared")
    yield held
    held.close()


def version(text: str) -> Version:
    digest = Digest(blake3(text.encode()).digest())
    return Version(Kind.FILE, len(text), TIME_NS, 0o644, digest)


def content(text: str) -> Content:
    return version(text).content


def save(folder: Path, text: str) -> None:
    """As editors do: by a rename."""
    (folder / "saving").write_text(text)
    (folder / "saving").rename(folder / "f")


def overwrite(folder: Path) -> None:
    (folder / "f").write_text("edit")


def save_edit(folder: Path) -> None:
    save(folder, "edit")


def delete(folder: Path) -> None:
    (folder / "f").unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    delete(folder)
    (folder / "f").mkdir()
    (folder / "f" / "inside").write_text("edit")


def make_link(folder: Path) -> None:
    delete(folder)
    (folder / "f").symlink_to("elsewhere")


def die(*args: object, **named: object) -> None:
    raise Died


def nothing(folder: Path) -> None:
    """Nobody was there."""


def stop_at(point: str, folder: Path, acts: dict[str, Act]) -> Callable[[str], None]:
    def between(step: str) -> None:
        acts.get(step, nothing)(folder)
        if step == point:
            raise Died

    return between


def place_cut_off(node: Node, old: str | None, point: str, acts: dict[str, Act] | None = None) -> None:
    """The pool's "new" was on its way to the path when the process died."""
    base = node.shows(old)
    inode = node.stage.write_small(NAME, b"new", version("new"))
    node.intend(version("new"), NAME, inode, base)
    if point == "intended":
        return
    between = stop_at(point, node.folder, acts or {})
    with pytest.raises(Died):
        commit.place(node.root, node.stage, F, NAME, inode, base, version("new"), between)


def remove_cut_off(node: Node, point: str, acts: dict[str, Act] | None = None) -> None:
    """The pool's deletion was on its way to the path when the process died."""
    base = node.shows("old")
    assert base is not None
    node.intend(None, "out.f.1", 0, base)
    if point == "intended":
        return
    with pytest.raises(Died):
        commit.remove(node.root, node.stage, F, "out.f.1", base, stop_at(point, node.folder, acts or {}))


# ---- putting down


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("point", ["intended", "looked"])
@pytest.mark.parametrize("act", [nothing, overwrite, save_edit, delete], ids=lambda act: act.__name__)
def test_a_commit_that_did_not_happen(node: Node, old: str | None, point: str, act: Act) -> None:
    """Our staged thing is still there: the base stays, what was staged is found again, the intent is gone."""
    place_cut_off(node, old, point)
    before = node.base()
    act(node.folder)
    assert node.heal() == 1
    assert node.base() == before
    assert NAME in node.stage.names()
    with node.index.read() as view:
        assert view.intents() == []
        assert view.pending(ROOT, 9) == [F]
    assert node.changed() == (act in (overwrite, save_edit) or (act is delete and old is not None))


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("point", ["exchanged", "inspected"])
@pytest.mark.parametrize("act", [nothing, overwrite, save_edit, delete, make_link], ids=lambda act: act.__name__)
def test_a_commit_that_happened(node: Node, old: str | None, point: str, act: Act) -> None:
    """The base is what was put there, whatever stands there now: that is a person's later doing, for the next scan."""
    place_cut_off(node, old, point)
    act(node.folder)
    node.heal()
    base = node.base()
    assert base is not None
    assert base.content == content("new")
    assert node.changed() == (act is not nothing)
    assert node.stage.names() == []
    shown = {"new"} if act is nothing else {"edit"} if act in (overwrite, save_edit) else set()
    assert node.texts() >= shown | ({old} if old else set()), "the old version is in the trash"


@pytest.mark.parametrize("act", [overwrite, save_edit, make_link, make_folder], ids=lambda act: act.__name__)
def test_what_a_person_saved_in_between_goes_back(node: Node, act: Act) -> None:
    """Their thing came out of the exchange: it stands at the path again, for the next scan to find over the old."""
    place_cut_off(node, "old", "exchanged", {"looked": act})
    before = node.base()
    node.heal()
    assert node.base() == before
    assert node.changed()
    if act is make_folder:
        assert (node.folder / "f" / "inside").read_text() == "edit"
    elif act is make_link:
        assert os.readlink(node.folder / "f") == "elsewhere"
    else:
        assert (node.folder / "f").read_text() == "edit"


@pytest.mark.parametrize("later", [save_edit, delete], ids=lambda act: act.__name__)
def test_twice_a_person(node: Node, later: Act) -> None:
    """They saved, the exchange brought it out, we died, and they acted again: both of their doings count."""
    place_cut_off(node, "old", "exchanged", {"looked": lambda folder: save(folder, "first")})
    later(node.folder)
    node.heal()
    beside = node.folder / copy_path(F, content("first"))
    assert beside.read_text() == "first"
    base = node.base()
    assert base is not None
    assert base.content == content("new")
    assert node.changed()


def test_an_edit_of_ours_after_one_that_it_pushed_out(node: Node) -> None:
    """They saved, the exchange brought it out, we died, and ours was edited where it stood: both count. That edit must
    not end under the name of a download, where the next one would write over it."""
    place_cut_off(node, "old", "exchanged", {"looked": lambda folder: save(folder, "first")})
    overwrite(node.folder)
    node.heal()
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: True)
    assert node.stage.names() == []
    assert node.texts() >= {"first", "edit"}
    assert node.changed()


def test_files_put_into_a_folder_of_ours_before_it_was_taken_back(node: Node) -> None:
    """What a person saved goes back to its path, and the folder that stood there for a while is kept with theirs."""
    base = node.shows("old")
    made = Version(Kind.FOLDER, mode=0o755)
    inode = node.stage.make_folder("folder.f", made)
    node.intend(made, "folder.f", inode, base)
    between = stop_at("exchanged", node.folder, {"looked": lambda folder: save(folder, "first")})
    with pytest.raises(Died):
        commit.place(node.root, node.stage, F, "folder.f", inode, base, made, between)
    (node.folder / "f" / "inside").write_text("edit")
    node.heal()
    assert node.texts() >= {"first", "edit"}
    assert "folder.f" not in node.stage.names(), "the next try makes one of that name"


def heal_in_vain(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk cannot say that what was healed is durable."""

    def refuse(root: object, paths: object) -> None:
        raise PathBlocked(Problem("f", Reason.FILE_BUSY, "the disk reported an error"))

    with monkeypatch.context() as patches:
        patches.setattr(commit, "sync_parents", refuse)
        node.heal()


def test_what_was_taken_back_stays_while_the_intent_does(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gone from the stage beside its intent, it would tell the next start that the commit had happened."""
    place_cut_off(node, "old", "exchanged", {"looked": lambda folder: save(folder, "first")})
    overwrite(node.folder)
    before = node.base()

    heal_in_vain(node, monkeypatch)
    node.heal()
    assert node.base() == before, "what was saved is an edit of the old version, not of ours"
    assert (node.folder / "f").read_text() == "first"
    assert node.texts() >= {"first", "edit"}


def test_an_edit_of_ours_that_came_back_with_it(node: Node) -> None:
    """An exchange was taken back, ours was edited while it stood there, and the process died before that was dealt
    with: what lies under its name is a person's."""
    acts: dict[str, Act] = {"looked": lambda folder: save(folder, "first"), "exchanged": overwrite}
    place_cut_off(node, "old", "returned", acts)
    node.heal()
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: True)
    assert node.texts() >= {"first", "edit"}
    assert node.stage.names() == []
    assert (node.folder / "f").read_text() == "first"


def names_beside(text: str | None) -> list[RelPath]:
    """The names that are tried for what came out of `f` and cannot go back."""
    found, target = [], F
    for _ in range(COPY_NAMES_TRIED_MAX):
        target = copy_path(target, FOLDER if text is None else content(text))
        found.append(target)
    return found


@pytest.mark.parametrize("taken", [1, COPY_NAMES_TRIED_MAX])
def test_beside_is_taken(node: Node, taken: int) -> None:
    """Where the name beside is somebody's, another is tried; where all of them are, the bytes are in the trash."""
    place_cut_off(node, "old", "exchanged", {"looked": lambda folder: save(folder, "first")})
    save_edit(node.folder)
    names = names_beside("first")
    for name in names[:taken]:
        (node.folder / name).write_text("another")
    node.heal()
    assert all((node.folder / name).read_text() == "another" for name in names[:taken])
    assert node.texts() >= {"first", "another", "edit"}
    in_trash = {kept.path for kept in node.trash.entries()}
    if taken < len(names):
        assert (node.folder / names[taken]).read_text() == "first"
        assert not in_trash
    else:
        assert in_trash == {"f"}


def test_a_folder_of_a_person_is_never_dropped(node: Node) -> None:
    """It came out, and neither its place nor a name beside it is free: what is in it is kept in the trash."""
    place_cut_off(node, "old", "exchanged", {"looked": make_folder})
    save(node.folder, "later")
    for name in names_beside(None):
        (node.folder / name).mkdir()
    node.heal()
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: False)
    assert [(kept.path, kept.size) for kept in node.trash.entries()] == [("f/inside", len("edit"))]
    assert node.texts() == {"later", "edit"}
    assert node.stage.names() == []


@pytest.mark.parametrize("index_lost", [False, True])
def test_a_folder_that_came_out_full_is_in_nobodys_way(node: Node, index_lost: bool) -> None:
    """No intent speaks of it any more: what a person has put into it is in the trash, and the next folder that is made
    for the path can have the name."""
    name = f"folder.{'d' * 12}"
    made = Version(Kind.FOLDER, mode=0o755)
    node.stage.make_folder(name, made)
    place = node.folder / ".meerkat" / "stage" / name
    (place / "below" / "empty").mkdir(parents=True)
    (place / "below" / "one").write_text("edit")
    (place / "below" / "link").symlink_to("elsewhere")
    (place / os.fsdecode(b"not \xff text")).write_text("edit too")
    clean_stage(node.stage, node.trash, index_lost=index_lost, wanted=lambda: False)
    assert node.stage.names() == []
    assert node.texts() == {"edit", "edit too"}
    kept = {each.path for each in node.trash.entries()}
    assert {f"{name}/below/one", f"{name}/below/link"} < kept
    node.stage.make_folder(name, made)


def test_an_old_folder_just_goes(node: Node) -> None:
    """An empty folder that gave way to the pool's file is no loss."""
    (node.folder / "f").mkdir()
    base = look(node.root, F, None).base
    assert base is not None
    inode = node.stage.write_small(NAME, b"new", version("new"))
    node.intend(version("new"), NAME, inode, base)
    between = stop_at("exchanged", node.folder, {})
    with pytest.raises(Died):
        commit.place(node.root, node.stage, F, NAME, inode, base, version("new"), between)
    node.heal()
    assert node.stage.names() == []
    assert (node.folder / "f").read_text() == "new"


def test_a_folder_that_was_made(node: Node) -> None:
    """The same holds for folders: the base is the folder, and one that a person filled since is still it."""
    made = Version(Kind.FOLDER, mode=0o755)
    inode = node.stage.make_folder("folder.f", made)
    node.intend(made, "folder.f", inode, None)
    between = stop_at("exchanged", node.folder, {})
    with pytest.raises(Died):
        commit.place(node.root, node.stage, F, "folder.f", inode, None, made, between)
    (node.folder / "f" / "inside").write_text("edit")
    node.heal()
    assert not node.changed()


def test_a_new_file_that_still_has_both_its_names(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's call it is linked to its place first: from then on it stands there."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"})
    inode = node.stage.write_small(NAME, b"new", version("new"))
    node.intend(version("new"), NAME, inode, None)
    with monkeypatch.context() as patches:
        patches.setattr(os, "unlink", die)
        with pytest.raises(Died):
            commit.place(node.root, node.stage, F, NAME, inode, None, version("new"))
    overwrite(node.folder)
    node.heal()
    assert node.stage.names() == []
    base = node.base()
    assert base is not None
    assert base.content == content("new"), "so the edit since then is one of that"
    assert node.changed()


def test_nothing_is_noted_that_is_not_durable(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk cannot say so, base and intent stay as they were."""
    place_cut_off(node, "old", "exchanged")
    before = node.base()

    heal_in_vain(node, monkeypatch)
    assert node.base() == before
    node.heal()
    assert not node.changed()
    with node.index.read() as view:
        assert view.intents() == []


def test_what_was_looked_at_since_stays_so(node: Node) -> None:
    """A commit that could be ended only later: what an ordinary look has found at the path meanwhile is the base."""
    place_cut_off(node, "old", "exchanged")
    overwrite(node.folder)
    seen = look(node.root, F, None).base
    with node.index.write() as tx:
        tx.put_base(F, seen)
        assert heal_at(node.root, node.stage, node.trash, tx, [RelPath("other")], []) == {}
        assert len(tx.intents()) == 1
        assert heal_at(node.root, node.stage, node.trash, tx, [F], []) == {}
    assert node.base() == seen
    assert node.texts() == {"old", "edit"}


# ---- removing


def test_a_file_that_still_has_both_its_names_was_not_removed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's call it is linked into the stage first: it stands at its path, and the trash has no part of
    it, in which each later edit would show."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"})
    base = node.shows("old")
    assert base is not None
    node.intend(None, "out.f.1", 0, base)
    with monkeypatch.context() as patches:
        patches.setattr(os, "unlink", die)
        with pytest.raises(Died):
            commit.remove(node.root, node.stage, F, "out.f.1", base)
    node.heal()
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: False)
    assert node.base() == base
    assert (node.folder / "f").stat().st_nlink == 1
    assert (node.stage.names(), list(node.trash.entries())) == ([], [])


@pytest.mark.parametrize("act", [nothing, overwrite], ids=lambda act: act.__name__)
def test_a_removal_that_did_not_happen(node: Node, act: Act) -> None:
    """It still stands there: the base stays, so an edit since then is seen as one."""
    remove_cut_off(node, "looked")
    act(node.folder)
    node.heal()
    base = node.base()
    assert base is not None
    assert base.content == content("old")
    assert node.changed() == (act is overwrite)


@pytest.mark.parametrize("act", [nothing, save_edit, make_link], ids=lambda act: act.__name__)
def test_a_removal_that_happened(node: Node, act: Act) -> None:
    """The base is empty, the old version in the trash; what stands there since is a person's."""
    remove_cut_off(node, "exchanged")
    act(node.folder)
    node.heal()
    assert node.base() is None
    assert node.texts() >= {"old"}
    assert node.changed() == (act is not nothing)


@pytest.mark.parametrize("act", [overwrite, save_edit], ids=lambda act: act.__name__)
def test_an_edit_just_before_a_removal_goes_back(node: Node, act: Act) -> None:
    """It stands at its path again, and the next scan sees an edit of what was to be removed."""
    remove_cut_off(node, "exchanged", {"looked": act})
    node.heal()
    assert (node.folder / "f").read_text() == "edit"
    base = node.base()
    assert base is not None
    assert base.content == content("old")


def test_an_edit_before_and_one_after_a_removal(node: Node) -> None:
    """Both are kept: the later at the path, the earlier beside it."""
    remove_cut_off(node, "exchanged", {"looked": lambda folder: save(folder, "first")})
    save_edit(node.folder)
    node.heal()
    assert (node.folder / "f").read_text() == "edit"
    assert (node.folder / copy_path(F, content("first"))).read_text() == "first"
    assert node.base() is None


# ---- dying again, and trouble


@pytest.mark.parametrize("act", [nothing, save_edit, make_folder], ids=lambda act: act.__name__)
def test_dying_while_healing(node: Node, act: Act) -> None:
    """What was done to the folder stays done, the index forgets it: healing once more comes to the same end."""
    place_cut_off(node, "old", "exchanged", {"looked": act})

    def die() -> None:
        with node.index.write() as tx:
            heal_intents(node.root, node.stage, node.trash, tx, [])
            raise Died

    with pytest.raises(Died):
        die()
    texts = node.texts()
    node.heal()
    assert node.texts() == texts | {"new"}, "what was to be seen is in the trash, if it does not stand there"
    assert node.stage.names() == []
    base = node.base()
    assert base is not None
    assert base.content == content("new" if act is nothing else "old")
    assert node.changed() == (act is not nothing)


def test_what_cannot_be_healed_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The intent stays, and the bytes that came out are neither dropped as a download nor written over by one."""
    place_cut_off(node, "old", "exchanged", {"looked": save_edit})
    delete(node.folder)

    def full(*args: object) -> bool:
        raise PathBlocked(Problem("f", Reason.DISK_FULL, "no room"))

    with monkeypatch.context() as patches:
        patches.setattr(commit, "put_back", full)
        node.heal()
    with node.index.read() as view:
        assert [intent.path for intent in view.intents()] == [F]
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: False, spared=[NAME])
    node.heal()
    with node.index.read() as view:
        assert view.intents() == []
    assert "edit" in node.texts()


def test_one_that_cannot_be_healed_does_not_keep_others(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path by itself."""
    place_cut_off(node, "old", "exchanged")
    with node.index.write() as tx:
        tx.put_intent(Intent(RelPath("e"), version("new"), "gone", 1, None))
    honest = heal._heal_one

    def heal_one(
        root: Root, stage: Stage, trash: Trash, tx: Transaction, intent: Intent, after: list[heal.After]
    ) -> heal.Note:
        if intent.path == "e":
            raise PathBlocked(Problem("e", Reason.PERMISSION, "not allowed"))
        return honest(root, stage, trash, tx, intent, after)

    monkeypatch.setattr(heal, "_heal_one", heal_one)
    node.heal()
    with node.index.read() as view:
        assert [intent.path for intent in view.intents()] == ["e"]
    base = node.base()
    assert base is not None
    assert base.content == content("new")


# ---- what else lies in the stage


def staged(node: Node) -> None:
    """A verified download, half of one, a link, an empty folder, and bytes that nobody can say anything about."""
    whole = f"{content('whole').ident.hex()[:40]}.{'b' * 12}"
    node.stage.write_small(whole, b"whole", version("whole"))
    node.stage.write_small(NAME, b"half", version("half"))
    node.stage.make_link(f"link.{'c' * 12}", Version(Kind.SYMLINK, target="elsewhere"))
    node.stage.make_folder(f"folder.{'d' * 12}", Version(Kind.FOLDER, mode=0o755))
    node.stage.write_small("out.f.1", b"came out", version("came out"))


def test_the_stage_after_a_start(node: Node) -> None:
    """Downloads stay while something is wanted; what was made goes; what came out of an exchange is in the trash."""
    staged(node)
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: True)
    assert len(node.stage.names()) == 2
    assert node.texts() == {"came out"}
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: False)
    assert node.stage.names() == []
    assert node.texts() == {"came out"}


def test_the_stage_after_a_lost_index(node: Node) -> None:
    """F11: without intents only what verifies as a download is dropped; all else may be a person's."""
    staged(node)
    clean_stage(node.stage, node.trash, index_lost=True, wanted=lambda: True)
    assert node.stage.names() == []
    assert node.texts() == {"came out", "half"}
    links = [kept.content for kept in node.trash.entries() if kept.content.kind is Kind.SYMLINK]
    assert links == [Content(Kind.SYMLINK, b"elsewhere")]


@pytest.mark.parametrize("wanted", [True, False])
def test_what_came_out_is_no_download_to_an_index_that_knows_no_commit(node: Node, wanted: bool) -> None:
    """An index that was put back from within one run has no intent and is not told from the present one."""
    node.stage.write_small(out_name(NAME), b"what a person wrote", version("what a person wrote"))
    node.stage.make_link(out_name(f"link.{'c' * 12}"), Version(Kind.SYMLINK, target="theirs"))
    with node.index.write() as tx:
        assert drop_leftovers(node.stage, tx)
    clean_stage(node.stage, node.trash, index_lost=False, wanted=lambda: wanted)
    assert node.stage.names() == []
    assert node.texts() == {"what a person wrote"}
    assert [kept.content for kept in node.trash.entries() if kept.content.kind is Kind.SYMLINK] == [
        Content(Kind.SYMLINK, b"theirs")
    ]


@pytest.mark.parametrize("names", ["first", "both", "second"])
def test_an_exchange_that_had_not_begun(node: Node, names: str) -> None:
    """The crash came when the staged thing had its own name yet, both, or the one for the exchange alone: it is found
    again under its own."""
    node.shows("old")
    save(node.folder, "old")
    inode = node.stage.write_small(NAME, b"new", version("new"))
    with node.index.write() as tx:
        tx.put_intent(Intent(F, version("new"), out_name(NAME), inode, node.base()))
    stage = node.folder / ".meerkat" / "stage"
    if names != "first":
        os.link(stage / NAME, stage / out_name(NAME))
    if names == "second":
        (stage / NAME).unlink()
    node.heal()
    assert (node.folder / "f").read_text() == "old"
    assert (stage / NAME).read_text() == "new"
    base = node.base()
    assert base is not None
    assert base.content == content("old")
    with node.index.read() as view:
        assert view.intents() == []


def test_what_an_exchange_held_aside_is_not_forgotten(node: Node) -> None:
    """No intent speaks of it (any more): a second name of what stands in the tree goes, anything else is kept."""
    save(node.folder, "stands here")
    stage = node.folder / ".meerkat" / "stage"
    os.link(node.folder / "f", stage / f"{NAME}~")
    (stage / "other~").write_text("held aside")
    (stage / "spared~").write_text("of an intent")
    clean_stage(node.stage, node.trash, index_lost=True, wanted=lambda: True, spared=["spared"])
    assert node.texts() == {"stands here", "held aside"}
    assert os.listdir(stage) == ["spared~"]
    assert (node.folder / "f").stat().st_nlink == 1


def test_leftovers_go_when_nothing_is_wanted(node: Node) -> None:
    """Downloads that were overtaken go, but only while nothing is pending and no commit is under way."""
    staged(node)
    with node.index.write() as tx:
        tx.set_pending(F)
        assert not drop_leftovers(node.stage, tx)
        tx.clear_pending(F)
        tx.put_intent(Intent(F, version("new"), NAME, 1, None))
        assert not drop_leftovers(node.stage, tx)
        assert len(node.stage.names()) == 5
        tx.clear_intent(F)
        assert drop_leftovers(node.stage, tx)
    assert node.stage.names() == ["out.f.1"]
