"""Differences inside one piece: an edit of a few bytes costs a few kilobytes, whatever chunk it fell into.

Whoever edits a file has overwritten its old bytes; only those who ask for the new ones have both. So the asker sends a
sketch of its old bytes: it cuts them finely where their content says so (FastCDC, about 1 KiB), and sends a short mark
of each part. Whoever answers cuts the new bytes the same way and tells them as steps: parts that the asker has, and
bytes in between. One question, one answer, no bytes that both have.

Marks are short, and salted with what the asker alone has chosen, so that nobody can prepare parts that pass for each
other. Invariant: nothing relies on them. What is put together is checked against its digest like any other answer.
"""

from typing import Final

from blake3 import blake3
from pyfastcdc import FastCDC

from meerkat.model.frame import Delta, DeltaStep, Sketch
from meerkat.model.limits import DELTA_GAIN_BYTES_MIN, DELTA_MARK_BYTES, DELTA_MARKS_MAX, DELTA_PART_BYTES_MEAN
from meerkat.model.recipe import Chunk, Recipe

_SPREAD: Final = 4


def _parts(data: bytes) -> list[memoryview]:
    if not data:
        return []
    mean = DELTA_PART_BYTES_MEAN
    cutter = FastCDC(mean, min_size=mean // _SPREAD, max_size=mean * _SPREAD)
    view, parts, at = memoryview(data), [], 0
    for part in cutter.cut_buf(view):
        parts.append(view[at : at + part.length])
        at += part.length
    return parts


def _mark(salt: bytes, part: memoryview) -> bytes:
    return blake3(salt + part).digest(DELTA_MARK_BYTES)


class Basis:
    """Bytes that this node has and that a wanted piece may resemble, and their sketch.

    Attributes:
        saved: bytes of the answer that came from here.
    """

    __slots__ = ("_parts", "length", "saved", "sketch")

    def __init__(self, data: bytes, salt: bytes) -> None:
        self._parts = _parts(data)[:DELTA_MARKS_MAX]
        self.length = len(data)
        self.sketch = Sketch(salt, b"".join(_mark(salt, part) for part in self._parts))
        self.saved = 0

    def restore(self, delta: Delta, length_max: int) -> bytes | None:
        """What the delta describes, not yet checked; None when it names parts that there are not, or would come out
        longer than `length_max`."""
        pieces: list[bytes | memoryview] = []
        length = saved = 0
        for step in delta.steps:
            if step.first + step.count > len(self._parts):
                return None
            for part in self._parts[step.first : step.first + step.count]:
                pieces.append(part)
                saved += len(part)
            length += len(step.data)
            if length + saved > length_max:
                return None
            pieces.append(step.data)
        self.saved = saved
        return b"".join(pieces)


def difference(data: bytes, sketch: Sketch) -> Delta | None:
    """`data` as steps over the sketched parts; None where that saves too little."""
    places = {
        sketch.marks[at : at + DELTA_MARK_BYTES]: at // DELTA_MARK_BYTES
        for at in range(0, len(sketch.marks), DELTA_MARK_BYTES)
    }
    steps: list[DeltaStep] = []
    first = count = saved = 0
    new: list[memoryview] = []
    for part in _parts(data):
        place = places.get(_mark(sketch.salt, part))
        if place is None:
            new.append(part)
            continue
        saved += len(part)
        if count and not new and place == first + count:
            count += 1
            continue
        if count or new:
            steps.append(DeltaStep(first, count, b"".join(new)))
        first, count, new = place, 1, []
    if count or new:
        steps.append(DeltaStep(first, count, b"".join(new)))
    return Delta(tuple(steps)) if saved >= DELTA_GAIN_BYTES_MIN else None


def counterparts(recipe: Recipe, before: Recipe, wanted: list[Chunk], bytes_max: int) -> dict[Chunk, tuple[int, int]]:
    """Where in the file of `before` the bytes stood that became the wanted chunks of `recipe`: offset and length.

    Between two chunks that both files have, something was replaced, and what it replaced lies between the same two. So
    the place is told twice, by how far the chunk before it has moved, and by how far the one after it has; both are
    taken in where they lie close together.
    """
    known = {chunk.digest: chunk.offset for chunk in before.chunks}
    missing = set(wanted)
    before_it: dict[Chunk, int] = {}
    shift = 0
    for chunk in recipe.chunks:
        if chunk in missing:
            before_it[chunk] = shift
        elif chunk.digest in known:
            shift = known[chunk.digest] - chunk.offset
    found = {}
    shift = before.size - recipe.size
    for chunk in reversed(recipe.chunks):
        if chunk in missing:
            low, high = sorted((chunk.offset + before_it[chunk], chunk.offset + shift))
            if high - low + chunk.length > bytes_max:
                low = high = chunk.offset + before_it[chunk]
            start, end = max(0, low), min(before.size, high + chunk.length)
            if start < end:
                found[chunk] = start, end - start
        elif chunk.digest in known:
            shift = known[chunk.digest] - chunk.offset
    return found
