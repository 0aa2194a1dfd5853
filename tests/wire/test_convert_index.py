"""Entries and questions for them, there and back, and what hostile peers may send instead."""

from itertools import count

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from strategies import bounds, entries

from meerkat.model.dot import Author, Dot
from meerkat.model.frame import (
    AskEntries,
    EntriesEnd,
    EntriesPart,
    IndexFrame,
    Marks,
    PeerFault,
    Pick,
    Prints,
    Refused,
)
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    ENTRIES_PER_PART_MAX,
    MORSEL_BYTES_MAX,
    SIBLINGS_TOLD_MAX,
    VERSIONS_PER_PART_MAX,
)
from meerkat.model.path import RelPath
from meerkat.model.version import Entry, Kind, Version
from meerkat.wire.convert_index import decode_query, encode_query, entries_to_pb
from meerkat.wire.v1 import pool_pb2 as pb

ids = st.integers(0, 2**62 - 1)
fingerprints = st.sampled_from([b""]) | st.binary(min_size=16, max_size=16)
texts = st.text(max_size=40)
frames = st.one_of(
    st.builds(
        lambda number, known, full, ranges: AskEntries(number, known[0], known[1], full, ranges),
        ids,
        bounds,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda number, highs, last: Marks(number, tuple(highs), bytes(16) * len(highs), last),
        ids,
        st.lists(st.binary(max_size=20), max_size=3),
        st.booleans(),
    ),
    st.builds(
        Prints, ids, st.lists(st.sampled_from([b"", b"12345678", b"x" * 256]), max_size=3).map(tuple), st.booleans()
    ),
    st.builds(Pick, ids, st.sets(st.integers(0, 2**32 - 1), max_size=5).map(lambda picks: tuple(sorted(picks)))),
    st.builds(EntriesPart, ids, st.lists(entries, max_size=4).map(tuple)),
    st.builds(
        lambda number, known, full, print_: EntriesEnd(number, known[0], known[1], full, print_),
        ids,
        bounds,
        st.booleans(),
        fingerprints,
    ),
    st.builds(Refused, ids, texts, texts),
)


@given(frames)
def test_frames_come_back(frame: IndexFrame) -> None:
    """Every frame of the index stream arrives as it was sent."""
    assert decode_query(encode_query(frame)) == frame


@pytest.mark.parametrize(
    "query",
    [
        pb.Query(marks=pb.Marks(highs=[b"a"], sums=bytes(15))),
        pb.Query(marks=pb.Marks(highs=[b"a" * 5000], sums=bytes(16))),
        pb.Query(marks=pb.Marks(highs=[b"a"] * 1001, sums=bytes(16 * 1001))),
        pb.Query(prints=pb.Prints(lists=[b"1234567"])),
        pb.Query(prints=pb.Prints(lists=[bytes(8 * 33)])),
        pb.Query(prints=pb.Prints(lists=[b""] * 1001)),
        pb.Query(pick=pb.Pick(picks=[1, 1])),
        pb.Query(pick=pb.Pick(picks=[2, 1])),
        pb.Query(pick=pb.Pick(picks=range(65_537))),
    ],
    ids=count(),
)
def test_ranges_beyond_their_bounds_are_a_fault(query: pb.Query) -> None:
    """Sums and keys that do not match, too many of anything, picks out of order."""
    with pytest.raises(PeerFault):
        decode_query(query.SerializeToString())


def test_a_link_target_that_is_not_utf8_comes_back() -> None:
    """Link targets are bytes to the file system; they travel as such."""
    version = Version(Kind.SYMLINK, target=b"caf\xe9".decode("utf-8", "surrogateescape"))
    [entry] = _part(pb.Part(authors=[author()], entries=[entry_of(target=b"caf\xe9", kind=pb.KIND_SYMLINK)])).entries
    assert next(iter(entry.siblings.values())).target == version.target
    assert decode_query(encode_query(EntriesPart(1, (entry,)))) == EntriesPart(1, (entry,))


def author() -> pb.Author:
    return pb.Author(node=bytes(20), epoch=1)


def version_of(**fields: object) -> pb.Version:
    given: dict[str, object] = {"author": 0, "seq": 1, "kind": pb.KIND_FOLDER, "mode": 0o755, "height": 1}
    version = pb.Version()
    for name, value in {**given, **fields}.items():
        setattr(version, name, value)
    return version


