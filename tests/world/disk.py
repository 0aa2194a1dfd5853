"""Every step that a node makes on its disk is a door here: where it may die, be refused, be looked at, or meet people.

The folders are real, and so is all the code that works on them. What is added: crash points before and after each
change and each commit of the index, EIO and ENOSPC, people and readers in between, and a power loss that takes back
whatever was not flushed. The model of flushing: changes of folders reach the disk in order, as journals write them; a
flush of a folder takes all changes up to the last one in it along; a file's bytes reach it only by a flush of that
file. People's programs are taken to flush at once.
"""

import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from world.loop import LIFE, Died, Life

from meerkat.disk import commit, platform, stage, trash
from meerkat.disk.root import Root
from meerkat.model.path import MARKER, RelPath
from meerkat.model.version import Base
from meerkat.store import connection as store_connection
from meerkat.store.errors import IndexUnavailable

_CHANGES = ("rename", "link", "unlink", "rmdir", "mkdir", "symlink", "ftruncate", "pwrite", "utime", "chmod", "fchmod")


@dataclass
class _Change:
    undo: Callable[[], None]
    folders: frozenset[int]


@dataclass
class Volatile:
    """What a life has changed and not flushed."""

    changes: list[_Change] = field(default_factory=list)
    written: dict[int, int] = field(default_factory=dict)  # inode -> a handle of our own

    def flush_folder(self, inode: int) -> None:
        for at in range(len(self.changes), 0, -1):
            if inode in self.changes[at - 1].folders:
                del self.changes[:at]
                return

    def flush_file(self, inode: int) -> None:
        handle = self.written.pop(inode, None)
        if handle is not None:
            os.close(handle)

    def flush_changes(self) -> None:
        self.changes.clear()

    def flush_all(self) -> None:
        self.flush_changes()
        for inode in list(self.written):
            self.flush_file(inode)

    def lose(self, rng: random.Random) -> None:
        """The power goes: a tail of the changes never happened, and bytes that were not flushed are gone."""
        kept = rng.randint(0, len(self.changes))
        for change in reversed(self.changes[kept:]):
            change.undo()
        for handle in self.written.values():
            size = os.fstat(handle).st_size
            os.ftruncate(handle, rng.choice((0, size // 2)))
            os.ftruncate(handle, rng.choice((size, os.fstat(handle).st_size)))  # ends early, or full of holes
        self.flush_all()


class Door:
    """The one through which all steps of all lives go.

    Args:
        meet: called at each step with the life and what it is about to do or has done; people act there.
        kill: called when a doomed life comes to its end.
        between: called with the life and a place that it has looked at and is about to change.
        heard: called with the life and a path of its tree that the node itself has just changed.
    """

    def __init__(
        self,
        rng: random.Random,
        meet: Callable[[Life, str], None],
        kill: Callable[[Life], None],
        between: Callable[[Life, str], None],
        heard: Callable[[Life, RelPath], None],
        folder_of: Callable[[Life], Path],
    ) -> None:
        self.rng = rng
        self._meet, self._kill, self._heard, self._folder_of = meet, kill, heard, folder_of
        self._between = between
        self.volatile: dict[Life, Volatile] = {}
        self.refusing: dict[str, float] = {}
        self.refused = 0
        self.graves: Path = Path()
        self.power = False
        self._buried = 0
        self._exchanging: str | None = None
        self.violations: list[str] = []
        self._undo: list[tuple[Any, str, Any]] = []

    # ---- steps

    def point(self, what: str, *, before: bool) -> Life | None:
        life = LIFE.get()
        if life is None:
            return None
        if life.dead:
            raise Died
        life.steps += 1
        if life.doomed_at and life.steps >= life.doomed_at:
            self._kill(life)
            raise Died
        if self._exchanging is not None and not os.path.lexists(self._exchanging):
            self.violations.append(f"G3: {self._exchanging} was absent while it was replaced ({what})")
        if self._exchanging is None or "renameat2" not in platform.lacking:
            self._meet(life, what)
        refusing = self.refusing.get(life.name, 0.0)
        if before and refusing and self.rng.random() < refusing:
            self.refused += 1
            raise OSError(self.rng.choice((errno.ENOSPC, errno.EIO)), "the simulated disk refuses", what)
        return life

    def _of(self, life: Life | None) -> Volatile:
        return self.volatile.setdefault(life, Volatile()) if life is not None else Volatile()

    # ---- the patches

    def install(self) -> None:
        proxy = _Os(self)
        for module in (stage, commit, trash, platform):
            self._patch(module, "os", proxy)
        self._patch(platform, "_renameat2", self._renameat2)
        self._patch(platform, "exchange", self._exchange)
        self._patch(platform, "sync_file_system", self._sync_file_system)
        self._patch(commit, "remove_folder", self._remove_folder)
        self._patch(store_connection.Connection, "commit", _commit_through(self, store_connection.Connection.commit))

    def _patch(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def uninstall(self) -> None:
        while self._undo:
            owner, name, value = self._undo.pop()
            setattr(owner, name, value)

    def _original(self, owner: Any, name: str) -> Any:
        return next(value for each, key, value in self._undo if each is owner and key == name)

    def _renameat2(self, src_dir: int, src: str, dst_dir: int, dst: str, flags: int) -> None:
        real = self._original(platform, "_renameat2")
        life = self.point(f"rename {src} {dst} {flags}", before=True)
        if life is not None:
            for place in (_at(src_dir, src), _at(dst_dir, dst)):
                self._between(life, place)  # the very moment between the last look and the change
        if self._exchanging is not None and not os.path.lexists(self._exchanging):
            self._exchanging = None  # somebody has taken it away in that moment
        real(src_dir, src, dst_dir, dst, flags)
        if life is not None:
            one, two = _at(src_dir, src), _at(dst_dir, dst)
            folders = frozenset((os.fstat(src_dir).st_ino, os.fstat(dst_dir).st_ino))

            def undo() -> None:
                if flags == 2:
                    _swap(one, two)
                else:
                    os.rename(two, one)

            self._of(life).changes.append(_Change(undo, folders))
            self._tell(life, (one, two))
        self.point(f"renamed {src} {dst} {flags}", before=False)

    def _tell(self, life: Life, places: tuple[str, ...]) -> None:
        top = str(self._folder_of(life))
        for place in places:
            inside = os.path.relpath(place, top)
            if not inside.startswith(MARKER):
                self._heard(life, RelPath(inside))

    def _exchange(self, src_dir: int, src: str, dst_dir: int, dst: str) -> None:
        real = self._original(platform, "exchange")
        if LIFE.get() is None:  # a person's own exchange
            real(src_dir, src, dst_dir, dst)
            return
        place = _at(dst_dir, dst)
        files = all(os.path.isfile(each) and not os.path.islink(each) for each in (place, _at(src_dir, src)))
        self._exchanging = place if files and "renameat2" in platform.lacking else None
        try:
            real(src_dir, src, dst_dir, dst)
        finally:
            self._exchanging = None

    def _remove_folder(self, root: Root, path: RelPath, expected: Base) -> Any:
        life = LIFE.get()
        if life is not None and not life.dead:
            self._between(life, str(self._folder_of(life) / path))  # empty, as far as the node has looked
        return self._original(commit, "remove_folder")(root, path, expected)

    def _sync_file_system(self, handle: int) -> None:
        life = self.point("syncfs", before=True)
        self._of(life).flush_all()
        self.point("synced", before=False)

    def fsync(self, handle: int) -> None:
        life = self.point("fsync", before=True)
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            self._of(life).flush_folder(found.st_ino)
        else:
            self._of(life).flush_file(found.st_ino)

    def wrote(self, life: Life | None, handle: int) -> None:
        if life is not None:
            inode = os.fstat(handle).st_ino
            volatile = self._of(life)
            if inode not in volatile.written:
                volatile.written[inode] = os.dup(handle)

    def bury(self, life: Life, place: str, folder: int) -> None:
        """Before a name goes: keep what it names, so that a power loss can bring it back."""
        self._buried += 1
        grave = self.graves / str(self._buried)
        os.link(place, grave, follow_symlinks=False)
        self._of(life).changes.append(_Change(lambda: _bring_back(grave, place), frozenset((folder,))))

    def changed(self, life: Life, undo: Callable[[], None], folder: int) -> None:
        self._of(life).changes.append(_Change(undo, frozenset((folder,))))


class _Os(ModuleType):
    """`os` for the disk's rooms, with a door in every call that changes something."""

    def __init__(self, door: Door) -> None:
        super().__init__("os")
        self._door = door
        for name in _CHANGES:
            setattr(self, name, self._through(name))
        self.fsync = door.fsync

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _through(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)
        door = self._door

        def call(*args: Any, **options: Any) -> Any:
            life = door.point(f"{name} {args[0]}", before=True)
            if life is None:
                return real(*args, **options)
            folder = options.get("dir_fd")
            place = _at(folder, args[0]) if isinstance(folder, int) and isinstance(args[0], str) else ""
            inode = os.fstat(folder).st_ino if isinstance(folder, int) else 0
            # A grave is a second link, which nobody may see who counts them: only where the power can go.
            if door.power and name == "unlink" and place and os.path.lexists(place) and not os.path.isdir(place):
                door.bury(life, place, inode)
            result = real(*args, **options)
            if name in ("pwrite", "ftruncate"):
                door.wrote(life, args[0])
            elif name == "rmdir" and place:
                door.changed(life, lambda: os.mkdir(place, 0o700), inode)
                door._tell(life, (place,))
            elif name == "mkdir" and place:
                door.changed(life, lambda: os.rmdir(place), inode)
            elif name == "symlink":
                target = _at(folder, args[1]) if isinstance(folder, int) else str(args[1])
                door.changed(life, lambda: os.unlink(target), inode)
            door.point(f"did {name}", before=False)
            return result

        return call


def _commit_through(door: Door, real: Callable[[Any], None]) -> Callable[[Any], None]:
    def commit_(self: Any) -> None:
        life = LIFE.get()
        try:
            door.point("commit", before=True)
        except OSError as error:
            raise IndexUnavailable(str(error), full=error.errno == errno.ENOSPC) from error
        if life is not None and life.dead:
            raise Died
        real(self)
        door.point("committed", before=False)

    return commit_


def _at(folder: int, name: str) -> str:
    return f"{os.readlink(f'/proc/self/fd/{folder}')}/{name}"


def _bring_back(grave: Path, place: str) -> None:
    """What was made under that name since is no more durable than the removal was."""
    if os.path.lexists(place):
        os.unlink(place)
    os.link(grave, place, follow_symlinks=False)


def _swap(one: str, two: str) -> None:
    aside = f"{one}.undo"
    os.rename(one, aside)
    os.rename(two, one)
    os.rename(aside, two)
