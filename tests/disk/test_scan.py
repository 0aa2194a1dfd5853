"""What is told of a tree is what was there; what could not be seen is said."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from meerkat.disk.root import Root
from meerkat.disk.scan import Sight, Unseen, is_racy, look, look_unless_large, recognise, walk
from meerkat.model.ids import Digest
from meerkat.model.limits import MORSEL_BYTES_MAX, RACY_WINDOW_NS, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import ROOT, RelPath, is_below, parse_path, tree_key
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Content, Kind, Stat

OLD_NS = 1_600_000_000_123_456_789


def all_in(path: RelPath, is_folder: bool) -> bool:
    return False


def seen_base(root: Root, name: str) -> Base:
    base = look(root, parse_path(name), None).base
    assert base is not None
    return base


def settled(base: Base) -> Base:
    """The base as it would be had it been read long after the last write."""
    return Base(base.content, base.stat, base.recipe, racy=False)


# ---- look


@pytest.mark.parametrize("size", [0, 1, SINGLE_CHUNK_BYTES_MAX])
def test_a_small_file_is_one_chunk(folder: Path, root: Root, calls: str, size: int) -> None:
    """Up to the single chunk's size there is a digest and no recipe."""
    data = os.urandom(size)
    (folder / "f").write_bytes(data)
    sight = look(root, parse_path("f"), None)
    assert sight.base is not None
    assert sight.base.content == Content(Kind.FILE, blake3(data).digest())
    assert (sight.recipe, sight.base.recipe, sight.same) == (None, b"", False)


def test_a_large_file_has_a_recipe(folder: Path, root: Root) -> None:
    """The chunks of a larger file join up to it, and the recipe's digest is that of its packed form."""
    data = os.urandom(2_000_000)
    (folder / "f").write_bytes(data)
    sight = look(root, parse_path("f"), None)
    assert sight.base is not None
    assert sight.recipe is not None
    assert sight.base.content.ident == blake3(data).digest()
    assert sight.base.recipe == blake3(sight.recipe.pack()).digest()
    assert sight.recipe.size == len(data)
    for piece in sight.recipe.chunks:
        assert blake3(data[piece.offset : piece.offset + piece.length]).digest() == piece.digest


def test_a_file_is_recognised_under_another_name(folder: Path, root: Root) -> None:
    """By its content alone, and with the recipe that is known; another content, another kind or nothing is not it."""
    data = os.urandom(SINGLE_CHUNK_BYTES_MAX + 1)
    (folder / "f").write_bytes(data)
    known = replace(seen_base(root, "f"), recipe=Digest(b"r" * 32))
    os.rename(folder / "f", folder / "g")
    found = recognise(root, parse_path("g"), known)
    assert found is not None
    assert (found.content, found.recipe) == (known.content, known.recipe)
    assert found.stat == root.lstat(parse_path("g"))
    assert recognise(root, parse_path("f"), known) is None
    (folder / "g").write_bytes(data[:-1] + b"?")
    (folder / "folder").mkdir()
    os.symlink("g", folder / "link")
    os.mkfifo(folder / "pipe")
    for name in ("g", "folder", "link", "pipe"):
        assert recognise(root, parse_path(name), known) is None


def test_what_is_large_is_left_for_later(folder: Path, root: Root) -> None:
    """Only what would have to be read; and a file that may ride with its entry comes with its bytes."""
    (folder / "large").write_bytes(bytes(100))
    (folder / "small").write_bytes(b"small")
    (folder / "rides not").write_bytes(bytes(MORSEL_BYTES_MAX + 1))
    assert look_unless_large(root, parse_path("large"), None, 100) is None
    known = settled(seen_base(root, "large"))
    assert look_unless_large(root, parse_path("large"), known, 100) == Sight(parse_path("large"), known, same=True)
    sight = look_unless_large(root, parse_path("small"), None, 100)
    assert sight is not None
    assert sight.data == b"small"
    assert look(root, parse_path("rides not"), None).data is None


