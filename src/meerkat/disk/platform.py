"""The one door to system calls that Python or some platform lacks, each with a fallback that keeps the promise.

Every function here works from folder handles and single names, so nothing can be redirected by a link that somebody
swaps in (G7). The kernel's call is used where it answers; `ENOSYS`, `EINVAL` and `EOPNOTSUPP` mean that this kernel or
this file system has none, and the fallback runs instead. `lacking` names calls that are to be treated as absent.
"""

import ctypes
import errno
import fcntl
import os
import platform as _platform
import signal
import stat
import sys
from functools import lru_cache
from typing import Final

from meerkat.model.limits import DISK_READ_BYTES

lacking: Final[set[str]] = set()
"""Names of kernel calls (`renameat2`, `openat2`, `statx`, `fallocate`, `syncfs`, `copy_file_range`, `link`, `lease`)
that are not to be used."""

ASIDE = "~"
"""Suffix of the name under which the fallback of `exchange` holds the old thing for a moment. No stage name has it."""

_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_RESOLVE: Final = 0x08 | 0x04 | 0x02 | 0x01  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS, NO_XDEV
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_STATX_BYTES: Final = 256
_STATX_ATTR_MOUNT_ROOT: Final = 0x2000
_PUNCH_HOLE: Final = 0x02 | 0x01  # PUNCH_HOLE, KEEP_SIZE
_OPENAT2: Final = ctypes.c_long(437)  # the same on every architecture but alpha, since Linux 5.6
_SYS_RENAMEAT2: Final = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "armv7l": 382, "ppc64le": 357, "s390x": 347}

_ABSENT: Final = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)

_libc = ctypes.CDLL(None, use_errno=True)
_RENAMEAT2: Final = getattr(_libc, "renameat2", None)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_OPEN_HOW_BYTES: Final = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


@lru_cache(16)
def _open_how(flags: int) -> object:
    """A reference to what openat2 is told, which it only reads; there are a handful of flags in all."""
    return ctypes.byref(_OpenHow(flags, 0, _RESOLVE))


def _failed(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)


def _renameat2(src_dir: int, src: str, dst_dir: int, dst: str, flags: int) -> None:
    """renameat2(2). Raises `OSError`, with `ENOSYS` where there is none."""
    if "renameat2" in lacking or sys.platform != "linux":
        raise OSError(errno.ENOSYS, "no renameat2", src)
    old, new = os.fsencode(src), os.fsencode(dst)
    if _RENAMEAT2 is not None:
        result = _RENAMEAT2(src_dir, old, dst_dir, new, flags)
    else:
        number = _SYS_RENAMEAT2.get(_platform.machine())
        if number is None:
            raise OSError(errno.ENOSYS, "no renameat2", src)
        result = _libc.syscall(ctypes.c_long(number), src_dir, old, dst_dir, new, ctypes.c_uint(flags))
    if result != 0:
        raise _failed(dst)


