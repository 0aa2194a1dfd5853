"""Cutting: same bytes, same chunks; small edits change few of them."""

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from meerkat.core.chunk import average_bytes, cut
from meerkat.model.limits import CHUNK_BYTES_MAX, KIB, MIB, SINGLE_CHUNK_BYTES_MAX

PINNED_LENGTHS = [
    6699, 16876, 19736, 19972, 28725, 19558, 35132, 21023, 20874, 4164, 17094, 14724, 24018, 23934, 18744, 15927,
]  # fmt: skip


def chunks_of(data: bytes) -> list[bytes]:
    return [bytes(chunk) for chunk in cut(io.BytesIO(data).read, len(data))]


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize(
    ("size", "mean"),
    [
        (0, 16 * KIB),
        (1, 16 * KIB),
        (64 * MIB, 16 * KIB),
        (64 * MIB + 1, 32 * KIB),
        (128 * MIB, 32 * KIB),
        (256 * MIB + 1, 128 * KIB),
        (1024 * MIB, 256 * KIB),
        (1024 * MIB + 1, 256 * KIB),
        (1 << 44, 256 * KIB),
    ],
)
def test_size_classes(size: int, mean: int) -> None:
    """The mean doubles so that a recipe stays near 4096 chunks, and stops where a chunk would outgrow a message."""
    assert average_bytes(size) == mean
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
    mean = average_bytes(len(data))
    whole = [bytes(chunk.data) for chunk in FastCDC(mean, min_size=mean // 4, max_size=mean * 4).cut_buf(data)]
    assert chunks_of(data) == whole


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 600 * KIB), st.integers(0, 2**32), st.integers(1, 50_000))
def test_short_reads_change_nothing(size: int, seed: int, stride: int) -> None:
    """However the bytes dribble in, the chunks are the same."""
    data = noise(size, seed)
    stream = io.BytesIO(data)
    dribbled = [bytes(chunk) for chunk in cut(lambda count: stream.read(min(count, stride)), size)]
    assert dribbled == chunks_of(data)


def test_an_insert_at_the_front_costs_few_chunks() -> None:
    """A byte at the front of a file moves no later boundary."""
    data = noise(4 * MIB)
    before, after = set(chunks_of(data)), set(chunks_of(b"!" + data))
    assert len(after - before) <= 3


def test_constant_bytes_are_cut_at_the_maximum() -> None:
    """A hole or a run of zeros gives equal chunks of the largest length."""
    assert {len(chunk) for chunk in chunks_of(bytes(MIB))} == {64 * KIB}


@pytest.mark.parametrize("size", [10 * KIB, 600 * KIB])
def test_a_file_that_shrank_ends_early(size: int) -> None:
    """What is there is given; the caller sees that the sum is short."""
    assert b"".join(map(bytes, cut(io.BytesIO(noise(size)[: size // 2]).read, size))) == noise(size)[: size // 2]


@pytest.mark.parametrize("size", [10 * KIB, 600 * KIB])
def test_a_file_that_grew_is_cut_at_its_size(size: int) -> None:
    """Bytes appended while it is read are left for the next look."""
    stream = io.BytesIO(noise(size) + b"more")
    assert b"".join(map(bytes, cut(stream.read, size))) == noise(size)
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
