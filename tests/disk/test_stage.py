"""Nothing leaves the stage that was not checked; nothing a peer names makes it write elsewhere."""

import errno
import os
import stat as stat_module
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from meerkat.disk import platform
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.model.ids import Digest
from meerkat.model.path import parse_path
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Content, Kind, Version

TIME_NS = 1_600_000_000_123_456_789


def file_version(data: bytes, mode: int = 0o640) -> Version:
    return Version(Kind.FILE, len(data), TIME_NS, mode, Digest(blake3(data).digest()))


def test_a_file_is_assembled_in_any_order(folder: Path, stage: Stage, calls: str) -> None:
    """Pieces written out of order make a whole that is sealed with the version's bits and times."""
    data = os.urandom(3_000_000)
    stage.prepare("f1", len(data))
    for offset in (2_000_000, 0, 1_000_000):
        stage.write("f1", offset, data[offset : offset + 1_000_000])
    inode = stage.seal("f1", file_version(data, 0o751))
    found = (folder / ".meerkat/stage/f1").stat()
    assert (folder / ".meerkat/stage/f1").read_bytes() == data
    assert (found.st_ino, found.st_mtime_ns, stat_module.S_IMODE(found.st_mode)) == (inode, TIME_NS, 0o751)
    assert stage.inode("f1") == inode
    stage.flush(["f1"])


def test_wrong_bytes_and_wrong_sizes_are_not_sealed(stage: Stage) -> None:
    """One flipped bit, or a byte too many or too few, and the file is refused."""
    data = b"x" * 1000
    stage.prepare("f", 1000)
    stage.write("f", 0, b"y" + data[1:])
    for size in (1000, 999, 1001):
        stage.prepare("f", size)
        with pytest.raises(PathBlocked) as caught:
            stage.seal("f", file_version(data))
        assert caught.value.problem.reason is Reason.DIGEST_MISMATCH


def test_a_partial_download_is_kept(stage: Stage, root: Root) -> None:
    """Preparing again, also after a restart, keeps what was there, also when it had been sealed read-only."""
    stage.prepare("f", 10)
    stage.write("f", 0, b"0123456789")
    stage.seal("f", file_version(b"0123456789", 0o400))
    again = Stage(root)
    again.prepare("f", 10)
    again.write("f", 9, b"x")
    assert again.read("f", 0, 10) == b"012345678x"
    again.close()


def test_preparing_never_writes_into_somebodys_file(folder: Path, stage: Stage) -> None:
    """A staged name that is a second name of a file in the tree is replaced, not written through."""
    (folder / "mine").write_text("precious")
    os.link(folder / "mine", folder / ".meerkat/stage/f")
    stage.prepare("f", 8)
    stage.write("f", 0, b"overhere")
    assert (folder / "mine").read_text() == "precious"


def test_links_planted_in_the_stage_are_not_followed(folder: Path, stage: Stage) -> None:
    """A link under a stage name never leads a write or a read away."""
    (folder / "mine").write_text("precious")
    (folder / ".meerkat/stage/f").symlink_to(folder / "mine")
    with pytest.raises(PathBlocked):
        stage.write("f", 0, b"x")
    assert stage.read("f", 0, 1) == b""
    stage.write_small("f", b"small", file_version(b"small"))
    assert (folder / "mine").read_text() == "precious"


def test_short_or_absent_reads_are_empty(stage: Stage) -> None:
    """Asking beyond the end, or for what is not there, gives nothing rather than a part."""
    stage.prepare("f", 10)
    assert stage.read("f", 5, 5) == bytes(5)
    assert stage.read("f", 5, 6) == b""
    assert stage.read("none", 0, 1) == b""


