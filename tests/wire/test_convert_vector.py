"""Vectors and the checks that all converters share."""

import pytest
from hypothesis import given
from strategies import node_ids, vectors

from meerkat.model.dot import Author
from meerkat.model.frame import PeerFault
from meerkat.model.ids import NodeId
from meerkat.model.limits import MESSAGE_BYTES_MAX, VECTOR_AUTHORS_MAX
from meerkat.wire.convert_vector import (
    SEQ_END,
    heads_from_pb,
    node_from_bytes,
    node_to_bytes,
    parsed,
    vector_from_pb,
    vector_to_pb,
)
from meerkat.wire.v1 import pool_pb2 as pb

AUTHOR = Author(NodeId("a" * 32), 1)


@given(vectors)
def test_vectors_come_back(vector: dict[Author, int]) -> None:
    """A vector that was sent is the vector that arrives."""
    assert vector_from_pb(vector_to_pb(vector)) == vector


@given(node_ids)
def test_node_ids_come_back(node: NodeId) -> None:
    """Ids travel as 20 bytes."""
    assert len(node_to_bytes(node)) == 20
    assert node_from_bytes(node_to_bytes(node)) == node


def test_an_author_at_zero_is_an_absent_author() -> None:
    """Nothing is said of authors of whom nothing is known."""
    assert vector_from_pb(vector_to_pb({AUTHOR: 0})) == {}


def head(seq: int = 1, node: bytes = bytes(20), epoch: int = 1) -> pb.Head:
    return pb.Head(author=pb.Author(node=node, epoch=epoch), seq=seq)


@pytest.mark.parametrize(
    "heads",
    [
        [head(seq=0)],
        [head(seq=SEQ_END)],
        [head(node=bytes(19))],
        [head(epoch=1 << 63)],
        [head(), head(seq=2)],
        [pb.Head(seq=1)],
    ],
    ids=["zero", "too-far", "short-node", "epoch", "twice", "no-author"],
)
def test_vectors_that_no_honest_peer_sends(heads: list[pb.Head]) -> None:
    """A sequence or an author out of range, or one author twice, is the peer's fault."""
    with pytest.raises(PeerFault):
        vector_from_pb(pb.Vector(heads=heads))


def test_vectors_are_bounded() -> None:
    """A vector of too many authors is refused before it is read."""
    with pytest.raises(PeerFault, match="at most"):
        heads_from_pb([], VECTOR_AUTHORS_MAX + 1)


def test_messages_are_bounded() -> None:
    """A message that is too long is refused before it is parsed."""
    with pytest.raises(PeerFault, match="bytes"):
        parsed(pb.Vector, bytes(MESSAGE_BYTES_MAX + 1))
