"""Versions: which combinations of fields are a version at all."""

import pytest
from hypothesis import given
from msgspec.structs import replace
from strategies import versions

from meerkat.model.ids import DIGEST_BYTES, Digest
from meerkat.model.limits import FILE_BYTES_MAX, HIST_MARKS_MAX, SINGLE_CHUNK_BYTES_MAX, TARGET_BYTES_MAX
from meerkat.model.version import MARK_BYTES, Content, Kind, Version, VersionFault

D = Digest(b"d" * DIGEST_BYTES)
FILE = Version(Kind.FILE, size=3, digest=D, mode=0o644)
FOLDER = Version(Kind.FOLDER, mode=0o755)
LINK = Version(Kind.SYMLINK, target="../x")
TOMB = Version(Kind.TOMBSTONE)


@given(versions)
def test_every_generated_version_is_valid(version: Version) -> None:
    """The strategies of the other tests make what the rules allow."""
    version.ensure_valid()
    assert version.living == (version.kind is not Kind.TOMBSTONE)


@pytest.mark.parametrize(
    "version",
    [
        replace(FILE, size=0),
        replace(FILE, size=FILE_BYTES_MAX, recipe=D),
        replace(FILE, size=SINGLE_CHUNK_BYTES_MAX),
        replace(FILE, recipe=D),
        replace(FILE, mode=0),
        replace(FILE, mtime_ns=-1),
        replace(FILE, hist=(b"m" * MARK_BYTES,) * HIST_MARKS_MAX),
        replace(LINK, target="x" * TARGET_BYTES_MAX),
        replace(LINK, target="\udcff"),
        replace(TOMB, height=2**62 - 1),
    ],
)
def test_the_edges_are_valid(version: Version) -> None:
    """What lies on a bound is inside it."""
    version.ensure_valid()


@pytest.mark.parametrize(
    "version",
    [
        replace(FILE, digest=Digest(b"")),
        replace(FILE, digest=Digest(D + b"x")),
        replace(FILE, recipe=Digest(b"short")),
        replace(FILE, size=-1),
        replace(FILE, size=FILE_BYTES_MAX + 1, recipe=D),
        replace(FILE, size=SINGLE_CHUNK_BYTES_MAX + 1),
        replace(FILE, target="x"),
        replace(FILE, mode=0o4755),
        replace(FILE, mode=-1),
        replace(FILE, height=0),
        replace(FILE, height=2**62),
        replace(FILE, mtime_ns=2**62),
        replace(FILE, hist=(b"short",)),
        replace(FILE, hist=(b"m" * MARK_BYTES,) * (HIST_MARKS_MAX + 1)),
        replace(FOLDER, digest=D),
        replace(FOLDER, size=1),
        replace(FOLDER, recipe=D),
        replace(FOLDER, target="x"),
        replace(LINK, target=""),
        replace(LINK, target="a\0b"),
        replace(LINK, target="x" * (TARGET_BYTES_MAX + 1)),
        replace(LINK, target="é" * TARGET_BYTES_MAX),
        replace(LINK, digest=D),
        replace(TOMB, digest=D),
        replace(TOMB, size=1),
        replace(TOMB, target="x"),
    ],
)
def test_what_breaks_the_rules_is_refused(version: Version) -> None:
    """A peer's nonsense ends at the wall."""
    with pytest.raises(VersionFault):
        version.ensure_valid()


def test_content_is_kind_and_bytes_alone() -> None:
    """Times, bits and history do not make another content; kind, digest and target do."""
    assert replace(FILE, mtime_ns=5, mode=0o600, height=9, weak=True).content == FILE.content
    assert FILE.content == Content(Kind.FILE, D)
    assert FOLDER.content == Content(Kind.FOLDER, b"")
    assert replace(LINK, target="y").content != LINK.content
    assert replace(LINK, target="\udcff").content == Content(Kind.SYMLINK, b"\xff")
    assert len({FILE.content, FOLDER.content, LINK.content, TOMB.content}) == 4
