"""Which versions of a path stand beside each other, and whose each is: read from the index, nothing else."""

from collections.abc import Callable

from msgspec import Struct

from meerkat.core.merge import is_kept
from meerkat.core.resolve import Item, copied_from, copy_path
from meerkat.core.resolve import view as outlook
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Content, Entry, Kind, Version
from meerkat.node.hub import now_text
from meerkat.node.ports import View

Json = dict[str, object]


class Side(Struct, frozen=True):
    """One version of a path in conflict.

    Attributes:
        path: where it stands; of a loser that has no copy yet, where that will be.
        node: whose it is.
        current: it is the one that the path shows.
        here: this disk shows it there.
    """

    path: RelPath
    node: NodeId
    version: Version
    current: bool
    here: bool


def sides_of(view: View, path: RelPath) -> list[Side]:
    """The versions of a path: the shown one first, then its copies, then losers that have none yet."""
    sides = []
    shown = outlook(view.siblings(path), view.has_living_below(path))
    if shown.winner is not None:
        sides.append(_side(view, path, shown.winner, current=True))
    sides += [_side(view, entry.path, item, current=False) for entry, item in _copies(view) if _belongs(entry, path)]
    return sides + _losers(view, path)


def list_conflicts(view: View, name_of: Callable[[NodeId], str]) -> list[Json]:
    """`meerkat conflicts --json`: each path with the other versions of it."""
    rows: dict[RelPath, list[Json]] = {}
    for entry, item in _copies(view):
        belongs = copied_from(entry.path)
        if belongs is not None:
            rows.setdefault(belongs, []).append(
                _row(_side(view, entry.path, item, current=False), name_of, copied=True)
            )
    for path in view.conflicted():
        rows.setdefault(path, []).extend(_row(side, name_of, copied=False) for side in _losers(view, path))
    return [{"path": path, "copies": copies} for path, copies in sorted(rows.items())]


def _copies(view: View) -> list[tuple[Entry, Item]]:
    found = []
    for entry in view.copies():
        item = outlook(entry.siblings, living_below=False).winner
        if item is not None:
            found.append((entry, item))
    return found


def _belongs(entry: Entry, path: RelPath) -> bool:
    return copied_from(entry.path) == path


def _losers(view: View, path: RelPath) -> list[Side]:
    """What lost and has no copy yet: no node that is online may have its bytes."""
    found = []
    for item in outlook(view.siblings(path), view.has_living_below(path)).losers:
        copy = copy_path(path, item.content)
        if item.content != FOLDER and not is_kept(view.siblings(copy), item.content):
            found.append(Side(copy, _writer(view, path, item), item.version, current=False, here=False))
    return found


def _side(view: View, path: RelPath, item: Item, *, current: bool) -> Side:
    return Side(path, _writer(view, path, item), item.version, current, _shows(view, path, item.content))


def _shows(view: View, path: RelPath, content: Content) -> bool:
    base = view.base(path)
    return base is not None and base.content == content


def _writer(view: View, path: RelPath, item: Item) -> NodeId:
    """Whose version it is; a folder that is there only for what is in it is of whoever wrote that."""
    if item.version.copy_of:
        return NodeId(item.version.copy_of)
    dots = item.dots
    if not dots:
        below = (
            outlook(entry.siblings, living_below=False).winner for entry in view.entries(path) if entry.path != path
        )
        dots = next((found.dots for found in below if found is not None), dots)
    return max(dots).author.node if dots else NodeId("")


def _row(side: Side, name_of: Callable[[NodeId], str], *, copied: bool) -> Json:
    version = side.version
    return {
        "path": side.path,
        "node": side.node,
        "name": name_of(side.node),
        "at": now_text(version.mtime_ns / 1e9),
        "size": version.size,
        "digest": version.digest.hex(),
        "kind": version.kind.name.lower(),
        "copied": copied,
    } | ({"target": version.target} if version.kind is Kind.SYMLINK else {})
