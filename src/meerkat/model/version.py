"""What one write made of a path, and what a disk shows there.

`Content` is what decides whether two versions are the same thing (kind, digest, link target); times and bits are
metadata beside it. A `Version` is immutable once its dot is told to anyone.
"""

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from meerkat.model.dot import Dot
from meerkat.model.ids import DIGEST_BYTES, NO_DIGEST, Digest, is_id
from meerkat.model.limits import (
    FILE_BYTES_MAX,
    HEIGHT_MAX,
    HIST_MARKS_MAX,
    SINGLE_CHUNK_BYTES_MAX,
    TARGET_BYTES_MAX,
    TIME_NS_MAX,
)
from meerkat.model.path import RelPath


class Kind(IntEnum):
    """The numbers are stored and sent: never reuse one."""

    FILE = 1
    FOLDER = 2
    SYMLINK = 3
    TOMBSTONE = 4


for _kind in Kind:  # Python 3.11 finds a member through a property written in Python; later ones store it like this
    type.__setattr__(Kind, _kind.name, _kind)


class Content(NamedTuple):
    """What is at a path, without its metadata. `ident`: a file's digest, a link's target bytes, else empty."""

    kind: Kind
    ident: bytes


FOLDER = Content(Kind.FOLDER, b"")

MODE_MASK = 0o777
"""The permission bits that travel. Set-uid, set-gid and sticky bits never do: a peer must not plant them."""

MARK_BYTES = 8
"""Length of a `hist` mark. A truncated mark that meets another costs a spurious tombstone of a weak copy at worst."""


class VersionFault(ValueError):
    """A version that breaks the rules of its kind."""


class Version(Struct, frozen=True):
    """One write at one path.

    Attributes:
        size: bytes of a file, else 0.
        mtime_ns: modification time in nanoseconds since 1970 (for showing and for the disk, never for order).
        mode: permission bits within `MODE_MASK`; 0 for links and tombstones.
        digest: BLAKE3-256 of a file's bytes, else empty.
        recipe: BLAKE3-256 of the packed recipe of a file of several chunks, else empty.
        target: a link's target as the link spells it (surrogateescape for bytes that are not UTF-8).
        height: 1 + the greatest height that this write replaced; grows along edits, replaces clocks.
        weak: no person wrote this just now (adopted on import, or an automatic conflict copy).
        hist: marks of contents that this version superseded, oldest first, bounded.
        origin: in a conflict copy, whose version it holds (a node id), for showing to people; in what a person left in
            place of a version that nobody had any more, who wrote that; else empty.
    """

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    digest: Digest = NO_DIGEST
    recipe: Digest = NO_DIGEST
    target: str = ""
    height: int = 1
    weak: bool = False
    hist: tuple[bytes, ...] = ()
    origin: str = ""

    @property
    def content(self) -> Content:
        if self.kind is Kind.SYMLINK:
            return Content(self.kind, self.target.encode("utf-8", "surrogateescape"))
        return Content(self.kind, self.digest)

    @property
    def living(self) -> bool:
        return self.kind is not Kind.TOMBSTONE

    @property
    def copy_of(self) -> str:
        """Whose version an automatic conflict copy holds (it is always weak); else empty."""
        return self.origin if self.weak else ""

    @property
    def gave_up(self) -> str:
        """Whose version was given up for this one, since nobody had its bytes any more; else empty."""
        return "" if self.weak else self.origin

    def ensure_valid(self) -> None:
        """Raise `VersionFault` unless every field fits the kind and its limits."""
        if self.kind is Kind.FILE:
            if len(self.digest) != DIGEST_BYTES:
                raise VersionFault("a file needs a digest of 32 bytes")
            if len(self.recipe) not in (0, DIGEST_BYTES):
                raise VersionFault("a recipe's digest has 32 bytes")
            if self.size > SINGLE_CHUNK_BYTES_MAX and not self.recipe:
                raise VersionFault("a file of several chunks needs a recipe")
        elif self.digest or self.recipe or self.size:
            raise VersionFault(f"a {self.kind.name.lower()} has no bytes")
        if not 0 <= self.size <= FILE_BYTES_MAX:
            raise VersionFault(f"size {self.size} is out of range")
        if self.kind is Kind.SYMLINK:
            if not self.target or "\0" in self.target or len(self.content.ident) > TARGET_BYTES_MAX:
                raise VersionFault("a link needs a target without NUL, of bounded length")
        elif self.target:
            raise VersionFault("only a link has a target")
        if self.mode & ~MODE_MASK:
            raise VersionFault(f"mode {self.mode:o} holds more than permission bits")
        if not 1 <= self.height <= HEIGHT_MAX or not -TIME_NS_MAX <= self.mtime_ns <= TIME_NS_MAX:
            raise VersionFault("height or time out of range")
        if len(self.hist) > HIST_MARKS_MAX or any(len(mark) != MARK_BYTES for mark in self.hist):
            raise VersionFault("hist is not a bounded list of marks")
        if self.origin and not is_id(self.origin):
            raise VersionFault("the origin is not a node id")


Siblings = dict[Dot, Version]


class Entry(Struct, frozen=True):
    """All siblings of one path, as they travel and as they are stored."""

    path: RelPath
    siblings: Siblings


class Stat(NamedTuple):
    """The part of lstat that tells whether a path was touched. Times in nanoseconds, `mode` within `MODE_MASK`."""

    kind: Kind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


class Base(Struct, frozen=True):
    """What this node last put or saw at a path of its own disk.

    Attributes:
        content: never "whatever the index says now", but what was there.
        recipe: digest of the file's packed recipe, empty for one chunk.
        stat: how it looked then. A differing lstat means: look again.
        racy: the file changed so shortly before it was read that an equal lstat proves nothing (git's rule).
    """

    content: Content
    stat: Stat
    recipe: Digest = NO_DIGEST
    racy: bool = False
