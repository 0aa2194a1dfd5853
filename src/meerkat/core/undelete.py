"""What a deletion took: which paths went together, and what each of them was.

Pure. A tree is deleted as many writes, on whichever node, and comes here in parts. What people call one deletion is
found again by the times at which this node heard of its parts; these decide what is offered to a person, and no more
(G5). What stood at a path is decided by the writes' own order, as the view would (R3).
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from meerkat.model.path import RelPath, is_below, tree_key
from meerkat.model.version import Kind, Version


class Lost(Struct, frozen=True):
    """What stood at a path that nothing stands at now, and when (milliseconds since 1970) its going was heard of."""

    path: RelPath
    version: Version
    at_ms: int


def stood(writes: Sequence[Version]) -> Version | None:
    """What a path showed before it was deleted.

    Args:
        writes: at that path, the newest heard of first.

    Returns:
        of those heard of between the last deletion and the one before it, the one that the view would have shown; None:
        none is known, or the path was not deleted.
    """
    if not writes or writes[0].living:
        return None
    life: list[Version] = []
    for version in writes:
        if version.living:
            life.append(version)
        elif life:
            break
    return max(life, key=lambda each: (each.height, not each.weak, *each.content), default=None)


def together(lost: Iterable[Lost], gap_ms: int) -> list[Lost]:
    """Those that went last, as one deletion, in tree order (folders before what was in them).

    Args:
        gap_ms: those that went no further apart belong together.
    """
    going = sorted(lost, key=lambda each: each.at_ms, reverse=True)
    chosen: list[Lost] = []
    for each in going:
        if chosen and chosen[-1].at_ms - each.at_ms > gap_ms:
            break
        chosen.append(each)
    chosen.sort(key=lambda each: tree_key(each.path))
    return list(_possible(chosen))


def _possible(lost: Iterable[Lost]) -> Iterable[Lost]:
    """Without what cannot have stood there at the same time: what is below a file or a link."""
    leaf = RelPath("")
    for each in lost:
        if leaf and is_below(each.path, leaf):
            continue
        if each.version.kind is not Kind.FOLDER:
            leaf = each.path
        yield each
