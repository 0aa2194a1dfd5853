"""Index minus disk: what is to be done at a path (MERGE rules R7, R8, R13).

The plan is derived, never stored: one step for one path, a function of its siblings, its base and what lives around
it. After the step the path is looked at again, until the answer is `Settled`.
"""

from msgspec import Struct

from meerkat.core.resolve import Item, Outlook, copy_path, view
from meerkat.model.dot import Dot
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Base, Kind, Siblings, Version


class Settled(Struct, frozen=True):
    """The disk shows what it should, and no loser waits."""


class Place(Struct, frozen=True):
    """Put this version there (file, link or folder), in place of the base. `dots`: whoever wrote it will have it."""

    version: Version
    dots: frozenset[Dot]


class Remove(Struct, frozen=True):
    """Take away what stands there (a folder only once it is empty)."""


class Retouch(Struct, frozen=True):
    """Same content, other times or bits."""

    version: Version


class KeepLoser(Struct, frozen=True):
    """A loser's bytes must stand at `copy` before anything else happens to it (R7).

    Attributes:
        holder: this node's disk shows the loser, so it is the one to act, at once. Others step in later, in case no
            holder is left.
    """

    loser: Item
    copy: RelPath
    holder: bool


Step = Settled | Place | Remove | Retouch | KeepLoser


def plan(path: RelPath, siblings: Siblings, base: Base | None, living_below: bool) -> Step:
    """The next step at `path`, given that its disk is as `base` says."""
    outlook = view(siblings, living_below)
    loser = _loser_to_keep(outlook, base)
    if loser is not None and base is not None and loser.content == base.content:
        return KeepLoser(loser, copy_path(path, loser.content), holder=True)
    winner = outlook.winner
    if winner is None:
        return Settled() if base is None else Remove()
    if base is None or base.content != winner.content:
        return Place(winner.version, winner.dots)
    if differs(base, winner.version):
        return Retouch(winner.version)
    if loser is not None:
        return KeepLoser(loser, copy_path(path, loser.content), holder=False)
    return Settled()


def differs(base: Base, version: Version) -> bool:
    """True when the disk's metadata is not the version's, as far as it travels."""
    if version.kind is Kind.SYMLINK:
        return False
    if version.kind is Kind.FILE and base.stat.mtime_ns != version.mtime_ns:
        return True
    return base.stat.mode != version.mode


def _loser_to_keep(outlook: Outlook, base: Base | None) -> Item | None:
    """The loser to be dealt with first: the one on this disk, else the best. A losing folder needs no copy: if
    anything lives in it, it is implied."""
    losers = [item for item in outlook.losers if item.content != FOLDER]
    for item in losers:
        if base is not None and item.content == base.content:
            return item
    return losers[0] if losers else None
