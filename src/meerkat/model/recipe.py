"""A file's list of chunks, and its one packed form.

Packed: for each chunk 32 bytes of BLAKE3-256 and 4 bytes of length (big-endian), nothing else. The digest of the
packed form names the recipe. Files of a single chunk have none: their chunk is the file.
"""

from typing import NamedTuple

from msgspec import Struct

from meerkat.model.ids import DIGEST_BYTES, Digest
from meerkat.model.limits import CHUNK_BYTES_MAX, RECIPE_CHUNK_BYTES_AVERAGE_MIN, RECIPE_CHUNKS_MAX

_RECORD_BYTES = DIGEST_BYTES + 4


class RecipeFault(ValueError):
    """Bytes that are not a recipe, or a recipe that does not add up."""


class Chunk(NamedTuple):
    """One piece of a file: its BLAKE3-256, where it starts and how long it is (bytes)."""

    digest: Digest
    offset: int
    length: int


class Recipe(Struct, frozen=True):
    """The chunks of one file in order, without gaps."""

    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        return self.chunks[-1].offset + self.chunks[-1].length if self.chunks else 0

    def pack(self) -> bytes:
        return b"".join(chunk.digest + chunk.length.to_bytes(4, "big") for chunk in self.chunks)


def recipe_bytes_max(size: int) -> int:
    """How long the packed recipe of a file of `size` bytes can be: nobody cuts a file into crumbs."""
    return _RECORD_BYTES * min(RECIPE_CHUNKS_MAX, size // RECIPE_CHUNK_BYTES_AVERAGE_MIN + 1)


def unpack_recipe(packed: bytes, size: int) -> Recipe:
    """The recipe in `packed`, for a file of `size` bytes.

    Raises:
        RecipeFault: not whole records, too many chunks, a length out of range, or lengths that do not sum to `size`.
    """
    if len(packed) % _RECORD_BYTES:
        raise RecipeFault("the recipe is cut short")
    if len(packed) > recipe_bytes_max(size):
        raise RecipeFault(f"{len(packed) // _RECORD_BYTES} chunks are too many for {size} bytes")
    chunks = []
    offset = 0
    for start in range(0, len(packed), _RECORD_BYTES):
        length = int.from_bytes(packed[start + DIGEST_BYTES : start + _RECORD_BYTES], "big")
        if not 0 < length <= CHUNK_BYTES_MAX:
            raise RecipeFault(f"a chunk of {length} bytes")
        chunks.append(Chunk(Digest(packed[start : start + DIGEST_BYTES]), offset, length))
        offset += length
    if offset != size:
        raise RecipeFault(f"the chunks sum to {offset} bytes, the file has {size}")
    return Recipe(tuple(chunks))
