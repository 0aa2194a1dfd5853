"""A process swaps a folder for a link to elsewhere all the time, while the hands work in it (G7): with the kernel's
calls and with their fallbacks, nothing outside is ever written, removed, read or given other bits."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from meerkat.disk.commit import Placed, place, remove, remove_folder, set_metadata
from meerkat.disk.root import Root
from meerkat.disk.scan import look, walk
from meerkat.disk.stage import Stage
from meerkat.model.ids import Digest
from meerkat.model.path import parse_path
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Kind, Version

ROUNDS = 1500
ROUNDS_MAX = 60_000
ENDED_MIN = 20
LONG_AGO_NS = 1_600_000_000_000_000_000
SECRET = b"secret"

SWAPPER = """
import os, random, sys, time
folder, outside = sys.argv[1:]
os.chdir(folder)
print("ready", flush=True)
while True:
    began = time.perf_counter()
    os.rename("p", "held")
    os.symlink(outside, "p")
    os.unlink("p")
    os.rename("held", "p")
    ended = time.perf_counter()
    while time.perf_counter() - ended < (ended - began) * random.choice((0, 1, 2, 8, 64, 512)):
        pass
"""
"""Swaps take longer on some disks than on others. Between them: from no time to so much that a file is put down even by
a process that has to wait for its turn."""


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """The folder `p` is a link to `outside` part of the time, and itself the rest."""
    process = subprocess.Popen([sys.executable, "-c", SWAPPER, str(folder), str(outside)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the swapping ended by itself"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_nothing_leaves_through_a_swapped_parent(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Thousands of files are put down, read, retouched and removed in a folder that keeps turning into a link."""
    outside = folder.parent / "outside"
    (outside / "sub").mkdir(parents=True)
    for name in ("kept", "f"):
        (outside / name).write_bytes(SECRET)
        os.utime(outside / name, ns=(LONG_AGO_NS, LONG_AGO_NS))
        (outside / name).chmod(0o600)
    before = {each: (each.lstat().st_ino, each.lstat().st_mtime_ns, each.lstat().st_mode) for each in outside.iterdir()}
    (folder / "p").mkdir()
    (folder / "p" / "kept").write_bytes(b"inside")
    ended: Counter[str] = Counter()
    with swapping(folder, outside):
        for number in range(ROUNDS_MAX):
            raced = ended["Raced"] + ended["file_busy"] + ended["changed_while_reading"]
            if number >= ROUNDS and ended["placed"] > ENDED_MIN and raced > ENDED_MIN:
                break
            try:
                one_round(root, stage, number, ended)
            except PathBlocked as error:
                ended[error.problem.reason.value] += 1
    assert ended["placed"] > ENDED_MIN, ended
    assert ended["Raced"] + ended["file_busy"] + ended["changed_while_reading"] > ENDED_MIN, ended
    assert {each.name for each in outside.iterdir()} == {"kept", "f", "sub"}
    for each, seen in before.items():
        found = each.lstat()
        assert (found.st_ino, found.st_mtime_ns, found.st_mode) == seen
        assert each.is_dir() or each.read_bytes() == SECRET


def one_round(root: Root, stage: Stage, number: int, ended: Counter[str]) -> None:
    """Every kind of access to a path in the folder, once."""
    path, data = parse_path(f"p/n{number}"), b"ours %d" % number
    version = Version(Kind.FILE, len(data), LONG_AGO_NS, 0o644, Digest(blake3(data).digest()))
    name = f"s{number}"
    result = place(root, stage, path, name, stage.write_small(name, data, version), None, version)
    ended["placed" if isinstance(result, Placed) else type(result).__name__] += 1
    kept = look(root, parse_path("p/kept"), None).base
    if kept is not None:
        assert kept.content.ident != blake3(SECRET).digest(), "what lies elsewhere was read"
        changed = set_metadata(root, parse_path("p/kept"), kept, Version(Kind.FILE, mtime_ns=number, mode=0o640))
        ended["touched" if isinstance(changed, Base) else "Raced"] += 1
    foreign = look(root, parse_path("p/f"), None).base
    assert foreign is None, "what lies elsewhere was seen"
    assert root.lstat(parse_path("p/sub")) is None
    for found in walk(root, parse_path("p"), lambda path, is_folder: False):
        assert not (isinstance(found, tuple) and found[0] == "p/sub"), "what lies elsewhere was listed"
        if number % 50:
            break
    if isinstance(result, Placed) and result.base is not None:
        gone = remove(root, stage, path, f"out{number}", result.base)
        ended["removed" if isinstance(gone, Placed) else type(gone).__name__] += 1
        remove_folder(root, parse_path("p/sub"), result.base)
    for each in stage.names():
        stage.drop(each)
