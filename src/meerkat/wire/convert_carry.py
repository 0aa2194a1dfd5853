"""Carry stream: pieces asked for and given, protobuf <-> model, with compression.

Invariant: what is decompressed never exceeds what an ask may hold, whatever a sender's headers claim. The bytes are not
yet checked against their digests here; whoever puts them to use does that.
"""

import threading
from typing import assert_never

import zstandard

from meerkat.model.frame import (
    Cancel,
    CarryFrame,
    Delta,
    DeltaStep,
    Give,
    Lack,
    PeerFault,
    Piece,
    PieceAsk,
    Sketch,
    given_bytes,
)
from meerkat.model.limits import (
    ASK_BYTES_MAX,
    CHUNK_BYTES_MAX,
    DELTA_MARK_BYTES,
    DELTA_MARKS_MAX,
    DELTA_MARKS_PER_ASK_MAX,
    DELTA_SALT_BYTES,
    DELTA_STEPS_MAX,
    FILE_BYTES_MAX,
    KIB,
    PIECES_PER_ASK_MAX,
    ZSTD_RATIO_MAX,
    ZSTD_SAMPLE_BYTES,
)
from meerkat.wire.convert_vector import (
    check_count,
    check_number,
    digest_from_bytes,
    node_from_bytes,
    node_to_bytes,
    parsed,
)
from meerkat.wire.v1 import pool_pb2 as pb

GIVEN_BYTES_MAX = ASK_BYTES_MAX + CHUNK_BYTES_MAX  # an ask may be filled until its last piece runs over
_COMPRESS_BYTES_MIN = 128  # below this a frame's own header eats the gain
_LEVEL = 1  # saves most of what can be saved at the speed of a gigabit line
_WORTH_A_THREAD_BYTES = 64 * KIB

_engines = threading.local()  # zstd contexts are costly to make and serve one thread at a time


def _compressor() -> zstandard.ZstdCompressor:
    engine: zstandard.ZstdCompressor | None = getattr(_engines, "compressor", None)
    if engine is None:
        engine = _engines.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    return engine


def _decompressor() -> zstandard.ZstdDecompressor:
    engine: zstandard.ZstdDecompressor | None = getattr(_engines, "decompressor", None)
    if engine is None:
        engine = _engines.decompressor = zstandard.ZstdDecompressor(max_window_size=8 * CHUNK_BYTES_MAX)
    return engine


def is_heavy(frame: CarryFrame) -> bool:
    """True when encoding the frame takes long enough to belong in a worker thread."""
    return isinstance(frame, Give) and sum(map(given_bytes, frame.data)) > _WORTH_A_THREAD_BYTES


def encode_parcel(frame: CarryFrame) -> bytes:
    """The frame as a serialised Parcel; given data is compressed where that helps."""
    parcel = pb.Parcel(id=frame.id)
    match frame:
        case PieceAsk():
            parcel.ask.SetInParent()
            for piece in frame.pieces:
                parcel.ask.pieces.add(
                    object=piece.object,
                    offset=piece.offset,
                    length=piece.length,
                    digest=piece.digest,
                    recipe=piece.recipe,
                )
            parcel.ask.elsewhere = frame.elsewhere
            for index, sketch in frame.sketches:
                parcel.ask.sketches.add(piece=index, salt=sketch.salt, marks=sketch.marks)
        case Give():
            parcel.give.first = frame.first
            for item in frame.data:
                plain, zstd = pb.CODEC_RAW, pb.CODEC_ZSTD
                if isinstance(item, Delta):
                    item = _delta_to_pb(item).SerializeToString()
                    plain, zstd = pb.CODEC_DELTA, pb.CODEC_DELTA_ZSTD
                packed = compressed(item)
                parcel.give.data.append(item if packed is None else packed)
                parcel.give.codecs.append(plain if packed is None else zstd)
            if all(codec == pb.CODEC_RAW for codec in parcel.give.codecs):
                del parcel.give.codecs[:]
            parcel.give.SetInParent()
        case Lack():
            parcel.lack.pieces.extend(frame.pieces)
            for index, node in frame.elsewhere:
                parcel.lack.elsewhere.add(piece=index, node=node_to_bytes(node))
            parcel.lack.SetInParent()
        case Cancel():
            parcel.cancel.SetInParent()
        case _:
            assert_never(frame)
    return parcel.SerializeToString()


def decode_parcel(data: bytes) -> CarryFrame | None:
    """The frame in a serialised Parcel; None when its kind is one of a later version.

    Raises:
        PeerFault: not decodable, or breaking any rule of its kind.
    """
    parcel = parsed(pb.Parcel, data)
    number = check_number("a question", parcel.id)
    match parcel.WhichOneof("body"):
        case "ask":
            pieces = _pieces_from_pb(parcel.ask)
            return PieceAsk(number, pieces, _sketches_from_pb(parcel.ask, len(pieces)), parcel.ask.elsewhere)
        case "give":
            return Give(number, *_given_from_pb(parcel.give))
        case "lack":
            places = tuple(parcel.lack.pieces)
            check_count("pieces lacking", len(places) + len(parcel.lack.elsewhere), PIECES_PER_ASK_MAX)
            elsewhere = tuple((each.piece, node_from_bytes(each.node)) for each in parcel.lack.elsewhere)
            if any(place >= PIECES_PER_ASK_MAX for place in (*places, *(place for place, _ in elsewhere))):
                raise PeerFault("a lacking piece that no ask can hold")
            return Lack(number, places, elsewhere)
        case "cancel":
            return Cancel(number)
        case None:
            return None


