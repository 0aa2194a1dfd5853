"""Dots name writes; vectors say up to where an author's writes are known.

An author is one life of a node (its epoch changes whenever its continuity cannot be proven), so a dot is never
given twice. Vectors are plain dicts `author -> highest sequence`; an absent author counts as 0.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from meerkat.model.ids import NodeId


class Author(NamedTuple):
    """One life of a node. `epoch` is a random 63-bit number."""

    node: NodeId
    epoch: int


class Dot(NamedTuple):
    """The name of one write: the author's `seq`-th, counted from 1."""

    author: Author
    seq: int


Vector = Mapping[Author, int]


def knows(vector: Vector, dot: Dot) -> bool:
    """True when the vector covers the dot."""
    return vector.get(dot.author, 0) >= dot.seq


def dominates(upper: Vector, lower: Vector) -> bool:
    """True when `upper` covers everything that `lower` does."""
    return all(upper.get(author, 0) >= seq for author, seq in lower.items())


def joined(one: Vector, other: Vector) -> dict[Author, int]:
    """The least vector that dominates both."""
    result = dict(one)
    for author, seq in other.items():
        if seq > result.get(author, 0):
            result[author] = seq
    return result


def beyond(upper: Vector, lower: Vector) -> dict[Author, int]:
    """The part of `upper` that `lower` does not cover."""
    return {author: seq for author, seq in upper.items() if seq > lower.get(author, 0)}


def lowered(vector: Vector, missing: Iterable[Dot]) -> dict[Author, int]:
    """The greatest vector below `vector` that covers none of the `missing` dots."""
    result = dict(vector)
    for dot in missing:
        if result.get(dot.author, 0) >= dot.seq:
            result[dot.author] = dot.seq - 1
    return result


def difference(vector: Vector, base: Vector) -> dict[Author, int]:
    """What turns `base` into `vector`, see `restored`; an author that only `base` has is in it at 0."""
    changed = {author: seq for author, seq in vector.items() if base.get(author, 0) != seq}
    changed.update((author, 0) for author in base if author not in vector)
    return changed


def restored(changed: Vector, base: Vector) -> Vector:
    """The vector that differs so from `base`: that one itself when nothing does, so that many equal ones are one."""
    if not changed:
        return base
    return {author: seq for author, seq in {**base, **changed}.items() if seq}