@pytest.mark.parametrize("length", [1000, 2_500_000])
def test_bytes_come_from_a_local_file(folder: Path, root: Root, stage: Stage, calls: str, length: int) -> None:
    """A part or a whole of an unchanged local file is copied and checked; a changed one gives nothing."""
    data = os.urandom(3_000_000)
    (folder / "src").write_bytes(data)
    base = look(root, parse_path("src"), None).base
    assert base is not None
    digest = Digest(blake3(data[100 : 100 + length]).digest())
    stage.prepare("f", 3_000_000)
    assert stage.copy_from("f", 7, parse_path("src"), base, 100, length, digest)
    assert stage.read("f", 7, length) == data[100 : 100 + length]
    assert not stage.copy_from("f", 7, parse_path("src"), base, 101, length, digest)
    assert not stage.copy_from("f", 7, parse_path("src"), base, 2_999_999, length, digest)
    (folder / "src").write_bytes(data)
    assert not stage.copy_from("f", 7, parse_path("src"), base, 100, length, digest)
    (folder / "src").unlink()
    assert not stage.copy_from("f", 7, parse_path("src"), base, 100, length, digest)


def test_small_files_links_and_folders(folder: Path, stage: Stage) -> None:
    """Each kind is made whole, with its bits and times, over whatever was left under its name."""
    here = folder / ".meerkat/stage"
    for name in ("a", "b", "c"):
        (here / name).mkdir()
    inodes = [
        stage.write_small("a", b"data", file_version(b"data", 0o604)),
        stage.make_link("b", Version(Kind.SYMLINK, mtime_ns=TIME_NS, target=os.fsdecode(b"../x\xff"))),
        stage.make_folder("c", Version(Kind.FOLDER, mode=0o750)),
    ]
    assert [stage.inode(name) for name in "abc"] == inodes
    assert [stage.content(name) for name in "abc"] == [
        Content(Kind.FILE, blake3(b"data").digest()),
        Content(Kind.SYMLINK, b"../x\xff"),
        Content(Kind.FOLDER, b""),
    ]
    assert [(here / name).lstat().st_mtime_ns for name in "ab"] == [TIME_NS, TIME_NS]
    seen = stage.stat("c")
    assert seen is not None
    assert seen.mode == 0o750
    stage.flush("abc")
    stage.flush([*"abc"] * 4)
    for name in "abcd":
        stage.drop(name)
    assert stage.names() == []
    assert [stage.inode("a"), stage.stat("a"), stage.content("a")] == [None, None, None]


def test_a_staged_thing_with_another_name_is_told(folder: Path, stage: Stage) -> None:
    """What was linked to its place and not taken from the stage yet stands at both."""
    inode = stage.write_small("f", b"x", file_version(b"x"))
    made = stage.make_folder("d", Version(Kind.FOLDER, mode=0o755))
    assert (stage.sole_inode("f"), stage.sole_inode("d"), stage.sole_inode("none")) == (inode, made, None)
    os.link(folder / ".meerkat/stage/f", folder / "f")
    assert (stage.sole_inode("f"), stage.inode("f")) == (0, inode)


def test_what_an_exchange_holds_aside_gets_a_free_name(folder: Path, stage: Stage) -> None:
    """However often one is cut off under the same name, nothing that it held aside is replaced."""
    assert not stage.has_aside("f")
    for text in ("one", "two"):
        (folder / ".meerkat/stage/f~").write_text(text)
        assert stage.has_aside("f")
        stage.free_aside("f")
    assert not stage.has_aside("f")
    texts = [(folder / ".meerkat/stage" / name).read_text() for name in stage.freed_asides("f")]
    assert sorted(texts) == ["one", "two"]


def test_a_folder_that_holds_something_is_not_dropped(folder: Path, stage: Stage) -> None:
    """What a person put into a folder is never removed with it."""
    stage.make_folder("d", Version(Kind.FOLDER, mode=0o755))
    (folder / ".meerkat/stage/d/mine").write_text("x")
    with pytest.raises(PathBlocked):
        stage.drop("d")
    assert (folder / ".meerkat/stage/d/mine").read_text() == "x"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "A", "a b", "a~", "x" * 201, "a\0", "é"])
