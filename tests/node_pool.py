"""Whole nodes in one event loop: real folders, real TLS on 127.0.0.1, the real composition, started as programs do it.

For what only shows when the rooms work together, and costs too much as processes (those are in `e2e/`). A crash here
is the end of everything without the orderly stop: no goodbye, no witness of a clean stop, the index not closed.
"""

import asyncio
import json
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from node_rooms import WITHIN_S, eventually, until

from meerkat.model.config import Settings
from meerkat.model.ids import NodeId
from meerkat.model.path import MARKER
from meerkat.node import run as run_room
from meerkat.node.control import Control
from meerkat.node.home import Home
from meerkat.node.node import Node, OnPlan
from meerkat.node.run import run_node
from meerkat.node.surroundings import Surroundings
from meerkat.wire.control import Result
from meerkat.wire.identity import Identity

FREE = "127.0.0.1:0"

Tree = dict[str, tuple[str, int, int, bytes]]


class MortalNode(Node):
    """A node that can be made to end as by a power cut."""

    crashed = False

    async def _say_goodbye(self) -> None:
        if not self.crashed:
            await super()._say_goodbye()

    async def _close_index(self) -> None:
        if not self.crashed:
            await super()._close_index()
            return
        self.books._writer.shutdown()
        self.books._readers.shutdown()
        self.opened.index._writer.damaged = True  # so that closing the file does not call this a clean stop
        self.opened.index.close()


class Running:
    """One node of a pool: its folder, and the engine while it runs."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.ready: dict[str, object] = {}
        self.task: asyncio.Task[None] | None = None
        self.stop = asyncio.Event()
        self.engine: MortalNode | None = None

    @property
    def node(self) -> MortalNode:
        assert self.engine is not None
        return self.engine

    @property
    def id(self) -> NodeId:
        return self.node.identity.node

    @property
    def address(self) -> str:
        return self.node.listen

    # ---- what a person does

    def put(self, name: str, data: bytes) -> None:
        """Save a file as a program does that writes it in one go."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def files(self) -> dict[str, bytes]:
        """Every file of the folder, by path."""
        return {name: data for name, (kind, _, _, data) in self.tree().items() if kind == "file"}

    def tree(self) -> Tree:
        """Everything in the folder: kind, bits, time of a file, bytes or target."""
        found: Tree = {}
        for place in self.folder.rglob("*"):
            if MARKER in place.parts:
                continue
            try:
                seen = place.lstat()
                name, bits = place.relative_to(self.folder).as_posix(), stat.S_IMODE(seen.st_mode)
                if stat.S_ISLNK(seen.st_mode):
                    found[name] = ("link", 0, 0, os.fsencode(os.readlink(place)))
                elif stat.S_ISDIR(seen.st_mode):
                    found[name] = ("folder", bits, 0, b"")
                else:
                    found[name] = ("file", bits, seen.st_mtime_ns, place.read_bytes())
            except FileNotFoundError:
                continue  # in the middle of a change
        return found

    # ---- what a person asks

    async def ask(self, verb: str, **arguments: object) -> Any:
        """The answer to a verb of the control service.

        Raises:
            ControlFault: what the door would be shown.
        """
        async with asyncio.timeout(WITHIN_S):
            async for each in Control(self.node).handle(verb, dict(arguments)):
                if isinstance(each, Result):
                    return each.value
        raise AssertionError(f"{verb} ended without an answer")

    async def invite(self, **arguments: object) -> str:
        answer = await self.ask("invite", **arguments)
        return str(answer["code"])

    def linked(self) -> set[NodeId]:
        return set(self.node.peers.linked())

    def problems(self) -> list[tuple[str, str]]:
        return [(problem.path, problem.reason.value) for problem in self.node.hub.problems()]


