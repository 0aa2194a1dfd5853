"""What the index answers with: small values that the engine and the store share, though neither knows the other.

The fingerprint's summand lives here because it is part of the protocol: two nodes compare the sums, so every node must
compute the same number from the same living dot, for ever.
"""

from functools import lru_cache
from typing import NamedTuple

from blake3 import blake3

from meerkat.model.dot import Author, Dot
from meerkat.model.limits import AUTHORS_REMEMBERED_MAX
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Version

FINGERPRINT_BYTES = 16
FINGERPRINT_MODULUS = 1 << (8 * FINGERPRINT_BYTES)


class Intent(NamedTuple):
    """A commit under way: what will stand at `path`, under which name it was staged, which inode that is.

    `old` is what this node believes it replaces (None: nothing there). Exactly one of target and nothing:
    `target` None means removal (the old thing is moved to the stage name).
    """

    path: RelPath
    target: Version | None
    stage: str
    inode: int
    old: Base | None


class Totals(NamedTuple):
    """What the index says the folder holds, and how much of it is not here yet."""

    files: int
    folders: int
    bytes: int
    behind_files: int
    behind_bytes: int


class Located(NamedTuple):
    """Where bytes of a wanted chunk can be read on this disk: a path's file whose base has `content`."""

    path: RelPath
    base: Base
    offset: int
    length: int


class Noted(NamedTuple):
    """A write that this node came to know of: when (milliseconds since 1970, by its own clock), where, which."""

    at_ms: int
    path: RelPath
    dot: Dot
    version: Version


class Hold(NamedTuple):
    """Deletions that wait for a person: how many files of how many had gone when it was opened."""

    id: int
    at_ms: int
    files: int
    total: int


@lru_cache(AUTHORS_REMEMBERED_MAX)
def _author_text(author: Author) -> bytes:
    return b"%b\0%d\0" % (author.node.encode(), author.epoch)


def dot_print(key: bytes, dot: Dot) -> int:
    """What one living dot at the path with `tree_key` = `key` adds to the fingerprint (modulo 2^128).

    The sum does not depend on the order of its parts, so it can be kept up to date with each write. The parts of the
    hashed text are separated by what none of them can hold: no key has two NULs in a row.
    """
    text = b"%b\0\0%b%d" % (key, _author_text(dot.author), dot.seq)
    return int.from_bytes(blake3(text).digest(length=FINGERPRINT_BYTES), "big")
