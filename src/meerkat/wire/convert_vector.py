"""Authors, vectors and the checks that every converter shares.

Invariant: what leaves here is within the limits and has the form that the model promises; everything else that a peer
may have written becomes a `PeerFault`, never another exception.
"""

import base64
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from meerkat.model.dot import Author, Vector, dominates
from meerkat.model.frame import PeerFault
from meerkat.model.ids import DIGEST_BYTES, NO_DIGEST, Digest, NodeId, PoolId, is_id
from meerkat.model.limits import MESSAGE_BYTES_MAX, VECTOR_AUTHORS_MAX
from meerkat.wire.identity import NODE_BYTES
from meerkat.wire.v1 import pool_pb2 as pb

SEQ_END = 1 << 62
EPOCH_END = 1 << 63

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parsed(kind: type[AnyMessage], data: bytes) -> AnyMessage:
    """The message in `data`; fields that this version does not know are kept out of sight by protobuf.

    Raises:
        PeerFault: too long, or not protobuf.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise PeerFault(f"a message of {len(data)} bytes")
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as fault:
        raise PeerFault(f"not a {kind.__name__}: {fault}") from None
    return message


def check_count(what: str, count: int, most: int) -> None:
    """Raise `PeerFault` when there are more than `most`."""
    if count > most:
        raise PeerFault(f"{count} {what}, at most {most} are allowed")


def check_text(what: str, text: str, most: int) -> str:
    """`text`, when it has at most `most` characters."""
    if len(text) > most:
        raise PeerFault(f"{what} is longer than {most} characters")
    return text


def check_length(what: str, data: bytes, *lengths: int) -> bytes:
    """`data`, when its length is one of `lengths`."""
    if len(data) not in lengths:
        raise PeerFault(f"{what} has {len(data)} bytes")
    return data


def check_number(what: str, number: int, end: int = SEQ_END) -> int:
    """`number`, when it is below `end` (and not negative)."""
    if not 0 <= number < end:
        raise PeerFault(f"{what} {number} is out of range")
    return number


def node_to_bytes(node: NodeId) -> bytes:
    return base64.b32decode(node.upper())


def node_from_bytes(data: bytes) -> NodeId:
    check_length("a node id", data, NODE_BYTES)
    return NodeId(base64.b32encode(data).decode("ascii").lower())


def pool_from_text(text: str) -> PoolId:
    if not is_id(text):
        raise PeerFault("not a pool id")
    return PoolId(text)


def digest_from_bytes(what: str, data: bytes, *, optional: bool = False) -> Digest:
    if optional and not data:
        return NO_DIGEST
    return Digest(check_length(what, data, DIGEST_BYTES))


def author_to_pb(author: Author) -> pb.Author:
    return pb.Author(node=node_to_bytes(author.node), epoch=author.epoch)


def author_from_pb(message: pb.Author) -> Author:
    return Author(node_from_bytes(message.node), check_number("an epoch", message.epoch, EPOCH_END))


def seq_from_pb(seq: int, least: int = 1) -> int:
    if not least <= seq < SEQ_END:
        raise PeerFault(f"sequence {seq} is out of range")
    return seq


def heads_to_pb(vector: Vector) -> list[pb.Head]:
    """The vector's heads; authors at 0 are as good as absent and left out."""
    return [pb.Head(author=author_to_pb(author), seq=seq) for author, seq in vector.items() if seq]


def heads_from_pb(heads: Iterable[pb.Head], count: int, *, least: int = 1) -> dict[Author, int]:
    check_count("authors in a vector", count, VECTOR_AUTHORS_MAX)
    vector: dict[Author, int] = {}
    for head in heads:
        author = author_from_pb(head.author)
        if author in vector:
            raise PeerFault("a vector names an author twice")
        vector[author] = seq_from_pb(head.seq, least)
    return vector


def vector_to_pb(vector: Vector) -> pb.Vector:
    return pb.Vector(heads=heads_to_pb(vector))


def vector_from_pb(message: pb.Vector) -> dict[Author, int]:
    return heads_from_pb(message.heads, len(message.heads))


def difference_to_pb(changed: Vector) -> pb.Vector:
    """A difference of vectors, in which 0 means something."""
    return pb.Vector(heads=[pb.Head(author=author_to_pb(author), seq=seq) for author, seq in changed.items()])


def difference_from_pb(message: pb.Vector) -> dict[Author, int]:
    return heads_from_pb(message.heads, len(message.heads), least=0)


def bounds_from_pb(context: pb.Vector, floor: pb.Vector) -> tuple[dict[Author, int], dict[Author, int]]:
    """A node's context and floor. Nobody can have forgotten what it never knew."""
    known, forgotten = vector_from_pb(context), vector_from_pb(floor)
    if not dominates(known, forgotten):
        raise PeerFault("a floor above its context")
    return known, forgotten
