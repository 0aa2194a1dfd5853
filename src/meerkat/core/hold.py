"""When the going of many files looks like an accident: it is held until a person agrees (DESIGN, "Hold").

A deletion waits a moment for company, and where more come, until no more come; then they are judged together: what
moved elsewhere is no loss, and if the rest is most of the tree, or all of it, nobody is told.

Pure: time is an argument (monotonic seconds), the moment to judge is an answer.
"""

from collections import Counter
from collections.abc import Iterable

from meerkat.model.limits import (
    HOLD_EMPTIED_FILES_MIN,
    HOLD_FEW_QUIET_S,
    HOLD_FEW_S_MAX,
    HOLD_FILES_MIN,
    HOLD_GATHER_PATHS_MAX,
    HOLD_GATHER_S_MAX,
    HOLD_QUIET_S,
    HOLD_RUN_S,
    HOLD_WINDOW_S,
)
from meerkat.model.path import RelPath


class Gathering:
    """Deletions of the last moments: how many were told, and which wait to be judged.

    Attributes:
        paths: what waits; True where it is a file or a link (folders do not count, but go with what was in them).
        cut: a bound cut what was taken last off from what follows.
        running: earlier parts of a deletion that goes on were put off: the end of it is waited for longer.
    """

    def __init__(self) -> None:
        self.paths: dict[RelPath, bool] = {}
        self.cut = False
        self.running = False
        self._told: dict[RelPath, float] = {}  # until when it counts
        self._beyond: list[tuple[float, int]] = []  # more of those than there is room for: until when, and how many
        self._first = 0.0
        self._last = 0.0

    def told(self, now: float) -> int:
        """Files whose going was told a moment ago, or as part of a deletion that went on, and not there again."""
        self._told = {path: until for path, until in self._told.items() if until >= now}
        self._beyond = [(until, count) for until, count in self._beyond if until >= now]
        return len(self._told) + sum(count for _, count in self._beyond)

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
            return self._last + HOLD_WINDOW_S if self.running else None
        if len(self.paths) >= HOLD_GATHER_PATHS_MAX:
            return self._first
        if self.running:
            return min(self._last + HOLD_WINDOW_S, self._first + HOLD_GATHER_S_MAX)
        if len(self.paths) <= HOLD_FILES_MIN:
            return min(self._last + HOLD_FEW_QUIET_S, self._first + HOLD_FEW_S_MAX)
        return min(self._last + HOLD_QUIET_S, self._first + HOLD_GATHER_S_MAX)

    def take(self, now: float) -> dict[RelPath, bool]:
        """Everything that waits, to be judged; nothing waits any more."""
        due_at, full = self.due_at(), len(self.paths) >= HOLD_GATHER_PATHS_MAX
        many = len(self.paths) > HOLD_FILES_MIN or (self.running and bool(self.paths))
        quiet = HOLD_WINDOW_S if self.running else HOLD_QUIET_S
        self.cut = many and due_at is not None and due_at <= now and (full or now < self._last + quiet)
        taken, self.paths = self.paths, {}
        return taken

    def tell(self, paths: Iterable[RelPath], now: float) -> None:
        """These files of what was taken last are told now; they were no accident by themselves.

        If a bound had cut them off from what follows, they count for longer: otherwise a large tree would go in parts,
        each of them too little to be held.
        """
        until = now + (HOLD_RUN_S if self.cut else HOLD_WINDOW_S)
        fresh = dict.fromkeys(paths, until)
        if len(self._told) + len(fresh) > HOLD_GATHER_PATHS_MAX:
            self._beyond.extend(Counter(self._told.values()).items())
            self._told = {}
        self._told.update(fresh)


def is_mass(lost: int, told: int, files: int) -> bool:
    """Whether this looks like an accident.

    Args:
        lost: files gone and not moved.
        told: files whose going was told just before.
        files: how many the pool has, the lost ones among them; neither those told nor those that are held already, or
            what is left beside a hold could go unasked.
    """
    gone, before = lost + told, files + told
    if not lost:
        return False
    if gone > HOLD_FILES_MIN and 2 * gone > before:
        return True
    return gone >= HOLD_EMPTIED_FILES_MIN and gone >= before
