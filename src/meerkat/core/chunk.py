"""Where a file is cut into chunks: content-defined (FastCDC 2020), so that an insert moves no later boundary.

Nodes that cut the same bytes alike reuse more of each other's chunks; nothing else depends on it. The boundaries depend
on the bytes and on the mean length alone. The mean follows the file's size, but a file that is written anew keeps the
mean of what stood there before, as long as that will do: one that grows past a power of two is not all new then.

Most of a file that is written anew is what it was. So after a chunk that the earlier recipe knows, the next bytes are
first compared with the chunk that followed there, by digest; only where they differ is a boundary looked for. The
result is the same (the boundary of a chunk depends on the bytes of that chunk), for a fraction of the work.

The gear table and masks are those of `pyfastcdc`; a test pins them. Memory stays at one window, whatever the size of
the file.

Source: W. Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 31(9), 2020.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from blake3 import blake3
from pyfastcdc import FastCDC

from meerkat.model.ids import Digest
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    CHUNK_MEAN_BYTES_MIN,
    CHUNK_MEAN_KEPT_FACTOR,
    RECIPE_CHUNKS_AIM,
    SINGLE_CHUNK_BYTES_MAX,
)
from meerkat.model.recipe import Chunk, Recipe

_SPREAD: Final = 4  # the least chunk is a fourth of the mean, the largest four times as long
_MEAN_BYTES_MAX: Final = CHUNK_BYTES_MAX // _SPREAD
_REAL_MEAN: Final = 1.2  # what FastCDC makes of a mean, on bytes without a pattern
_TELLING_CHUNKS_MIN: Final = 16  # fewer say nothing about the mean that they were cut by
_WINDOW_BYTES: Final = 4 * CHUNK_BYTES_MAX


class Cut(NamedTuple):
    """One chunk of what is being cut. `data` is valid until the next is asked for."""

    data: memoryview
    digest: Digest


def mean_bytes(size: int, before: Recipe | None = None) -> int:
    """The mean chunk length for a file of `size` bytes: a power of two from 16 KiB to 256 KiB.

    The smallest that keeps the recipe at about `RECIPE_CHUNKS_AIM` chunks; above that the recipe grows instead, because
    a chunk has to fit one message. `before`: the chunks of what this file replaces; their mean is kept while it is
    within a factor of `CHUNK_MEAN_KEPT_FACTOR`.
    """
    mean = CHUNK_MEAN_BYTES_MIN
    while mean < _MEAN_BYTES_MAX and mean * RECIPE_CHUNKS_AIM < size:
        mean *= 2
    if before is not None:
        kept = _mean_of(before)
        if kept is not None and mean <= kept * CHUNK_MEAN_KEPT_FACTOR and kept <= mean * CHUNK_MEAN_KEPT_FACTOR:
            return kept
    return mean


def _mean_of(recipe: Recipe) -> int | None:
    """The mean that a recipe was most likely cut by; None where it does not show."""
    lengths = {chunk.digest: chunk.length for chunk in recipe.chunks[:-1]}  # runs of one byte are cut at the maximum
    if len(lengths) < _TELLING_CHUNKS_MIN:
        return None
    mean = 1 << max(0, round(math.log2(sum(lengths.values()) / len(lengths) / _REAL_MEAN)))
    return min(max(mean, CHUNK_MEAN_BYTES_MIN), _MEAN_BYTES_MAX)


class _Limited:
    """The first `left` bytes behind a `read` function."""

    def __init__(self, read: Callable[[int], bytes], left: int) -> None:
        self._read = read
        self._left = left

    def read(self, count: int) -> bytes:
        data = self._read(min(count, self._left)) if self._left else b""
        self._left -= len(data)
        return data


def cut(read: Callable[[int], bytes], size: int, before: Recipe | None = None) -> Iterator[Cut]:
    """The consecutive chunks of a file of `size` bytes.

    Args:
        read: gives up to `n` of the file's next bytes, and `b""` only at its end (short reads are fine).
        size: bytes to cut. Nothing beyond them is read: a file that has grown is cut at `size`, one that has shrunk
            ends early. The caller compares the sum of the lengths, and the file's lstat, with what it expected.
        before: the chunks of what this file replaces, as far as known; whatever they are, the bytes decide.

    Yields:
        Non-empty chunks of at most `CHUNK_BYTES_MAX` bytes.
    """
    source = _Limited(read, size)
    if size > SINGLE_CHUNK_BYTES_MAX:
        yield from _cut_large(source, mean_bytes(size, before), before)
        return
    parts = []
    while part := source.read(size):
        parts.append(part)
    if parts:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        yield Cut(memoryview(data), Digest(blake3(data).digest()))


def _cut_large(source: _Limited, mean: int, before: Recipe | None) -> Iterator[Cut]:
    cutter = FastCDC(mean, min_size=mean // _SPREAD, max_size=mean * _SPREAD)
    old = _Expected(before, mean)
    window = bytearray(_WINDOW_BYTES)
    view = memoryview(window)
    start = end = 0
    boundaries: Iterator[int] = iter(())
    looked_to = -1  # where the next of `boundaries` begins
    ended = False
    while True:
        if not ended and end - start < mean * _SPREAD:
            window[: end - start] = window[start:end]
            start, end = 0, end - start
            while end < _WINDOW_BYTES and not ended:
                data = source.read(min(2 * CHUNK_BYTES_MAX, _WINDOW_BYTES - end))
                window[end : end + len(data)] = data
                end += len(data)
                ended = not data
            looked_to = -1
        if start == end:
            return
        chunk = old.next
        digest = None
        if chunk is not None and chunk.length <= end - start:
            digest = Digest(blake3(view[start : start + chunk.length]).digest())
        if chunk is not None and digest == chunk.digest:
            length = chunk.length
        else:
            if looked_to != start:
                boundaries = (each.length for each in cutter.cut_buf(view[start:end]))
            length = next(boundaries)
            looked_to = start + length
            digest = Digest(blake3(view[start : start + length]).digest())
        old.follow(digest)
        yield Cut(view[start : start + length], digest)
        start += length


class _Expected:
    """What follows what in the earlier recipe.

    Attributes:
        next: the chunk that is likely to come now; one that this cutter could have made, whoever made it.
    """

    def __init__(self, before: Recipe | None, mean: int) -> None:
        chunks = before.chunks if before is not None else ()
        self._after = dict(
            zip((chunk.digest for chunk in chunks), chunks[1:-1], strict=False)
        )  # the last was cut short
        self._bounds = mean // _SPREAD, mean * _SPREAD
        self.next: Chunk | None = None
        if len(chunks) > 1:
            self._expect(chunks[0])

    def follow(self, digest: Digest) -> None:
        """A chunk of that digest has come."""
        self._expect(self._after.get(digest))

    def _expect(self, chunk: Chunk | None) -> None:
        least, most = self._bounds
        self.next = chunk if chunk is not None and least <= chunk.length <= most else None
