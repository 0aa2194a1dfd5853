"""People in the seeded world: the torture's, on virtual time, and with programs that keep files open.

Each act has a name of its own (`b17`) and dice of its own, so that leaving one out changes no other: that is what makes
shrinking work. What an act has changed is found by comparing lstats, and told to the watch as the kernel would.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from e2e.torture import NAMES, Chronicle, Person, Written, value_of, value_of_link

from meerkat.model.path import MARKER, RelPath

EPOCH_NS = 2_000_000_000 * 1_000_000_000
"""When the world began. Real times are far below, so a file time that the kernel has set is recognised."""

HANDLES_MAX = 3


class Seen(NamedTuple):
    inode: int
    mode: int
    mtime_ns: int
    ctime_ns: int


class Worker(Person):
    """Somebody at one node.

    Args:
        now_ns: the world's wall clock.
    """

    def __init__(self, name: str, folder: Path, seed: str, chronicle: Chronicle, now_ns: Callable[[], int]) -> None:
        super().__init__(name, folder, random.Random(seed), chronicle)
        self._seed = seed
        self._now_ns = now_ns
        self._handles: list[int] = []
        self._dances.extend([(4, self.open_for_later), (5, self.write_late), (5, self.remove_folder)])

    def perform(self, key: str, at: RelPath | None = None) -> list[RelPath]:
        """Do the act of that name (to the thing at that path, if one is said); the paths that look otherwise now."""
        self.rng = random.Random(f"{self._seed}/{key}")
        before = dict(self._seen())
        if at is None:
            self.act()
        else:
            self._disturb(self.folder / at)
        return self._after(before)

    def let_go(self) -> list[RelPath]:
        """End all programs that still have something open; they write once more before."""
        before = dict(self._seen())
        self.rng = random.Random(f"{self._seed}/end")
        while self._handles:
            self.write_late()
        return self._after(before)

    def _after(self, before: dict[str, Seen]) -> list[RelPath]:
        after = dict(self._seen())
        for path, seen in after.items():
            if seen.mtime_ns < EPOCH_NS and not self._is_folder(path):
                now = self._now_ns()
                os.utime(self.folder / path, ns=(now, now), follow_symlinks=False)
        return [RelPath(path) for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]

    def files(self) -> Iterator[str]:
        """Full paths of the regular files."""
        waiting = [str(self.folder)]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != MARKER:
                            waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path

    def _is_folder(self, path: str) -> bool:
        full = self.folder / path
        return full.is_dir() and not full.is_symlink()

    def _seen(self) -> Iterator[tuple[str, Seen]]:
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            with os.scandir(self.folder / prefix) as entries:
                for entry in entries:
                    if entry.name == MARKER:
                        continue
                    path = f"{prefix}/{entry.name}" if prefix else entry.name
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                        yield path, Seen(found.st_ino, found.st_mode, 0, 0)
                    else:
                        yield path, Seen(found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns)

    def _disturb(self, path: Path) -> None:
        """Write, save, remove, or put something else at just this path."""
        self.acts += 1
        try:
            if self._is_folder(str(path.relative_to(self.folder))):
                self._write(path / self.rng.choice(NAMES), "puts into folder")
                return
            match self.rng.choice(("write", "write", "save", "remove", "link")):
                case "write" if not path.is_symlink():
                    self._write(path, "writes just then")
                case "save":
                    beside = path.with_name(f".{self.acts}.tmp")
                    data = self._data()
                    beside.write_bytes(data)
                    self._rename(beside, path, Written(self.name, self._shown(path), "saves just then"))
                    self.chronicle.wrote(value_of(data), Written(self.name, self._shown(path), "saves just then"))
                case "remove" if os.path.lexists(path):
                    self._unlink(path, "removes just then")
                case "link" if not os.path.lexists(path):
                    target = f"t-{self.name}-{self.acts}"
                    os.symlink(target, path)
                    self.chronicle.wrote(
                        value_of_link(target), Written(self.name, self._shown(path), "links just then")
                    )
                case _:
                    pass
        except OSError as error:
            self.chronicle.note(f"{self.name} disturbs {path.name}: {error}")

    # ---- programs that keep files open

    def open_for_later(self) -> None:
        path = self._file()
        if path is not None and len(self._handles) < HANDLES_MAX:
            self._handles.append(os.open(path, os.O_RDWR | os.O_NOFOLLOW))
            self.chronicle.note(f"{self.name} opens {self._shown(path)}")

    def write_late(self) -> None:
        """Through a handle that may have been opened before the node put another file there."""
        if not self._handles:
            return
        handle = self._handles.pop(self.rng.randrange(len(self._handles)))
        with os.fdopen(handle, "r+b", buffering=0) as file:
            before = file.readall()
            if os.fstat(handle).st_nlink == 0 and value_of(before) in self.chronicle.overwritten:
                return  # a person has thrown it away; what is written there is nobody's
            by = Written(self.name, "?", "writes late")
            data = self._data()
            self.chronicle.overwrote(value_of(before), by)
            file.seek(0)
            file.truncate(0)
            file.write(data)
            now = self._now_ns()
            os.utime(handle, ns=(now, now))
            self.chronicle.wrote(value_of(data), by)
