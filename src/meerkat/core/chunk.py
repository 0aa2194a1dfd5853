"""Where a file is cut into chunks: content-defined (FastCDC 2020), so that an insert moves no later boundary.

Every node must cut the same bytes the same way, or nothing is reused between them: the boundaries depend on the
bytes and the file's size class alone. The gear table and masks are those of `pyfastcdc`; a test pins them. Memory
stays below three of the largest chunks, whatever the size of the file.

Source: W. Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 31(9), 2020.
"""

from collections.abc import Callable, Iterator

from pyfastcdc import FastCDC

from meerkat.model.limits import CHUNK_BYTES_MAX, CHUNK_MEAN_BYTES_MIN, RECIPE_CHUNKS_AIM, SINGLE_CHUNK_BYTES_MAX

_MEAN_BYTES_MAX = CHUNK_BYTES_MAX // 4


def average_bytes(size: int) -> int:
    """The mean chunk length for a file of `size` bytes: a power of two from 16 KiB to 256 KiB.

    The smallest that keeps the recipe at about `RECIPE_CHUNKS_AIM` chunks; above 1 GiB the recipe grows instead,
    because a chunk has to fit one message.
    """
    mean = CHUNK_MEAN_BYTES_MIN
    while mean < _MEAN_BYTES_MAX and mean * RECIPE_CHUNKS_AIM < size:
        mean *= 2
    return mean


class _Limited:
    """The first `left` bytes behind a `read` function, in the shape that the cutter wants."""

    def __init__(self, read: Callable[[int], bytes], left: int) -> None:
        self._read = read
        self._left = left

    def read(self, count: int) -> bytes:
        data = self._read(min(count, self._left)) if self._left else b""
        self._left -= len(data)
        return data


def cut(read: Callable[[int], bytes], size: int) -> Iterator[bytes | memoryview]:
    """The consecutive chunks of a file of `size` bytes.

    Args:
        read: gives up to `n` of the file's next bytes, and `b""` only at its end (short reads are fine).
        size: bytes to cut. Nothing beyond them is read: a file that has grown is cut at `size`, one that has shrunk
            ends early. The caller compares the sum of the lengths, and the file's lstat, with what it expected.

    Yields:
        Non-empty chunks of at most `CHUNK_BYTES_MAX` bytes. A memoryview is valid until the next chunk is asked for.
    """
    source = _Limited(read, size)
    if size <= SINGLE_CHUNK_BYTES_MAX:
        parts = []
        while part := source.read(size):
            parts.append(part)
        if parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        return
    mean = average_bytes(size)
    cutter = FastCDC(mean, min_size=mean // 4, max_size=mean * 4)
    for chunk in cutter.cut_stream(source):
        yield chunk.data