def _pieces_from_pb(message: pb.PieceAsk) -> tuple[Piece, ...]:
    check_count("pieces in an ask", len(message.pieces), PIECES_PER_ASK_MAX)
    pieces = []
    total = 0
    for piece in message.pieces:
        check_count("bytes in a piece", piece.length, CHUNK_BYTES_MAX)
        check_number("a piece's end", piece.offset + piece.length, FILE_BYTES_MAX + 1)
        total += piece.length
        pieces.append(
            Piece(
                object=digest_from_bytes("an object's digest", piece.object),
                offset=piece.offset,
                length=piece.length,
                digest=digest_from_bytes("a piece's digest", piece.digest, optional=True),
                recipe=piece.recipe,
            )
        )
    check_count("bytes in an ask", total, GIVEN_BYTES_MAX)
    return tuple(pieces)


def _sketches_from_pb(message: pb.PieceAsk, pieces: int) -> tuple[tuple[int, Sketch], ...]:
    check_count("sketches in an ask", len(message.sketches), pieces)
    sketches = []
    total = 0
    for sketch in message.sketches:
        if sketch.piece >= pieces:
            raise PeerFault("a sketch for a piece that is not asked for")
        if len(sketch.salt) != DELTA_SALT_BYTES or len(sketch.marks) % DELTA_MARK_BYTES:
            raise PeerFault("a sketch of no whole marks")
        count = len(sketch.marks) // DELTA_MARK_BYTES
        check_count("marks in a sketch", count, DELTA_MARKS_MAX)
        total += count
        check_count("marks in an ask", total, DELTA_MARKS_PER_ASK_MAX)
        sketches.append((sketch.piece, Sketch(sketch.salt, sketch.marks)))
    return tuple(sketches)


def _delta_to_pb(delta: Delta) -> pb.Delta:
    message = pb.Delta()
    for step in delta.steps:
        message.steps.add(first=step.first, count=step.count, data=step.data)
    return message


def _delta_from(data: bytes) -> Delta:
    message = parsed(pb.Delta, data)
    check_count("steps of a difference", len(message.steps), DELTA_STEPS_MAX)
    for step in message.steps:
        check_count("parts in a step", step.first + step.count, DELTA_MARKS_MAX)
    return Delta(tuple(DeltaStep(step.first, step.count, step.data) for step in message.steps))


def _given_from_pb(message: pb.Give) -> tuple[int, tuple[bytes | Delta, ...]]:
    check_count("pieces given", message.first + len(message.data), PIECES_PER_ASK_MAX)
    codecs = list(message.codecs) or [pb.CODEC_RAW] * len(message.data)
    if len(codecs) != len(message.data):
        raise PeerFault("codecs do not match the data")
    items: list[bytes | Delta] = []
    total = 0
    for packed, codec in zip(message.data, codecs, strict=True):
        if codec in (pb.CODEC_RAW, pb.CODEC_DELTA):
            check_count("bytes in a piece", len(packed), CHUNK_BYTES_MAX)
            item = packed
        elif codec in (pb.CODEC_ZSTD, pb.CODEC_DELTA_ZSTD):
            item = decompressed(packed)
        else:
            raise PeerFault(f"codec {codec} is unknown")
        total += len(item)
        check_count("bytes given", total, GIVEN_BYTES_MAX)
        items.append(_delta_from(item) if codec in (pb.CODEC_DELTA, pb.CODEC_DELTA_ZSTD) else item)
    return message.first, tuple(items)


def compressed(data: bytes) -> bytes | None:
    """`data` as a zstd frame, or None where that saves too little to be worth it."""
    if len(data) < _COMPRESS_BYTES_MIN:
        return None
    engine = _compressor()
    if len(data) > ZSTD_SAMPLE_BYTES:
        # Media and archives are most of what does not compress; a sample tells without the cost of the whole.
        middle = (len(data) - ZSTD_SAMPLE_BYTES) // 2
        sample = data[middle : middle + ZSTD_SAMPLE_BYTES]
        if len(engine.compress(sample)) > ZSTD_RATIO_MAX * len(sample):
            return None
    packed = engine.compress(data)
    return packed if len(packed) <= ZSTD_RATIO_MAX * len(data) else None


def decompressed(packed: bytes) -> bytes:
    """The bytes of one zstd frame, at most one chunk.

    Raises:
        PeerFault: damaged, more than one frame, or larger than a chunk.
    """
    try:
        # The library trusts a size in the header over max_output_size, so the header is judged first.
        claimed = zstandard.frame_content_size(packed)
        if claimed > CHUNK_BYTES_MAX:
            raise PeerFault(f"a zstd frame that claims {claimed} bytes")
        data = _decompressor().decompress(packed, max_output_size=CHUNK_BYTES_MAX, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError) as fault:
        raise PeerFault(f"not zstd: {fault}") from None
    if len(data) > CHUNK_BYTES_MAX:
        raise PeerFault("a zstd frame that is larger than a chunk")
    return data
