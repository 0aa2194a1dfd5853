"""The workshop in `.meerkat/stage/`: files are assembled, checked and given times and bits out of everybody's way.

Nothing leaves it unverified (G9), and whether a commit happened is read from what is still here after a crash (G6).
Names are flat and the engine's own; the folder is private, so nobody else writes to what is staged.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterable
from typing import Final

from meerkat.disk import copying, naming, platform
from meerkat.disk.root import Root, special_problem, stat_of
from meerkat.disk.scan import digest_of
from meerkat.disk.trouble import FULL, GONE, blocked, disk_full, free_bytes
from meerkat.model.ids import Digest
from meerkat.model.limits import STAGE_FSYNC_FILES_MAX, STAGE_NAME_CHARS_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import FOLDER, Base, Content, Kind, Stat, Version

_NAME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_BLOCK_BYTES: Final = 512  # the unit of st_blocks


def check_stage_name(name: str) -> None:
    """Raise `ValueError` unless `name` is one of `[a-z0-9._-]+`, bounded, and neither "." nor ".."."""
    if not name or name in (".", "..") or len(name) > STAGE_NAME_CHARS_MAX or not _NAME_CHARS.issuperset(name):
        raise ValueError(f"{name!r} is not a stage name")


def private_folder(root: Root, name: str) -> int:
    """A handle of `.meerkat/NAME`, made with mode 0700 where it is missing.

    Raises:
        PathBlocked: the marker is gone (it is never made here), or the folder cannot be made.
    """
    path = f"{MARKER}/{name}"
    try:
        try:
            return platform.open_beneath(root.handle, path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            marker = platform.open_beneath(root.handle, MARKER, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.mkdir(name, _PRIVATE_FOLDER, dir_fd=marker)
            except FileExistsError:
                pass
            finally:
                os.close(marker)
            return platform.open_beneath(root.handle, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno == errno.ENOENT:
            text = f"the folder has no {MARKER} any more"
            raise PathBlocked(Problem("", Reason.MARKER_MISSING, text, "is its disk mounted?")) from error
        raise blocked(path, error) from error


class Stage:
    """Staged things by name. Calls for different names may come from several threads at once.

    Every method that takes a name raises `ValueError` for one that is not a stage name, and `PathBlocked` for trouble
    with the disk; the problem's path is the stage name, which the caller knows the target of.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self.handle = private_folder(root, "stage")
        root.learn_naming(naming.detect(self.handle))

    def close(self) -> None:
        """Give the handle back."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    # ---- putting things in

    def ensure_room(self, name: str, size: int) -> None:
        """Say that a file of `size` bytes will not fit before anything is fetched for it; what an earlier download put
        there counts."""
        check_stage_name(name)
        with self._trouble(name, size):
            self._ensure_room(name, size, self._lstat(name))

    def _ensure_room(self, name: str, size: int, found: os.stat_result | None) -> None:
        missing = size - (found.st_blocks * _BLOCK_BYTES if found is not None else 0)
        if missing > free_bytes(self.handle):
            raise disk_full(name, missing, self.handle)

    def prepare(self, name: str, size: int) -> None:
        """Have a sparse file of `size` bytes; what an earlier download put there is kept."""
        check_stage_name(name)
        with self._trouble(name, size):
            found = self._lstat(name)
            # A second link means that the file also stands in somebody's tree: never write into that one.
            if found is not None and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
                self.drop(name)
                found = None
            if found is not None and stat.S_IMODE(found.st_mode) & _PRIVATE_FILE != _PRIVATE_FILE:
                os.chmod(name, _PRIVATE_FILE, dir_fd=self.handle)  # sealed before, being taken up again
            self._ensure_room(name, size, found)
            handle = self._open(name, os.O_WRONLY | os.O_CREAT)
            try:
                os.ftruncate(handle, size)
            finally:
                os.close(handle)

    def write(self, name: str, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data`, already checked, at `offset` of a prepared file; zeros become a hole."""
        check_stage_name(name)
        with self._trouble(name, len(data)), self._opened(name, os.O_WRONLY) as handle:
            if data != bytes(len(data)) or not platform.write_hole(handle, offset, len(data)):
                platform.write_all(handle, data, offset)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`; empty when the file is not there or ends before."""
        check_stage_name(name)
        try:
            with self._opened(name, os.O_RDONLY) as handle:
                data = os.pread(handle, length, offset)
                while len(data) < length and (more := os.pread(handle, length - len(data), offset + len(data))):
                    data += more
        except OSError as error:
            if error.errno in GONE:
                return b""
            raise blocked(name, error) from error
        return data if len(data) == length else b""

    def copy_from(
        self,
        name: str,
        offset: int,
        source: RelPath,
        source_base: Base,
        source_offset: int,
        length: int,
        digest: Digest,
    ) -> bool:
        """Copy `length` bytes of a file of the shared folder, if it still looks as `source_base` says.

        Returns:
            True when exactly the bytes of `digest` are now at `offset`. False: they are not to be had there; what
            stands at `offset` is then of no use.
        """
        check_stage_name(name)
        with self._trouble(name, length), self._opened(name, os.O_RDWR) as writing:
            return copying.copy(self._root, source, source_base, source_offset, writing, offset, length, digest)

    def copy_unchecked(
        self, name: str, offset: int, source: RelPath, source_base: Base, source_offset: int, length: int
    ) -> bool:
        """Copy `length` bytes of a file of the shared folder that looks as `source_base` says, before and afterwards,
        into a prepared file that has nothing there yet. Only `seal` tells whether they are the right ones.

        Returns:
            False: they are not to be had there; what stands at `offset` is then of no use.
        """
        check_stage_name(name)
        with self._trouble(name, length), self._opened(name, os.O_RDWR) as writing:
            return copying.copy_unchecked(self._root, source, source_base, source_offset, writing, offset, length)

    def seal(self, name: str, version: Version, *, trusted: bool = False) -> int:
        """Check size and digest of the whole file, give it the version's bits and times, and return its inode.

        `trusted`: every byte was checked against the version's own digest just now (a file of one chunk).
        """
        check_stage_name(name)
        with self._trouble(name, 0), self._opened(name, os.O_RDONLY) as handle:
            size = os.fstat(handle).st_size
            if size != version.size:
                raise _mismatch(name, f"it has {size} bytes instead of {version.size}")
            if not trusted and digest_of(handle) != (version.digest, version.size):
                raise _mismatch(name, "its bytes are not those of its digest")
            os.fchmod(handle, version.mode)
            os.utime(handle, ns=(version.mtime_ns, version.mtime_ns))
            return os.fstat(handle).st_ino

    def write_small(self, name: str, data: bytes, version: Version) -> int:
        """Make a whole small file of checked bytes, with bits and times, and return its inode."""
        check_stage_name(name)
        if len(data) != version.size:
            raise _mismatch(name, f"it has {len(data)} bytes instead of {version.size}")
        with self._trouble(name, len(data)):
            try:
                handle = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                self.drop(name)
                handle = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                platform.write_all(handle, data, 0)
                os.fchmod(handle, version.mode)
                os.utime(handle, ns=(version.mtime_ns, version.mtime_ns))
                return os.fstat(handle).st_ino
            finally:
                os.close(handle)

    def make_link(self, name: str, version: Version) -> int:
        """Make the version's symlink (never followed) and return its inode."""
        self.drop(name)
        with self._trouble(name, 0):
            os.symlink(version.target, name, dir_fd=self.handle)
            times = (version.mtime_ns, version.mtime_ns)
            os.utime(name, ns=times, dir_fd=self.handle, follow_symlinks=False)
            return self._inode(name)

    def make_folder(self, name: str, version: Version) -> int:
        """Make an empty folder with the version's bits and return its inode."""
        self.drop(name)
        with self._trouble(name, 0):
            os.mkdir(name, _PRIVATE_FOLDER, dir_fd=self.handle)
            os.chmod(name, version.mode, dir_fd=self.handle)
            return self._inode(name)

    def flush(self, names: Iterable[str]) -> None:
        """Make these staged things durable, their names too: only then may an intent speak of them."""
        batch = list(names)
        try:
            if len(batch) > STAGE_FSYNC_FILES_MAX or not all(self._fsync(name) for name in batch):
                platform.sync_file_system(self.handle)
            os.fsync(self.handle)
        except OSError as error:
            raise blocked(f"{MARKER}/stage", error) from error

    def _fsync(self, name: str) -> bool:
        """False when the file system has to be flushed instead (the bits forbid opening it)."""
        check_stage_name(name)
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self.handle)
        except PermissionError:
            return False
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link or a socket: it lives in its folder's blocks
                return True
            raise
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a pipe has nothing to flush
                raise
        finally:
            os.close(handle)
        return True

    # ---- looking

    def names(self) -> list[str]:
        """What is staged, sorted; without what a cut-off exchange holds aside (see `commit.mend`)."""
        try:
            return sorted(name for name in os.listdir(self.handle) if not name.endswith(platform.ASIDE))
        except OSError as error:
            raise blocked(f"{MARKER}/stage", error) from error

    def inode(self, name: str) -> int | None:
        """The inode of the staged thing; None when there is none."""
        check_stage_name(name)
        with self._trouble(name, 0):
            found = self._lstat(name)
        return None if found is None else found.st_ino

    def stat(self, name: str) -> Stat | None:
        """How the staged thing looks; None when there is none.

        Raises:
            PathBlocked: a special file (an exchange can bring out whatever a person put there).
        """
        check_stage_name(name)
        with self._trouble(name, 0):
            found = self._lstat(name)
        if found is None:
            return None
        result = stat_of(found)
        if result is None:
            raise PathBlocked(special_problem(name, found.st_mode))
        return result

    def content(self, name: str) -> Content | None:
        """What the staged thing holds, by reading it; None when there is none."""
        seen = self.stat(name)
        if seen is None:
            return None
        if seen.kind is Kind.FOLDER:
            return FOLDER
        with self._trouble(name, 0):
            if seen.kind is Kind.SYMLINK:
                return Content(Kind.SYMLINK, os.fsencode(os.readlink(name, dir_fd=self.handle)))
            with self._opened(name, os.O_RDONLY) as handle:
                return Content(Kind.FILE, digest_of(handle)[0])

    def sole_inode(self, name: str) -> int | None:
        """The inode of the staged thing; None when there is none, 0 when it has another name as well."""
        check_stage_name(name)
        with self._trouble(name, 0):
            found = self._lstat(name)
        if found is None:
            return None
        return found.st_ino if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1 else 0

    def is_untouched(self, name: str, inode: int | None) -> bool:
        """After trouble with an exchange: whether nothing has moved, for the name holds what it held before, and that
        alone. Else what came out may lie there, or beside it: the intent has to be healed and must not be struck.

        Args:
            inode: of the staged thing; None where the name was free (a removal).
        """
        try:
            return not self.has_aside(name) and self.sole_inode(name) == inode
        except PathBlocked:
            return False

    # ---- what a cut-off exchange holds aside (see `platform.exchange`)

    def has_aside(self, name: str) -> bool:
        """True when an exchange with that name was cut off on the way, and has not been ended."""
        check_stage_name(name)
        with self._trouble(name, 0):
            return platform.exists(self.handle, name + platform.ASIDE)

    def free_aside(self, name: str) -> str:
        """Give what is held aside for that name a free stage name; which."""
        check_stage_name(name)
        with self._trouble(name, 0):
            number = 0
            while platform.exists(self.handle, free := f"{name}.left{number or ''}"):
                number += 1
            platform.rename_noreplace(self.handle, name + platform.ASIDE, self.handle, free)
        return free

    def freed_asides(self, name: str) -> list[str]:
        """The names that `free_aside` has given for that one, as far as something still lies there."""
        return [each for each in self.names() if each.startswith(f"{name}.left")]

    def clear_asides(self, spared: Collection[str]) -> None:
        """When all has been ended that can be: what is held aside for nobody gets a free stage name, or is dropped
        where it is but a second name of what stands elsewhere.

        Args:
            spared: names whose exchange is still to be ended.
        """
        try:
            names = [name for name in os.listdir(self.handle) if name.endswith(platform.ASIDE)]
        except OSError as error:
            raise blocked(f"{MARKER}/stage", error) from error
        for aside in names:
            name = aside.removesuffix(platform.ASIDE)
            if name in spared:
                continue
            with self._trouble(name, 0):
                found = os.stat(aside, dir_fd=self.handle, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
                    os.unlink(aside, dir_fd=self.handle)
                else:
                    self.free_aside(name)

    def drop(self, name: str) -> None:
        """Remove the staged thing, if there is one. A folder only when empty.

        Raises:
            PathBlocked: a folder that holds something.
        """
        check_stage_name(name)
        with self._trouble(name, 0):
            try:
                os.unlink(name, dir_fd=self.handle)
            except FileNotFoundError:
                return
            except (IsADirectoryError, PermissionError):  # EPERM: how some systems say "is a folder"
                if not stat.S_ISDIR(os.stat(name, dir_fd=self.handle, follow_symlinks=False).st_mode):
                    raise
                os.rmdir(name, dir_fd=self.handle)

    def take_apart(self, name: str) -> list[tuple[str, str]]:
        """Give everything in a staged folder a stage name of its own, and remove the folder (see `platform`)."""
        check_stage_name(name)
        with self._trouble(name, 0):
            return platform.take_apart(self.handle, name)

    def is_empty(self, name: str) -> bool:
        """True for a staged folder that holds nothing."""
        check_stage_name(name)
        with self._trouble(name, 0):
            handle = platform.open_beneath(self.handle, name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                return not os.listdir(handle)
            finally:
                os.close(handle)

    def rename(self, name: str, to: str) -> None:
        """Give the staged thing another, free name."""
        check_stage_name(name)
        check_stage_name(to)
        with self._trouble(name, 0):
            platform.rename_noreplace(self.handle, name, self.handle, to)

    # ---- within

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(name, flags, _PRIVATE_FILE, dir_fd=self.handle)

    def _opened(self, name: str, flags: int) -> "_Opened":
        return _Opened(self._open(name, flags))

    def _lstat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _inode(self, name: str) -> int:
        return os.stat(name, dir_fd=self.handle, follow_symlinks=False).st_ino

    def _trouble(self, name: str, needed: int) -> "_Trouble":
        """Turn what the system refuses into a `PathBlocked`; `needed` bytes are named when the disk is full."""
        return _Trouble(self.handle, name, needed)


class _Trouble:
    """See `Stage._trouble`. Like `_Opened` no generator: each is used several times for every small file."""

    __slots__ = ("_handle", "_name", "_needed")

    def __init__(self, handle: int, name: str, needed: int) -> None:
        self._handle = handle
        self._name = name
        self._needed = needed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno in FULL:
                raise disk_full(self._name, self._needed, self._handle) from error
            raise blocked(self._name, error) from error


class _Opened:
    """A handle that is closed at the end of the block."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __enter__(self) -> int:
        return self._handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _mismatch(name: str, text: str) -> PathBlocked:
    return PathBlocked(Problem(name, Reason.DIGEST_MISMATCH, text, "it is fetched again"))
