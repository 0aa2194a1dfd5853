"""Authors, contents and bases for an index that holds a handful of things (its fixture: `store/conftest.py`)."""

from meerkat.model.dot import Author
from meerkat.model.ids import Digest, NodeId
from meerkat.model.version import Base, Kind, Stat, Version

AUTHORS = tuple(Author(NodeId(letter * 32), epoch) for letter in "ab" for epoch in (1, 2**63 - 1))
HERE = AUTHORS[0]
DIGESTS = tuple(Digest(bytes([number]) * 32) for number in (1, 2, 3))
FILE = Version(Kind.FILE, size=10, digest=DIGESTS[0])


def base_of(version: Version) -> Base:
    return Base(version.content, Stat(version.kind, version.size, 1, 2, 3, 0o644), version.recipe)
