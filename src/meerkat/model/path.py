"""The only spelling of a path that crosses a wall.

A `RelPath` names something below the shared folder: components joined by "/", UTF-8 encodable, no empty, "." or
".." component, no NUL, nothing below a `.meerkat`. The empty string is the folder itself. Whoever holds a
`RelPath` may rely on that, because `parse_path` is the one door through which text becomes one.

Names are bytes to the file systems we serve: nothing is normalised here, "é" in its two spellings are two names.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NewType

from meerkat.model.limits import NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, TREE_KEYS_CACHED_MAX

RelPath = NewType("RelPath", str)

ROOT = RelPath("")
MARKER = ".meerkat"
"""The folder that makes a folder a node. Never synced, at any depth: a nested one holds another pool's keys."""


_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u3164\uffa0") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9)])
)


_PLAIN = re.compile(r"\w[\w. -]{0,254}(?:/\w[\w. -]{0,254})*", re.ASCII)
"""Paths as most are, with nothing in their names that would have to be looked at one by one."""


class PathFault(ValueError):
    """The text does not name a path that may be shared; the message says why."""


def check_name(name: str) -> None:
    """Raise `PathFault` unless `name` can be one component of a shared path."""
    if name in ("", ".", ".."):
        raise PathFault(f"component {name!r} is not a name")
    if "/" in name or "\0" in name:
        raise PathFault(f"component {name!r} holds a character that no name may hold")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise PathFault("the name is not valid UTF-8") from None
    if _is_marker(name):
        raise PathFault(f"{MARKER} belongs to the node and is never shared")
    if len(encoded) > NAME_BYTES_MAX:
        raise PathFault(f"a component is longer than {NAME_BYTES_MAX} bytes")


def _is_marker(name: str) -> bool:
    """True when some file system takes the name for `.meerkat`: those that fold case also fold compatible letters and
    skip what cannot be seen (ext4 and f2fs with casefold, HFS+)."""
    if name.isascii():
        return name.casefold() == MARKER
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(char for char in folded if not _is_skipped(char)) == MARKER


def _is_skipped(char: str) -> bool:
    """What Unicode calls default ignorable: format characters, selectors of variants, fillers."""
    return unicodedata.category(char) == "Cf" or char in _UNSEEN or 0xE0000 <= ord(char) < 0xE1000


def parse_path(text: str) -> RelPath:
    """Check `text` and return it as a `RelPath` (not the root).

    Raises:
        PathFault: empty, absolute, with `..`, too long or deep, not UTF-8, or inside a `.meerkat`.
    """
    if not text:
        raise PathFault("the path is empty")
    if len(text) > PATH_BYTES_MAX:
        raise PathFault(f"the path is longer than {PATH_BYTES_MAX} bytes")
    if text.count("/") < PATH_DEPTH_MAX and _PLAIN.fullmatch(text):
        return RelPath(text)
    names = text.split("/")
    if len(names) > PATH_DEPTH_MAX:
        raise PathFault(f"the path is deeper than {PATH_DEPTH_MAX} folders")
    for name in names:
        check_name(name)
    if len(text.encode("utf-8")) > PATH_BYTES_MAX:
        raise PathFault(f"the path is longer than {PATH_BYTES_MAX} bytes")
    return RelPath(text)


def join(folder: RelPath, name: str) -> RelPath:
    """The path of `name` (already checked) inside `folder`."""
    return RelPath(f"{folder}/{name}" if folder else name)


def parent(path: RelPath) -> RelPath:
    """The folder that holds `path`; the root's parent is the root."""
    return RelPath(path.rpartition("/")[0])


def name(path: RelPath) -> str:
    """The last component."""
    return path.rpartition("/")[2]


def ancestors(path: RelPath) -> Iterator[RelPath]:
    """The folders above `path`, nearest first, without the root."""
    while path := parent(path):
        yield path


def is_below(path: RelPath, folder: RelPath) -> bool:
    """True when `path` lies inside `folder` (at any depth); a folder is not below itself."""
    return bool(path) if not folder else path.startswith(folder + "/")


@lru_cache(TREE_KEYS_CACHED_MAX)
def tree_key(path: RelPath) -> bytes:
    """A sort key in which a folder comes right before what is in it: components joined by NUL."""
    return path.replace("/", "\0").encode("utf-8")
