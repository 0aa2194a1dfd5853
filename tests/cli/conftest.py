"""A real control server on a real socket, answering with what a test lays down for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meerkat.wire.control import ControlFault, ControlServer, Result, socket_path

STATUS: dict[str, Any] = {
    "pool": "p" * 32,
    "node": "a" * 32,
    "name": "ada",
    "dir": "/data/Shared",
    "state": "attention",
    "files": 12_408,
    "folders": 310,
    "bytes": 48_100_000_000,
    "behind": {"files": 0, "bytes": 0},
    "conflicts": 1,
    "held": 0,
    "problems": [
        {
            "path": "video\x1b.mp4",
            "node": "b" * 32,
            "reason": "disk_full",
            "text": "needs 210 MB, 90 MB free",
            "hint": "free space on pi",
        }
    ],
    "nodes": [
        {
            "node": "a" * 32,
            "name": "ada",
            "state": "up_to_date",
            "self": True,
            "behind_files": 0,
            "last_seen": None,
            "address": None,
            "rtt_ms": None,
        },
        {
            "node": "b" * 32,
            "name": "pi",
            "state": "blocked",
            "self": False,
            "behind_files": 14,
            "last_seen": "2026-01-02T11:00:00Z",
            "address": "192.0.2.7:7447",
            "rtt_ms": 38.2,
        },
    ],
    "traffic": {"sent_bytes": 5, "received_bytes": 2_000_000, "reused_bytes": 0},
    "memory_bytes": 50_000_000,
}


@dataclass
class FakeNode:
    """A node without an engine: it answers each verb with what was laid down, over real gRPC.

    `answers[verb]` is the result, a fault to raise, or a list of progress objects followed by one of these.
    """

    folder: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="fake-node")
        self.server: ControlServer | None = None

    def start(self) -> None:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(20)

    async def _start(self) -> None:
        self.server = ControlServer(socket_path(self.folder), self._handle)
        await self.server.start()

    async def _handle(self, verb: str, arguments: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Result]:
        self.asked.append((verb, arguments))
        if verb not in self.answers:
            raise ControlFault("unknown_verb", f"there is no {verb}", exit_code=2)
        if verb == "down":
            self.stopping = asyncio.ensure_future(self._stop())  # the grace lets this answer out
        steps = self.answers[verb]
        for step in steps if isinstance(steps, list) and steps and isinstance(steps[-1], Last) else [Last(steps)]:
            if not isinstance(step, Last):
                yield step
            elif isinstance(step.value, Exception):
                raise step.value
            else:
                yield Result(step.value)

    async def _stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(0.1)

    def stop_serving(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(20)

    def stop(self) -> None:
        self.stop_serving()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@dataclass
class Last:
    """The end of an answer: its result, or the fault that it ends with."""

    value: Any


@pytest.fixture
def last() -> type[Last]:
    return Last


@pytest.fixture
def node(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeNode]:
    """A running node for the current folder."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mk") as runtime:  # socket paths are short
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        (tmp_path / ".meerkat" / "log").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        fake = FakeNode(tmp_path.resolve(), {"status": STATUS})
        fake.start()
        yield fake
        fake.stop()
