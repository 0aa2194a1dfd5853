"""Each piece leaves the origin about once, and nobody is left without it."""

import random

from meerkat.core.swarm import Swarm, is_part
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import SWARM_GIVEN_MAX, SWARM_MEMORY_S

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
ALL = {A, B, C}


def part(number: int) -> Piece:
    return Piece(Digest(b"o" * 32), number * 1000, 1000, Digest(number.to_bytes(32, "big")))


def test_the_second_is_pointed_to_the_first() -> None:
    """And the third as well; who asks again did not get it there, and is given it."""
    swarm = Swarm()
    assert swarm.asked(part(1), A, ALL, 0.0) is None
    assert swarm.asked(part(1), B, ALL, 1.0) == A
    assert swarm.asked(part(1), C, ALL, 1.0) == A
    assert swarm.asked(part(1), B, ALL, 2.0) is None
    assert swarm.asked(part(2), B, ALL, 2.0) is None, "another piece"


def test_who_was_given_it_and_asks_again_is_given_it_again() -> None:
    """It may have been lost on the way."""
    swarm = Swarm()
    assert swarm.asked(part(1), A, ALL, 0.0) is None
    assert swarm.asked(part(1), A, ALL, 1.0) is None


def test_nobody_is_pointed_to_who_is_gone() -> None:
    """Neither to a member that is offline, nor to one that was given the piece long ago."""
    swarm = Swarm()
    swarm.asked(part(1), A, ALL, 0.0)
    assert swarm.asked(part(1), B, {B, C}, 1.0) is None
    assert swarm.asked(part(1), C, {B, C}, 1.0) == B
    assert swarm.asked(part(1), A, ALL, 1.0) == B, "it is back, and has not got it"
    swarm.asked(part(2), A, ALL, 0.0)
    assert swarm.asked(part(2), B, ALL, SWARM_MEMORY_S + 1.0) is None


def test_nobody_is_pointed_twice() -> None:
    """Also where others have been given the piece meanwhile: who was sent away once gets it the next time."""
    swarm = Swarm()
    swarm.asked(part(1), A, ALL, 0.0)
    assert swarm.asked(part(1), B, ALL, 0.0) == A
    assert swarm.asked(part(1), C, ALL, 0.0) == A
    assert swarm.asked(part(1), C, ALL, 0.0) is None
    assert swarm.asked(part(1), B, ALL, 0.0) is None


def test_what_is_lacking_was_not_given() -> None:
    """Nobody is pointed to whoever asked for what was not here."""
    swarm = Swarm()
    swarm.asked(part(1), A, ALL, 0.0)
    swarm.lacked(part(1))
    assert swarm.asked(part(1), B, ALL, 1.0) is None


def test_memory_is_bounded() -> None:
    """Of very many pieces the oldest are forgotten."""
    swarm = Swarm()
    for number in range(SWARM_GIVEN_MAX + 10):
        swarm.asked(part(number), A, ALL, 0.0)
    assert len(swarm) == SWARM_GIVEN_MAX
    assert swarm.asked(part(0), B, ALL, 0.0) is None
    assert swarm.asked(part(SWARM_GIVEN_MAX), B, ALL, 0.0) == A


def test_many_in_any_order_cost_about_one_copy() -> None:
    """Four that ask for everything in orders of their own, and give each other what they are pointed to."""
    swarm, dice = Swarm(), random.Random(1)
    nodes = [NodeId(name) for name in "abcd"]
    orders = {node: dice.sample(range(200), 200) for node in nodes}
    given = [swarm.asked(part(orders[node][turn]), node, nodes, 0.0) for turn in range(200) for node in nodes]
    assert given.count(None) == 200
    shares = [given.count(node) for node in nodes]
    assert min(shares) > 100, "each gives on its share"


def test_small_files_and_recipes_are_no_parts() -> None:
    """Asking twice would cost more than they do."""
    whole = Digest(b"w" * 32)
    assert is_part(part(1))
    assert not is_part(Piece(whole, 0, 10, whole))
    assert not is_part(Piece(whole, 0, 10, recipe=True))
