"""A deleted folder comes back as it was: all that went with it, from wherever its bytes still are.

Only where nothing stands now: what a person has put there since stays. A crash in between leaves a part of the tree,
which the next scan takes in; the rest can be restored in the same way as before.
"""

import asyncio
from collections.abc import Iterator
from functools import partial

from msgspec import Struct, field

from meerkat.core.resolve import view as outlook
from meerkat.core.undelete import Lost, stood, together
from meerkat.disk.trash import Kept, Trash
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import (
    COMMIT_BATCH_MAX,
    DELETED_TOGETHER_MS,
    HISTORY_ROWS_MAX,
    SMALL_GROUP_BYTES_MAX,
)
from meerkat.model.path import RelPath, is_below
from meerkat.model.version import Content, Kind, Version
from meerkat.node.books import Books
from meerkat.node.edit import Editor
from meerkat.node.history import kept_version
from meerkat.node.outward import Outward
from meerkat.node.ports import View
from meerkat.node.restore import Restorer

_OWNER_MAY = 0o700


class Regained(Struct):
    """What came back.

    Attributes:
        version: what the path itself shows now, when one version was put there; None: what was in a folder came back.
        replaced: what stood at the path before.
        missing: what did not come back, and why.
    """

    version: Version | None = None
    replaced: Content | None = None
    files: int = 0
    folders: int = 0
    bytes: int = 0
    missing: dict[RelPath, Fault] = field(default_factory=dict)

    def count(self, version: Version) -> None:
        if version.kind is Kind.FOLDER:
            self.folders += 1
        else:
            self.files += 1
            self.bytes += version.size


class Undelete:
    """Brings deleted trees back."""

    def __init__(self, trash: Trash, books: Books, restorer: Restorer, editor: Editor, outward: Outward) -> None:
        self._trash = trash
        self._books = books
        self._restorer = restorer
        self._editor = editor
        self._outward = outward

    async def bring_back(self, path: RelPath, wanted: str | None) -> Regained:
        """What a person means by restoring a path: the version that they name, or the one before what is there; where
        nothing stands, or a folder, what was deleted there last, with all that went with it.

        Raises:
            Fault: not_found, held, or whatever kept all of it from coming back.
        """
        await self._outward.scan(path)  # what has just been deleted, or put there, is known then
        shown = await self._restorer.shown(path)
        if wanted is None and (shown is None or shown.kind is Kind.FOLDER):
            lost = await self.find(path)
            if lost:
                return await self._put_back(path, lost, Regained())
        regained = Regained()
        regained.version, regained.replaced = await self._restorer.restore(path, wanted)
        regained.count(regained.version)
        if regained.version.kind is Kind.FOLDER:
            return await self._put_back(path, await self.find(path), regained)
        return regained

    async def find(self, path: RelPath) -> list[Lost]:
        """What was deleted last at or below the path, and is not there again; in tree order.

        Raises:
            Fault: held, where that waits for a person's word.
        """
        lost, unknown, held = await self._books.read(partial(_lost, path))
        if held:
            raise Fault(
                "held",
                f"the deletion of {path!r} is held: nobody else was told of it",
                hint="meerkat holds tells its number; meerkat holds reject brings it back",
                exit_code=Exit.NEEDS_PERSON,
            )
        if unknown:
            lost += await asyncio.to_thread(lambda: list(_from_trash(self._trash.entries(), unknown)))
        return together(lost, DELETED_TOGETHER_MS)

    async def _put_back(self, path: RelPath, lost: list[Lost], regained: Regained) -> Regained:
        bits: list[tuple[RelPath, int]] = []
        for batch in _batches(lost):
            failed = await self._restorer.put_new([(each.path, _writable(each.version)) for each in batch])
            regained.missing.update(failed)
            for each in batch:
                if each.path not in failed:
                    regained.count(each.version)
                    if _writable(each.version) != each.version:
                        bits.append((each.path, each.version.mode))
        if regained.missing and not regained.files + regained.folders:
            raise next(iter(regained.missing.values()))
        await self._editor.set_bits(bits[::-1])
        await self._outward.scan(path)
        if len(lost) == 1 and lost[0].path == path and lost[0].version.kind is not Kind.FOLDER:
            regained.version = lost[0].version
        return regained


def _writable(version: Version) -> Version:
    """A folder into which its contents can be put; its own bits come afterwards."""
    if version.kind is Kind.FOLDER and version.mode & _OWNER_MAY != _OWNER_MAY:
        return Version(Kind.FOLDER, mode=version.mode | _OWNER_MAY)
    return version


def _batches(lost: list[Lost]) -> Iterator[list[Lost]]:
    """As many as are made durable together, and as many bytes as may be held in memory."""
    batch: list[Lost] = []
    weight = 0
    for each in lost:
        if batch and (len(batch) >= COMMIT_BATCH_MAX or weight + each.version.size > SMALL_GROUP_BYTES_MAX):
            yield batch
            batch, weight = [], 0
        batch.append(each)
        weight += each.version.size
    if batch:
        yield batch


def _lost(under: RelPath, view: View) -> tuple[list[Lost], dict[RelPath, int], bool]:
    """What is known to have stood at or below the path and is gone; when paths went of which that is not known (0: nor
    is that); and whether going there is held."""
    lost: list[Lost] = []
    unknown: dict[RelPath, int] = {}
    for entry in view.entries(under):
        if any(version.living for version in entry.siblings.values()):
            continue
        if outlook(entry.siblings, view.has_living_below(entry.path)).winner is not None:
            continue
        writes = view.changes(entry.path, HISTORY_ROWS_MAX)
        if writes and writes[0].version.gave_up:
            continue
        version = stood([each.version for each in writes])
        at_ms = writes[0].at_ms if writes else 0
        if version is None:
            unknown[entry.path] = at_ms
        else:
            lost.append(Lost(entry.path, version, at_ms))
    held = not lost and not unknown and _is_held_within(view, under)
    return lost, unknown, held


def _is_held_within(view: View, under: RelPath) -> bool:
    return view.is_held(under) or any(is_below(path, under) for path in view.held(None, under, 1))


def _from_trash(kept: Iterator[Kept], unknown: dict[RelPath, int]) -> Iterator[Lost]:
    """What stood at paths of which history knows nothing: the newest thing in the trash from there."""
    newest: dict[RelPath, Kept] = {}
    for each in kept:
        path = RelPath(each.path)
        if path in unknown and (path not in newest or each.trashed_at > newest[path].trashed_at):
            newest[path] = each
    for path, each in newest.items():
        at_ms = unknown[path] or int(each.trashed_at.timestamp() * 1000)
        yield Lost(path, kept_version(each), at_ms)
