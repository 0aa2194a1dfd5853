"""Index stream: entries and the questions for them, protobuf <-> model.

Invariant: an entry that comes out has a path that may be shared, between one and `SIBLINGS_TOLD_MAX` valid versions,
and a dot for each. Authors are written once a message and pointed at, since few authors write many versions.
"""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import assert_never

from meerkat.model.dot import Author, Dot
from meerkat.model.frame import (
    PATH_PRINT_BYTES,
    RANGE_SUM_BYTES,
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
    HIST_MARKS_MAX,
    MORSEL_BYTES_MAX,
    PATH_BYTES_MAX,
    RANGE_PATHS_FINE,
    RANGES_DIFFERING_MAX,
    RANGES_PER_FRAME_MAX,
    SIBLINGS_TOLD_MAX,
    TEXT_CHARS_MAX,
    VECTOR_AUTHORS_MAX,
    VERSIONS_PER_PART_MAX,
    WORD_CHARS_MAX,
)
from meerkat.model.path import PathFault, parse_path
from meerkat.model.version import MARK_BYTES, Entry, Kind, Siblings, Version, VersionFault
from meerkat.wire.convert_carry import compressed, decompressed
from meerkat.wire.convert_vector import (
    author_from_pb,
    author_to_pb,
    bounds_from_pb,
    check_count,
    check_length,
    check_number,
    check_text,
    digest_from_bytes,
    node_from_bytes,
    node_to_bytes,
    parsed,
    seq_from_pb,
    vector_to_pb,
)
from meerkat.wire.v1 import pool_pb2 as pb

_KINDS = {int(kind): kind for kind in Kind}
FINGERPRINT_LENGTHS = (0, 16)  # of an index: absent while unknown


def encode_query(frame: IndexFrame) -> bytes:
    """The frame as a serialised Query."""
    query = pb.Query(id=frame.id)
    match frame:
        case AskEntries():
            query.ask.CopyFrom(
                pb.Ask(
                    context=vector_to_pb(frame.context),
                    floor=vector_to_pb(frame.floor),
                    full=frame.full,
                    ranges=frame.ranges,
                )
            )
        case EntriesPart():
            part = entries_to_pb(frame.entries, frame.morsels)
            query.part.CopyFrom(_packed(part) if frame.packed else part)
        case EntriesEnd():
            end = pb.End(context=vector_to_pb(frame.context), floor=vector_to_pb(frame.floor), full=frame.full)
            end.fingerprint = frame.fingerprint
            query.end.CopyFrom(end)
        case Marks():
            query.marks.CopyFrom(pb.Marks(highs=frame.highs, sums=frame.sums, last=frame.last))
        case Prints():
            query.prints.CopyFrom(pb.Prints(lists=frame.lists, last=frame.last))
        case Pick():
            query.pick.CopyFrom(pb.Pick(picks=frame.picks))
        case Refused():
            query.refusal.CopyFrom(pb.Refusal(code=frame.code, text=frame.text[:TEXT_CHARS_MAX]))
        case _:
            assert_never(frame)
    return query.SerializeToString()


def decode_query(data: bytes) -> IndexFrame | None:
    """The frame in a serialised Query; None when its kind is one of a later version.

    Raises:
        PeerFault: not decodable, or breaking any rule of its kind.
    """
    query = parsed(pb.Query, data)
    number = check_number("a question", query.id)
    match query.WhichOneof("body"):
        case "ask":
            ask = query.ask
            return AskEntries(number, *bounds_from_pb(ask.context, ask.floor), ask.full, ask.ranges)
        case "part":
            part = _unpacked(query.part)
            return EntriesPart(number, entries_from_pb(part), _morsels_from_pb(part))
        case "end":
            end = query.end
            fingerprint = check_length("an index fingerprint", end.fingerprint, *FINGERPRINT_LENGTHS)
            return EntriesEnd(number, *bounds_from_pb(end.context, end.floor), end.full, fingerprint)
        case "marks":
            return _marks_from_pb(number, query.marks)
        case "prints":
            return _prints_from_pb(number, query.prints)
        case "pick":
            return _pick_from_pb(number, query.pick)
        case "refusal":
            code = check_text("a code", query.refusal.code, WORD_CHARS_MAX)
            return Refused(number, code, check_text("a refusal", query.refusal.text, TEXT_CHARS_MAX))
        case None:
            return None


def _marks_from_pb(number: int, message: pb.Marks) -> Marks:
    check_count("ranges", len(message.highs), RANGES_PER_FRAME_MAX)
    check_length("the sums of ranges", message.sums, RANGE_SUM_BYTES * len(message.highs))
    for high in message.highs:
        check_count("bytes in a key", len(high), PATH_BYTES_MAX)
    return Marks(number, tuple(message.highs), message.sums, message.last)


def _prints_from_pb(number: int, message: pb.Prints) -> Prints:
    check_count("ranges", len(message.lists), RANGES_PER_FRAME_MAX)
    for prints in message.lists:
        if len(prints) % PATH_PRINT_BYTES or len(prints) > PATH_PRINT_BYTES * RANGE_PATHS_FINE:
            raise PeerFault("a list that is not one of prints")
    return Prints(number, tuple(message.lists), message.last)