def _link(src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """A second name for the very thing at `src` (a symlink itself, not its target). False: impossible here.

    Raises:
        FileExistsError: `dst` is taken.
    """
    if "link" in lacking:
        return False
    try:
        os.link(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        # Folders (EPERM), file systems without hard links, too many links, protected_hardlinks.
        if error.errno in _ABSENT | {errno.EPERM, errno.EACCES, errno.EMLINK}:
            return False
        raise
    return True


def exists(folder: int, name: str) -> bool:
    """True when something has that name in an open folder; a link is not followed."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def rename_noreplace(src_dir: int, src: str, dst_dir: int, dst: str) -> None:
    """Move `src` to `dst` unless something is there.

    Fallback: `link` and `unlink`, which never replaces (a crash between them leaves both names on one file); where
    nothing can be linked, a look and a rename, which has a window of microseconds.

    Raises:
        FileExistsError: `dst` is taken, nothing was moved.
        OSError: as rename(2).
    """
    try:
        _renameat2(src_dir, src, dst_dir, dst, _RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
    else:
        return
    if _link(src_dir, src, dst_dir, dst):
        os.unlink(src, dir_fd=src_dir)
        return
    if exists(dst_dir, dst):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst)
    os.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)


def exchange(src_dir: int, src: str, dst_dir: int, dst: str) -> None:
    """Swap `src` and `dst` atomically; both must exist.

    Fallback: the old thing gets a second name beside `src` (`src` + `ASIDE`), `src` is renamed over `dst` (a reader of
    `dst` sees old or new, nothing else), and the second name becomes `src`. What is written into the old file meanwhile
    is kept; a file that somebody renames onto `dst` between the two calls is not: that window is why the kernel's call
    is preferred. What cannot be linked (a folder) is renamed aside, and `dst` is absent for an instant.
    `finish_exchange` repairs what a crash leaves.

    Raises:
        FileNotFoundError: one of them is not there; nothing was changed.
        OSError: as rename(2).
    """
    try:
        _renameat2(src_dir, src, dst_dir, dst, _RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
    else:
        return
    if not exists(src_dir, src):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), src)
    aside = src + ASIDE
    new_is_folder = stat.S_ISDIR(os.stat(src, dir_fd=src_dir, follow_symlinks=False).st_mode)
    if not new_is_folder and _link(dst_dir, dst, src_dir, aside):
        try:
            os.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError:
            os.unlink(aside, dir_fd=src_dir)
            raise
    else:
        os.rename(dst, aside, src_dir_fd=dst_dir, dst_dir_fd=src_dir)
        try:
            os.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError:
            os.rename(aside, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            raise
    os.rename(aside, src, src_dir_fd=src_dir, dst_dir_fd=src_dir)


def finish_exchange(src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Bring the fallback of `exchange` to an end after a crash within it; nothing to do after any other.

    Afterwards `src` and `dst` are both as before the exchange, or both as after it.

    Returns:
        True when `src` + `ASIDE` still holds the old thing, because a person has put another at `dst` since.
    """
    aside = src + ASIDE
    if not exists(src_dir, aside):
        return False
    if not exists(src_dir, src):  # the new thing has moved on, only the last rename is missing
        os.rename(aside, src, src_dir_fd=src_dir, dst_dir_fd=src_dir)
        return False
    held = os.stat(aside, dir_fd=src_dir, follow_symlinks=False)
    try:
        standing = os.stat(dst, dir_fd=dst_dir, follow_symlinks=False)
    except FileNotFoundError:  # renamed aside, and the new thing not yet in its place
        os.rename(aside, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        return False
    if (held.st_dev, held.st_ino) != (standing.st_dev, standing.st_ino):
        return True
    os.unlink(aside, dir_fd=src_dir)  # the second name of what still stands there
    return False


def take_apart(folder: int, name: str) -> list[tuple[str, str]]:
    """Move everything that the folder `name` in an open folder holds beside it, under free names, and remove it.

    Returns:
        each thing's new name, and where it was in the folder.

    Raises:
        OSError: a folder in it cannot be opened; what was moved by then stays moved.
    """
    out: list[tuple[str, str]] = []
    for above, folders, others, handle in os.fwalk(name, topdown=False, dir_fd=folder):
        for last in sorted([*folders, *others]):
            if stat.S_ISDIR(os.stat(last, dir_fd=handle, follow_symlinks=False).st_mode):
                os.rmdir(last, dir_fd=handle)
                continue
            number = len(out)
            while exists(folder, free := f"{name}.{number}"):
                number += 1
            rename_noreplace(handle, last, folder, free)
            out.append((free, f"{above}/{last}".removeprefix(f"{name}/")))
    os.rmdir(name, dir_fd=folder)
    return out


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open `path`, relative to `folder`, without following any symlink and without leaving `folder` or its mount.

    `flags` as open(2), without `O_CREAT`; `O_CLOEXEC` and `O_NOFOLLOW` are added.
    Fallback: one openat per component, each with `O_NOFOLLOW`.

    Raises:
        OSError: `EXDEV` for a path that is absolute, holds ".." or leads over a mount point, `ELOOP` or `ENOTDIR` for a
            symlink on the way (or at the end), else as open(2).
    """
    if path.startswith("/") or "/../" in f"/{path}/":
        raise OSError(errno.EXDEV, "the path leaves the folder", path)
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if "openat2" not in lacking and sys.platform == "linux":
        handle: int = _libc.syscall(_OPENAT2, folder, os.fsencode(path), _open_how(flags), _OPEN_HOW_BYTES)
        if handle >= 0:
            return handle
        number = ctypes.get_errno()
        # EPERM: an old container runtime's filter; EAGAIN: a rename raced the check. The walk gives the true answer.
        if number not in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EAGAIN, errno.E2BIG):
            raise OSError(number, os.strerror(number), path)
    *above, last = path.split("/")
    here = folder
    try:
        for name in above:
            below = os.open(name, _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            other = os.fstat(below).st_dev != os.fstat(here).st_dev
            if here != folder:
                os.close(here)
            here = below
            if other:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return os.open(last, flags, dir_fd=here)
    finally:
        if here != folder:
            os.close(here)


def is_mount(folder: int, name: str) -> bool:
    """True when something is mounted on the folder `name` in the open `folder`: what it shows is not of this tree.

    Fallback: it is on another device, which a folder mounted from the same one is not.

    Raises:
        OSError: it is not there.
    """
    if "statx" not in lacking and hasattr(_libc, "statx"):
        told = ctypes.create_string_buffer(_STATX_BYTES)
        if _libc.statx(folder, os.fsencode(name), _AT_SYMLINK_NOFOLLOW, 0, told) == 0:
            attributes = int.from_bytes(told.raw[8:16], sys.byteorder)
            known = int.from_bytes(told.raw[56:64], sys.byteorder)
            if known & _STATX_ATTR_MOUNT_ROOT:
                return bool(attributes & _STATX_ATTR_MOUNT_ROOT)
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_dev != os.fstat(folder).st_dev


def write_hole(handle: int, offset: int, length: int) -> bool:
    """Make `length` bytes at `offset`, which lie within the file, read as zeros and take no room.

    Returns:
        False: this system has no holes (nothing was changed); zeros have to be written.
    """
    if "fallocate" in lacking or sys.platform != "linux" or not hasattr(_libc, "fallocate64"):
        return False
    result = _libc.fallocate64(handle, _PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length))
    return bool(result == 0)


def is_hole(handle: int, offset: int, length: int) -> bool:
    """True when the open file has nothing but a hole there. False too where the system cannot tell."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    try:
        return os.lseek(handle, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO and offset + length <= os.fstat(handle).st_size


def is_being_written(folder: int, name: str) -> bool:
    """True when some process has the file `name` of an open folder open for writing, or mapped so. False too where the
    system cannot tell.

    The kernel gives a read lease on a file only while nobody can write to it; it is given back at once.
    """
    if "lease" in lacking or not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        handle = open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # for whoever opens it just now; that one is ignored
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(handle)
    return False


def sync_file_system(handle: int) -> None:
    """Make everything written so far to the file system of `handle` durable. Fallback: sync(2), all file systems.

    Raises:
        OSError: the disk reported an error; nothing may be assumed durable.
    """
    if "syncfs" in lacking or not hasattr(_libc, "syncfs"):
        os.sync()
        return
    if _libc.syncfs(handle) != 0:
        raise _failed("syncfs")


def copy_range(src: int, src_offset: int, dst: int, dst_offset: int, length: int) -> int:
    """Copy `length` bytes between two open files, sharing their blocks where the file system can.

    Returns:
        The number of bytes copied; less than `length` when the source ends before.
    """
    done = 0
    in_kernel = "copy_file_range" not in lacking and hasattr(os, "copy_file_range")
    while done < length:
        if in_kernel:
            try:
                count = os.copy_file_range(src, dst, length - done, src_offset + done, dst_offset + done)
            except OSError as error:
                if error.errno not in _ABSENT | {errno.EXDEV, errno.EPERM, errno.EBADF, errno.ETXTBSY}:
                    raise
                in_kernel = False
                continue
        else:
            piece = os.pread(src, min(DISK_READ_BYTES, length - done), src_offset + done)
            count = write_all(dst, piece, dst_offset + done)
        if count == 0:
            break
        done += count
    return done


def write_all(handle: int, data: bytes | bytearray | memoryview, offset: int) -> int:
    """pwrite(2) until everything is written; returns the number of bytes."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(handle, view[done:], offset + done)
    return done
