"""Differences: what both have is not told again, and what comes out is right or is refused."""

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from meerkat.core.delta import Basis, counterparts, difference
from meerkat.model.frame import Delta, DeltaStep, given_bytes
from meerkat.model.ids import Digest
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    DELTA_MARK_BYTES,
    DELTA_MARKS_MAX,
    DELTA_SALT_BYTES,
    DELTA_STEPS_MAX,
    KIB,
)
from meerkat.model.recipe import Chunk, Recipe

SALT = b"s" * DELTA_SALT_BYTES


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def told(old: bytes, new: bytes) -> Delta:
    """`new` as somebody tells it who has only a sketch of `old`; checked to come out right."""
    basis = Basis(old, SALT)
    delta = difference(new, basis.sketch)
    assert delta is not None
    assert basis.restore(delta, len(new)) == new
    assert basis.saved == len(new) - given_bytes(delta)
    return delta


@pytest.mark.parametrize("at", [0, 1, 100_000, 256 * KIB - 1])
def test_a_changed_byte_costs_a_few_parts(at: int) -> None:
    """Wherever it is in a chunk; the sketch costs less than a hundredth of what it stands for."""
    old = noise(256 * KIB)
    new = old[:at] + bytes([old[at] ^ 0xFF]) + old[at + 1 :]
    assert given_bytes(told(old, new)) <= 8 * KIB
    assert len(Basis(old, SALT).sketch.marks) < len(old) // 100


def test_what_was_inserted_moved_or_taken_away_is_found_all_the_same() -> None:
    """Parts are cut by their content, so it does not matter where they stand now."""
    old = noise(64 * KIB)
    for new in (b"!" * 100 + old, old[10_000:], old[30_000:] + old[:30_000], old[:20_000] + old[21_000:]):
        assert given_bytes(told(old, new)) <= 12 * KIB


def test_what_resembles_nothing_is_told_as_it_is() -> None:
    """A difference that saves too little is none; nor is there one to nothing."""
    assert difference(noise(64 * KIB, 2), Basis(noise(64 * KIB, 1), SALT).sketch) is None
    assert difference(noise(64 * KIB), Basis(b"", SALT).sketch) is None
    assert difference(b"", Basis(noise(64 * KIB), SALT).sketch) is None


def test_runs_are_one_step() -> None:
    """Equal bytes do not cost a step for each of their parts."""
    assert len(told(noise(256 * KIB), noise(256 * KIB)).steps) == 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_was_edited_comes_out_right(data: st.DataObject) -> None:
    """Bytes with many equal parts included."""
    old = bytearray(noise(data.draw(st.integers(0, 40_000)), data.draw(st.integers(0, 3))))
    if data.draw(st.booleans()):
        old[5_000:20_000] = bytes(15_000)
    new = old[:]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(new)))
        new[at : at + data.draw(st.sampled_from([0, 1, 5000]))] = noise(data.draw(st.sampled_from([0, 1, 5000])), at)
    basis = Basis(bytes(old), SALT)
    delta = difference(bytes(new), basis.sketch)
    if delta is not None:
        assert basis.restore(delta, len(new)) == bytes(new)
        assert len(delta.steps) <= DELTA_STEPS_MAX


def test_the_largest_pieces_keep_to_the_bounds() -> None:
    """Of any bytes: those that are cut into the smallest parts as well."""
    for data in (noise(CHUNK_BYTES_MAX), bytes(CHUNK_BYTES_MAX), noise(300) * (CHUNK_BYTES_MAX // 300)):
        basis = Basis(data, SALT)
        assert basis.sketch.count <= DELTA_MARKS_MAX
        delta = difference(data, basis.sketch)
        assert delta is not None
        assert len(delta.steps) <= DELTA_STEPS_MAX
        assert all(step.first + step.count <= DELTA_MARKS_MAX for step in delta.steps)


@pytest.mark.parametrize(
    "steps",
    [
        (DeltaStep(0, 10_000, b""),),
        (DeltaStep(10_000, 1, b""),),
        (DeltaStep(0, 0, bytes(2000)),),
        tuple(DeltaStep(0, 30, b"") for _ in range(DELTA_STEPS_MAX)),
    ],
    ids=["too many", "far away", "too long", "a bomb"],
)
def test_what_no_honest_peer_tells_makes_nothing(steps: tuple[DeltaStep, ...]) -> None:
    """Parts that there are not, and more bytes than were asked for, are refused before they take memory."""
    basis = Basis(noise(40 * KIB), SALT)
    assert basis.restore(Delta(steps), 1999) is None


def test_a_mark_depends_on_the_salt() -> None:
    """Nobody can prepare parts that pass for each other: what marks will be is known when the question is asked."""
    data = noise(64 * KIB)
    one, other = Basis(data, SALT).sketch.marks, Basis(data, b"t" * DELTA_SALT_BYTES).sketch.marks
    assert len(one) == len(other)
    assert not {one[at : at + DELTA_MARK_BYTES] for at in range(0, len(one), DELTA_MARK_BYTES)} & {
        other[at : at + DELTA_MARK_BYTES] for at in range(0, len(other), DELTA_MARK_BYTES)
    }


def recipe_of(*parts: bytes) -> Recipe:
    chunks = []
    offset = 0
    for part in parts:
        chunks.append(Chunk(Digest(blake3(part).digest()), offset, len(part)))
        offset += len(part)
    return Recipe(tuple(chunks))


def test_what_a_chunk_replaces_lies_between_the_same_neighbours() -> None:
    """Changed in place, grown, at the front, at the end, and beside what was inserted."""
    before = recipe_of(b"a" * 100, b"b" * 100, b"c" * 100)
    changed = recipe_of(b"a" * 100, b"x" * 110, b"c" * 100)
    assert counterparts(changed, before, [changed.chunks[1]], 500) == {changed.chunks[1]: (90, 120)}
    front = recipe_of(b"x" * 105, b"b" * 100, b"c" * 100)
    assert counterparts(front, before, [front.chunks[0]], 500) == {front.chunks[0]: (0, 105)}
    end = recipe_of(b"a" * 100, b"b" * 100, b"x" * 150)
    assert counterparts(end, before, [end.chunks[2]], 500) == {end.chunks[2]: (150, 150)}
    inserted = recipe_of(b"a" * 100, b"n" * 1000, b"b" * 100, b"c" * 100)
    assert counterparts(inserted, before, [inserted.chunks[1]], 1000) == {inserted.chunks[1]: (100, 200)}


def test_nothing_is_compared_with_more_than_a_piece() -> None:
    """What has moved far is looked for where the chunk before it points."""
    before = recipe_of(b"a" * 100, b"b" * 2000, b"c" * 100)
    new = recipe_of(b"a" * 100, b"x" * 50, b"c" * 100)
    assert counterparts(new, before, [new.chunks[1]], 500) == {new.chunks[1]: (100, 50)}