def entry_of(path: str = "a", **fields: object) -> pb.Entry:
    return pb.Entry(path=path, siblings=[version_of(**fields)])


def _part(part: pb.Part) -> EntriesPart:
    frame = decode_query(pb.Query(id=1, part=part).SerializeToString())
    assert isinstance(frame, EntriesPart)
    return frame


def test_the_plain_entry_of_these_tests_is_valid() -> None:
    """What the next test spoils one field at a time passes unspoilt."""
    assert _part(pb.Part(authors=[author()], entries=[entry_of()])).entries[0].path == "a"


@pytest.mark.parametrize(
    "entry",
    [
        entry_of(path=""),
        entry_of(path="/etc/passwd"),
        entry_of(path="../x"),
        entry_of(path="a/./b"),
        entry_of(path="a//b"),
        entry_of(path=".meerkat/node.toml"),
        entry_of(path="x/.MEERKAT/y"),
        entry_of(path="a\0b"),
        entry_of(path="x" * 256),
        entry_of(path="/".join("a" * 300)),
        entry_of(seq=0),
        entry_of(seq=1 << 62),
        entry_of(author=1),
        entry_of(kind=pb.KIND_UNSPECIFIED),
        entry_of(kind=9),
        entry_of(mode=0o4755),
        entry_of(size=1),
        entry_of(digest=bytes(32)),
        entry_of(kind=pb.KIND_FILE, digest=bytes(31)),
        entry_of(kind=pb.KIND_FILE),
        entry_of(kind=pb.KIND_FILE, digest=bytes(32), size=1 << 60),
        entry_of(kind=pb.KIND_FILE, digest=bytes(32), size=1 << 20),
        entry_of(kind=pb.KIND_SYMLINK),
        entry_of(kind=pb.KIND_SYMLINK, target=b"a\0b"),
        entry_of(hist=bytes(7)),
        entry_of(hist=bytes(8 * 65)),
        entry_of(height=0),
        entry_of(height=1 << 62),
        entry_of(mtime_ns=1 << 62),
        pb.Entry(path="a"),
        pb.Entry(path="a", siblings=[version_of(), version_of()]),
        pb.Entry(path="a", siblings=[version_of(seq=seq) for seq in range(1, SIBLINGS_TOLD_MAX + 2)]),
    ],
    ids=count(),
)
def test_entries_that_no_honest_peer_sends(entry: pb.Entry) -> None:
    """Paths that leave the folder or touch `.meerkat`, and versions that break the rules of their kind, are refused."""
    with pytest.raises(PeerFault):
        _part(pb.Part(authors=[author()], entries=[entry]))


def test_parts_are_bounded() -> None:
    """A part of too many entries is refused."""
    many = [entry_of(path=f"a{number}") for number in range(ENTRIES_PER_PART_MAX + 1)]
    with pytest.raises(PeerFault, match="at most"):
        _part(pb.Part(authors=[author()], entries=many))


def test_versions_of_a_part_are_bounded() -> None:
    """Many versions of few paths would take more memory than any honest part."""
    crowd = [version_of(seq=seq) for seq in range(1, SIBLINGS_TOLD_MAX + 1)]
    most = VERSIONS_PER_PART_MAX // SIBLINGS_TOLD_MAX
    parts = [pb.Entry(path=f"a{number}", siblings=crowd) for number in range(most + 1)]
    assert len(_part(pb.Part(authors=[author()], entries=parts[:most])).entries) == most
    with pytest.raises(PeerFault, match="versions in a part"):
        _part(pb.Part(authors=[author()], entries=parts))


@pytest.mark.parametrize("kind", [pb.Ask, pb.End])
def test_nobody_has_forgotten_what_it_never_knew(kind: type[pb.Ask] | type[pb.End]) -> None:
    """A floor above the context would make every honest member compare everything with whoever believes it."""
    low, high = (pb.Vector(heads=[pb.Head(author=author(), seq=seq)]) for seq in (1, 2))
    body = kind(context=low, floor=high)
    query = pb.Query(id=1, ask=body) if isinstance(body, pb.Ask) else pb.Query(id=1, end=body)
    with pytest.raises(PeerFault, match="floor"):
        decode_query(query.SerializeToString())