def _pick_from_pb(number: int, message: pb.Pick) -> Pick:
    check_count("picks", len(message.picks), RANGES_DIFFERING_MAX)
    picks = tuple(message.picks)
    if any(later <= earlier for earlier, later in pairwise(picks)):
        raise PeerFault("picks that do not ascend")
    return Pick(number, picks)


def entries_to_pb(entries: tuple[Entry, ...], morsels: Mapping[Digest, bytes] = MappingProxyType({})) -> pb.Part:
    part = pb.Part()
    places: dict[Author, int] = {}
    for entry in entries:
        message = part.entries.add(path=entry.path)
        for dot, version in entry.siblings.items():
            place = places.get(dot.author)
            if place is None:
                place = places[dot.author] = len(places)
                part.authors.append(author_to_pb(dot.author))
            message.siblings.append(_version_to_pb(place, dot.seq, version))
            if version.digest in morsels and version.kind is Kind.FILE:
                message.siblings[-1].content = morsels[version.digest]
    return part


def _packed(part: pb.Part) -> pb.Part:
    """The part compressed, where that saves something: paths are much like their neighbours, and what a tombstone
    remembers of a moved file is what its new path says."""
    plain = part.SerializeToString()
    packed = compressed(plain) if len(plain) <= CHUNK_BYTES_MAX else None
    return part if packed is None else pb.Part(packed=packed)


def _unpacked(part: pb.Part) -> pb.Part:
    """The part as it was before it was compressed, with bounds of its own: a few bytes may claim to be very many."""
    if not part.packed:
        return part
    if part.entries or part.authors:
        raise PeerFault("a part that is packed and open at once")
    inner = parsed(pb.Part, decompressed(part.packed))
    if inner.packed:
        raise PeerFault("a packed part within a packed part")
    return inner


def _morsels_from_pb(part: pb.Part) -> dict[Digest, bytes]:
    """What rides along. A morsel of another size than its file says is nobody's content: its sender is at fault."""
    found: dict[Digest, bytes] = {}
    for entry in part.entries:
        for version in entry.siblings:
            if not version.content:
                continue
            if len(version.content) != version.size or version.size > MORSEL_BYTES_MAX:
                raise PeerFault("content that rides along has another size than its file")
            found[Digest(version.digest)] = version.content
    return found


def _version_to_pb(place: int, seq: int, version: Version) -> pb.Version:
    return pb.Version(
        author=place,
        seq=seq,
        kind=pb.Kind.ValueType(int(version.kind)),
        size=version.size,
        mtime_ns=version.mtime_ns,
        mode=version.mode,
        digest=version.digest,
        recipe=version.recipe,
        target=version.target.encode("utf-8", "surrogateescape"),
        height=version.height,
        weak=version.weak,
        hist=b"".join(version.hist),
        origin=node_to_bytes(NodeId(version.origin)) if version.origin else b"",
    )


def entries_from_pb(part: pb.Part) -> tuple[Entry, ...]:
    check_count("entries in a part", len(part.entries), ENTRIES_PER_PART_MAX)
    check_count("authors in a part", len(part.authors), VECTOR_AUTHORS_MAX)
    check_count("versions in a part", sum(len(entry.siblings) for entry in part.entries), VERSIONS_PER_PART_MAX)
    authors = [author_from_pb(author) for author in part.authors]
    return tuple(_entry_from_pb(entry, authors) for entry in part.entries)


def _entry_from_pb(message: pb.Entry, authors: list[Author]) -> Entry:
    try:
        path = parse_path(message.path)
    except PathFault as fault:
        raise PeerFault(f"an entry's path is not shareable: {fault}") from None
    check_count("siblings of a path", len(message.siblings), SIBLINGS_TOLD_MAX)
    if not message.siblings:
        raise PeerFault("an entry without versions")
    siblings: Siblings = {}
    for version in message.siblings:
        if version.author >= len(authors):
            raise PeerFault("a version points at no author")
        dot = Dot(authors[version.author], seq_from_pb(version.seq))
        if dot in siblings:
            raise PeerFault("one dot names two versions of a path")
        siblings[dot] = _version_from_pb(version)
    return Entry(path, siblings)


def _version_from_pb(message: pb.Version) -> Version:
    hist, target = message.hist, message.target
    if len(hist) % MARK_BYTES or len(hist) > MARK_BYTES * HIST_MARKS_MAX:
        raise PeerFault("hist is not a bounded list of marks")
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise PeerFault(f"not a version: {message.kind} is no kind")
    try:
        version = Version(
            kind=kind,
            size=message.size,
            mtime_ns=message.mtime_ns,
            mode=message.mode,
            digest=digest_from_bytes("a digest", message.digest, optional=True),
            recipe=digest_from_bytes("a recipe's digest", message.recipe, optional=True),
            target=target.decode("utf-8", "surrogateescape") if target else "",
            height=message.height,
            weak=message.weak,
            hist=tuple(hist[at : at + MARK_BYTES] for at in range(0, len(hist), MARK_BYTES)) if hist else (),
            origin=node_from_bytes(message.origin) if message.origin else "",
        )
        version.ensure_valid()
    except (VersionFault, ValueError) as fault:
        raise PeerFault(f"not a version: {fault}") from None
    return version
