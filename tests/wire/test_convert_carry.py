"""Pieces asked for and given, and their compression."""

import os
from itertools import count

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from strategies import digests

from meerkat.model.frame import Cancel, CarryFrame, Delta, DeltaStep, Give, Lack, PeerFault, Piece, PieceAsk, Sketch
from meerkat.model.ids import NO_DIGEST, NodeId
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    DELTA_MARK_BYTES,
    DELTA_MARKS_MAX,
    DELTA_STEPS_MAX,
    FILE_BYTES_MAX,
    PIECES_PER_ASK_MAX,
)
from meerkat.wire.convert_carry import compressed, decode_parcel, decompressed, encode_parcel, is_heavy
from meerkat.wire.v1 import pool_pb2 as pb

ids = st.integers(0, 2**62 - 1)
pieces = st.builds(
    Piece,
    digests,
    st.integers(0, 2**40),
    st.integers(0, 4096),
    st.just(NO_DIGEST) | digests,
    st.booleans(),
)
places = st.integers(0, PIECES_PER_ASK_MAX - 1)
contents = st.binary(max_size=100) | st.builds(
    lambda word, count: word * count, st.binary(max_size=4), st.integers(0, 3000)
)
sketches = st.lists(
    st.tuples(st.integers(0, 2), st.builds(Sketch, st.just(b"saltsalt"), st.sampled_from([b"", b"marked.." * 9]))),
    max_size=3,
).map(tuple)
deltas = st.builds(
    Delta,
    st.lists(st.builds(DeltaStep, st.integers(0, 1000), st.integers(0, 1000), contents), max_size=4).map(tuple),
)
elsewhere = st.lists(st.tuples(places, st.sampled_from([NodeId("a" * 32), NodeId("b" * 32)])), max_size=3).map(tuple)
frames = st.one_of(
    st.builds(PieceAsk, ids, st.lists(pieces, max_size=4).map(tuple)),
    st.builds(PieceAsk, ids, st.lists(pieces, min_size=3, max_size=3).map(tuple), sketches, st.booleans()),
    st.builds(Give, ids, st.integers(0, 100), st.lists(contents | deltas, max_size=4).map(tuple)),
    st.builds(Lack, ids, st.lists(places, max_size=4).map(tuple), elsewhere),
    st.builds(Cancel, ids),
)


@given(frames)
def test_frames_come_back(frame: CarryFrame) -> None:
    """Every frame of the bulk stream arrives as it was sent, compressed on the way or not."""
    assert decode_parcel(encode_parcel(frame)) == frame


def test_text_shrinks_and_media_is_left_alone() -> None:
    """What compresses is sent smaller; what does not is sent as it is, at no cost in bytes."""
    text, media = b"the quick brown fox " * 50_000, os.urandom(CHUNK_BYTES_MAX)
    assert len(encode_parcel(Give(1, 0, (text,)))) < len(text) // 10
    assert len(encode_parcel(Give(1, 0, (media,)))) < len(media) + 64
    assert compressed(media) is None
    mixed = Give(1, 0, (text, media[:1000], text))
    assert decode_parcel(encode_parcel(mixed)) == mixed


def test_only_big_gifts_are_heavy() -> None:
    """Encoding leaves the event loop where it takes time, and only there."""
    assert is_heavy(Give(1, 0, (bytes(CHUNK_BYTES_MAX),)))
    assert not is_heavy(Give(1, 0, (b"x",)))
    assert not is_heavy(Cancel(1))


def lack(**fields: object) -> bytes:
    return pb.Parcel(id=1, lack=pb.Lack(**fields)).SerializeToString()  # type: ignore[arg-type]


def delta(**fields: object) -> bytes:
    return pb.Delta(steps=[pb.DeltaStep(**fields)]).SerializeToString()  # type: ignore[arg-type]


def give(**fields: object) -> bytes:
    return pb.Parcel(id=1, give=pb.Give(**fields)).SerializeToString()  # type: ignore[arg-type]


def bomb(claims: bool) -> bytes:
    """A few kilobytes that unpack to far more than a chunk."""
    engine = zstandard.ZstdCompressor(write_content_size=claims)
    return engine.compress(bytes(64 * CHUNK_BYTES_MAX))


