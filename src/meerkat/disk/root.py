"""Handle-relative access to the shared folder that cannot leave it (G7).

A `Root` holds the folder's handle from the start; every access goes from there, name by name, and follows no symlink.
Whoever swaps a folder for a link meanwhile gets "not there", never a read or write elsewhere. On a disk that takes
names for one another, what is listed under another name than a path's is not at that path. A folder that was unmounted
or replaced is told by `check_marker`, so that an empty mount point is never taken for "all was deleted".
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from meerkat.disk.naming import PLAIN, Listings, Naming
from meerkat.disk.platform import is_mount, open_beneath
from meerkat.disk.trouble import GONE, blocked, changed, mounted, shown
from meerkat.model.limits import TIME_NS_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import MODE_MASK, Kind, Stat

_ACCESS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY

_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.SYMLINK}
_SPECIAL: Final = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def stat_of(found: os.stat_result) -> Stat | None:
    """The part of a stat that Meerkat compares; None for a special file.

    A folder has no size and no times here: those tell of its entries, not of it. A link has only its time. Times that
    no message holds are told as the last that one does.
    """
    mode = found.st_mode
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        return None
    if kind is Kind.FOLDER:
        return Stat(kind, 0, 0, 0, found.st_ino, mode & MODE_MASK)
    mtime_ns, ctime_ns = found.st_mtime_ns, found.st_ctime_ns
    if mtime_ns > TIME_NS_MAX or ctime_ns > TIME_NS_MAX or mtime_ns < -TIME_NS_MAX or ctime_ns < -TIME_NS_MAX:
        mtime_ns, ctime_ns = _bounded(mtime_ns), _bounded(ctime_ns)
    if kind is Kind.SYMLINK:
        return Stat(kind, 0, mtime_ns, ctime_ns, found.st_ino, 0)
    return Stat(kind, found.st_size, mtime_ns, ctime_ns, found.st_ino, mode & MODE_MASK)


def _bounded(time_ns: int) -> int:
    """File systems hold times that neither the index nor a message can."""
    return max(-TIME_NS_MAX, min(TIME_NS_MAX, time_ns))


def special_problem(path: str, mode: int) -> Problem:
    """Why a special file (`mode` as in st_mode) is not shared."""
    kind = _SPECIAL.get(stat.S_IFMT(mode), "special file")
    return Problem(shown(path), Reason.NAME_NOT_ALLOWED, f"is a {kind}: not shared", "move it out, or ignore it")


class Root:
    """The shared folder, held by its handle. Safe to use from several threads.

    Raises:
        OSError: `directory` cannot be opened as a folder.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listings = Listings(PLAIN)
        self.naming = PLAIN

    @property
    def metadata_dir(self) -> Path:
        """The `.meerkat` folder's place."""
        return self.directory / MARKER

    def learn_naming(self, naming: Naming) -> None:
        """From now on heed what this disk does with names (the stage finds it out)."""
        self._listings = Listings(naming)
        self.naming = naming

    def close(self) -> None:
        """Give the handle back. Nothing may be asked afterwards."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def check_marker(self) -> bool:
        """True while the place that was opened still shows this very folder, with its `.meerkat`."""
        try:
            there = os.stat(self.directory, follow_symlinks=False)
            here = os.fstat(self.handle)
            marker = os.stat(MARKER, dir_fd=self.handle, follow_symlinks=False)
        except OSError:
            return False
        same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        return same and stat.S_ISDIR(marker.st_mode)

    def stat_self(self) -> Stat:
        """How the shared folder itself looks."""
        seen = stat_of(os.fstat(self.handle))
        assert seen is not None
        return seen

    def parent(self, path: RelPath) -> "Parent":
        """The handle of the folder above `path`, and the last name; for calls with `dir_fd`. To be used in a `with`.

        Raises:
            OSError: the folder is not there (`trouble.GONE`) or cannot be entered.
            OtherSpelling: what the disk would find for the path, or for a folder above it, has another name.
        """
        return Parent(self, path)

    def open_parent(self, path: RelPath) -> tuple[int, str]:
        """As `parent`; whoever calls this closes the handle, unless it is `handle`."""
        above, _, name = path.rpartition("/")
        if not name:
            raise OSError(errno.EINVAL, "the folder itself has no parent here", path)
        folds = self.naming.folds
        if not above:
            handle = self.handle
        else:
            handle = self._enter(above) if folds else open_beneath(self.handle, above, _ACCESS)
        if folds:
            try:
                self._listings.ensure_spelled(handle, name)
            except BaseException:
                if handle != self.handle:
                    os.close(handle)
                raise
        return handle, name

    def _enter(self, folder: str) -> int:
        """A handle of the folder for going through, where each name on the way is the one that is listed."""
        handle = open_beneath(self.handle, ".", _ACCESS)
        try:
            for name in folder.split("/"):
                self._listings.ensure_spelled(handle, name)
                below = open_beneath(handle, name, _ACCESS)
                os.close(handle)
                handle = below
        except OSError:
            os.close(handle)
            raise
        return handle

    def spelled(self, path: RelPath) -> RelPath | None:
        """The path under which the tree lists what the disk finds for `path`; None when it finds nothing."""
        if not self.naming.folds or not path:
            return path
        handle = open_beneath(self.handle, ".", _ACCESS)
        names: list[str] = []
        try:
            for name in path.split("/"):
                shown = self._listings.spelled(handle, name)
                if shown is None:
                    return None
                names.append(shown)
                if len(names) <= path.count("/"):
                    below = open_beneath(handle, shown, _ACCESS)
                    os.close(handle)
                    handle = below
        except OSError:
            return None
        finally:
            os.close(handle)
        return RelPath("/".join(names))

    def lstat(self, path: RelPath) -> Stat | None:
        """How `path` looks; None when it, or a folder above it, is not there.

        Raises:
            PathBlocked: a special file, a mount point, or not permitted.
        """
        if not path:
            return self.stat_self()
        try:
            with self.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) and is_mount(folder, name):
                    raise mounted(path)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise blocked(path, error) from error
        result = stat_of(found)
        if result is None:
            raise PathBlocked(special_problem(path, found.st_mode))
        return result

    def open_read(self, path: RelPath) -> int:
        """A handle for reading the regular file at `path`; never waits, whatever stands there. The caller closes it.

        Raises:
            PathBlocked: it is not there, not a regular file, or not permitted.
        """
        try:
            handle = self._open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket, or a device without a driver
                raise PathBlocked(special_problem(path, 0)) from error
            raise blocked(path, error) from error
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return handle
        os.close(handle)
        raise changed(path) if stat.S_ISDIR(mode) else PathBlocked(special_problem(path, mode))

    def open_folder(self, path: RelPath) -> int:
        """A handle for listing the folder at `path` (the root too). The caller closes it.

        Raises:
            OSError: it is not there, not a folder, or not permitted.
        """
        return self._open(path or RelPath("."), os.O_RDONLY | os.O_DIRECTORY)

    def _open(self, path: RelPath, flags: int) -> int:
        if not self.naming.folds or path == ".":
            return open_beneath(self.handle, path, flags)
        with self.parent(path) as (folder, name):
            return open_beneath(folder, name, flags)


class Parent:
    """What `Root.parent` gives: a class, since every access to the folder goes through one, and a generator would cost
    more than the calls that it surrounds."""

    __slots__ = ("_opened", "_path", "_root")

    def __init__(self, root: Root, path: RelPath) -> None:
        self._root = root
        self._path = path
        self._opened = -1

    def __enter__(self) -> tuple[int, str]:
        handle, name = self._root.open_parent(self._path)
        if handle != self._root.handle:
            self._opened = handle
        return handle, name

    def __exit__(self, *_: object) -> None:
        if self._opened >= 0:
            os.close(self._opened)
