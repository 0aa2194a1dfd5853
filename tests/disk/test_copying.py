"""Copies from the shared folder: only of files that look as they should."""

import os
from pathlib import Path

from blake3 import blake3

from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.model.ids import Digest
from meerkat.model.limits import MIB
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Content, Kind


def test_a_run_is_copied_from_a_file_that_stays_as_it_was(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Holes stay holes; a file that looks different, ends before, or is not there gives nothing."""
    old = RelPath("old")
    data = os.urandom(MIB) + bytes(8 * MIB) + os.urandom(MIB)
    with (folder / old).open("wb") as file:
        file.write(data[:MIB])
        file.seek(9 * MIB)
        file.write(data[9 * MIB :])
    seen = root.lstat(old)
    assert seen is not None
    base = Base(Content(Kind.FILE, b"d" * 32), seen)
    stage.prepare("s.1", len(data) - 100)
    assert stage.copy_unchecked("s.1", 0, old, base, 100, len(data) - 100)
    assert (folder / ".meerkat/stage/s.1").read_bytes() == data[100:]
    if (folder / old).stat().st_blocks * 512 < len(data):
        assert (folder / ".meerkat/stage/s.1").stat().st_blocks * 512 < len(data)
    assert not stage.copy_unchecked("s.1", 0, old, base, 200, len(data) - 100)
    assert not stage.copy_unchecked("s.1", 0, RelPath("gone"), base, 0, 100)
    (folder / old).write_bytes(data)
    assert not stage.copy_unchecked("s.1", 0, old, base, 0, 100)


def test_a_chunk_is_copied_where_it_is_the_one(folder: Path, root: Root, stage: Stage) -> None:
    """Short ones and ones longer than a read; other bytes than the digest's are refused."""
    old = RelPath("old")
    data = os.urandom(3 * MIB)
    (folder / old).write_bytes(data)
    seen = root.lstat(old)
    assert seen is not None
    base = Base(Content(Kind.FILE, b"d" * 32), seen)
    stage.prepare("s.1", len(data))
    for start, length in ((100, 1000), (0, 2 * MIB)):
        digest = Digest(blake3(data[start : start + length]).digest())
        assert stage.copy_from("s.1", 5, old, base, start, length, digest)
        assert stage.read("s.1", 5, length) == data[start : start + length]
        assert not stage.copy_from("s.1", 5, old, base, start + 1, length, digest)