def test_what_a_later_version_says_is_skipped() -> None:
    """A frame of an unknown kind is skipped, an unknown field ignored; neither ends the link."""
    later = bytes([0x08, 0x05]) + bytes([0xFA, 0x01, 0x02, 0x08, 0x01])  # id=5, and field 31
    assert decode_query(later) is None
    assert decode_query(encode_query(Refused(5, "busy")) + later[2:]) == Refused(5, "busy")


@given(st.binary(max_size=200))
def test_rubbish_is_only_ever_a_peer_fault(data: bytes) -> None:
    """No bytes provoke another error."""
    try:
        decode_query(data)
    except PeerFault:
        pass


@given(frames, st.data())
def test_a_damaged_frame_is_only_ever_a_peer_fault(frame: IndexFrame, data: st.DataObject) -> None:
    """Nor do valid frames with some bytes changed."""
    raw = bytearray(encode_query(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_query(bytes(raw))
    except PeerFault:
        pass


def test_content_rides_with_its_version() -> None:
    """Bytes of small files go with the versions that name their digest, and come out by digest."""
    version = Version(Kind.FILE, size=5, digest=Digest(b"d" * 32))
    other = Version(Kind.FILE, size=9, digest=Digest(b"e" * 32))
    author = Author(NodeId("a" * 32), 1)
    entry = Entry(RelPath("f"), {Dot(author, 1): version, Dot(author, 2): other})
    frame = EntriesPart(1, (entry,), {version.digest: b"bytes"})
    assert decode_query(encode_query(frame)) == frame


@pytest.mark.parametrize("size", [4, 6, MORSEL_BYTES_MAX + 1])
def test_content_of_another_size_is_refused(size: int) -> None:
    """It is not what its version names, or too much to ride along."""
    version = Version(Kind.FILE, size=size, digest=Digest(b"d" * 32))
    data = bytes(5 if size < 10 else size)
    frame = EntriesPart(
        1, (Entry(RelPath("f"), {Dot(Author(NodeId("a" * 32), 1), 1): version}),), {version.digest: data}
    )
    with pytest.raises(PeerFault, match="another size"):
        decode_query(encode_query(frame))


MANY = tuple(
    Entry(RelPath(f"folder/file {number:04}"), {Dot(Author(NodeId("a" * 32), 1), number + 1): Version(Kind.TOMBSTONE)})
    for number in range(ENTRIES_PER_PART_MAX)
)


def test_a_packed_part_is_the_same_and_shorter() -> None:
    """For whoever understands it; what gains nothing stays as it is."""
    plain, packed = encode_query(EntriesPart(1, MANY)), encode_query(EntriesPart(1, MANY, packed=True))
    assert len(packed) < len(plain) // 4
    assert decode_query(packed) == decode_query(plain) == EntriesPart(1, MANY)
    assert encode_query(EntriesPart(1, MANY[:1], packed=True)) == encode_query(EntriesPart(1, MANY[:1]))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=True).compress(data)


def without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


PART = entries_to_pb(MANY)
BOMB = bytes(CHUNK_BYTES_MAX + 1)


@pytest.mark.parametrize(
    "part",
    [
        pb.Part(packed=b"not zstd"),
        pb.Part(packed=zstd(BOMB)),
        pb.Part(packed=without_size(BOMB)),
        pb.Part(packed=zstd(PART.SerializeToString()), entries=PART.entries[:1], authors=PART.authors),
        pb.Part(packed=zstd(PART.SerializeToString()) + b"more"),
        pb.Part(packed=zstd(PART.SerializeToString())[:-1]),
        pb.Part(packed=zstd(pb.Part(packed=zstd(PART.SerializeToString())).SerializeToString())),
        pb.Part(packed=zstd(b"\xff" * 100)),
        pb.Part(
            packed=zstd(pb.Part(entries=[*PART.entries, *PART.entries[:1]], authors=PART.authors).SerializeToString())
        ),
    ],
    ids=["rubbish", "bomb", "bomb without a size", "open too", "more", "cut", "nested", "no part", "too many"],
)
def test_packed_parts_that_no_honest_peer_sends(part: pb.Part) -> None:
    """Whatever is packed, its sender is at fault, and it is not unpacked beyond the bounds."""
    with pytest.raises(PeerFault):
        decode_query(pb.Query(id=1, part=part).SerializeToString())
