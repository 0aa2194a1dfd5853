"""Conflicts before a person: the versions of a path side by side, and carrying out which of them is to stay.

Every answer is made of ordinary edits (a restore, a removal, a rename), so it spreads like one and can be taken back
from the trash. Invariant: only what the person could see is replaced or removed; what was edited meanwhile stays, and
is told.
"""

import asyncio
import difflib
from collections.abc import Callable
from functools import partial

from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    COPY_NAMES_TRIED_MAX,
    DIFF_BYTES_MAX,
    DIFF_LINES_MAX,
    RESOLVE_PATIENCE_S,
    RESOLVE_POLL_S,
)
from meerkat.model.path import RelPath, join, name, parent
from meerkat.model.version import Content, Kind, Version
from meerkat.node.books import Books
from meerkat.node.conflicts import Side, sides_of
from meerkat.node.edit import Editor
from meerkat.node.history import content_name
from meerkat.node.ports import View
from meerkat.node.restore import Restorer

Json = dict[str, object]


class Judge:
    """Shows and settles conflicts."""

    def __init__(self, books: Books, editor: Editor, restorer: Restorer, name_of: Callable[[NodeId], str]) -> None:
        self._books = books
        self._editor = editor
        self._restorer = restorer
        self._name_of = name_of

    async def sides(self, path: RelPath) -> list[Side]:
        """The versions of a path: the shown one first, then the copies, then losers that have none yet.

        Raises:
            Fault: not_found, when the path is in no conflict.
        """
        found = await self._books.read(lambda view: sides_of(view, path))
        if not any(not side.current for side in found):
            raise Fault(
                "not_found",
                f"{path!r} has no other version",
                hint="meerkat conflicts lists what has",
                exit_code=Exit.NOT_FOUND,
            )
        return found

    async def resolve(self, path: RelPath, keep: str) -> Json:
        """Let one version stay, or both.

        Args:
            keep: "newest", "both", the name or id's beginning of the node whose version stays, or the beginning of the
                version's own name.

        Returns:
            path, kept (whose version), stored (where the others are now: "trash", or their paths), trashed (path and
            version of each thing that went to the trash), left (paths of those edited meanwhile, which stay).

        Raises:
            Fault: not_found, unclear (usage), not_here, changed, not_empty, file_busy; then no version was lost, and it
                can be said again.
        """
        sides = await self._within_reach(path, keep)
        copies = [side for side in sides if not side.current]
        trashed: list[Json] = []
        left: list[RelPath] = []
        renamed: list[str] = []
        if keep == "both":
            for side in copies:
                renamed.append(await self._rename(path, side, left))
            kept: Json = {"kept": "both"}
        else:
            chosen = self._choose(path, sides, keep)
            if not chosen.current:
                replaced = await self._put(path, chosen, next((side for side in sides if side.current), None))
                if replaced is not None:
                    trashed.append({"path": path, "version": content_name(replaced)})
            for side in copies:
                if await self._editor.remove(side.path, side.version.content):
                    trashed.append({"path": side.path, "version": content_name(side.version.content)})
                elif await self._stands(side.path):
                    left.append(side.path)
            kept = {"kept": chosen.node, "name": self._name_of(chosen.node)}
        stored = [*renamed, *(["trash"] if trashed else []), *left]
        return {"path": path, **kept, "stored": stored, "trashed": trashed, "left": left}

    async def diff(self, path: RelPath) -> list[Json]:
        """What the copies of a path differ in from what the path shows, as unified diffs where they are text.

        Raises:
            Fault: not_found.
        """
        sides = await self.sides(path)
        shown = next((side for side in sides if side.current), None)
        return [await self._diff_one(shown, side) for side in sides if not side.current]

    # ---- steps

    async def _within_reach(self, path: RelPath, keep: str) -> list[Side]:
        """The sides, once this disk shows all that are to be dealt with: a copy that is still being made, or fetched,
        cannot be put into the trash, and a winner that is still on its way would come over the chosen version."""
        waited = 0.0
        while True:
            sides = await self.sides(path)
            stays = None if keep == "both" else self._choose(path, sides, keep)
            away = [side for side in sides if not side.here and not (side.current and stays in (None, side))]
            if not away:
                return sides
            if waited >= RESOLVE_PATIENCE_S:
                whose = ", ".join(dict.fromkeys(self._name_of(side.node) for side in away))
                raise Fault(
                    "not_here",
                    f"not all versions of {path!r} are on this node yet: {whose}'s is not, so nothing was done",
                    hint=f"meerkat why '{path}' tells what it waits for",
                    exit_code=Exit.UNREACHABLE,
                )
            await asyncio.sleep(RESOLVE_POLL_S)
            waited += RESOLVE_POLL_S

    def _choose(self, path: RelPath, sides: list[Side], keep: str) -> Side:
        if keep == "newest":
            return max(sides, key=lambda side: side.version.mtime_ns)
        named = [side for side in sides if self._name_of(side.node) == keep or side.node.startswith(keep)]
        if len({side.version.content for side in named}) != 1:
            known = [side for side in sides if content_name(side.version.content).startswith(keep.lower())]
            named = known if len(known) == 1 else named
        if not named:
            whose = ", ".join(dict.fromkeys(self._name_of(side.node) for side in sides))
            raise Fault(
                "not_found",
                f"no version of {path!r} is {keep}'s",
                hint=f"versions are of: {whose}",
                exit_code=Exit.NOT_FOUND,
            )
        if len({side.version.content for side in named}) > 1:
            versions = " or ".join(content_name(side.version.content) for side in named)
            raise Fault(
                "unclear",
                f"{keep} has several versions of {path!r}",
                hint=f"keep newest, both, or one of them by name: {versions}",
                exit_code=Exit.USAGE,
            )
        return named[0]

    async def _put(self, path: RelPath, chosen: Side, current: Side | None) -> Content | None:
        seen = current.version.content if current is not None else None
        try:
            return await self._restorer.put(path, chosen.version, lambda content: content == seen)
        except Fault as fault:
            if fault.code != "not_empty":
                raise
            raise Fault(
                fault.code,
                f"{path!r} is a folder that holds something, and {self._name_of(chosen.node)}'s version is none",
                hint="keep both, or move the folder away first",
                exit_code=fault.exit_code,
            ) from fault

    async def _rename(self, path: RelPath, side: Side, left: list[RelPath]) -> str:
        """Give a copy an ordinary name, under which nobody takes it for a conflict any more."""
        last = name(path)
        stem, dot, extension = last.rpartition(".")
        if not stem:
            stem, dot, extension = last, "", ""
        who = "".join(c if c.isalnum() or c in "-_" else "-" for c in self._name_of(side.node)) or "other"
        for number in range(COPY_NAMES_TRIED_MAX * 8):
            suffix = f"{who}-{number + 1}" if number else who
            target = join(parent(path), f"{stem}.{suffix}{dot}{extension}")
            base = await self._books.read(partial(_base_content, target))
            if base is not None and base != side.version.content:
                continue
            try:
                await self._restorer.put(target, side.version, lambda content: content is None)
            except Fault as fault:
                if fault.code != "changed":
                    raise
                continue  # taken by something that nobody has looked at yet
            if not await self._editor.remove(side.path, side.version.content) and await self._stands(side.path):
                left.append(side.path)
            return target
        raise Fault("exists", f"no free name beside {path!r} for {who}'s version", hint="move some of them away")

    async def _stands(self, path: RelPath) -> bool:
        return await self._books.read(lambda view: view.base(path)) is not None

    async def _diff_one(self, shown: Side | None, other: Side) -> Json:
        row: Json = {
            "path": other.path,
            "node": other.node,
            "name": self._name_of(other.node),
            "size": other.version.size,
            "kind": other.version.kind.name.lower(),
            "binary": True,
            "text": None,
        }
        if shown is None:
            return row
        if not (shown.version.kind is Kind.FILE and other.version.kind is Kind.FILE):
            before, after = [_in_words(shown.version)], [_in_words(other.version)]
        elif not (_is_small_file(shown.version) and _is_small_file(other.version)):
            return row
        else:
            try:
                old = await self._restorer.read(shown.path, shown.version, DIFF_BYTES_MAX)
                new = await self._restorer.read(other.path, other.version, DIFF_BYTES_MAX)
            except Fault as fault:
                return row | {"why": fault.message}
            try:
                before = old.decode("utf-8").splitlines(keepends=True)
                after = new.decode("utf-8").splitlines(keepends=True)
            except UnicodeDecodeError:
                return row
            if b"\0" in old or b"\0" in new or len(before) + len(after) > DIFF_LINES_MAX:
                return row
        lines = await asyncio.to_thread(lambda: list(difflib.unified_diff(before, after, shown.path, other.path, n=3)))
        return row | {"binary": False, "text": "".join(lines)}


def _base_content(path: RelPath, view: View) -> Content | None:
    base = view.base(path)
    return None if base is None else base.content


def _in_words(version: Version) -> str:
    """What is no file, and what stands against it, as one line each."""
    match version.kind:
        case Kind.SYMLINK:
            return f"a link to {version.target}\n"
        case Kind.FOLDER:
            return "a folder\n"
        case _:
            return f"a file of {version.size} bytes\n"


def _is_small_file(version: Version) -> bool:
    return version.kind is Kind.FILE and version.size <= DIFF_BYTES_MAX