def test_links_folders_and_nothing(folder: Path, root: Root) -> None:
    """A link is its target's bytes, never what they name; a folder has no content; absent is None."""
    os.symlink(b"/etc/pass\xffwd", folder / "l")
    (folder / "d").mkdir()
    assert seen_base(root, "l").content == Content(Kind.SYMLINK, b"/etc/pass\xffwd")
    assert seen_base(root, "d").content == Content(Kind.FOLDER, b"")
    assert look(root, parse_path("none"), None).base is None


def test_an_equal_stat_is_not_read_again(folder: Path, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the known lstat, and not racy, no byte is read and the known base is the answer."""
    (folder / "f").write_text("x")
    known = settled(seen_base(root, "f"))

    def no_reading(handle: int, count: int) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr("meerkat.disk.scan.os.read", no_reading)
    sight = look(root, parse_path("f"), known)
    assert (sight.base, sight.same) == (known, True)


@pytest.mark.parametrize("act", ["in place", "renamed over"])
def test_an_edit_that_puts_size_and_time_back_is_read(folder: Path, root: Root, act: str) -> None:
    """Whoever keeps the size and the mtime cannot keep the inode and the ctime as well."""
    place = folder / "f"
    place.write_text("one")
    os.utime(place, ns=(OLD_NS, OLD_NS))
    known = settled(seen_base(root, "f"))
    match act:
        case "in place":
            while place.stat().st_ctime_ns == known.stat.ctime_ns:  # where the kernel's ticks are coarse
                place.write_text("two")
                os.utime(place, ns=(OLD_NS, OLD_NS))
        case _:
            beside = folder / "beside"
            beside.write_text("two")
            os.utime(beside, ns=(OLD_NS, OLD_NS))
            beside.replace(place)
    sight = look(root, parse_path("f"), known)
    assert not sight.same
    assert sight.base is not None
    assert sight.base.content == Content(Kind.FILE, blake3(b"two").digest())


def test_a_racy_base_is_read_again(folder: Path, root: Root) -> None:
    """A write that left the same size and times is found, because the base is racy (git's rule)."""
    (folder / "f").write_text("one")
    base = seen_base(root, "f")
    assert base.racy  # it was written a moment ago
    forged = Base(Content(Kind.FILE, blake3(b"two").digest()), base.stat, base.recipe, racy=True)
    sight = look(root, parse_path("f"), forged)
    assert not sight.same
    assert sight.base is not None
    assert sight.base.content == base.content


def test_racy_is_a_matter_of_nearness() -> None:
    """Times within the window of the reading are racy, older ones are not; whole seconds have a wider window."""
    now = 1_700_000_000_500_000_000
    calm = Stat(Kind.FILE, 1, OLD_NS, now - RACY_WINDOW_NS - 1, 1, 0o644)
    assert not is_racy(calm, now)
    assert is_racy(calm._replace(ctime_ns=now - RACY_WINDOW_NS), now)
    assert is_racy(calm._replace(mtime_ns=now + 1), now)
    assert is_racy(calm._replace(ctime_ns=1_700_000_000_000_000_000), now)


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("act", ["grow", "shrink", "rewrite", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read(
    folder: Path, root: Root, monkeypatch: pytest.MonkeyPatch, act: str, size: int
) -> None:
    """Whatever a person does between the first and the last byte, no digest of a mixture is told."""
    place = folder / "f"
    place.write_bytes(os.urandom(size))
    os.utime(place, ns=(OLD_NS, OLD_NS))
    person: dict[str, Callable[[], object]] = {
        "grow": lambda: place.open("ab").write(b"x"),
        "shrink": lambda: os.truncate(place, 5),
        "rewrite": lambda: place.open("r+b").write(b"x"),
        "replace": lambda: (place.with_name("g").write_bytes(b"y" * size), place.with_name("g").rename(place)),
        "remove": place.unlink,
    }
    real, acted = os.read, False

    def read(handle: int, count: int) -> bytes:
        nonlocal acted
        if not acted:
            acted = True
            person[act]()
        return real(handle, count)

    monkeypatch.setattr("meerkat.disk.scan.os.read", read)
    with pytest.raises(PathBlocked) as caught:
        look(root, parse_path("f"), None)
    assert caught.value.problem.reason is Reason.CHANGED_WHILE_READING


def test_hard_links_are_two_files(folder: Path, root: Root) -> None:
    """Two names of one inode are seen as two files of equal content."""
    (folder / "a").write_text("x")
    os.link(folder / "a", folder / "b")
    assert seen_base(root, "a") == seen_base(root, "b")


def test_a_file_that_may_not_be_read(folder: Path, root: Root, unprivileged: None) -> None:
    """A file without reading rights waits with the reason."""
    (folder / "f").write_text("x")
    (folder / "f").chmod(0)
    with pytest.raises(PathBlocked) as caught:
        look(root, parse_path("f"), None)
    assert caught.value.problem.reason is Reason.PERMISSION


# ---- walk


def test_tree_order(folder: Path, root: Root, calls: str) -> None:
    """A folder comes right before its contents, names in the order of their UTF-8 bytes; the root is not told."""
    for name in ("a", "a-b", "a/b", "ab", "é", "z", "a/é", "a/\U0001f600", "a/\uffff", "Z"):
        (folder / name).mkdir()
        (folder / name / "f").write_text("x")
    paths = [item[0] for item in walk(root, ROOT, all_in) if isinstance(item, tuple)]
    assert paths == sorted(paths, key=tree_key)
    assert len(paths) == 20
    assert paths[:2] == ["Z", "Z/f"]


def test_under_tells_the_path_and_what_is_below(folder: Path, root: Root) -> None:
    """A walk under a path tells it and its subtree alone; an absent one tells nothing."""
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/f").write_text("x")
    (folder / "ab").mkdir()
    told = {
        under: [item[0] for item in walk(root, RelPath(under), all_in) if isinstance(item, tuple)]
        for under in ("a", "a/b/f", "none", "none/x", "a/b/f/x")
    }
    assert told == {"a": ["a", "a/b", "a/b/f"], "a/b/f": ["a/b/f"], "none": [], "none/x": [], "a/b/f/x": []}


def test_the_marker_is_left_out_at_any_depth(folder: Path, root: Root) -> None:
    """Neither our own nor a nested `.meerkat` is told; another spelling of it is a problem."""
    (folder / ".meerkat/stage").mkdir()
    (folder / "d/.meerkat").mkdir(parents=True)
    (folder / "d/.meerkat/key").write_text("secret")
    (folder / "d/.MeerKat").mkdir()
    items = list(walk(root, ROOT, all_in))
    assert [item[0] for item in items if isinstance(item, tuple)] == ["d"]
    assert [item.path for item in items if isinstance(item, Problem)] == ["d/.MeerKat"]


def test_links_are_told_and_not_followed(folder: Path, root: Root) -> None:
    """A link to a folder, to a loop or out of the tree is an entry without contents."""
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside/f").write_text("x")
    (folder / "out").symlink_to(folder.parent / "outside")
    (folder / "loop").symlink_to(".")
    items = [(item[0], item[1].kind) for item in walk(root, ROOT, all_in) if isinstance(item, tuple)]
    assert items == [("loop", Kind.SYMLINK), ("out", Kind.SYMLINK)]


def test_names_as_people_make_them(folder: Path, root: Root) -> None:
    """255 bytes, newlines, quotes and leading blanks are names like others; bytes that are not UTF-8 are a problem."""
    names = ["n" * 255, "é" * 127, "two\nlines", " blank", '"', "-rf", "a\tb"]
    for name in names:
        (folder / name).write_text("x")
    (folder / os.fsdecode(b"latin-\xe9")).mkdir()
    (folder / os.fsdecode(b"latin-\xe9") / "f").write_text("x")
    items = list(walk(root, ROOT, all_in))
    assert sorted(item[0] for item in items if isinstance(item, tuple)) == sorted(names)
    problems = [item for item in items if isinstance(item, Problem)]
    assert [problem.path for problem in problems] == ["latin-\\xe9"]
    assert problems[0].reason is Reason.NAME_NOT_ALLOWED
    for name in names:
        assert look(root, parse_path(name), None).base is not None


def test_special_files_are_problems(folder: Path, root: Root) -> None:
    """A pipe is told as a problem and does not hang the walk."""
    os.mkfifo(folder / "pipe")
    (item,) = walk(root, ROOT, all_in)
    assert isinstance(item, Problem)
    assert item.path == "pipe"


def test_skip_leaves_out_subtrees(folder: Path, root: Root) -> None:
    """What is skipped is not told, and a skipped folder is not even listed."""
    (folder / "keep/build").mkdir(parents=True)
    (folder / "keep/build/x").write_text("x")
    (folder / "keep/build.txt").write_text("x")
    asked: list[tuple[str, bool]] = []

    def skip(path: RelPath, is_folder: bool) -> bool:
        asked.append((path, is_folder))
        return is_folder and path.endswith("build")

    assert [item[0] for item in walk(root, ROOT, skip) if isinstance(item, tuple)] == ["keep", "keep/build.txt"]
    assert sorted(asked) == [("keep", True), ("keep/build", True), ("keep/build.txt", False)]


def test_an_unreadable_folder_is_unseen(folder: Path, root: Root, unprivileged: None) -> None:
    """A folder that may not be listed is told as such, and then as unseen, while the others are walked."""
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
        (folder / name / "f").write_text("x")
    (folder / "b").chmod(0o300)
    items = list(walk(root, ROOT, all_in))
    (folder / "b").chmod(0o700)
    assert [item[0] for item in items if isinstance(item, tuple)] == ["a", "a/f", "b", "c", "c/f"]
    (unseen,) = (item for item in items if isinstance(item, Unseen))
    assert (unseen.path, unseen.problem.reason) == ("b", Reason.PERMISSION)


def test_a_folder_swapped_for_a_link_while_walking_is_unseen(folder: Path, root: Root, calls: str) -> None:
    """A folder that becomes a link between being listed and being entered is not entered, and is said to be unseen."""
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    walking = walk(root, ROOT, all_in)
    first = next(walking)
    assert isinstance(first, tuple)
    (folder / "b").rmdir()
    (folder / "b").symlink_to(outside)
    rest = list(walking)
    assert [item.path for item in rest if isinstance(item, Unseen)] == ["b"]
    assert not any(isinstance(item, tuple) and is_below(item[0], RelPath("b")) for item in rest)


def test_too_deep_is_a_problem(folder: Path, root: Root) -> None:
    """Beyond the depth that may be shared there is one problem, and no endless descent."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(260):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    items = list(walk(root, ROOT, all_in))
    assert sum(isinstance(item, tuple) for item in items) == 256
    assert [item.reason for item in items if isinstance(item, Problem)] == [Reason.NAME_NOT_ALLOWED]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and name.casefold() != ".meerkat"
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=8), st.integers())
def test_any_tree_is_told_whole_and_in_order(tmp_path: Path, trees: list[list[str]], salt: int) -> None:
    """Whatever names people choose, every entry is told once, in tree order."""
    place = tmp_path / f"{time.monotonic_ns()}"
    (place / ".meerkat").mkdir(parents=True)
    for names in trees:
        place.joinpath(*names).mkdir(parents=True, exist_ok=True)
    root = Root(place)
    paths = [item[0] for item in walk(root, ROOT, all_in) if isinstance(item, tuple)]
    root.close()
    expected = {"/".join(names[: depth + 1]) for names in trees for depth in range(len(names))}
    assert set(paths) == expected
    assert paths == sorted(paths, key=tree_key)
    assert len(paths) == len(set(paths))
