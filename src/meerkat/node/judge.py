"""Conflicts before a person: the versions of a path side by side, and carrying out which of them is to stay.

Every answer is made of ordinary edits (a restore, a removal, a rename), so it spreads like one and can be taken back
from the trash.
"""

import asyncio
import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from meerkat.core.resolve import copied_from
from meerkat.core.resolve import view as outlook
from meerkat.disk import commit
from meerkat.disk.commit import Placed
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.limits import COPY_NAMES_TRIED_MAX, DIFF_BYTES_MAX, DIFF_LINES_MAX
from meerkat.model.path import RelPath, join, name, parent
from meerkat.model.version import Kind, Version
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.history import version_name
from meerkat.node.outward import Outward
from meerkat.node.ports import View
from meerkat.node.restore import Restorer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Side:
    """One version of a path in conflict: where it stands, whose it is, and whether it is the one the path shows."""

    path: RelPath
    node: NodeId
    version: Version
    current: bool


class Judge:
    """Shows and settles conflicts."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        claims: Claims,
        outward: Outward,
        restorer: Restorer,
        threads: ThreadPoolExecutor,
        name_of: Callable[[NodeId], str],
    ) -> None:
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._claims = claims
        self._outward = outward
        self._restorer = restorer
        self._threads = threads
        self._name_of = name_of

    async def sides(self, path: RelPath) -> list[Side]:
        """The versions of a path: the shown one first, then the copies.

        Raises:
            Fault: not_found, when the path is in no conflict.
        """
        found = await self._books.read(partial(_sides, path))
        if not any(not side.current for side in found):
            raise Fault(
                "not_found",
                f"{path!r} has no other version",
                hint="meerkat conflicts lists what has",
                exit_code=Exit.NOT_FOUND,
            )
        return found

    async def resolve(self, path: RelPath, keep: str) -> dict[str, object]:
        """Let one version stay, or both.

        Args:
            keep: "newest", "both", or the name or id's beginning of the node whose version stays.

        Returns:
            path, kept (whose version), stored (where the others are now: "trash", or their new paths).

        Raises:
            Fault: not_found, unclear (usage), file_busy.
        """
        sides = await self.sides(path)
        copies = [side for side in sides if not side.current]
        if keep == "both":
            stored = [await self._rename(path, side) for side in copies]
            return {"path": path, "kept": "both", "stored": stored}
        chosen = self._choose(path, sides, keep)
        if not chosen.current:
            await self._restorer.put(path, chosen.version)
        for side in copies:
            await self._remove(side)
        return {"path": path, "kept": chosen.node, "name": self._name_of(chosen.node), "stored": ["trash"]}

    async def diff(self, path: RelPath) -> list[dict[str, object]]:
        """What the copies of a path differ in from what the path shows, as unified diffs where they are text.

        Raises:
            Fault: not_found.
        """
        sides = await self.sides(path)
        shown = next((side for side in sides if side.current), None)
        return [await self._diff_one(shown, side) for side in sides if not side.current]

    # ---- steps

    def _choose(self, path: RelPath, sides: list[Side], keep: str) -> Side:
        if keep == "newest":
            return max(sides, key=lambda side: side.version.mtime_ns)
        named = [side for side in sides if self._name_of(side.node) == keep or side.node.startswith(keep)]
        contents = {side.version.content for side in named}
        if len(contents) == 1:
            return named[0]
        whose = ", ".join(dict.fromkeys(self._name_of(side.node) for side in sides))
        if not named:
            raise Fault(
                "not_found",
                f"no version of {path!r} is {keep}'s",
                hint=f"versions are of: {whose}",
                exit_code=Exit.NOT_FOUND,
            )
        raise Fault(
            "unclear", f"{keep} has several versions of {path!r}", hint="keep newest, or both", exit_code=Exit.USAGE
        )

    async def _rename(self, path: RelPath, side: Side) -> str:
        """Give a copy an ordinary name, under which nobody takes it for a conflict any more."""
        last = name(path)
        stem, dot, extension = last.rpartition(".")
        if not stem:
            stem, dot, extension = last, "", ""
        who = "".join(c if c.isalnum() or c in "-_" else "-" for c in self._name_of(side.node)) or "other"
        for number in range(COPY_NAMES_TRIED_MAX * 8):
            suffix = f"{who}-{number + 1}" if number else who
            target = join(parent(path), f"{stem}.{suffix}{dot}{extension}")
            if await self._in_thread(partial(self._root.lstat, target)) is None:
                await self._restorer.put(target, side.version)
                await self._remove(side)
                return target
        raise Fault("exists", f"no free name beside {path!r} for {who}'s version", hint="move some of them away")

    async def _remove(self, side: Side) -> None:
        """Take a copy away as a person would; its bytes go to the trash."""
        await self._claims.until_free([side.path])
        claimed = self._claims.take([side.path])
        try:
            base = await self._books.read(lambda view: view.base(side.path))
            if base is not None and base.content == side.version.content:
                stage_name = f"gone.{side.version.content.ident.hex()[:24]}.{version_name(side.version)}"
                await self._in_thread(partial(self._stage.drop, stage_name))
                result = await self._in_thread(
                    partial(commit.remove, self._root, self._stage, side.path, stage_name, base)
                )
                if isinstance(result, Placed):
                    await self._in_thread(
                        partial(self._trash.keep, self._stage, stage_name, side.path, base.content, base.stat)
                    )
        finally:
            self._claims.free(claimed)
        await self._outward.scan(side.path)

    async def _diff_one(self, shown: Side | None, other: Side) -> dict[str, object]:
        row: dict[str, object] = {
            "path": other.path,
            "node": other.node,
            "name": self._name_of(other.node),
            "size": other.version.size,
            "binary": True,
            "text": None,
        }
        if shown is None or not (_is_small_file(shown.version) and _is_small_file(other.version)):
            return row
        old = await self._restorer.read(shown.path, shown.version, DIFF_BYTES_MAX)
        new = await self._restorer.read(other.path, other.version, DIFF_BYTES_MAX)
        try:
            before, after = old.decode("utf-8").splitlines(keepends=True), new.decode("utf-8").splitlines(keepends=True)
        except UnicodeDecodeError:
            return row
        if b"\0" in old or b"\0" in new or len(before) + len(after) > DIFF_LINES_MAX:
            return row
        lines = await asyncio.to_thread(lambda: list(difflib.unified_diff(before, after, shown.path, other.path, n=3)))
        return row | {"binary": False, "text": "".join(lines)}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _sides(path: RelPath, view: View) -> list[Side]:
    sides = []
    siblings = view.siblings(path)
    winner = outlook(siblings, view.has_living_below(path)).winner
    if winner is not None and winner.dots:
        sides.append(Side(path, max(winner.dots).author.node, winner.version, current=True))
    for entry in view.copies():
        if copied_from(entry.path) == path:
            item = outlook(entry.siblings, living_below=False).winner
            if item is not None:
                node = NodeId(item.version.copy_of) if item.version.copy_of else max(item.dots).author.node
                sides.append(Side(entry.path, node, item.version, current=False))
    return sides


def _is_small_file(version: Version) -> bool:
    return version.kind is Kind.FILE and version.size <= DIFF_BYTES_MAX
