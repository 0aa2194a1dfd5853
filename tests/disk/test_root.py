"""Nothing that happens in or around the folder leads an access out of it (G7)."""

import os
import socket
from pathlib import Path

import pytest

from meerkat.disk.root import Root
from meerkat.model.limits import TIME_NS_MAX
from meerkat.model.path import RelPath, parse_path
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Kind


def test_lstat_tells_the_kinds(folder: Path, root: Root, calls: str) -> None:
    """Files, folders and links are told apart, with permission bits and nothing beyond them."""
    (folder / "d").mkdir(mode=0o750)
    (folder / "d/f").write_text("four")
    os.chmod(folder / "d/f", 0o4751)
    (folder / "d/l").symlink_to("f")
    seen = root.lstat(parse_path("d/f"))
    assert seen is not None
    assert (seen.kind, seen.size, seen.mode, seen.inode) == (Kind.FILE, 4, 0o751, (folder / "d/f").stat().st_ino)
    link, holder = root.lstat(parse_path("d/l")), root.lstat(parse_path("d"))
    assert link is not None
    assert (link.kind, link.size, link.mode) == (Kind.SYMLINK, 0, 0)
    assert holder is not None
    assert (holder.kind, holder.mode) == (Kind.FOLDER, 0o750)


@pytest.mark.parametrize("seconds", [2**33, 2**40, -(2**33)])
def test_a_time_that_no_message_holds_is_told_as_the_last_that_one_does(folder: Path, root: Root, seconds: int) -> None:
    """A file dated in another age is shared like any other: what is told of it is valid to everybody."""
    (folder / "f").write_text("x")
    os.utime(folder / "f", (seconds, seconds))
    seen = root.lstat(parse_path("f"))
    assert seen is not None
    assert abs(seen.mtime_ns) <= TIME_NS_MAX


def test_a_folder_looks_the_same_whatever_is_put_into_it(folder: Path, root: Root) -> None:
    """A folder's stat does not change with its entries, so it can be expected of it."""
    (folder / "d").mkdir()
    before = root.lstat(parse_path("d"))
    (folder / "d/f").write_text("x")
    assert root.lstat(parse_path("d")) == before


@pytest.mark.parametrize("path", ["none", "none/below", "file/below", "link/below"])
def test_what_is_not_there_is_none(folder: Path, root: Root, calls: str, path: str) -> None:
    """Absent, below an absent folder, below a file, or below a link: nothing is there."""
    (folder / "file").write_text("x")
    (folder.parent / "below").write_text("outside")
    (folder / "link").symlink_to(folder.parent)
    assert root.lstat(RelPath(path)) is None


@pytest.mark.parametrize("path", ["../outside", "d/../../outside", "/etc/passwd", ".."])
def test_raw_text_that_is_no_path_is_refused(folder: Path, root: Root, calls: str, path: str) -> None:
    """Even text that never went through `parse_path` gets nowhere."""
    (folder.parent / "outside").write_text("x")
    (folder / "d").mkdir()
    with pytest.raises(PathBlocked):
        root.open_read(RelPath(path))


def test_a_parent_swapped_for_a_link_is_not_entered(folder: Path, root: Root, calls: str) -> None:
    """A folder replaced by a link to elsewhere gives neither bytes nor a handle."""
    (folder / "d").mkdir()
    (folder / "d/f").write_text("inside")
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("secret")
    (folder / "d").rename(folder / "old")
    (folder / "d").symlink_to(outside)
    with pytest.raises(PathBlocked):
        root.open_read(parse_path("d/f"))
    with pytest.raises(OSError, match=r"."):
        with root.parent(parse_path("d/f")):
            pytest.fail("the link was entered")
    with pytest.raises(OSError, match=r"."):
        root.open_folder(parse_path("d"))


def test_special_files_are_named_and_never_waited_for(folder: Path, root: Root) -> None:
    """A pipe nobody writes to, a socket and a device are refused at once, in words."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)
        listening.bind("sock")
        os.chdir(here)
    for name, word in (("pipe", "named pipe"), ("sock", "socket")):
        with pytest.raises(PathBlocked) as caught:
            root.lstat(parse_path(name))
        assert caught.value.problem.reason is Reason.NAME_NOT_ALLOWED
        assert word in caught.value.problem.text
        with pytest.raises(PathBlocked):
            root.open_read(parse_path(name))


def test_a_link_is_not_read(folder: Path, root: Root, calls: str) -> None:
    """Opening a link for reading never opens its target."""
    (folder / "f").write_text("x")
    (folder / "l").symlink_to("f")
    with pytest.raises(PathBlocked):
        root.open_read(parse_path("l"))


def test_the_marker_tells_an_unmounted_disk(folder: Path, root: Root) -> None:
    """The marker holds while this very folder is in its place with `.meerkat`, and fails otherwise."""
    assert root.check_marker()
    (folder / ".meerkat").rename(folder / "away")
    assert not root.check_marker()
    (folder / "away").rename(folder / ".meerkat")
    folder.rename(folder.with_name("moved"))
    assert not root.check_marker()
    (folder / ".meerkat").mkdir(parents=True)
    assert not root.check_marker()


def test_permission_is_told(folder: Path, root: Root, unprivileged: None) -> None:
    """A folder that may not be entered and a file that may not be read are told as such, not as absent."""
    (folder / "d").mkdir()
    (folder / "d/f").write_text("x")
    (folder / "g").write_text("x")
    (folder / "g").chmod(0)
    (folder / "d").chmod(0)
    try:
        for act in (lambda: root.lstat(parse_path("d/f")), lambda: root.open_read(parse_path("g"))):
            with pytest.raises(PathBlocked) as caught:
                act()
            assert caught.value.problem.reason is Reason.PERMISSION
    finally:
        (folder / "d").chmod(0o700)
