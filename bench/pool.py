"""Real nodes for the bench: processes as people start them, real TLS on 127.0.0.1, real folders.

Invariant: whatever happens, the processes started here are ended, each by its own id, and their folder is removed.
"""

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.usage import Cost, Gauge, await_quiet
from meerkat.cli.demo import NAMES
from meerkat.cli.demo_pool import DemoNode, DemoPool


class Pool:
    """Nodes that share a folder, the first of which founded the pool."""

    def __init__(self, base: Path, count: int) -> None:
        self.base = base
        self.outside = base / "outside"
        self.outside.mkdir()
        self._pool = DemoPool(base, web=False)
        self._messages = 0
        try:
            for name in NAMES[:count]:
                code = self._pool.ask(self._pool.nodes[0], "invite")["code"] if self._pool.nodes else None
                self._pool.add(name, code)
            self.quiet()
        except BaseException:
            self.close()
            raise

    @property
    def nodes(self) -> list[DemoNode]:
        return self._pool.nodes

    @property
    def folders(self) -> list[Path]:
        return [node.folder for node in self.nodes]

    @property
    def pids(self) -> dict[str, int]:
        return {node.name: node.process.pid for node in self.nodes if node.process is not None}

    def quiet(self) -> None:
        """Wait until the nodes agree and rest."""
        for node in self.nodes:
            self._pool.ask(node, "wait")
        await_quiet(self.pids)

    def stop(self, node: DemoNode) -> None:
        self._pool.stop(node, signal.SIGTERM)

    def start(self, node: DemoNode) -> None:
        self._pool.start(node)

    def sent_bytes(self, node: DemoNode) -> int:
        """Message bytes that a node has sent on its links since its start, as it says itself."""
        return int(self._pool.ask(node, "status")["traffic"]["sent_bytes"])

    def gauge(self) -> "PoolGauge":
        """Begin to measure; the nodes should be quiet."""
        return PoolGauge(self)

    def close(self) -> None:
        self._pool.close()


class PoolGauge:
    """From the making until `read`: the caller's clock, and what all nodes cost until they rest again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sent = {node.name: pool.sent_bytes(node) for node in pool.nodes}
        await_quiet(pool.pids)
        self._gauge = Gauge(pool.pids)
        self._start = time.monotonic()

    def read(self) -> Cost:
        """Call when the goal is reached."""
        seconds = time.monotonic() - self._start
        await_quiet(self._pool.pids)
        cost = self._gauge.read(seconds)
        cost.message_bytes = sum(self.sent().values())
        return cost

    def sent(self) -> dict[str, int]:
        """Message bytes that each node has sent since the making."""
        return {node.name: self._pool.sent_bytes(node) - self._sent[node.name] for node in self._pool.nodes}


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder with a short name, because the paths of sockets are bounded."""
    base = Path(tempfile.mkdtemp(prefix="mkb-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def running(count: int) -> Iterator[Pool]:
    """A pool of that many nodes in a temporary folder."""
    with temporary_folder() as base:
        pool = Pool(base, count)
        try:
            yield pool
        finally:
            pool.close()
