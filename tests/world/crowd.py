"""Crowds: dozens to hundreds of nodes in one process on virtual time, without disks.

Everything that a node says to others is the engine's own: roster, links, overlay, liveness, heads, progress, questions
for entries, and an index each. Only folders are left out: a change is a folder that a person makes, and is taken as
put down as soon as it is known. So hundreds fit into one thread.
"""

import asyncio
import logging
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from world.loop import LIFE, Life, VirtualLoop
from world.network import Machine
from world.place import identity_from
from world.wires import CrowdNet, CrowdNetwork

from meerkat.core.roster import Roster
from meerkat.disk.scan import Sight
from meerkat.model.dot import Author, Dot
from meerkat.model.frame import CarryFrame, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import CONTROL_PART_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Base, Kind, Stat
from meerkat.node import ledger
from meerkat.node.asking import Asking
from meerkat.node.books import Books
from meerkat.node.doubles import Doubles
from meerkat.node.gossip import Gossip
from meerkat.node.home import Config
from meerkat.node.hub import Hub
from meerkat.node.ledger import Job
from meerkat.node.peers import Peers
from meerkat.node.ports import Pipe
from meerkat.node.progress import Progress
from meerkat.node.pull import Puller
from meerkat.node.registry import Registry
from meerkat.node.succession import Succession
from meerkat.node.tasks import Tasks
from meerkat.store.index import Index
from meerkat.wire import identity as identity_module
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import InviteSecret

THREAD_S = 0.002
"""What a transaction takes, on average."""

A_FOLDER = Base(FOLDER, Stat(Kind.FOLDER, 0, 0, 0, 1, 0o755))


class CrowdLoop(VirtualLoop):
    """Virtual time in which threads are never held up for long."""

    def thread_s(self) -> float:
        return self._rng.expovariate(1 / THREAD_S)


class NoContent:
    """Instead of `Asking`: in a crowd nobody has bytes."""

    on_spoiled: Callable[[NodeId], None]

    async def attend(self, node: NodeId, pipe: Pipe[CarryFrame]) -> None:
        async for _ in pipe.frames():
            pass


class MemoryStore:
    """Instead of the roster's files."""

    def put_ops(self, ops: Iterable[Signed]) -> None: ...
    def put_record(self, node: NodeId, record: Signed) -> None: ...
    def put_seen(self, node: NodeId, addresses: tuple[str, ...]) -> None: ...


class CrowdRegistry(Registry):
    """A roster in memory, which begins with what is handed over."""

    def __init__(self, identity: Identity, pool: PoolId, ops: Iterable[Signed], records: Iterable[Signed]) -> None:
        with patch("meerkat.node.registry.RosterStore", lambda folder: MemoryStore()):
            super().__init__(Path(), identity, pool)
        self._roster = Roster(_verified, pool)
        for op in ops:
            self._roster.add(rosterops.parse_op(op), op)
        for record in records:
            self._roster.put_record(rosterops.parse_record(record), record)
        self._swap_certificates()


@lru_cache(1 << 17)
def _verified(certificate: bytes, body: bytes, signature: bytes) -> bool:
    """All nodes check the same signatures: once is enough for a crowd."""
    return verify(certificate, body, signature)