class NodePool:
    """The nodes of one test, all in one process."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.nodes: list[Running] = []
        self._made: dict[Path, MortalNode] = {}

    # ---- starting and ending

    def folder(self, name: str) -> Running:
        """A folder for a node that is not started yet."""
        place = self.base / name
        place.mkdir(parents=True, exist_ok=True)
        running = Running(name, place.resolve())
        self.nodes.append(running)
        return running

    async def found(self, name: str, **settings: Any) -> Running:
        """A new node with a pool of its own, whose index is in use."""
        running = self.folder(name)
        await self.start(running, **settings)
        async with asyncio.timeout(WITHIN_S):
            await running.node.books.recovered.wait()
        return running

    async def join(self, name: str, through: Running, *, called: str = "", **settings: Any) -> Running:
        """A new node that joins through another one. `called`: how it calls itself, when that is not its folder."""
        running = self.folder(name)
        running.name = called or name
        await self.start(running, invite=await through.invite(), **settings)
        return running

    async def start(self, running: Running, *, on_plan: OnPlan | None = None, **settings: Any) -> None:
        """Start the node of a folder (again); returns when others can connect.

        Raises:
            Fault: it did not come up.
        """
        assert running.task is None or running.task.done()
        running.stop = asyncio.Event()
        up = asyncio.Event()

        def on_ready(ready: dict[str, object]) -> None:
            running.ready = ready
            running.engine = self._made[running.folder]
            up.set()

        chosen = Settings(str(running.folder), **{"name": running.name, "listen": FREE, **settings})
        running.task = asyncio.ensure_future(run_node(chosen, on_ready, running.stop, on_plan))
        waiting = asyncio.ensure_future(up.wait())
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait([waiting, running.task], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if running.task.done():
            running.task.result()

    def make(
        self, home: Home, identity: Identity, settings: Settings, surroundings: Surroundings | None = None
    ) -> MortalNode:
        """Stands where the program makes its node, so that tests can ask it."""
        made = self._made[home.folder] = MortalNode(home, identity, settings, surroundings)
        return made

    async def stop(self, running: Running) -> None:
        """An orderly stop."""
        running.stop.set()
        await self.ended(running)

    async def ended(self, running: Running) -> None:
        """Wait for the node's own end.

        Raises:
            Fault: what ended it.
        """
        assert running.task is not None
        async with asyncio.timeout(WITHIN_S):
            await running.task

    async def crash(self, running: Running) -> None:
        """End the node as a power cut would, as far as one process can have that."""
        assert running.task is not None
        running.node.crashed = True
        running.task.cancel()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(running.task, return_exceptions=True)
        running.engine = None

    async def close(self) -> None:
        """Stop whoever still runs."""
        for each in self.nodes:
            each.stop.set()
        await asyncio.gather(*(each.task for each in self.nodes if each.task is not None), return_exceptions=True)

    # ---- waiting

    @property
    def live(self) -> list[Running]:
        return [each for each in self.nodes if each.task is not None and not each.task.done() and each.engine]

    async def equal(self, *nodes: Running) -> Tree:
        """Wait until the folders (of all that run, if none are named) are the same; what they show."""
        chosen = nodes or self.live
        assert len(chosen) > 1

        def same() -> bool:
            first, *others = [each.tree() for each in chosen]
            return all(other == first for other in others)

        await until(f"{', '.join(each.name for each in chosen)} show the same", same)
        return chosen[0].tree()

    async def settled(self, *nodes: Running) -> Tree:
        """As `equal`, once every index says that nothing is left to be done."""
        chosen = nodes or tuple(self.live)

        async def quiet(one: Running) -> bool:
            return str((await one.ask("status"))["state"]) in ("in_sync", "alone", "attention")

        for each in chosen:
            await eventually(f"{each.name} is in sync", lambda each=each: quiet(each))  # type: ignore[misc]
        return await self.equal(*chosen) if len(chosen) > 1 else chosen[0].tree()

    async def linked(self, *nodes: Running) -> None:
        """Wait until each is linked with each."""
        chosen = nodes or tuple(self.live)
        ids = {each.id for each in chosen}
        await until("all are linked", lambda: all(ids - {each.id} <= each.linked() for each in chosen))

    def bugs(self) -> list[str]:
        """Tracebacks that a node has left in its log."""
        found = []
        for each in self.nodes:
            path = each.folder / MARKER / "log" / "meerkat.log"
            for line in path.read_text("utf-8").splitlines() if path.exists() else []:
                record = json.loads(line)
                if "traceback" in record:
                    found.append(f"{each.name}: {record['message']}\n{record['traceback']}")
        return found


@asynccontextmanager
async def pool(base: Path, *, bugs_expected: bool = False) -> AsyncIterator[NodePool]:
    """A pool with sockets and state in a private place; afterwards nobody may have met a bug."""
    private = Path(tempfile.mkdtemp(prefix="mk-"))  # short: the path of a Unix socket has 107 bytes
    (private / "run").mkdir(mode=0o700)
    environment = {"XDG_RUNTIME_DIR": str(private / "run"), "XDG_STATE_HOME": str(base / ".state")}
    made = NodePool(base)
    try:
        with patch.dict(os.environ, environment), patch.object(run_room, "Node", made.make):
            try:
                yield made
            finally:
                await made.close()
        found = made.bugs()
        assert bugs_expected or not found, "\n".join(found)
    finally:
        shutil.rmtree(private, ignore_errors=True)
