"""Cutting: same bytes, same chunks; small edits change few of them."""

import io
import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from meerkat.core.chunk import cut, mean_bytes
from meerkat.model.ids import Digest
from meerkat.model.limits import CHUNK_BYTES_MAX, KIB, MIB, RECIPE_CHUNKS_AIM, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.recipe import Chunk, Recipe

PINNED_LENGTHS = [
    6699, 16876, 19736, 19972, 28725, 19558, 35132, 21023, 20874, 4164, 17094, 14724, 24018, 23934, 18744, 15927,
]  # fmt: skip


def chunks_of(data: bytes, before: Recipe | None = None) -> list[bytes]:
    chunks = []
    for chunk in cut(io.BytesIO(data).read, len(data), before):
        assert chunk.digest == blake3(chunk.data).digest()
        chunks.append(bytes(chunk.data))
    return chunks


def recipe_of(chunks: list[bytes]) -> Recipe:
    listed = []
    offset = 0
    for chunk in chunks:
        listed.append(Chunk(Digest(blake3(chunk).digest()), offset, len(chunk)))
        offset += len(chunk)
    return Recipe(tuple(listed))


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize(
    ("size", "mean"),
    [
        (0, 16 * KIB),
        (1, 16 * KIB),
        (16 * MIB, 16 * KIB),
        (16 * MIB + 1, 32 * KIB),
        (32 * MIB, 32 * KIB),
        (64 * MIB + 1, 128 * KIB),
        (256 * MIB, 256 * KIB),
        (256 * MIB + 1, 256 * KIB),
        (1 << 44, 256 * KIB),
    ],
)
def test_size_classes(size: int, mean: int) -> None:
    """The mean doubles so that a recipe stays near 1024 chunks, and stops where a chunk would outgrow a message."""
    assert mean_bytes(size) == mean
    assert mean * 4 <= CHUNK_BYTES_MAX


def test_an_empty_file_has_no_chunk() -> None:
    """Nothing is cut from nothing."""
    assert chunks_of(b"") == []


@pytest.mark.parametrize("size", [1, 1000, SINGLE_CHUNK_BYTES_MAX])
def test_a_small_file_is_one_chunk(size: int) -> None:
    """Up to the limit the chunk is the file."""
    assert chunks_of(noise(size)) == [noise(size)]


def test_boundaries_are_pinned() -> None:
    """A new release of the cutter that cut elsewhere would make every node transfer everything: it must fail here."""
    lengths = [len(chunk) for chunk in chunks_of(noise(300 * KIB, seed=1))]
    assert lengths == PINNED_LENGTHS


def test_all_bytes_are_covered_within_bounds() -> None:
    """The chunks in order are the file, and each but the last keeps to the bounds of its class."""
    data = noise(3 * MIB)
    chunks = chunks_of(data)
    assert b"".join(chunks) == data
    assert all(4 * KIB <= len(chunk) <= 64 * KIB for chunk in chunks[:-1])
    assert len(chunks) < 2 * len(data) // (16 * KIB)


def test_streaming_cuts_like_the_whole_buffer() -> None:
    """The boundaries do not depend on the window that the stream is cut through."""
    data = noise(5 * MIB)
    mean = mean_bytes(len(data))
    whole = [bytes(chunk.data) for chunk in FastCDC(mean, min_size=mean // 4, max_size=mean * 4).cut_buf(data)]
    assert chunks_of(data) == whole


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 600 * KIB), st.integers(0, 2**32), st.integers(1, 50_000))
def test_short_reads_change_nothing(size: int, seed: int, stride: int) -> None:
    """However the bytes dribble in, the chunks are the same."""
    data = noise(size, seed)
    stream = io.BytesIO(data)
    dribbled = [bytes(chunk.data) for chunk in cut(lambda count: stream.read(min(count, stride)), size)]
    assert dribbled == chunks_of(data)


