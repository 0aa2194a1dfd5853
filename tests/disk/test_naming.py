"""What a disk does with names is found out once, and on one that takes names for one another only the listed name
counts: nothing else is looked at, read, replaced or removed (G2)."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from folding_disk import mounted

from meerkat.disk import commit, naming
from meerkat.disk.commit import Placed, Raced
from meerkat.disk.naming import PLAIN, Naming, OtherSpelling
from meerkat.disk.root import Root
from meerkat.disk.scan import look, walk
from meerkat.disk.stage import Stage
from meerkat.model.ids import Digest
from meerkat.model.path import ROOT, RelPath
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Base, Kind, Version

COMPOSED = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
DISKS = {
    ("case", "forms"): Naming(case=True, forms=True),
    ("case",): Naming(case=True),
    ("forms", "rewrites"): Naming(forms=True, rewrites=True),
    ("case", "tails"): Naming(case=True, tails=True),
    (): PLAIN,
}


@pytest.fixture
def shown(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A node's folder on a disk with the options of the test (without: case and forms)."""
    options = getattr(request, "param", ("case", "forms"))
    with mounted(tmp_path / "disk", tmp_path / "shown", *options) as at:
        (at / ".meerkat").mkdir()
        yield at


@pytest.fixture
def folding(shown: Path) -> Iterator[tuple[Path, Root, Stage]]:
    root = Root(shown)
    stage = Stage(root)
    yield shown, root, stage
    stage.close()
    root.close()


@pytest.mark.parametrize("shown", DISKS, indirect=True, ids=["+".join(each) or "plain" for each in DISKS])
def test_what_a_disk_does_is_found_out(folding: tuple[Path, Root, Stage], request: pytest.FixtureRequest) -> None:
    """Each kind of disk is known by what it does, and nothing is left of the trial; nor does what a crash left hurt."""
    _, root, stage = folding
    expected = DISKS[request.node.callspec.params["shown"]]
    assert root.naming == expected
    assert stage.names() == []
    os.close(os.open("probe-\u00e9", os.O_CREAT | os.O_WRONLY, dir_fd=stage.handle))
    assert naming.detect(stage.handle) == expected
    assert stage.names() == []


def test_an_ordinary_disk_folds_nothing(root: Root, stage: Stage) -> None:
    """Where names are bytes, nothing is asked for twice."""
    assert root.naming == PLAIN
    assert not root.naming.folds
    assert root.spelled(RelPath("Foo/bar")) == "Foo/bar"


def test_only_the_listed_name_counts(folding: tuple[Path, Root, Stage]) -> None:
    """Looks, reads and listings of a path that is called otherwise find nothing there, in folders as well."""
    shown, root, _ = folding
    (shown / "Folder").mkdir()
    (shown / "Folder" / "file").write_text("x")
    assert (shown / "FOLDER" / "FILE").exists()
    for text in ("folder", "FOLDER/file", "Folder/File", "folder/new"):
        path = RelPath(text)
        assert root.lstat(path) is None
        assert look(root, path, None).base is None
        with pytest.raises(PathBlocked):
            root.open_read(path)
        with pytest.raises(OSError, match="called") as caught:
            root.open_folder(path)
        assert isinstance(caught.value, FileNotFoundError)
    assert root.lstat(RelPath("Folder/file")) is not None
    assert root.spelled(RelPath("FOLDER/FILE")) == "Folder/file"
    assert root.spelled(RelPath("FOLDER/none")) is None
    with pytest.raises(OtherSpelling, match="Folder"), root.parent(RelPath("folder")):
        pass
    os.close(root.open_read(RelPath("Folder/file")))
    (shown / "Folder" / "file").rename(shown / "Folder" / "way")
    (shown / "Folder" / "way").rename(shown / "Folder" / "FILE")
    assert root.lstat(RelPath("Folder/file")) is None
    assert root.lstat(RelPath("Folder/FILE")) is not None


