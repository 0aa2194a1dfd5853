"""A disk that takes names for one another, for tests: what a folder holds, shown the way macOS, Windows or vfat would.

Speaks the kernel's own protocol (/dev/fuse, as in fuse(4) and linux/fuse.h), one request at a time, and passes what it
is asked on to a folder of an ordinary disk. Needs root, /dev/fuse and nothing else. Run as a program it is the disk;
`mounted` starts and ends it.

Options: `case` and `forms`: names that differ in case, in Unicode form, find each other; `rewrites`: names are listed
in the decomposed form, whatever they were made as (HFS+); `tails`: dots and spaces at the end are dropped (vfat).
"""

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

_HEADER = struct.Struct("<IIQQIIIHH")
_REPLY = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("<QQQQII")
_SETATTR = struct.Struct("<IIQQQQQQIIIIIIII")
_WRITE_BYTES_MAX = 128 << 10
_BIG_WRITES, _KEEP_CACHE = 1 << 5, 2
_NOREPLACE = 1
_ROOT = 1


class Disk:
    """The file system: nodes by number, each with a handle that reads nothing (O_PATH)."""

    def __init__(self, back: str, options: set[str]) -> None:
        self.options = options
        self.held: dict[int, int] = {_ROOT: os.open(back, os.O_PATH | os.O_DIRECTORY)}
        self.numbers: dict[int, int] = {os.fstat(self.held[_ROOT]).st_ino: _ROOT}
        self.inodes: dict[int, int] = {}
        self.counts: dict[int, int] = {}
        self.lists: dict[int, list[tuple[str, int, int]]] = {}
        self.next = 2

    # ---- names

    def key(self, name: str) -> str:
        if "forms" in self.options:
            name = unicodedata.normalize("NFD", name)
        if "tails" in self.options:
            name = name.rstrip(". ") or name
        return name.casefold() if "case" in self.options else name

    def find(self, folder: int, name: str) -> str | None:
        """The name under which the folder holds what `name` means."""
        names = os.listdir(f"/proc/self/fd/{folder}")
        if name in names:
            return name
        wanted = self.key(name)
        return next((each for each in sorted(names) if self.key(each) == wanted), None)

    def made(self, name: str) -> str:
        """The name that a new thing gets."""
        return (name.rstrip(". ") or name) if "tails" in self.options else name

    def existing(self, folder: int, name: str) -> str:
        found = self.find(folder, name)
        if found is None:
            raise OSError(errno.ENOENT, name)
        return found

    def free(self, folder: int, name: str) -> str:
        if self.find(folder, name) is not None:
            raise OSError(errno.EEXIST, name)
        return self.made(name)

    # ---- answers

    def attr(self, handle: int) -> bytes:
        seen = os.fstat(handle)
        times = [divmod(ns, 10**9) for ns in (seen.st_atime_ns, seen.st_mtime_ns, seen.st_ctime_ns)]
        return _ATTR.pack(
            seen.st_ino, seen.st_size, seen.st_blocks, *(s for s, _ in times), *(ns for _, ns in times),
            seen.st_mode, seen.st_nlink, seen.st_uid, seen.st_gid, seen.st_rdev, 4096, 0,
        )  # fmt: skip

    def entry(self, folder: int, name: str) -> bytes:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
        inode = os.fstat(handle).st_ino
        number = self.numbers.get(inode)
        if number is None:
            number, self.next = self.next, self.next + 1
            self.numbers[inode], self.inodes[number], self.held[number] = number, inode, handle
        else:
            os.close(handle)
        self.counts[number] = self.counts.get(number, 0) + 1
        return _ENTRY.pack(number, 0, 0, 0, 0, 0) + self.attr(self.held[number])

    def forget(self, number: int, count: int) -> None:
        if number == _ROOT or number not in self.counts:
            return
        self.counts[number] -= count
        if self.counts[number] <= 0:
            del self.counts[number]
            del self.numbers[self.inodes.pop(number)]
            os.close(self.held.pop(number))

    # ---- requests, by the protocol's numbers; `at` is the node's handle

    def look_up(self, at: int, body: bytes) -> bytes:
        return self.entry(at, self.existing(at, _name(body)))

    def get_attr(self, at: int, body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self.attr(at)

    def set_attr(self, at: int, body: bytes) -> bytes:
        valid, _, fh, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = _SETATTR.unpack(body)
        place = f"/proc/self/fd/{at}"
        if valid & 1:
            os.chmod(place, stat.S_IMODE(mode))
        if valid & 6:
            os.chown(place, uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 8:
            os.truncate(fh if valid & 64 else place, size)
        if valid & (16 | 32):
            seen, now = os.fstat(at), time.time_ns()
            read = now if valid & 128 else atime * 10**9 + atime_ns if valid & 16 else seen.st_atime_ns
            written = now if valid & 256 else mtime * 10**9 + mtime_ns if valid & 32 else seen.st_mtime_ns
            os.utime(place, ns=(read, written))
        return self.get_attr(at, b"")

    def readlink(self, at: int, body: bytes) -> bytes:
        return os.fsencode(os.readlink("", dir_fd=at))

    def symlink(self, at: int, body: bytes) -> bytes:
        name, target, _ = body.split(b"\0")
        made = self.free(at, os.fsdecode(name))
        os.symlink(os.fsdecode(target), made, dir_fd=at)
        return self.entry(at, made)

    def mknod(self, at: int, body: bytes) -> bytes:
        mode, rdev, umask, _ = struct.unpack_from("<IIII", body)
        made = self.free(at, _name(body[16:]))
        os.mknod(made, mode & ~umask, rdev, dir_fd=at)
        return self.entry(at, made)

    def mkdir(self, at: int, body: bytes) -> bytes:
        mode, umask = struct.unpack_from("<II", body)
        made = self.free(at, _name(body[8:]))
        os.mkdir(made, mode & ~umask, dir_fd=at)
        return self.entry(at, made)

    def unlink(self, at: int, body: bytes) -> bytes:
        os.unlink(self.existing(at, _name(body)), dir_fd=at)
        return b""

    def rmdir(self, at: int, body: bytes) -> bytes:
        os.rmdir(self.existing(at, _name(body)), dir_fd=at)
        return b""

    def rename(self, at: int, body: bytes) -> bytes:
        return self._rename(at, struct.unpack_from("<Q", body)[0], 0, body[8:])

    def rename2(self, at: int, body: bytes) -> bytes:
        target, flags, _ = struct.unpack_from("<QII", body)
        return self._rename(at, target, flags, body[16:])

    def _rename(self, at: int, target: int, flags: int, names: bytes) -> bytes:
        if flags & ~_NOREPLACE:
            raise OSError(errno.EINVAL, "no exchange on such disks")
        old, new, _ = (os.fsdecode(each) for each in names.split(b"\0"))
        source, to = self.existing(at, old), self.held[target]
        found = self.find(to, new)
        if found is not None and flags & _NOREPLACE:
            raise OSError(errno.EEXIST, new)
        same = found == source and os.fstat(at).st_ino == os.fstat(to).st_ino
        os.rename(source, self.made(new) if found is None or same else found, src_dir_fd=at, dst_dir_fd=to)
        return b""

    def link(self, at: int, body: bytes) -> bytes:
        (number,) = struct.unpack_from("<Q", body)
        made = self.free(at, _name(body[8:]))
        os.link(f"/proc/self/fd/{self.held[number]}", made, dst_dir_fd=at, follow_symlinks=True)
        return self.entry(at, made)

    def open_file(self, at: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0] & (os.O_ACCMODE | os.O_TRUNC)
        return struct.pack("<QII", os.open(f"/proc/self/fd/{at}", flags), _KEEP_CACHE, 0)

    def create(self, at: int, body: bytes) -> bytes:
        flags, mode, umask, _ = struct.unpack_from("<IIII", body)
        found = self.find(at, _name(body[16:]))
        made = self.made(_name(body[16:])) if found is None else found
        flags &= os.O_ACCMODE | os.O_TRUNC | os.O_EXCL
        handle = os.open(made, flags | os.O_CREAT | os.O_NOFOLLOW, mode & ~umask, dir_fd=at)
        return self.entry(at, made) + struct.pack("<QII", handle, _KEEP_CACHE, 0)

    def read(self, at: int, body: bytes) -> bytes:
        fh, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(fh, size, offset)

    def write(self, at: int, body: bytes) -> bytes:
        fh, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(fh, body[40 : 40 + size], offset), 0)

    def statfs(self, at: int, body: bytes) -> bytes:
        info = os.fstatvfs(at)
        counts = (info.f_blocks, info.f_bfree, info.f_bavail, info.f_files, info.f_ffree)
        return struct.pack("<QQQQQIIII24x", *counts, info.f_bsize, 255, info.f_frsize, 0)

    def release(self, at: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def fsync(self, at: int, body: bytes) -> bytes:
        return b""  # the disk below is a test's

    def opendir(self, at: int, body: bytes) -> bytes:
        with os.scandir(f"/proc/self/fd/{at}") as entries:
            found = [(each.name, each.inode(), each.stat(follow_symlinks=False).st_mode >> 12) for each in entries]
        fh = next(number for number in range(1, 1 << 30) if number not in self.lists)
        self.lists[fh] = found
        return struct.pack("<QII", fh, 0, 0)

    def readdir(self, at: int, body: bytes) -> bytes:
        fh, offset, size = struct.unpack_from("<QQI", body)
        told = b""
        for number, (name, inode, kind) in enumerate(self.lists[fh][offset:], offset + 1):
            shown = os.fsencode(unicodedata.normalize("NFD", name) if "rewrites" in self.options else name)
            packed = struct.pack("<QQII", inode, number, len(shown), kind) + shown
            packed += bytes(-len(packed) % 8)
            if len(told) + len(packed) > size:
                break
            told += packed
        return told

    def releasedir(self, at: int, body: bytes) -> bytes:
        self.lists.pop(struct.unpack_from("<Q", body)[0], None)
        return b""

    def init(self, at: int, body: bytes) -> bytes:
        _, _, readahead, _ = struct.unpack_from("<IIII", body)
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, _BIG_WRITES, 12, 9, _WRITE_BYTES_MAX, 1, 0, 0, 0)

    _DOES: ClassVar[dict[int, Callable[["Disk", int, bytes], bytes]]] = {
        1: look_up, 3: get_attr, 4: set_attr, 5: readlink, 6: symlink, 8: mknod, 9: mkdir, 10: unlink, 11: rmdir,
        12: rename, 13: link, 14: open_file, 15: read, 16: write, 17: statfs, 18: release, 20: fsync, 25: fsync,
        26: init, 27: opendir, 28: readdir, 29: releasedir, 30: fsync, 35: create, 45: rename2,
    }  # fmt: skip

    def serve(self, device: int) -> None:
        """Answer until the disk is unmounted."""
        while True:
            try:
                request = os.read(device, _WRITE_BYTES_MAX + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, code, unique, number, *_ = _HEADER.unpack_from(request)
            body = request[_HEADER.size :]
            if code == 2:
                self.forget(number, struct.unpack("<Q", body)[0])
            elif code == 42:
                for pair in struct.iter_unpack("<QQ", body[8:]):
                    self.forget(*pair)
            elif code != 36:
                self._answer(device, unique, code, number, body)

    def _answer(self, device: int, unique: int, code: int, number: int, body: bytes) -> None:
        does, said, number_of_error = self._DOES.get(code), b"", 0
        try:
            if does is None:
                raise OSError(errno.ENOSYS, "not of this disk")
            said = does(self, self.held.get(number, -1), body)
        except OSError as error:
            number_of_error = -(error.errno or errno.EIO)
        try:
            os.write(device, _REPLY.pack(_REPLY.size + len(said), number_of_error, unique) + said)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for it any more
                raise


def _name(body: bytes) -> str:
    return os.fsdecode(body[: body.index(0)])


@contextmanager
def mounted(back: Path, at: Path, *options: str) -> Iterator[Path]:
    """Show the folder `back` at `at` as such a disk would. Skips where that cannot be done, and says why."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk that folds names")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse: a disk that folds names cannot be had here")
    back.mkdir(parents=True, exist_ok=True)
    at.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other"
    if libc.mount(b"meerkat-test", os.fsencode(at), b"fuse.meerkat-test", 2 | 4, data.encode()):  # nosuid, nodev
        why = os.strerror(ctypes.get_errno())
        os.close(device)
        pytest.skip(f"a disk that folds names cannot be mounted here: {why}")
    command = [sys.executable, __file__, str(device), str(back), *options]
    disk = subprocess.Popen(command, pass_fds=(device,))
    os.close(device)
    try:
        yield at
    finally:
        libc.umount2(os.fsencode(at), 2)  # at once, whoever still uses it
        try:
            disk.wait(10)
        except subprocess.TimeoutExpired:
            disk.kill()
            disk.wait()


if __name__ == "__main__":
    os.umask(0)
    Disk(sys.argv[2], set(sys.argv[3:])).serve(int(sys.argv[1]))
