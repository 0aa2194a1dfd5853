"""How two replicas of one path become one (MERGE rules R1, R2, R6), and how a write replaces what it saw.

The invariant: a dot leaves a path's siblings only by the merge rule, by a new dot that replaces it, or under the
floor. Nothing here looks at the view, at disks or at clocks.
"""

from collections.abc import Iterable

import msgspec
from blake3 import blake3

from meerkat.model.dot import Dot, Vector, dominates, knows
from meerkat.model.limits import HEIGHT_MAX, HIST_MARKS_MAX, SIBLINGS_MAX
from meerkat.model.version import MARK_BYTES, Content, Kind, Siblings, Version


def merge(mine: Siblings, theirs: Siblings, my_context: Vector, their_context: Vector) -> Siblings:
    """R2: keep a dot that both have, keep one that only one side has where the other's context does not cover it.

    Args:
        my_context, their_context: the contexts *before* they are joined.
    """
    merged = {dot: version for dot, version in mine.items() if dot in theirs or not knows(their_context, dot)}
    for dot, version in theirs.items():
        if dot in mine or not knows(my_context, dot):
            merged[dot] = version
    return merged if len(merged) <= SIBLINGS_MAX else _strongest(merged)


def _strongest(siblings: Siblings) -> Siblings:
    """As many as one path can have: a function of the set alone, so that every node keeps the same ones.

    Only an attack makes so many. The dropped ones count as deleted: whoever has their bytes moves them to the trash.
    """

    def strength(dot: Dot) -> tuple[bool, bool, int, Dot]:
        version = siblings[dot]
        return (version.living, not version.weak, version.height, dot)

    return {dot: siblings[dot] for dot in sorted(siblings, key=strength, reverse=True)[:SIBLINGS_MAX]}


def delta_is_legal(my_context: Vector, their_floor: Vector) -> bool:
    """R2: what the other side forgot must all be known here, else absence there means nothing."""
    return dominates(my_context, their_floor)


def two_faced(mine: Siblings, theirs: Siblings) -> dict[Dot, tuple[Version, Version]]:
    """R12: dots under which the two sides hold different contents. A dot names one write, so somebody's life was
    copied, or somebody lies; the merge rule alone would lose the one and leave the two nodes different."""
    return {
        dot: (mine[dot], theirs[dot]) for dot in mine.keys() & theirs.keys() if mine[dot].content != theirs[dot].content
    }


def mark(content: Content) -> bytes:
    """The short name of a content in a `hist`."""
    if content.kind is Kind.FILE:
        return content.ident[:MARK_BYTES]
    return blake3(bytes([content.kind]) + content.ident).digest()[:MARK_BYTES]


def dots_of(siblings: Siblings, content: Content) -> set[Dot]:
    """The dots of the siblings that hold `content`."""
    return {dot for dot, version in siblings.items() if version.content == content}


def is_kept(siblings: Siblings, content: Content) -> bool:
    """True when something living holds the content, or knowingly superseded it: then its bytes need no further name."""
    short = mark(content)
    return any(
        version.living and (version.content == content or short in version.hist) for version in siblings.values()
    )


def tombstones(siblings: Siblings) -> set[Dot]:
    return {dot for dot, version in siblings.items() if not version.living}


def supersede(siblings: Siblings, replaced: Iterable[Dot], successor: Version, *, keep_height: bool = False) -> Version:
    """R1: `successor` with the height and the hist that come from replacing those dots.

    Args:
        keep_height: leave the successor's height as it is (a conflict copy has its loser's).
    """
    if not siblings and successor.height == 1 and not successor.hist:  # the first that is heard of a path
        return successor
    versions = sorted((siblings[dot] for dot in replaced if dot in siblings), key=lambda version: version.height)
    marks: dict[bytes, None] = {}
    for version in versions:
        for each in version.hist:
            marks[each] = None
        if version.living:
            marks[mark(version.content)] = None
    if successor.living:
        marks.pop(mark(successor.content), None)
    grown = min(HEIGHT_MAX, 1 + max((version.height for version in versions), default=0))
    height = successor.height if keep_height else grown
    return msgspec.structs.replace(successor, height=height, hist=tuple(marks)[-HIST_MARKS_MAX:])


def replace(siblings: Siblings, replaced: Iterable[Dot], dot: Dot, version: Version) -> Siblings:
    """The siblings after a write: `replaced` gone, the new dot in."""
    gone = set(replaced)
    result = {each: kept for each, kept in siblings.items() if each not in gone}
    result[dot] = version
    return result


def retractable(siblings: Siblings) -> set[Dot]:
    """R6: weak living siblings whose content another sibling has superseded. What a person wrote is never in it."""
    if len(siblings) < 2:
        return set()
    return {
        dot
        for dot, version in siblings.items()
        if version.weak
        and version.living
        and any(
            mark(version.content) in other.hist and other.content != version.content
            for each, other in siblings.items()
            if each != dot
        )
    }
