"""When the going of many files looks like an accident: it is held until a person agrees (DESIGN, "Hold").

A deletion waits a moment for company, and where more come, until no more come; then they are judged together: what
moved elsewhere is no loss, and if the rest is most of the tree, or all of it, nobody is told.

Pure: time is an argument (monotonic seconds), the moment to judge is an answer.
"""

from collections.abc import Iterable

from meerkat.model.limits import (
    HOLD_EMPTIED_FILES_MIN,
    HOLD_FEW_QUIET_S,
    HOLD_FEW_S_MAX,
    HOLD_FILES_MIN,
    HOLD_GATHER_PATHS_MAX,
    HOLD_GATHER_S_MAX,
    HOLD_QUIET_S,
    HOLD_WINDOW_S,
)
from meerkat.model.path import RelPath


class Gathering:
    """Deletions of the last moments: how many were told, and which wait to be judged.

    Attributes:
        paths: what waits; True where it is a file or a link (folders do not count, but go with what was in them).
    """

    def __init__(self) -> None:
        self.paths: dict[RelPath, bool] = {}
        self._told: dict[RelPath, float] = {}  # oldest first
        self._first = 0.0
        self._last = 0.0

    def told(self, now: float) -> int:
        """Files whose going was told within the window, and which are not there again."""
        for path in [path for path, at in self._told.items() if now - at > HOLD_WINDOW_S]:
            del self._told[path]
        return len(self._told)

    def add(self, gone: Iterable[tuple[RelPath, bool]], now: float) -> None:
        """These were seen to be gone: path, and whether a file or a link stood there."""
        if not self.paths:
            self._first = now
        before = len(self.paths)
        self.paths.update(gone)
        if len(self.paths) > before:
            self._last = now

    def forget(self, paths: Iterable[RelPath]) -> None:
        """These are there again, or are dealt with."""
        for path in paths:
            self.paths.pop(path, None)
            self._told.pop(path, None)

    def due_at(self) -> float | None:
        """When what waits is to be judged; None: nothing waits."""
        if not self.paths:
            return None
        if len(self.paths) >= HOLD_GATHER_PATHS_MAX:
            return self._first
        if len(self.paths) <= HOLD_FILES_MIN:
            return min(self._last + HOLD_FEW_QUIET_S, self._first + HOLD_FEW_S_MAX)
        return min(self._last + HOLD_QUIET_S, self._first + HOLD_GATHER_S_MAX)

    def take(self) -> dict[RelPath, bool]:
        """Everything that waits, to be judged; nothing waits any more."""
        taken, self.paths = self.paths, {}
        return taken

    def tell(self, paths: Iterable[RelPath], now: float) -> None:
        """These files of what waited are told now; they were no accident by themselves."""
        self._told.update(dict.fromkeys(paths, now))
        while len(self._told) > HOLD_GATHER_PATHS_MAX:
            del self._told[next(iter(self._told))]


def is_mass(lost: int, told: int, files: int) -> bool:
    """Whether this looks like an accident.

    Args:
        lost: files gone and not moved.
        told: files whose going was told just before.
        files: how many the pool has, the lost ones among them, those told not.
    """
    gone, before = lost + told, files + told
    if not lost:
        return False
    if gone > HOLD_FILES_MIN and 2 * gone > before:
        return True
    return gone >= HOLD_EMPTIED_FILES_MIN and gone >= before