class Resident:
    """One node of a crowd: its rooms while it is up."""

    def __init__(self, crowd: "Crowd", number: int, identity: Identity) -> None:
        self.crowd = crowd
        self.number = number
        self.name = f"n{number}"
        self.identity = identity
        self.node = identity.node
        self.machine = Machine(self.name, identity, f"10.{number >> 8}.{number & 255}.1:7000")
        self.life: Life | None = None
        self.lives = 0
        self.up_at = 0.0
        self.index: Index | None = None
        crowd.net.add(self.machine)

    @property
    def up(self) -> bool:
        return self.life is not None and not self.life.dead

    async def start(self, ops: Iterable[Signed], records: Iterable[Signed]) -> None:
        """Come up with that roster, in a life of its own."""
        self.lives += 1
        self.up_at = self.crowd.loop.time()
        self.life = Life(self.name, self.lives)
        context = copy_context()
        context.run(LIFE.set, self.life)
        await asyncio.get_running_loop().create_task(self._rise(list(ops), list(records)), context=context)

    async def _rise(self, ops: list[Signed], records: list[Signed]) -> None:
        crowd = self.crowd
        if self.index is None:
            self.index = Index.in_memory()
            with self.index.write() as tx:
                tx.renew_author(Author(self.node, 1 + self.number))
        self.tasks = Tasks()
        self.books = Books(self.index)
        self.registry = CrowdRegistry(self.identity, crowd.pool, ops, records)
        self.hub = Hub(self.node)
        self.gossip = Gossip(self.node, self.books, self._heard_summary)
        self.puller = Puller(self.books, crowd.threads, self.tasks, self._merged, lambda: None)
        run = int(crowd.loop.time() * 1e9)
        self.progress = Progress(self.node, run, self.books, self.hub, self.gossip, lambda: not self.puller.level)
        self.gossip.on_outbid = self.progress.outbid
        succession = cast(Succession, None)  # no node of a crowd is a copy
        self.peers = Peers(
            self.node,
            CrowdNetwork(crowd.net, self.machine),
            self.registry,
            self.books,
            self.gossip,
            self.puller,
            cast(Asking, NoContent()),
            self.hub,
            self.tasks,
            random.Random(f"{crowd.seed}/{self.name}/{self.lives}"),
            crowd.dice.randbytes(16),
            run,
            Doubles(self.registry, self.hub, succession, moved=False),
            self._links_changed,
            lambda claimed: None,
        )
        await self.books.open()
        self.port, _ = await CrowdNetwork(crowd.net, self.machine).serve(
            Config(), None, self.registry, self.peers.welcome, cast(Any, None)
        )
        self.books.on_written(self.gossip.written)
        self.books.on_written(self.progress.touch)
        self.books.on_written(self._noted)
        self.registry.on_changed(self._roster_changed)
        self._roster_changed()
        self.tasks.spawn("links", self.peers.run(), vital=True)
        self.tasks.spawn("vigil", self.peers.vigil.run(), vital=True)
        self.tasks.spawn("progress", self.progress.run(), vital=True)

    # ---- what the rooms tell

    def _heard_summary(self, summary: object) -> None:
        self.progress.others_changed()

    def _links_changed(self) -> None:
        self.progress.touch()

    def _roster_changed(self) -> None:
        self.peers.roster_changed()
        for node in list(self.gossip.latest):
            if node not in self.registry.members() and node != self.node:
                self.gossip.forget(node)

    def _noted(self) -> None:
        self.crowd.noted(self)

    def _merged(self, paths: list[RelPath], jobs: list[Job]) -> None:
        if paths:
            self.tasks.spawn("put down", self._put_down(paths))

    async def _put_down(self, paths: list[RelPath]) -> None:
        await self.books.write(lambda tx: ledger.record_placed(tx, [(path, A_FOLDER) for path in paths]))

    # ---- what people do

    async def make(self, name: str) -> Dot:
        """Make a folder; the dot of that."""
        await self.books.write(lambda tx: ledger.record(tx, [Sight(RelPath(name), A_FOLDER)]))
        author = self.books.author
        return Dot(author, self.books.context[author])

    def roster(self) -> tuple[list[Signed], list[Signed]]:
        """What it hands over to a newcomer: operations and records."""
        parts = self.registry.all_parts(CONTROL_PART_BYTES_MAX)
        return [op for part in parts for op in part.ops], [each for part in parts for each in part.records]

    # ---- how it stands

    def linked(self) -> set[NodeId]:
        return set(self.peers.linked())

    def there(self) -> set[NodeId]:
        """Who is there, as this node sees it."""
        return set(self.peers.vigil.within)

    # ---- endings

    def kill(self) -> None:
        """Its process is gone: its streams end, and nothing listens there any more."""
        self._end(tell=True)

    def lose_power(self) -> None:
        """Its machine is gone."""
        self.crowd.net.silence(self.name)
        self._end(tell=False)

    def _end(self, *, tell: bool) -> None:
        life = self.life
        assert life is not None
        life.dead = True
        loop = asyncio.get_running_loop()
        for connection in list(self.crowd.net.live()):
            if connection.life is life:
                for pipe in connection.pipes:
                    pipe.end("its process is gone")
                    if tell:
                        loop.call_later(self.crowd.net.delay_s(), pipe.other.end, "the stream broke")
        self.machine.life = self.machine.gate = self.machine.on_connection = None
        for task in life.tasks:
            task.cancel()

    def close(self) -> None:
        if self.index is not None:
            self.index._closed = True
            for connection in (self.index._writer, *self.index._idle):
                connection.close()
            if self.index._cleanup is not None:
                self.index._cleanup()


