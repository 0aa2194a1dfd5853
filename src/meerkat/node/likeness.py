"""What the file that is replaced has in common with the new one, beyond whole chunks: bases for what is asked for.

Invariant: nothing here decides what a file holds. A basis is bytes to compare with; whatever is made of it is checked
against its digest where it arrives.
"""

import random
from collections.abc import Iterable
from typing import Self

from meerkat.core.delta import Basis, counterparts
from meerkat.disk.root import Root
from meerkat.model.ids import Digest
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    DELTA_FILE_BYTES_MIN,
    DELTA_RECIPE_SLACK_BYTES,
    DELTA_SALT_BYTES,
    DELTA_TRIES_IN_VAIN_MAX,
    SINGLE_CHUNK_BYTES_MAX,
)
from meerkat.model.path import RelPath
from meerkat.model.recipe import Chunk, Recipe, RecipeFault, unpack_recipe
from meerkat.model.version import Base, Kind
from meerkat.node.ports import View
from meerkat.node.serve import read_file

Replaced = tuple[RelPath, Base]
"""Which path, and what stands there."""


class Likeness:
    """Bases from one file that is to be replaced. Methods read from the disk: for worker threads."""

    def __init__(self, root: Root, replaced: Replaced, recipe: Recipe, packed: bytes, rng: random.Random) -> None:
        self._root = root
        self._path, self._base = replaced
        self._recipe = recipe
        self._packed = packed
        self._rng = rng
        self._places: dict[Chunk, tuple[int, int]] = {}
        self._in_vain = 0

    @classmethod
    def of(cls, view: View, root: Root, replaced: Replaced | None, rng: random.Random) -> Self | None:
        """None where there is no such file, or its chunks are not known."""
        if replaced is None or replaced[1].content.kind is not Kind.FILE:
            return None
        base = replaced[1]
        size = base.stat.size
        if size < DELTA_FILE_BYTES_MIN:
            return None
        if size <= SINGLE_CHUNK_BYTES_MAX:
            return cls(root, replaced, Recipe((Chunk(Digest(base.content.ident), 0, size),)), b"", rng)
        packed = view.recipe(base.recipe)
        try:
            return None if packed is None else cls(root, replaced, unpack_recipe(packed, size), packed, rng)
        except RecipeFault:
            return None

    def compare(self, recipe: Recipe, missing: list[Chunk]) -> None:
        """Find what the missing chunks of the new file's recipe may resemble."""
        self._places = counterparts(recipe, self._recipe, missing, CHUNK_BYTES_MAX)

    def of_recipe(self, offset: int) -> Basis | None:
        """For the part of the new file's packed recipe that begins there."""
        start = max(0, offset - DELTA_RECIPE_SLACK_BYTES)
        like = self._packed[start : start + CHUNK_BYTES_MAX]
        return self._basis(like) if like else None

    def of_chunk(self, chunk: Chunk) -> Basis | None:
        """For a missing chunk; None where it is not worth the trouble."""
        place = self._places.get(chunk)
        if place is None or chunk.length < DELTA_FILE_BYTES_MIN or self._in_vain >= DELTA_TRIES_IN_VAIN_MAX:
            return None
        data = read_file(self._root, self._path, self._base, *place)
        return None if data is None else self._basis(data)

    def of_whole(self) -> Basis | None:
        """For a file of one chunk."""
        data = read_file(self._root, self._path, self._base, 0, min(self._base.stat.size, CHUNK_BYTES_MAX))
        return None if data is None else self._basis(data)

    def learn(self, bases: Iterable[Basis]) -> None:
        """What may have resembled these has come."""
        for basis in bases:
            self._in_vain = 0 if basis.saved else self._in_vain + 1

    def _basis(self, data: bytes) -> Basis:
        return Basis(data, self._rng.randbytes(DELTA_SALT_BYTES))