def test_what_stands_under_another_spelling_is_never_touched(folding: tuple[Path, Root, Stage]) -> None:
    """Putting down, removing, putting back and changing bits of `Foo` leave a `foo` as it is, and say why."""
    shown, root, stage = folding
    (shown / "foo").write_text("a person's")
    version = Version(Kind.FILE, size=2, mode=0o600, digest=Digest(bytes(32)))
    inode = stage.write_small("staged", b"me", version)
    base = look(root, RelPath("foo"), None).base
    assert base is not None
    with pytest.raises(PathBlocked) as caught:
        commit.place(root, stage, RelPath("Foo"), "staged", inode, None, version)
    problem = caught.value.problem
    assert (problem.path, problem.reason) == ("Foo", Reason.CASE_CLASH)
    assert "'Foo'" in problem.text
    assert "'foo'" in problem.text
    assert problem.hint
    with pytest.raises(PathBlocked):
        commit.place(root, stage, RelPath("Foo"), "staged", inode, base, version)
    assert isinstance(commit.remove(root, stage, RelPath("Foo"), "out", base), Raced)
    assert isinstance(commit.set_metadata(root, RelPath("Foo"), base, version), Raced)
    assert commit.put_back(root, stage, "staged", RelPath("Foo")) is False
    assert (shown / "foo").read_text() == "a person's"
    assert os.listdir(shown) == [".meerkat", "foo"] or sorted(os.listdir(shown)) == [".meerkat", "foo"]
    assert isinstance(commit.remove(root, stage, RelPath("foo"), "out", base), Placed)
    assert isinstance(commit.place(root, stage, RelPath("Foo"), "staged", inode, None, version), Placed)
    assert "Foo" in os.listdir(shown)


@pytest.mark.parametrize("shown", [("forms", "rewrites")], indirect=True)
def test_a_disk_that_rewrites_names_shows_them_as_people_type_them(folding: tuple[Path, Root, Stage]) -> None:
    """What is listed decomposed is told composed, so a name does not change by being put down; one that the pool has
    decomposed cannot be held, and is refused before anything is made."""
    shown, root, stage = folding
    version = Version(Kind.FILE, size=2, mode=0o600, digest=Digest(bytes(32)))
    inode = stage.write_small("staged", b"me", version)
    placed = commit.place(root, stage, RelPath(COMPOSED), "staged", inode, None, version)
    assert isinstance(placed, Placed)
    assert DECOMPOSED in os.listdir(shown)
    assert [each[0] for each in walk(root, ROOT, lambda *_: False) if isinstance(each, tuple)] == [COMPOSED]
    assert isinstance(look(root, RelPath(COMPOSED), None).base, Base)
    inode = stage.write_small("other", b"me", version)
    with pytest.raises(PathBlocked) as caught:
        commit.place(root, stage, RelPath(DECOMPOSED), "other", inode, None, version)
    assert caught.value.problem.reason is Reason.NAME_NOT_ALLOWED


WINDOWS = Naming(case=True, tails=True, windows=True)


@pytest.mark.parametrize(
    "name",
    ["a:b", "what?", "a\\b", "<x>", 'q"', "tab\t", "\x01", "aux", "AUX", "aux.txt", "Com1", "lpt\u00b9.log", "nul ",
     "nul .x",
     "dot.", "space ", "..."],
)  # fmt: skip
def test_names_that_windows_cannot_hold(root: Root, stage: Stage, name: str) -> None:
    """They are refused with a reason before the system is asked, because some would quietly mean something else."""
    assert WINDOWS.refusal(name)
    root.learn_naming(WINDOWS)
    version = Version(Kind.FILE, size=2, mode=0o600, digest=Digest(bytes(32)))
    inode = stage.write_small("staged", b"me", version)
    with pytest.raises(PathBlocked) as caught:
        commit.place(root, stage, RelPath(f"{name}"), "staged", inode, None, version)
    assert caught.value.problem.reason is Reason.NAME_NOT_ALLOWED
    assert caught.value.problem.hint
    assert stage.inode("staged") == inode
    assert PLAIN.refusal(name) == ""


@pytest.mark.parametrize(
    "name", ["auxiliary", "com", "com10", "a.b", ".hidden", "nul\u00e9", "x y", COMPOSED, "console"]
)
def test_names_that_windows_can_hold(name: str) -> None:
    """What merely looks like a device's name is fine."""
    assert WINDOWS.refusal(name) == ""


def test_keys_tell_what_may_be_one() -> None:
    """Equal keys for what some disk of that kind takes for one name, by its whole path; never for other names."""
    folds = Naming(case=True, forms=True, tails=True)
    assert folds.key(f"Docs./{COMPOSED.upper()}") == folds.key(f"docs/{DECOMPOSED}")
    assert folds.key("docs/a") != folds.key("docs/b")
    assert Naming(forms=True).key("A") != Naming(forms=True).key("a")