class Crowd:
    """A pool on virtual time. Use as a context; `run` lives a scene in it.

    Args:
        count: of nodes that are members from the beginning.
        more: identities for those that join later.
    """

    def __init__(self, count: int, seed: int = 0, *, more: int = 0) -> None:
        self.seed = seed
        self.count = count
        self.more = more
        self.dice = random.Random(f"{seed}/crowd")
        self.loop = CrowdLoop(random.Random(f"{seed}/loop"))
        self.net = CrowdNet(random.Random(f"{seed}/net"))
        self.threads = ThreadPoolExecutor(4)
        self.residents: list[Resident] = []
        self.failures: list[str] = []
        self._watched: dict[Dot, dict[str, float]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Crowd":
        self.loop.set_exception_handler(self._failed)
        asyncio.set_event_loop(self.loop)
        for each in self._patches():
            self._stack.enter_context(each)
        self._settle_in()
        return self

    def _patches(self) -> Iterable[AbstractContextManager[Any]]:
        def sign(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
            return key.sign(body, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

        yield patch.object(identity_module, "sign", sign)
        yield patch.object(rosterops, "sign", sign)
        yield patch.object(rosterops, "parse_op", lru_cache(1 << 16)(rosterops.parse_op))
        yield patch.object(rosterops, "parse_record", lru_cache(1 << 16)(rosterops.parse_record))
        yield patch.object(logging.getLogger("meerkat"), "level", logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for each in self.residents:
            if each.life is not None:
                each.life.dead = True
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=60))
        asyncio.set_event_loop(None)
        self.loop.close()
        for each in self.residents:
            each.close()
        self._stack.close()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, asyncio.CancelledError):
            self.failures.append(f"{context.get('message')} {error!r}")

    def _settle_in(self) -> None:
        dice = random.Random(f"{self.seed}/keys")
        identities = [identity_from(dice) for _ in range(self.count + self.more)]
        founder = identities[0]
        genesis = rosterops.make_genesis(founder, "n0", "pool")
        self.pool = PoolId(rosterops.pool_id_of(genesis.body))
        self.secret = InviteSecret.new()
        invite = rosterops.make_invite(
            self.pool, founder, self.secret, uses=len(identities), not_after=1 << 40, made_at=1, signer_name="n0"
        )
        self.invite_id = rosterops.op_id(invite.body)
        self.residents = [Resident(self, number, identity) for number, identity in enumerate(identities)]
        self.ops: Sequence[Signed] = [genesis, invite, *map(self.admission, self.residents[1 : self.count])]
        self.records: Sequence[Signed] = [self.record(each) for each in self.residents[: self.count]]

    def admission(self, resident: Resident) -> Signed:
        return rosterops.make_add(self.pool, self.secret, self.invite_id, resident.identity.certificate, resident.name)

    def record(self, resident: Resident) -> Signed:
        return rosterops.make_record(resident.identity, 1, resident.name, [resident.machine.address])

    def run(self, scene: Any) -> Any:
        """Live it."""
        result = self.loop.run_until_complete(scene)
        assert not self.failures, self.failures[:3]
        return result

    # ---- all together

    async def begin(self, *, calm_s: float = 30.0) -> None:
        """All members come up within a second, and find each other."""
        for each in self.residents[: self.count]:
            await each.start(self.ops, self.records)
            await asyncio.sleep(1.0 / self.count)
        await asyncio.sleep(calm_s)

    @property
    def live(self) -> list[Resident]:
        return [each for each in self.residents if each.up]

    def graph(self) -> dict[NodeId, set[NodeId]]:
        """Links of those that are up, as far as both ends know of them."""
        live = {each.node: each for each in self.live}
        links = {node: each.linked() & live.keys() for node, each in live.items()}
        return {node: {other for other in others if node in links[other]} for node, others in links.items()}

    def is_connected(self, since_s: float = 0.0) -> bool:
        """Whether there are ways of links between all that have been up for so long, over them alone."""
        new = {each.node for each in self.live if self.loop.time() - each.up_at < since_s}
        graph = {node: others - new for node, others in self.graph().items() if node not in new}
        found: set[NodeId] = set()
        ahead = list(graph)[:1]
        while ahead:
            node = ahead.pop()
            if node not in found:
                found.add(node)
                ahead.extend(graph[node] - found)
        return len(found) == len(graph)

    def degrees(self) -> list[int]:
        return sorted(len(others) for others in self.graph().values())

    async def calm(self, seconds: float) -> None:
        """Let so much time pass, in which those that are up for more than a moment stay one graph."""
        ends = self.loop.time() + seconds
        while self.loop.time() < ends:
            await asyncio.sleep(0.05)
            assert self.is_connected(1.0), f"it fell apart: {self.degrees()}"

    async def until(self, what: str, look: Callable[[], bool], most_s: float = 600.0, step_s: float = 0.01) -> float:
        """Wait until it is so; how long that took."""
        began = self.loop.time()
        while not look():
            assert self.loop.time() - began < most_s, f"never: {what}"
            await asyncio.sleep(step_s)
        return self.loop.time() - began

    # ---- changes on their way

    def noted(self, resident: Resident) -> None:
        """A transaction of that node is done."""
        for dot, reached in self._watched.items():
            if resident.name not in reached and resident.books.context.get(dot.author, 0) >= dot.seq:
                reached[resident.name] = self.loop.time()

    async def spread(self, origin: Resident, name: str) -> float:
        """Somebody makes a folder: how long until all that are up know of it."""
        began = self.loop.time()
        dot = await origin.make(name)
        reached = self._watched[dot] = {origin.name: self.loop.time()}
        for each in self.live:
            self.noted(each)
        await self.until("all know of it", lambda: all(each.name in reached for each in self.live), step_s=0.001)
        del self._watched[dot]
        return max(reached.values()) - began

    def level(self) -> bool:
        """All that are up know of the same."""
        contexts = [each.books.context for each in self.live]
        prints = {each.books.fingerprint for each in self.live}
        return all(context == contexts[0] for context in contexts) and len(prints) == 1


def p50(values: Iterable[float]) -> float:
    return statistics.median(values)
