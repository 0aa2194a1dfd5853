"""Turns what the system refuses into a `Problem` that a person can act on (G11): the reason, the words, the next step.

Expected trouble never leaves the disk room as a bare `OSError`; the path waits, the others go on.
"""

import errno
import os
import unicodedata
from typing import Final

from meerkat.disk.naming import OtherSpelling
from meerkat.model.problem import PathBlocked, Problem, Reason

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
"""The path, or a folder above it, is not there any more, or a link stands in its place."""

_TABLE: Final[dict[int, tuple[Reason, str, str]]] = {
    errno.ENOSPC: (Reason.DISK_FULL, "the disk is full", "free some space; it goes on by itself"),
    errno.EDQUOT: (Reason.DISK_FULL, "the disk quota is used up", "free some space or raise the quota"),
    errno.EACCES: (Reason.PERMISSION, "permission denied", "give the user that runs meerkat access to it"),
    errno.EPERM: (Reason.PERMISSION, "the system does not permit it", "check its owner and attributes (lsattr)"),
    errno.EROFS: (Reason.PERMISSION, "the file system is mounted read-only", "mount it writable"),
    errno.ENAMETOOLONG: (Reason.NAME_NOT_ALLOWED, "the name is too long for this file system", "use a shorter name"),
    errno.EINVAL: (Reason.NAME_NOT_ALLOWED, "this file system cannot hold it under that name", "rename it"),
    errno.EILSEQ: (Reason.NAME_NOT_ALLOWED, "this file system cannot hold that name", "rename it"),
    errno.EXDEV: (
        Reason.NAME_NOT_ALLOWED,
        "another file system is mounted there, or above it: what it holds is not of this folder",
        "share that mount as a folder of its own, or unmount it",
    ),
    errno.EFBIG: (Reason.TOO_LARGE, "it is too large for this file system", "keep it on another file system"),
    errno.EBUSY: (Reason.FILE_BUSY, "something else is using it", "close what uses it"),
    errno.ETXTBSY: (Reason.FILE_BUSY, "it is a program that is running", "end that program"),
    errno.EAGAIN: (Reason.FILE_BUSY, "another program has it locked", "close that program"),
    errno.EMFILE: (Reason.FILE_BUSY, "too many open files in this process", "raise the limit (ulimit -n)"),
    errno.ENFILE: (Reason.FILE_BUSY, "too many open files on this machine", "close some programs"),
    errno.EMLINK: (Reason.FILE_BUSY, "the folder above can hold no more folders", "move some elsewhere"),
    errno.ENOTEMPTY: (Reason.FILE_BUSY, "the folder still holds something", "look what is in it"),
    errno.EIO: (Reason.FILE_BUSY, "the disk reported an error", "check the disk (dmesg, smartctl) and your backups"),
    errno.ENOENT: (Reason.CHANGED_WHILE_READING, "it was moved or removed just now", ""),
    errno.ENOTDIR: (Reason.CHANGED_WHILE_READING, "a folder above it was replaced just now", ""),
    errno.ELOOP: (Reason.CHANGED_WHILE_READING, "a link stands where a folder is expected; links are not followed", ""),
    errno.ESTALE: (Reason.CHANGED_WHILE_READING, "the file server no longer knows it", "check the network mount"),
}


def shown(name: str) -> str:
    """`name` as it can be printed and stored: bytes that are not UTF-8 become `\\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def size_text(count: int) -> str:
    """A number of bytes for people: `340 MiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def blocked(path: str, error: OSError) -> PathBlocked:
    """The trouble that `error` means for `path`."""
    number = error.errno or 0
    fallback = (Reason.FILE_BUSY, os.strerror(number) if number else str(error), "")
    reason, text, hint = _TABLE.get(number, fallback)
    return PathBlocked(Problem(shown(path), reason, text, hint))


def mounted(path: str) -> PathBlocked:
    """The trouble that something is mounted on the folder `path`."""
    return blocked(path, OSError(errno.EXDEV, os.strerror(errno.EXDEV)))


def clash(path: str, error: OtherSpelling) -> PathBlocked:
    """The trouble that this disk takes a name of `path` for one that something else has."""
    wanted, stands = shown(error.name), shown(error.shown)
    if unicodedata.normalize("NFC", wanted) == unicodedata.normalize("NFC", stands):
        wanted, stands = ascii(wanted), ascii(stands)  # as text they would look the same
    else:
        wanted, stands = repr(wanted), repr(stands)
    text = f"this disk cannot hold {wanted} beside {stands}, which stands here"
    hint = "rename or delete one of the two, on any node"
    return PathBlocked(Problem(shown(path), Reason.CASE_CLASH, text, hint))


def disk_full(path: str, needed: int, folder: int) -> PathBlocked:
    """The trouble of not having `needed` more bytes on the file system of the handle `folder`."""
    text = f"the disk is full: {size_text(needed)} needed, {size_text(free_bytes(folder))} free"
    return PathBlocked(Problem(shown(path), Reason.DISK_FULL, text, "free some space; it goes on by itself"))


def free_bytes(folder: int) -> int:
    """Bytes that this user may still write to the file system of the handle."""
    info = os.fstatvfs(folder)
    return info.f_bavail * info.f_frsize


def changed(path: str) -> PathBlocked:
    """The path changed while it was read; it will be read again when quiet."""
    text = "it changed while it was read"
    return PathBlocked(Problem(shown(path), Reason.CHANGED_WHILE_READING, text, "it is read again when it is quiet"))