@pytest.mark.parametrize(
    "data",
    [
        give(data=[bomb(True)], codecs=[pb.CODEC_ZSTD]),
        give(data=[bomb(False)], codecs=[pb.CODEC_ZSTD]),
        give(data=[b"\x28\xb5\x2f\xfd\xc0\x00" + (1 << 62).to_bytes(8, "little") + b"\x01\x00\x00"], codecs=[1]),
        give(data=[b"no zstd"], codecs=[pb.CODEC_ZSTD]),
        give(data=[zstandard.compress(b"x") + b"more"], codecs=[pb.CODEC_ZSTD]),
        give(data=[b"a"], codecs=[pb.CODEC_RAW, pb.CODEC_RAW]),
        give(data=[b"a"], codecs=[7]),
        give(data=[bytes(CHUNK_BYTES_MAX + 1)]),
        give(data=[bytes(CHUNK_BYTES_MAX)] * 3),
        give(first=PIECES_PER_ASK_MAX, data=[b"a"]),
        give(data=[b"\xff" * 9], codecs=[pb.CODEC_DELTA]),
        give(data=[delta(first=DELTA_MARKS_MAX, count=1)], codecs=[pb.CODEC_DELTA]),
        give(data=[delta(first=2**31, count=2**31)], codecs=[pb.CODEC_DELTA]),
        give(data=[delta(count=1) * (DELTA_STEPS_MAX + 1)], codecs=[pb.CODEC_DELTA]),
        give(data=[zstandard.compress(delta(count=1) * (DELTA_STEPS_MAX + 1))], codecs=[pb.CODEC_DELTA_ZSTD]),
        give(data=[bomb(True)], codecs=[pb.CODEC_DELTA_ZSTD]),
        give(data=[delta(data=bytes(CHUNK_BYTES_MAX))], codecs=[pb.CODEC_DELTA]),
        pb.Parcel(id=1, lack=pb.Lack(pieces=[PIECES_PER_ASK_MAX])).SerializeToString(),
        pb.Parcel(id=1, lack=pb.Lack(pieces=[0] * (PIECES_PER_ASK_MAX + 1))).SerializeToString(),
        lack(elsewhere=[pb.Elsewhere(piece=PIECES_PER_ASK_MAX, node=bytes(20))]),
        lack(elsewhere=[pb.Elsewhere(piece=1, node=bytes(19))]),
        lack(pieces=[0] * PIECES_PER_ASK_MAX, elsewhere=[pb.Elsewhere(piece=1, node=bytes(20))]),
        pb.Parcel(id=1 << 63, cancel=pb.Cancel()).SerializeToString(),
    ],
    ids=count(),
)
def test_gifts_that_no_honest_peer_sends(data: bytes) -> None:
    """Bombs, rubbish and more than an ask can hold are refused, within bounded memory."""
    with pytest.raises(PeerFault):
        decode_parcel(data)


def test_a_difference_is_small_on_the_wire() -> None:
    """What both have is a few bytes, and what is new is compressed."""
    assert len(encode_parcel(Give(1, 0, (Delta((DeltaStep(3, 900, b"a word " * 500),)),)))) < 200


@pytest.mark.parametrize(
    "sketches",
    [
        [pb.Sketch(piece=1, salt=bytes(8))],
        [pb.Sketch(salt=bytes(7))],
        [pb.Sketch(salt=bytes(8), marks=bytes(9))],
        [pb.Sketch(salt=bytes(8), marks=bytes(DELTA_MARK_BYTES * (DELTA_MARKS_MAX + 1)))],
        [pb.Sketch(salt=bytes(8))] * 2,
    ],
    ids=["of no piece", "salt", "half a mark", "long", "many"],
)
def test_sketches_that_no_honest_peer_sends(sketches: list[pb.Sketch]) -> None:
    """Of pieces that are not asked for, of no whole marks, and of more than a piece can have."""
    ask = pb.PieceAsk(pieces=[pb.Piece(object=bytes(32), length=1)], sketches=sketches)
    with pytest.raises(PeerFault):
        decode_parcel(pb.Parcel(id=1, ask=ask).SerializeToString())


def test_all_sketches_of_an_ask_are_bounded_together() -> None:
    """Each within its bound, and too much in all."""
    full = bytes(DELTA_MARK_BYTES * DELTA_MARKS_MAX)
    pieces = [pb.Piece(object=bytes(32), length=1)] * 5
    sketches = [pb.Sketch(piece=index, salt=bytes(8), marks=full) for index in range(5)]
    decode_parcel(pb.Parcel(id=1, ask=pb.PieceAsk(pieces=pieces, sketches=sketches[:4])).SerializeToString())
    with pytest.raises(PeerFault):
        decode_parcel(pb.Parcel(id=1, ask=pb.PieceAsk(pieces=pieces, sketches=sketches)).SerializeToString())


@pytest.mark.parametrize(
    "asked",
    [
        [pb.Piece(object=bytes(31), length=1)],
        [pb.Piece(object=bytes(32), length=CHUNK_BYTES_MAX + 1)],
        [pb.Piece(object=bytes(32), offset=FILE_BYTES_MAX, length=1)],
        [pb.Piece(object=bytes(32), length=1, digest=bytes(5))],
        [pb.Piece(object=bytes(32), length=CHUNK_BYTES_MAX)] * 3,
        [pb.Piece(object=bytes(32))] * (PIECES_PER_ASK_MAX + 1),
    ],
    ids=["object", "length", "offset", "digest", "much", "many"],
)
def test_asks_that_no_honest_peer_sends(asked: list[pb.Piece]) -> None:
    """Pieces beyond any file, and asks that would fill our memory, are refused."""
    with pytest.raises(PeerFault):
        decode_parcel(pb.Parcel(id=1, ask=pb.PieceAsk(pieces=asked)).SerializeToString())


def test_a_chunk_of_the_largest_size_passes() -> None:
    """The bound is a chunk's own, compressed or not."""
    assert decompressed(zstandard.compress(bytes(CHUNK_BYTES_MAX))) == bytes(CHUNK_BYTES_MAX)


@given(st.binary(max_size=200))
def test_rubbish_is_only_ever_a_peer_fault(data: bytes) -> None:
    """No bytes provoke another error."""
    for attempt in (data, give(data=[data], codecs=[pb.CODEC_ZSTD])):
        try:
            decode_parcel(attempt)
        except PeerFault:
            pass


@given(frames, st.data())
def test_a_damaged_frame_is_only_ever_a_peer_fault(frame: CarryFrame, data: st.DataObject) -> None:
    """Nor do valid frames with some bytes changed."""
    raw = bytearray(encode_parcel(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_parcel(bytes(raw))
    except PeerFault:
        pass
