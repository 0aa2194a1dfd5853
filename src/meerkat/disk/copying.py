"""Bytes of the shared folder's files copied into what is being staged.

A source counts only while it looks as its base says; the folder is open to everybody, so it may change at any moment.
"""

import os
from collections.abc import Callable

from blake3 import blake3

from meerkat.disk import platform
from meerkat.disk.root import Root, stat_of
from meerkat.disk.trouble import FULL
from meerkat.model.ids import Digest
from meerkat.model.limits import COPY_STEP_BYTES, DISK_READ_BYTES
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base


def copy(
    root: Root, source: RelPath, base: Base, source_offset: int, writing: int, offset: int, length: int, digest: Digest
) -> bool:
    """Copy `length` bytes into the open file `writing`.

    Returns:
        True when exactly the bytes of `digest` are now at `offset`. False: they are not to be had there.

    Raises:
        OSError: the disk is full.
    """

    def work(reading: int) -> bool:
        if length <= DISK_READ_BYTES:
            data = os.pread(reading, length, source_offset)
            if len(data) != length or blake3(data).digest() != digest:
                return False
            platform.write_all(writing, data, offset)
            return True
        if platform.is_hole(reading, source_offset, length) and platform.write_hole(writing, offset, length):
            return _digest_between(writing, offset, length) == digest
        if platform.copy_range(reading, source_offset, writing, offset, length) != length:
            return False
        return _digest_between(writing, offset, length) == digest

    return _from_source(root, source, base, work)


def copy_unchecked(
    root: Root, source: RelPath, base: Base, source_offset: int, writing: int, offset: int, length: int
) -> bool:
    """Copy `length` bytes into the open file `writing`, which has nothing but a hole there yet.

    Returns:
        True: they were copied from a file that looked as `base` says before and afterwards. Whether they are the right
        ones is for the caller to see. False: they are not to be had there.

    Raises:
        OSError: the disk is full.
    """

    def work(reading: int) -> bool:
        done = 0
        while done < length:
            step = min(COPY_STEP_BYTES, length - done)
            if not platform.is_hole(reading, source_offset + done, step) and (
                platform.copy_range(reading, source_offset + done, writing, offset + done, step) != step
            ):
                return False
            done += step
        return stat_of(os.fstat(reading)) == base.stat

    return _from_source(root, source, base, work)


def _from_source(root: Root, source: RelPath, base: Base, work: Callable[[int], bool]) -> bool:
    """Do that with the open file, if it looks as its base says. A rotten source is one source less: the bytes come
    from a peer then. That the disk is full is raised."""
    try:
        reading = root.open_read(source)
    except PathBlocked:
        return False
    try:
        return stat_of(os.fstat(reading)) == base.stat and work(reading)
    except OSError as error:
        if error.errno in FULL:
            raise
        return False
    finally:
        os.close(reading)


def _digest_between(handle: int, offset: int, length: int) -> bytes:
    hasher = blake3()
    end = offset + length
    while offset < end and (data := os.pread(handle, min(DISK_READ_BYTES, end - offset), offset)):
        hasher.update(data)
        offset += len(data)
    return hasher.digest()
