"""What is written down beside a thing in the trash is what is read again, and its looks tell whether it was written."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from meerkat.disk.root import stat_of
from meerkat.disk.trash_note import NOTE, Kept, is_recent, read_entry, read_note, write_note
from meerkat.model.version import Content, Kind

TIME_NS = 1_600_000_000_123_456_789
DAY, NAME = "2026-05-04", "0123456789ab-x"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def kept(size: int = 4, *, unproven: bool = False) -> Kept:
    content = Content(Kind.FILE, bytes(range(32)))
    return Kept(f"{DAY}/{NAME}", "a/x", content, size, TIME_NS, datetime(2026, 5, 4, tzinfo=UTC), unproven=unproven)


def put(folder: Path, data: bytes = b"data") -> Path:
    (folder / NAME).write_bytes(data)
    os.utime(folder / NAME, ns=(TIME_NS, TIME_NS))
    return folder / NAME


@pytest.mark.parametrize("unproven", [False, True])
def test_what_is_written_is_read(tmp_path: Path, day: int, unproven: bool) -> None:
    """Each word of it, also that looks alone do not prove anything."""
    write_note(day, NAME, kept(unproven=unproven))
    put(tmp_path)
    assert read_note(day, DAY, NAME) == kept(unproven=unproven)
    assert read_entry(day, DAY, NAME, True) == kept(unproven=unproven)


def test_a_note_is_never_written_over(day: int) -> None:
    """Two things of one name would have one note."""
    write_note(day, NAME, kept())
    with pytest.raises(FileExistsError):
        write_note(day, NAME, kept(5))


def test_other_looks_are_late(tmp_path: Path, day: int) -> None:
    """Another size, or another time of writing; but not when the file has a name elsewhere as well."""
    write_note(day, NAME, kept())
    place = put(tmp_path, b"longer")
    assert read_entry(day, DAY, NAME, True) == replace(kept(6), late=True)
    place.write_bytes(b"DATA")
    found = read_entry(day, DAY, NAME, True)
    assert found is not None
    assert found.late
    os.link(place, tmp_path / "elsewhere")
    found = read_entry(day, DAY, NAME, True)
    assert found is not None
    assert not found.late


def test_a_time_beyond_all_bounds_is_no_lateness(tmp_path: Path, day: int) -> None:
    """The note and the look bound it alike."""
    place = put(tmp_path)
    os.utime(place, (1e11, 1e11))
    seen = stat_of(place.stat())
    assert seen is not None
    write_note(day, NAME, replace(kept(), mtime_ns=seen.mtime_ns))
    found = read_entry(day, DAY, NAME, True)
    assert found is not None
    assert not found.late


def test_a_note_alone(day: int) -> None:
    """Is nothing when it speaks of a file, and all there is of a link."""
    write_note(day, NAME, kept())
    assert read_entry(day, DAY, NAME, False) is None
    link = replace(kept(0), content=Content(Kind.SYMLINK, b"there"), id=f"{DAY}/{NAME}l")
    write_note(day, NAME + "l", link)
    assert read_entry(day, DAY, NAME + "l", False) == link


def test_bytes_alone_are_listed_without_a_path(tmp_path: Path, day: int) -> None:
    """And are not late: nobody knows how they looked."""
    put(tmp_path)
    (tmp_path / (NAME + NOTE)).write_text("{")
    found = read_entry(day, DAY, NAME, True)
    assert found is not None
    assert (found.path, found.size, found.late) == ("", 4, False)
    assert read_entry(day, DAY, "0123456789ab-gone", True) is None


def test_what_was_written_just_now_is_recent(tmp_path: Path) -> None:
    """As the clock of the file system tells."""
    (tmp_path / "now").write_bytes(b"x")
    assert is_recent((tmp_path / "now").stat().st_mtime_ns)
    assert not is_recent(TIME_NS)
