"""What a look at the disk means for the index (MERGE rules R4, R5, R11, R12).

Pure: known siblings, the base (what this node last put or saw there) and what is there now go in; the write that a
person's doing amounts to comes out, or nothing. A write replaces only what the person saw (the base's content), never
what this node merely heard of. The new base is always what is there now; the caller records it.
"""

from collections.abc import Iterator

from msgspec import Struct

from meerkat.core.merge import dots_of, mark, supersede, tombstones
from meerkat.core.resolve import view
from meerkat.model.dot import Dot
from meerkat.model.ids import Digest
from meerkat.model.path import RelPath, tree_key
from meerkat.model.version import FOLDER, Base, Content, Kind, Siblings, Stat, Version


class Change(Struct, frozen=True):
    """A new version and the dots that it replaces."""

    version: Version
    replaces: frozenset[Dot]


def version_of(base: Base, *, weak: bool = False) -> Version:
    """The version that describes what a look found (height and hist come when it is written)."""
    kind, ident = base.content
    stat = base.stat
    match kind:
        case Kind.FILE:
            return Version(
                kind,
                size=stat.size,
                mtime_ns=stat.mtime_ns,
                mode=stat.mode,
                digest=Digest(ident),
                recipe=base.recipe,
                weak=weak,
            )
        case Kind.FOLDER:
            return Version(kind, mode=stat.mode, weak=weak)
        case Kind.SYMLINK:
            return Version(kind, mtime_ns=stat.mtime_ns, target=ident.decode("utf-8", "surrogateescape"), weak=weak)
        case _:
            raise AssertionError(f"a disk never shows a {kind!r}")


def touched(before: Base, now: Base) -> bool:
    """True when the metadata that travels differs: bits, and a file's time."""
    if now.content.kind is Kind.SYMLINK:
        return False
    if now.content.kind is Kind.FILE and before.stat.mtime_ns != now.stat.mtime_ns:
        return True
    return before.stat.mode != now.stat.mode


def compare(siblings: Siblings, base: Base | None, have: Base | None, living_below: bool) -> Change | None:
    """R4-R5: the write that leads from `base` to `have`, or None when nobody is to be told anything.

    Args:
        base: what this node last put or saw there; None: nothing.
        have: what is there now; None: nothing.
        living_below: something lives below the path (only looked at for folders).
    """
    over = dots_of(siblings, base.content) if base is not None else set()
    tombs = tombstones(siblings)
    if base is not None and have is not None and base.content == have.content:
        implied = have.content == FOLDER and view(siblings, living_below).implied
        if (over or implied) and touched(base, have):  # bits that a person gives an implied folder make it one again
            return _write(siblings, over | tombs, version_of(have))
        return None
    if have is None:
        return _write(siblings, over | tombs, Version(Kind.TOMBSTONE)) if over else None
    twin = dots_of(siblings, have.content)
    if not over and twin:
        return None
    if not over and have.content == FOLDER and _shows_folder(siblings, living_below):
        return None
    return _write(siblings, over | twin | tombs, version_of(have))


def adopt(siblings: Siblings, base: Base | None, have: Base | None, living_below: bool) -> Change | None:
    """R11-R12: as `compare`, for a disk whose index was lost or is older than it, or at the first import.

    What the pool shows or has superseded is only noted as the base; what it has never seen becomes a weak version
    beside the others; nothing missing becomes a tombstone.
    """
    if have is None or (base is not None and base.content == have.content):
        return None
    over = dots_of(siblings, base.content) if base is not None else set()
    if over:
        return _write(siblings, over | tombstones(siblings), version_of(have))
    if known_content(siblings, have.content):
        return None
    if have.content == FOLDER and _shows_folder(siblings, living_below):
        return None
    return Change(supersede(siblings, (), version_of(have, weak=True)), frozenset())


def known_content(siblings: Siblings, content: Content) -> bool:
    """True when a sibling holds the content or has superseded it."""
    short = mark(content)
    return any(version.content == content or short in version.hist for version in siblings.values())


def differing(
    walked: Iterator[tuple[RelPath, Stat]], bases: Iterator[tuple[RelPath, Base]]
) -> Iterator[tuple[RelPath, int]]:
    """Two streams in tree order, what is there and what was: the paths worth a look, with the bytes that it may cost.

    A path is worth it when it came, went, looks otherwise than then, or was racy then.
    """
    here, there = next(walked, None), next(bases, None)
    while here is not None or there is not None:
        if there is None or (here is not None and tree_key(here[0]) < tree_key(there[0])):
            assert here is not None
            yield here[0], here[1].size
            here = next(walked, None)
        elif here is None or here[0] != there[0]:
            yield there[0], 0
            there = next(bases, None)
        else:
            if here[1] != there[1].stat or there[1].racy:
                yield here[0], here[1].size
            here, there = next(walked, None), next(bases, None)


def _shows_folder(siblings: Siblings, living_below: bool) -> bool:
    winner = view(siblings, living_below).winner
    return winner is not None and winner.content == FOLDER


def _write(siblings: Siblings, replaced: set[Dot], version: Version) -> Change:
    return Change(supersede(siblings, replaced, version), frozenset(replaced))
