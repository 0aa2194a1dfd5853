"""Every platform call does the same with and without the kernel's help."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.disk import platform


@pytest.fixture
def here(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_rename_moves_to_a_free_name(tmp_path: Path, here: int, calls: str, kind: str) -> None:
    """A thing of any kind moves to a name that is free."""
    _make(tmp_path / "a", kind)
    inode = os.lstat(tmp_path / "a").st_ino
    platform.rename_noreplace(here, "a", here, "b")
    assert os.listdir(tmp_path) == ["b"]
    assert os.lstat(tmp_path / "b").st_ino == inode


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("other", ["file", "folder", "link"])
def test_rename_never_replaces(tmp_path: Path, here: int, calls: str, kind: str, other: str) -> None:
    """Where a name is taken, by anything, nothing moves."""
    _make(tmp_path / "a", kind)
    _make(tmp_path / "b", other)
    before = {name: os.lstat(tmp_path / name).st_ino for name in "ab"}
    with pytest.raises(FileExistsError):
        platform.rename_noreplace(here, "a", here, "b")
    assert {name: os.lstat(tmp_path / name).st_ino for name in "ab"} == before


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("other", ["file", "folder", "link"])
def test_exchange_swaps(tmp_path: Path, here: int, calls: str, kind: str, other: str) -> None:
    """Two things of any kinds change places, and nothing is left over."""
    _make(tmp_path / "a", kind)
    _make(tmp_path / "b", other)
    first, second = os.lstat(tmp_path / "a").st_ino, os.lstat(tmp_path / "b").st_ino
    platform.exchange(here, "a", here, "b")
    assert (os.lstat(tmp_path / "a").st_ino, os.lstat(tmp_path / "b").st_ino) == (second, first)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_exchange_needs_both(tmp_path: Path, here: int, calls: str) -> None:
    """With one of the two missing nothing changes."""
    _make(tmp_path / "a", "file")
    for src, dst in (("a", "b"), ("b", "a")):
        with pytest.raises(FileNotFoundError):
            platform.exchange(here, src, here, dst)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_cut_off_exchange_is_mended(
    tmp_path: Path, here: int, monkeypatch: pytest.MonkeyPatch, links: bool, stop: int
) -> None:
    """Wherever the fallback is killed, both things are there after mending: both as before, or both as after."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"} | (set() if links else {"link"}))
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    done = 0

    class Killed(BaseException):
        """Not an OSError: no clean-up of ours may run."""

    def counted(name: str) -> None:
        real = getattr(os, name)

        def act(*args: object, **kwargs: object) -> None:
            nonlocal done
            real(*args, **kwargs)
            done += 1
            if done == stop:
                raise Killed

        monkeypatch.setattr(os, name, act)

    with monkeypatch.context() as _:
        counted("rename")
        counted("link")
        with pytest.raises(Killed):
            platform.exchange(here, "a", here, "b")
    stop = 0
    assert platform.finish_exchange(here, "a", here, "b") is False
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} in (
        {"a": "new", "b": "old"},
        {"a": "old", "b": "new"},
    )


def test_open_beneath_opens_what_is_there(tmp_path: Path, here: int, calls: str) -> None:
    """A path of several components opens."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("x")
    handle = platform.open_beneath(here, "a/b/c", os.O_RDONLY)
    assert os.read(handle, 10) == b"x"
    os.close(handle)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../secret", "a/..", "out/secret", "last", "inner/f"]
)
def test_open_beneath_never_leaves(tmp_path: Path, calls: str, path: str) -> None:
    """Neither "..", nor an absolute name, nor a link on the way or at the end leads anywhere."""
    (tmp_path / "secret").write_text("s")
    inside = tmp_path / "inside"
    (inside / "a").mkdir(parents=True)
    (inside / "a/f").write_text("x")
    (inside / "inner").symlink_to("a")  # leads nowhere outside, and is not followed all the same
    (inside / "out").symlink_to(tmp_path)
    (inside / "last").symlink_to(tmp_path / "secret")
    handle = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match=r".") as caught:
        platform.open_beneath(handle, path, os.O_RDONLY)
    assert caught.value.errno in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR)
    os.close(handle)


def test_open_beneath_leaves_no_handles(tmp_path: Path, here: int, calls: str) -> None:
    """Failures on the way close what was opened."""
    (tmp_path / "a/b").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            platform.open_beneath(here, "a/b/none/x", os.O_RDONLY)
    assert len(os.listdir("/proc/self/fd")) == before


def test_copy_range_copies_a_part(tmp_path: Path, calls: str) -> None:
    """The right bytes arrive at the right offset; a source that ends early is told by the count."""
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    src = os.open(tmp_path / "a", os.O_RDONLY)
    dst = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
    assert platform.copy_range(src, 1_000, dst, 5, 2_500_000) == 2_500_000
    assert platform.copy_range(src, 2_999_990, dst, 0, 100) == 10
    assert (tmp_path / "b").read_bytes()[10:] == data[1_005:2_501_000]
    os.close(src)
    os.close(dst)


def test_sync_returns(here: int, calls: str) -> None:
    """The flush runs, by whatever call."""
    platform.sync_file_system(here)


def _make(place: Path, kind: str) -> None:
    match kind:
        case "file":
            place.write_text(place.name)
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to("nowhere")
