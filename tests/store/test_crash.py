"""A writer killed at any instant: what it had reported as committed is there, and the sums agree with the rows."""

import pathlib
import random
import signal
import subprocess
import sys

import pytest

from meerkat.model.dot import Author
from meerkat.model.ids import NodeId
from meerkat.model.index import dot_print
from meerkat.model.path import RelPath, tree_key
from meerkat.store.index import Index

HERE = Author(NodeId("a" * 32), 1)

WRITER = """
import pathlib, sys
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Kind, Stat, Version
from meerkat.store.index import Index

here = Author(NodeId("a" * 32), 1)
index = Index.open(pathlib.Path(sys.argv[1]))
with index.write() as tx:
    tx.renew_author(here)
while True:
    with index.write() as tx:
        for _ in range(10):
            seq = tx.next_seq()
            path = RelPath(f"d{seq % 50}/f{seq % 500}")
            version = Version(Kind.FILE, seq, 0, 0, Digest(seq.to_bytes(32, "big")))
            tx.put_siblings(path, {Dot(here, seq): version})
            tx.put_base(path, Base(version.content, Stat(Kind.FILE, seq, 1, 2, 3, 0)))
            if seq % 3:
                tx.clear_pending(path)
    print(seq, flush=True)
"""


def killed_after(path: pathlib.Path, lines: int) -> int:
    """Run the writer, kill it once it has reported so many commits, answer the last sequence that it reported."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        reported = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        reported += [int(line) for line in child.stdout if line.endswith("\n")]
        assert child.wait() == -signal.SIGKILL
    return reported[-1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: pathlib.Path, seed: int) -> None:
    """Over several lives ended by SIGKILL, no reported sequence is missing or given twice, and all sums are right."""
    dice = random.Random(seed)
    path = tmp_path / "index.db"
    last = 0
    for _ in range(3):
        reported = killed_after(path, dice.randint(1, 60))
        assert reported > last
        index = Index.open(path)
        assert not index.was_clean
        assert index._writer.rows("PRAGMA integrity_check") == [("ok",)]
        with index.read() as view:
            last = view.context()[HERE]
            assert last >= reported
            entries = {entry.path: entry.siblings for entry in view.entries()}
            for seq in range(max(1, last - 499), last + 1):
                ((dot, version),) = entries[RelPath(f"d{seq % 50}/f{seq % 500}")].items()
                assert dot.seq == seq == version.size
            total = sum(dot_print(tree_key(p), dot) for p, siblings in entries.items() for dot in siblings)
            assert view.fingerprint() == (total % 2**128).to_bytes(16, "big")
            totals = view.totals()
            assert totals.files == len(entries)
            assert totals.bytes == sum(version.size for s in entries.values() for version in s.values())
            assert totals.behind_files == len(view.pending(RelPath(""), 10_000))
        # The next life must find a crashed file, so this one leaves as a killed process would.
        index._writer.run("UPDATE state SET clean = 0")
        index._writer.close()
