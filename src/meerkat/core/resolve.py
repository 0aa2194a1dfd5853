"""What a path shows when its siblings disagree, and what the loser's copy is called (MERGE rules R3, R7).

The view is a pure function of the siblings (and of whether something lives below): every node computes the same one,
whatever it has seen first. It never changes the index.
"""

import re

from blake3 import blake3
from msgspec import Struct

from meerkat.model.dot import Dot
from meerkat.model.limits import NAME_BYTES_MAX, PATH_BYTES_MAX
from meerkat.model.path import RelPath, join, name, parent
from meerkat.model.version import FOLDER, Content, Kind, Siblings, Version

_TAG = re.compile(r"\.conflict-[0-9a-f]{8}(?=\.[^.]*\Z|\Z)")


class Item(Struct, frozen=True):
    """Twins as one: a content, all its dots, and the version whose metadata counts (that of the greatest dot)."""

    content: Content
    dots: frozenset[Dot]
    version: Version


class Outlook(Struct, frozen=True):
    """What a path should show.

    Attributes:
        winner: None means: nothing.
        losers: other living contents, best first.
        implied: the winner is a folder only because something lives below it; its bits are the same on every node.
    """

    winner: Item | None
    losers: tuple[Item, ...] = ()
    implied: bool = False


IMPLIED_FOLDER = Item(FOLDER, frozenset(), Version(Kind.FOLDER, mode=0o755))


def view(siblings: Siblings, living_below: bool) -> Outlook:
    """R3: group the living by content; a folder first, then not-weak, then height, then digest."""
    if len(siblings) == 1:  # as almost always
        ((dot, version),) = siblings.items()
        if version.living and not (living_below and version.kind is not Kind.FOLDER):
            return Outlook(Item(version.content, frozenset((dot,)), version))
    groups: dict[Content, list[Dot]] = {}
    for dot, version in siblings.items():
        if version.living:
            groups.setdefault(version.content, []).append(dot)
    if not groups:
        return Outlook(IMPLIED_FOLDER, implied=True) if living_below else Outlook(None)

    def rank(content: Content) -> tuple[bool, bool, int, int, bytes]:
        strength = max((not siblings[dot].weak, siblings[dot].height) for dot in groups[content])
        return (content.kind is Kind.FOLDER, *strength, content.kind, content.ident)

    items = [
        Item(content, frozenset(groups[content]), siblings[max(groups[content])])
        for content in sorted(groups, key=rank, reverse=True)
    ]
    if living_below and items[0].content != FOLDER:
        return Outlook(IMPLIED_FOLDER, tuple(items), implied=True)
    return Outlook(items[0], tuple(items[1:]))


def copy_path(path: RelPath, content: Content) -> RelPath:
    """R7: where a loser's bytes go: a function of path and content alone, so that every node makes the same copy.

    `report.docx` becomes `report.conflict-3f9a12c4.docx`. Where that would be too long a name or path, the stem is cut
    and the tag is taken over path and digest together, so that the copy of a cut copy never falls on itself; where even
    the tag does not fit, the copy stands in the nearest folder above that has room.
    """
    stem, dot, extension = name(path).rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = name(path), "", ""
    digest = content.ident if content.kind is Kind.FILE else blake3(bytes([content.kind]) + content.ident).digest()
    copy = join(parent(path), f"{stem}.conflict-{digest.hex()[:8]}{dot}{extension}")
    if len(name(copy).encode()) <= NAME_BYTES_MAX and len(copy.encode()) <= PATH_BYTES_MAX:
        return copy
    tag = blake3(path.encode() + b"\0" + digest).hexdigest()[:8]
    suffix = f".conflict-{tag}{dot}{extension}"
    folder = parent(path)
    while (room := PATH_BYTES_MAX - len(join(folder, suffix).encode())) < 0:
        folder = parent(folder)
    room = min(room, NAME_BYTES_MAX - len(suffix.encode()))
    return join(folder, stem.encode()[:room].decode("utf-8", "ignore") + suffix)


def copied_from(path: RelPath) -> RelPath | None:
    """The path that a conflict copy belongs to, by its name; None when it is not named like one."""
    last = name(path)
    if ".conflict-" not in last:
        return None
    found = list(_TAG.finditer(last))
    if not found:
        return None
    tag = found[-1]
    return join(parent(path), last[: tag.start()] + last[tag.end() :])


def is_copy(path: RelPath, content: Content) -> bool:
    """True when the path is the very name that a conflict copy of this content has: whoever put it there, it is one."""
    belongs = copied_from(path)
    return belongs is not None and copy_path(belongs, content) == path
