"""What is synchronised: random bytes, so that nothing compresses and nothing is the same twice. And the judge, who
reads every byte of both sides and believes no node."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blake3 import blake3

from meerkat.cli.tree import TreeReader, differences

MIB = 1 << 20
FILES_PER_FOLDER = 100
POLL_S = 0.002
TIMEOUT_S = 600.0
PROBE_FILES = 1000
SEEDED_TIME_S = 1_700_000_000  # the files are to look as if they had lain there for long


def size_text(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"


class NotEqual(Exception):
    """The folders differ at the end: whatever was measured does not count."""


def write_random(path: Path, size: int) -> None:
    stream = blake3(os.urandom(32))  # its output of any length is as good as dice, and ten times as quick
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(stream.digest(length=min(MIB, size - start), seek=start))


def write_many(folder: Path, count: int, size: int, seed: int | None = None) -> None:
    """`count` files of `size` bytes, in folders of a hundred; with a seed, the same ones with the same times again."""
    dice = random.Random(os.urandom(16) if seed is None else seed)
    for first in range(0, count, FILES_PER_FOLDER):
        below = folder / f"{first // FILES_PER_FOLDER:04}"
        below.mkdir(parents=True)
        total = size * FILES_PER_FOLDER
        data = dice.randbytes(total)
        for number in range(min(FILES_PER_FOLDER, count - first)):
            path = below / f"{number:03}.bin"
            path.write_bytes(data[number * size : (number + 1) * size])
            if seed is not None:
                os.utime(path, (SEEDED_TIME_S, SEEDED_TIME_S))
        if seed is not None:
            os.utime(below, (SEEDED_TIME_S, SEEDED_TIME_S))


class Arrival:
    """Whether all that one folder holds, as `write_many` lays it, is in another: names only, and cheap to ask again and
    again, since a folder that was complete is not looked at a second time. Names that begin with a dot are somebody's
    unfinished files.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._open = [
            (folder / f"{first // FILES_PER_FOLDER:04}", min(FILES_PER_FOLDER, count - first))
            for first in range(0, count, FILES_PER_FOLDER)
        ]
        self._open.reverse()

    def complete(self) -> bool:
        while self._open:
            folder, count = self._open[-1]
            try:
                names = os.listdir(folder)
            except OSError:
                return False
            if sum(not name.startswith(".") for name in names) < count:
                return False
            self._open.pop()
        return True


def await_that(holds: Callable[[], bool], poll_s: float = POLL_S, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came of it within {timeout_s:.0f} s")
        time.sleep(poll_s)


def judge(folders: Sequence[Path]) -> None:
    """Read everything in all folders.

    Raises:
        NotEqual: naming the first differences.
    """
    reader = TreeReader()
    found = differences({f"{folder.name} {number}": reader.read(folder) for number, folder in enumerate(folders)})
    if found:
        raise NotEqual("; ".join(found))


def creations_per_second() -> float:
    """How many empty files one bare thread makes here in a second: what the file system itself allows. Some are slow
    for minutes after many deletions near by (ext4 without a journal passes over inodes that were freed just now)."""
    with tempfile.TemporaryDirectory(prefix="mkb-") as folder:
        start = time.perf_counter()
        for number in range(PROBE_FILES):
            os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return PROBE_FILES / (time.perf_counter() - start)


def settle_disk() -> None:
    """Write out what was prepared, so that no run pays for it."""
    os.sync()
