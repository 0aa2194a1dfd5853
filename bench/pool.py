"""Meerkat: processes as people start them, real TLS on 127.0.0.1, real folders.

Invariant: whatever happens, the processes started here are ended, each by its own id, and their folder is removed.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meerkat.cli import ask
from meerkat.cli.demo import NAMES
from meerkat.cli.demo_pool import DemoNode, DemoPool

from .content import TIMEOUT_S
from .measure import MEERKAT
from .network import Network
from .team import Fill, TeamGauge
from .usage import await_quiet


class Pool:
    """Nodes that share a folder, the first of which founded the pool."""

    who = MEERKAT

    def __init__(self, base: Path, network: Network, count: int, fill: Fill | None = None) -> None:
        self.base, self.network = base, network
        self.outside = base / "outside"
        self.outside.mkdir()
        program = [*network.words, sys.executable, "-m", "meerkat"]
        self._pool = DemoPool(base, web=False, program=program)
        try:
            for _ in range(count):
                self.grow(fill)
            self.quiet()
        except BaseException:
            self.close()
            raise

    def grow(self, fill: Fill | None = None) -> None:
        """One more node: it founds the pool, or joins through the first, with what `fill` put into its folder."""
        code = self._pool.ask(self._pool.nodes[0], "invite")["code"] if self._pool.nodes else None
        self._pool.add(NAMES[len(self.nodes)], code, fill=fill)

    @property
    def nodes(self) -> list[DemoNode]:
        return self._pool.nodes

    @property
    def folders(self) -> list[Path]:
        return [node.folder for node in self.nodes]

    @property
    def pids(self) -> dict[str, int]:
        return {node.name: node.process.pid for node in self.nodes if node.process is not None}

    def ask(self, number: int, verb: str, arguments: dict[str, Any] | None = None) -> Any:
        """What a node answers over its control socket."""
        with self._surroundings():
            return ask.call(self.folders[number], verb, arguments or {})

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Sockets are looked for where the nodes have put them."""
        before = dict(os.environ)
        os.environ.update(self._pool.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def quiet(self) -> None:
        """Wait until the nodes agree and rest."""
        for number, node in enumerate(self.nodes):
            if node.process is not None:
                answer = self.ask(number, "wait", {"nodes": "reachable", "timeout": TIMEOUT_S, "paths": []})
                if not answer["done"]:
                    raise TimeoutError(f"the nodes do not agree: {answer['waiting_for']}")
        await_quiet(self.pids)

    def carry(self) -> None:
        """It watches."""

    def stop(self, number: int) -> None:
        self._pool.stop(self.nodes[number], signal.SIGTERM)

    def start(self, number: int) -> None:
        self._pool.start(self.nodes[number])

    def sent(self) -> dict[str, int]:
        return {
            node.name: int(self.ask(number, "status")["traffic"]["sent_bytes"])
            for number, node in enumerate(self.nodes)
            if node.process is not None
        }

    def gauge(self) -> TeamGauge:
        return TeamGauge(self)

    def close(self) -> None:
        self._pool.close()
