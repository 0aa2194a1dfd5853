"""Which paths a half of the engine is working on just now.

Outward holds a path from the look to the record, inward from the decision to the record; neither starts on a path
that is taken. Everything runs in one event loop, so this is a set and not a lock.
"""

import asyncio
from collections.abc import Callable, Iterable

from meerkat.model.path import RelPath, ancestors


class Claims:
    """
    Attributes:
        cut_off: paths where the disk refused a commit half-way. Its intent stays and what came out lies in the stage:
            nothing is staged for them before that has been ended.
        on_freed: each is called with paths that are free again; whoever passed them over meets them now.
    """

    def __init__(self) -> None:
        self.cut_off: set[RelPath] = set()
        self.on_freed: list[Callable[[set[RelPath]], None]] = []
        self._taken: set[RelPath] = set()
        self._freed = asyncio.Event()

    def __contains__(self, path: RelPath) -> bool:
        return path in self._taken

    def at_or_below(self, paths: Iterable[RelPath]) -> list[RelPath]:
        """Those taken now that are among the paths, or in folders that are."""
        tops = set(paths)
        return [each for each in self._taken if each in tops or any(above in tops for above in ancestors(each))]

    def take(self, paths: Iterable[RelPath]) -> list[RelPath]:
        """Claim those of the paths that are free; returns them."""
        got = []
        for path in paths:
            if path not in self._taken:
                self._taken.add(path)
                got.append(path)
        return got

    def free(self, paths: Iterable[RelPath]) -> None:
        freed = set(paths)
        self._taken -= freed
        self._freed.set()
        for listener in self.on_freed:
            listener(freed)

    async def until_free(self, paths: Iterable[RelPath]) -> None:
        """Wait until none of the paths is taken."""
        waiting = set(paths)
        while waiting & self._taken:
            self._freed.clear()
            await self._freed.wait()