def test_only_stage_names_are_taken(stage: Stage, name: str) -> None:
    """Any other spelling is our caller's fault, and is told as that."""
    for act in (stage.drop, stage.inode, stage.stat, stage.content, lambda n: stage.prepare(n, 1)):
        with pytest.raises(ValueError, match="stage name"):
            act(name)


def test_a_full_disk_is_told_with_sizes(folder: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room is told before the download begins, and when a write fails, with what is needed and what is free."""
    with pytest.raises(PathBlocked) as caught:
        stage.prepare("f", 1 << 43)
    assert caught.value.problem.reason is Reason.DISK_FULL
    assert "8.0 TiB needed" in caught.value.problem.text
    assert stage.names() == []

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    stage.prepare("f", 10)
    monkeypatch.setattr("meerkat.disk.platform.os.pwrite", full)
    with pytest.raises(PathBlocked) as caught:
        stage.write("f", 0, b"x" * 10)
    assert caught.value.problem.reason is Reason.DISK_FULL
    assert "10 bytes needed" in caught.value.problem.text


def test_special_things_in_the_stage_are_told(folder: Path, stage: Stage) -> None:
    """A pipe that an exchange brought out is neither read nor taken for absent, and can be dropped."""
    os.mkfifo(folder / ".meerkat/stage/p")
    with pytest.raises(PathBlocked):
        stage.stat("p")
    with pytest.raises(PathBlocked):
        stage.content("p")
    stage.flush(["p"])
    stage.drop("p")
    assert stage.inode("p") is None


def test_without_a_marker_there_is_no_stage(tmp_path: Path) -> None:
    """An unmounted disk's empty folder does not become a node by being staged into."""
    root = Root(tmp_path)
    with pytest.raises(PathBlocked) as caught:
        Stage(root)
    assert caught.value.problem.reason is Reason.MARKER_MISSING
    assert os.listdir(tmp_path) == []
    root.close()


def test_many_threads_at_once(stage: Stage) -> None:
    """Different names, and different parts of one file, are written side by side."""
    data = os.urandom(400_000)
    stage.prepare("big", len(data))

    def act(number: int) -> int:
        stage.write("big", number * 20_000, data[number * 20_000 : (number + 1) * 20_000])
        return stage.write_small(f"s{number}", b"%d" % number, file_version(b"%d" % number))

    with ThreadPoolExecutor(8) as pool:
        inodes = list(pool.map(act, range(20)))
    assert len(set(inodes)) == 20
    stage.seal("big", file_version(data))
    assert len(stage.names()) == 21


def test_permission_is_told(folder: Path, root: Root, unprivileged: None) -> None:
    """A stage that may not be written to waits with the reason."""
    stage = Stage(root)
    (folder / ".meerkat/stage").chmod(0o500)
    with pytest.raises(PathBlocked) as caught:
        stage.prepare("f", 1)
    assert caught.value.problem.reason is Reason.PERMISSION
    (folder / ".meerkat/stage").chmod(0o700)
    stage.write_small("w", b"x", file_version(b"x", 0o200))  # may not be opened for reading: flushed all the same
    stage.flush(["w"])
    stage.close()


def test_zeros_become_holes(folder: Path, stage: Stage) -> None:
    """Zeros take no room in the stage, also where other bytes stood; where there are no holes, they are written."""
    size = 1 << 20
    for lacking in (set[str](), {"fallocate"}):
        platform.lacking.update(lacking)
        try:
            stage.prepare("sparse", size)
            stage.write("sparse", 0, b"x" * size)
            stage.write("sparse", 0, bytes(size // 2))
            stage.write("sparse", size // 2, bytes(size // 2))
        finally:
            platform.lacking.clear()
        staged = folder / ".meerkat" / "stage" / "sparse"
        assert staged.read_bytes() == bytes(size)
        if not lacking and sys.platform == "linux":
            assert staged.stat().st_blocks * 512 < size // 2
