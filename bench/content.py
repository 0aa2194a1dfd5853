"""What is synchronised: random bytes, so that nothing compresses and nothing is the same twice. And the judge, who
reads every byte of both sides and believes no node."""

import os
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


class NotEqual(Exception):
    """The folders differ at the end: whatever was measured does not count."""


def write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))


def write_many(folder: Path, count: int, size: int) -> None:
    """`count` files of `size` bytes, in folders of a hundred."""
    for first in range(0, count, FILES_PER_FOLDER):
        below = folder / f"{first // FILES_PER_FOLDER:04}"
        below.mkdir(parents=True)
        data = os.urandom(size * FILES_PER_FOLDER)
        for number in range(min(FILES_PER_FOLDER, count - first)):
            (below / f"{number:03}.bin").write_bytes(data[number * size : (number + 1) * size])


def count_files(folder: Path) -> int:
    """Files two levels down, as `write_many` lays them."""
    try:
        return sum(len(os.listdir(below.path)) for below in os.scandir(folder) if below.is_dir())
    except OSError:
        return 0


def await_that(holds: Callable[[], bool], poll_s: float = POLL_S) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it did not within `TIMEOUT_S`.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came of it within {TIMEOUT_S:.0f} s")
        time.sleep(poll_s)


def digest(path: Path) -> bytes:
    return blake3(max_threads=1).update_mmap(path).digest()


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