def test_an_insert_at_the_front_costs_few_chunks() -> None:
    """A byte at the front of a file moves no later boundary."""
    data = noise(4 * MIB)
    before, after = set(chunks_of(data)), set(chunks_of(b"!" + data))
    assert len(after - before) <= 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_known_of_before_changes_no_boundary(data: st.DataObject) -> None:
    """Whatever was edited, a file is cut as if nothing were known of what it replaces: known chunks only save work."""
    old = bytearray(noise(data.draw(st.integers(SINGLE_CHUNK_BYTES_MAX + 1, 900 * KIB)), data.draw(st.integers(0, 3))))
    if data.draw(st.booleans()):
        old[100_000:300_000] = bytes(200_000)  # equal chunks: what follows one of them differs
    before = recipe_of(chunks_of(bytes(old)))
    new = old[:]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(new)))
        gone = data.draw(st.sampled_from([0, 1, 1000, 100_000]))
        new[at : at + gone] = noise(data.draw(st.sampled_from([0, 1, 1000, 100_000])), at)
    assert chunks_of(bytes(new), before) == chunks_of(bytes(new))


def test_a_file_that_grows_past_its_class_keeps_its_chunks() -> None:
    """One byte more than the size at which the mean doubles does not make a new file of it; much more does."""
    data = noise(16 * MIB)
    before = recipe_of(chunks_of(data))
    grown = b"!" + data
    assert mean_bytes(len(grown)) == 2 * mean_bytes(len(data))
    known = {chunk.digest for chunk in before.chunks}
    assert sum(chunk.digest not in known for chunk in recipe_of(chunks_of(grown, before)).chunks) <= 3
    assert mean_bytes(256 * MIB, before) == mean_bytes(256 * MIB), "too large by now for so many chunks"


def test_a_mean_is_told_from_its_chunks() -> None:
    """Of every class; runs of one byte, cut at the maximum, do not mislead, and too few chunks say nothing."""
    for mean in (16 * KIB, 64 * KIB, 256 * KIB):
        data = noise(32 * mean)
        chunks = [bytes(chunk.data) for chunk in FastCDC(mean, min_size=mean // 4, max_size=mean * 4).cut_buf(data)]
        zeros = [bytes(4 * mean)] * 64
        assert mean_bytes(mean * RECIPE_CHUNKS_AIM * 2, recipe_of(zeros + chunks)) == mean
    assert mean_bytes(64 * MIB, recipe_of([bytes(MIB), bytes(9)])) == mean_bytes(64 * MIB)


def test_chunks_that_no_cutter_made_are_not_taken_over() -> None:
    """A recipe comes from whoever wrote the file: a list of crumbs makes no crumbs of what replaces it."""
    data = noise(MIB)
    crumbs = recipe_of([data[at : at + 2048] for at in range(0, len(data), 2048)])
    assert len(chunks_of(data, crumbs)) < 200


def test_constant_bytes_are_cut_at_the_maximum() -> None:
    """A hole or a run of zeros gives equal chunks of the largest length."""
    assert {len(chunk) for chunk in chunks_of(bytes(MIB))} == {64 * KIB}


@pytest.mark.parametrize("size", [10 * KIB, 600 * KIB])
def test_a_file_that_shrank_ends_early(size: int) -> None:
    """What is there is given; the caller sees that the sum is short."""
    assert (
        b"".join(bytes(chunk.data) for chunk in cut(io.BytesIO(noise(size)[: size // 2]).read, size))
        == noise(size)[: size // 2]
    )


@pytest.mark.parametrize("size", [10 * KIB, 600 * KIB])
def test_a_file_that_grew_is_cut_at_its_size(size: int) -> None:
    """Bytes appended while it is read are left for the next look."""
    stream = io.BytesIO(noise(size) + b"more")
    assert b"".join(bytes(chunk.data) for chunk in cut(stream.read, size)) == noise(size)
    assert stream.tell() == size


def test_memory_is_bounded_by_the_class() -> None:
    """The cutter never asks for more than a few of the largest chunks at once, whatever the size of the file."""
    asked = []

    def read(count: int) -> bytes:
        asked.append(count)
        return bytes(count) if len(asked) < 20 else b""

    for _ in cut(read, 1 << 40):
        pass
    assert max(asked) <= 2 * CHUNK_BYTES_MAX
