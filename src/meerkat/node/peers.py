"""Links with other members: dialled or accepted, greeted, kept, lost, redialled.

One coroutine per link (`_attend`) greets and then hands the three streams to the rooms that live on them: gossip and
the roster on Link, `Puller` on Index, `Asking` on Carry. Liveness is a hint: losing a link has no effect on data.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Set

from msgspec import Struct

from meerkat import __version__
from meerkat.core.brief import whole
from meerkat.core.overlay import Overlay, keep_which
from meerkat.model.dot import Author, Vector, joined
from meerkat.model.frame import (
    PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN,
    Brief,
    Bye,
    Heads,
    Hello,
    LinkFrame,
    LinkLost,
    Neighbours,
    Ping,
    Pong,
    Probe,
    Probed,
    RosterPart,
)
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    CLONED_REST_S,
    CONTROL_PART_BYTES_MAX,
    DIAL_TIMEOUT_S,
    DIALS_AT_ONCE_MAX,
    SUMMARIES_EARLY_MAX,
)
from meerkat.model.member import Summary
from meerkat.node.asking import Asking
from meerkat.node.blame import Blame
from meerkat.node.books import Books
from meerkat.node.dialling import Dialling
from meerkat.node.doubles import CONNECT_ANEW, Doubles
from meerkat.node.gossip import BRIEF, Gossip, Hearer
from meerkat.node.greeting import ENOUGH, greet, refused_for, say_farewell, send
from meerkat.node.hub import Hub, now_text
from meerkat.node.ports import Connection, Pipe
from meerkat.node.probing import PROBE, Probing
from meerkat.node.pull import PACKED, RANGES, RECOVERING, Puller, source_of
from meerkat.node.registry import Registry
from meerkat.node.surroundings import Network
from meerkat.node.tasks import Tasks, until, until_lost
from meerkat.node.vigil import Vigil
from meerkat.wire.client import DialFailed

log = logging.getLogger("meerkat.peers")


class Linked(Struct):
    """A link that stands.

    Attributes:
        said: what the other side has told of its own context, in its greeting and in heads.
        enough: one of both sides parts with it, for it has more than it wants.
        cloned: the other side says that a node with this one's key is alive elsewhere.
    """

    connection: Connection
    hello: Hello
    since: float
    said: dict[Author, int]
    enough: bool = False
    cloned: bool = False


class Peers:
    """All links of this node.

    Args:
        run: random, of this start.
        started: grows with every start, as far as the clock tells.
        on_links_changed: called when a link came or went.
        on_outrun: a member remembers more of this node's own writes than this node does (R12).
    """

    def __init__(
        self,
        self_id: NodeId,
        network: Network,
        registry: Registry,
        books: Books,
        gossip: Gossip,
        puller: Puller,
        asking: Asking,
        hub: Hub,
        tasks: Tasks,
        rng: random.Random,
        run: bytes,
        started: int,
        doubles: Doubles,
        on_links_changed: Callable[[], None],
        on_outrun: Callable[[int], None],
    ) -> None:
        self._self_id = self_id
        self._registry = registry
        self._books = books
        self._gossip = gossip
        self._puller = puller
        self._asking = asking
        self._hub = hub
        self._tasks = tasks
        self._run = run
        self._doubles = doubles
        self._on_links_changed = on_links_changed
        self._on_outrun = on_outrun
        self._dialler = Dialling(network, registry, tasks)
        self.probing = Probing(self_id, network, registry, self._probe_line, lambda node: node in self._links)
        self._overlay = Overlay(self_id, rng)
        self.vigil = Vigil(self_id, started, tasks, self._silent, self._reach_changed)
        self.blame = Blame(registry.name_of, self._blamed)
        puller.on_fault, puller.on_outrun = self.blame.blame, self.blame.outrun_by
        asking.on_spoiled = self.blame.spoiled_by
        self._links: dict[NodeId, Linked] = {}
        self._dialling: set[NodeId] = set()
        self._dial_slots = asyncio.Semaphore(DIALS_AT_ONCE_MAX)
        self._wake = asyncio.Event()
        self._past_bytes = [0, 0]
        self._told: dict[NodeId, tuple[str, ...]] = {}
        self._early: dict[NodeId, tuple[NodeId, Summary]] = {}
        self.last_seen: dict[NodeId, str] = {}
        self.last_cause: dict[NodeId, str] = {}
        self.last_bye: dict[NodeId, str] = {}
        self.on_refused: Callable[[NodeId], None] = lambda node: None
        self.stopping = False

    # ---- what others ask

    def linked(self) -> dict[NodeId, Linked]:
        return dict(self._links)

    def _probe_line(self, node: NodeId) -> Pipe[LinkFrame] | None:
        """The link with that node, if it answers probes."""
        link = self._links.get(node)
        return link.connection.link if link is not None and PROBE in link.hello.features else None

    def rtt_ms(self, node: NodeId) -> float | None:
        return self.vigil.rtt_ms(node)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received on all links since the start."""
        sent, received = self._past_bytes
        for link in self._links.values():
            sent += link.connection.sent_bytes
            received += link.connection.received_bytes
        return sent, received

    # ---- dialling

    def roster_changed(self) -> None:
        """Members came or went, or told new addresses."""
        members = set(self._registry.members()) - {self._self_id}
        self.blame.only(members)
        self._doubles.only(members)
        self._overlay.members(members, asyncio.get_running_loop().time())
        self._follow_moves(members)
        self.vigil.members(members)
        for node in self._early.keys() & members:
            self._gossip.heard_summary(*self._early.pop(node))
        parts = self._registry.fresh_parts()
        for node, link in list(self._links.items()):
            farewell = None if node in members else Bye("refused", "you are not a member of this pool any more")
            self._tasks.spawn(f"roster to {node}", self._tell_roster(link, parts, farewell))
        self._wake.set()

    async def _tell_roster(self, link: Linked, parts: list[RosterPart], farewell: Bye | None) -> None:
        """Pass on what is new; whoever is removed by it gets nothing else, hears that, and is cut off, read or not."""
        if farewell is None:
            return await send(link.connection.link, *parts)
        link.connection.hush()
        return await self._cut(link, *parts, farewell)

    def _follow_moves(self, members: set[NodeId]) -> None:
        """Whoever tells another address than before is dialled there at once."""
        told = {node: self._registry.told_addresses(node) for node in members}
        for node, addresses in told.items():
            if addresses != self._told.get(node, addresses):
                self._overlay.addresses_changed(node)
        self._told = told

    def network_changed(self) -> None:
        """This machine is in another network: whoever was out of reach may be in reach."""
        for node in self._told:
            self._overlay.addresses_changed(node)
        self._wake.set()

    def try_at_once(self, node: NodeId) -> None:
        """There is another place where the member may be."""
        self._overlay.addresses_changed(node)
        self._wake.set()

    async def run(self) -> None:
        """Dial whoever should be linked, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for node in self._overlay.due(now):
                if node not in self._links and node not in self._dialling:
                    self._dialling.add(node)
                    self._tasks.spawn(f"dial {node}", self._dial(node))
            for node in self._overlay.surplus(now):
                self._tasks.spawn(f"part with {node}", self._cut(self._links[node], ENOUGH))
            at = self._overlay.wake_at()
            await until(self._wake, None if at is None else max(0.01, at - now))
            self._wake.clear()

    async def _dial(self, node: NodeId) -> None:
        if self.blame.fault_of(node):  # its new address was a reason to try at once
            self._dialling.discard(node)
            self._overlay.rest(node, self.blame.until(node))
            return
        try:
            async with self._dial_slots:
                connection = await self._dialler.dial(node)
        except DialFailed as error:
            self.last_cause[node] = f"{error.address}: {error.cause}" if error.address else error.cause
            self._overlay.dial_failed(node, asyncio.get_running_loop().time())
            if error.code == "not_member":
                self.on_refused(node)
            return
        finally:
            self._dialling.discard(node)
            self._wake.set()
        await self.accept(connection)

    def _blamed(self, node: NodeId, why: str, until: float) -> None:
        """The member broke a rule: its link is cut, and it is not dialled for a while."""
        self.last_cause[node] = f"it broke the rules: {why}"
        self._overlay.rest(node, until)
        link = self._links.get(node)
        if link is not None:
            self._tasks.spawn(f"cut {node}", self._cut(link, refused_for(why)))

    # ---- a link

    async def welcome(self, connection: Connection) -> None:
        """A member has dialled. Its link is a task of this node: the call that brought it is cancelled by the server
        when the other side hangs up, which must not swallow what that side said last."""
        self._tasks.spawn(f"link with {connection.peer}", self.accept(connection))

    async def accept(self, connection: Connection) -> None:
        """Greet a new connection and live on it until it ends (whoever dialled)."""
        if fault := self.blame.fault_of(connection.peer):
            await say_farewell(connection.link, refused_for(fault))
            await connection.close()
            return
        try:
            said = dict(self._books.context)
            hello = await asyncio.wait_for(self._greet(connection, said), DIAL_TIMEOUT_S)
        except (LinkLost, TimeoutError) as error:
            self.last_cause[connection.peer] = str(error) or "it did not greet in time"
            if connection.fault:
                self.blame.blame(connection.peer, connection.fault)
            await connection.close()
            self._overlay.dial_failed(connection.peer, asyncio.get_running_loop().time())
            return
        refusal = self._refusal(hello, connection)
        if refusal is None:
            refusal = self._outrun(hello)
        if refusal is None:
            refusal = await self._doubles.judge(connection, hello, lambda run: self._part_with(hello.node, run))
            if refusal is not None and refusal.why == "cloned":
                await self._doubles.hear_out(connection, refusal)
                if hello.node not in self._links:
                    self._overlay.dial_failed(hello.node, asyncio.get_running_loop().time())
                return
        if refusal is None and self._is_surplus(connection, hello):
            refusal = Bye("duplicate", "we are linked already")
        if refusal is not None:
            self.last_cause[connection.peer] = refusal.text
            await say_farewell(connection.link, refusal)
            await connection.close()
            return
        old = self._links.get(connection.peer)
        link = Linked(connection, hello, asyncio.get_running_loop().time(), dict(hello.context))
        self._links[connection.peer] = link
        if old is not None:
            self._tasks.spawn(f"replace {connection.peer}", self._cut(old, Bye("duplicate", "a newer link goes on")))
        await self._attend(link, said)

    async def _greet(self, connection: Connection, context: Vector) -> Hello:
        books = self._books
        features = (PACKED, PROBE, BRIEF, RANGES, *((RECOVERING,) if books.recovering else ()), *self._doubles.features)
        hello = Hello(
            pool=self._registry.pool,
            node=self._self_id,
            run=self._run,
            version_min=PROTOCOL_VERSION_MIN,
            version_max=PROTOCOL_VERSION_MAX,
            features=features,
            context=context,
            floor=books.floor,
            fingerprint=books.fingerprint,
            roster_digest=self._registry.digest(),
            software=f"meerkat {__version__}",
        )
        return await greet(connection.link, hello)

    def _refusal(self, hello: Hello, connection: Connection) -> Bye | None:
        if self.stopping:
            return Bye("down", "this node is stopping")
        if hello.pool != self._registry.pool:
            return Bye("refused", "that is another pool")
        if hello.node != connection.peer or hello.node not in self._registry.members():
            return Bye("refused", "you are not a member of this pool")
        if hello.version_min > PROTOCOL_VERSION_MAX or hello.version_max < PROTOCOL_VERSION_MIN:
            text = f"this node speaks versions {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX} of the protocol"
            return Bye("refused", f"{text}: upgrade the older of the two")
        return None

    def _outrun(self, hello: Hello) -> Bye | None:
        """R12: a member that remembers more of this node's present life than it does itself ends that life."""
        author = self._books.author
        claimed = hello.context.get(author, 0)
        if claimed <= self._books.context.get(author, 0):
            return None
        self._on_outrun(claimed)
        self.blame.outrun_by(hello.node)
        fault = self.blame.fault_of(hello.node)
        return refused_for(fault) if fault else None

    def _part_with(self, node: NodeId, run: bytes) -> None:
        link = self._links.get(node)
        if link is not None and link.hello.run == run:
            self._tasks.spawn(f"part with {node}", self._cut(link, CONNECT_ANEW))

    def _is_surplus(self, connection: Connection, hello: Hello) -> bool:
        """When both dialled, the connection that the lower id dialled stays; a restarted node's new one always does."""
        old = self._links.get(connection.peer)
        if old is None or old.hello.run != hello.run:
            return False
        return not keep_which(self._self_id, connection.peer, old.connection.dialled, connection.dialled)

    async def _attend(self, link: Linked, said: dict[Author, int]) -> None:
        node, connection, hello = link.connection.peer, link.connection, link.hello
        self._overlay.linked(node, asyncio.get_running_loop().time())
        self.last_cause.pop(node, None)
        self.last_bye.pop(node, None)
        if self._registry.digest() != hello.roster_digest:
            await send(connection.link, *self._registry.all_parts(CONTROL_PART_BYTES_MAX))
        source = source_of(connection.index, hello)
        if RECOVERING not in hello.features and self._books.contradict(hello.context, hello.fingerprint):
            log.error("%s and this node know the same writes and hold different ones: comparing everything", node)
            source.doubted = True
        hearer = Hearer(node, connection.link, dict(hello.context), said=said, brief=BRIEF in hello.features)
        work = [
            self._tasks.spawn(f"index {node}", until_lost(self._puller.attend, source)),
            self._tasks.spawn(f"carry {node}", until_lost(self._asking.attend, node, connection.carry)),
            self._tasks.spawn(f"tell {node}", self._gossip.attend(hearer)),
            self._tasks.spawn(f"watch {node}", self.vigil.attend(node, connection.link)),
        ]
        log.info("link with %s (%s) stands", self._registry.name_of(node), node)
        self._on_links_changed()
        self._wake.set()
        try:
            await self._listen(link)
        except LinkLost as error:
            log.info("link with %s ended: %s", node, error)
            self.last_cause.setdefault(node, str(error))
        finally:
            for task in work:
                task.cancel()
            if connection.fault:
                self.blame.blame(node, connection.fault)
            self._ended(link)
            if fault := self.blame.fault_of(node):
                await say_farewell(connection.link, refused_for(fault))
            await connection.close()

    async def _listen(self, link: Linked) -> None:
        """Frames of the Link stream; pings are answered before anything else."""
        node = link.connection.peer
        async for frame in link.connection.link.frames():
            self.vigil.heard(node)
            match frame:
                case Ping(number):
                    await send(link.connection.link, Pong(number))  # if it has hung up, its last words may still come
                case Pong(number):
                    self.vigil.answered(node, number)
                case Neighbours():
                    self.vigil.take(node, frame)
                case Heads(vector):
                    link.said = joined(link.said, vector)
                    self._gossip.heard_heads(node, dict(vector))
                    self._puller.heard(node, dict(vector))
                case Summary():
                    self._heard_summary(node, frame)
                case Brief(summaries):
                    for summary in summaries:
                        self._heard_summary(node, whole(summary, link.said))
                case RosterPart():
                    await self._registry.hear(frame, node)
                case Probe():
                    self._tasks.spawn(f"probe for {node}", self.probing.answer(node, link.connection.link, frame))
                case Probed():
                    self.probing.heard(node, frame)
                case Bye("cloned" | "admitted"):
                    again, link.cloned = link.cloned and frame.why == "cloned", True
                    self.last_cause[node] = frame.text
                    if again or not await self._doubles.told(link.connection, frame):
                        return
                case Bye(why, text):
                    self.last_cause[node], link.enough = text or why, link.enough or why == ENOUGH.why
                    self.last_bye[node] = why
                    return
                case Hello():
                    self.blame.blame(node, "it greeted twice")
                    return

    def _heard_summary(self, node: NodeId, summary: Summary) -> None:
        """Of nobody that the roster knows (yet): kept for when it does."""
        if summary.node in self._registry.members():
            self._gossip.heard_summary(node, summary)
        elif len(self._early) < SUMMARIES_EARLY_MAX:
            self._early[summary.node] = node, summary

    def _ended(self, link: Linked) -> None:
        node = link.connection.peer
        self._past_bytes[0] += link.connection.sent_bytes
        self._past_bytes[1] += link.connection.received_bytes
        if self._links.get(node) is not link:
            return
        del self._links[node]
        self.vigil.closed(node)
        self._overlay.lost(node, now := asyncio.get_running_loop().time())
        if link.enough:
            self._overlay.enough(node, now)
        if link.cloned:
            self._overlay.rest(node, now + CLONED_REST_S)
        if self.blame.fault_of(node):
            self._overlay.rest(node, self.blame.until(node))
        self._on_links_changed()
        self._wake.set()

    def _silent(self, node: NodeId) -> None:
        """It does not answer any more."""
        if (link := self._links.get(node)) is not None:
            self.last_cause[node] = "no answer"
            self._tasks.spawn(f"drop {node}", link.connection.close())

    def _reach_changed(self, came: Set[NodeId], went: Set[NodeId]) -> None:
        """Ways of links lead to these now, over whomever; to those none does any more."""
        for node in came:
            self._overlay.is_there(node, asyncio.get_running_loop().time())
            self._hub.tell("node.online", node=node, name=self._registry.name_of(node))
        for node in went:
            self.last_seen[node], cause = now_text(), self.last_cause.get(node, "")
            log.info("%s (%s) is not within reach any more", self._registry.name_of(node), node)
            self._hub.tell("node.offline", node=node, name=self._registry.name_of(node), cause=cause)
        self._on_links_changed()
        self._wake.set()

    async def _cut(self, link: Linked, *farewell: LinkFrame) -> None:
        link.enough = ENOUGH in farewell
        await say_farewell(link.connection.link, *farewell)
        await link.connection.close()

    async def stop(self, farewell: Bye) -> None:
        """Say goodbye on every link and close it."""
        self.stopping = True
        await asyncio.gather(*(self._cut(link, farewell) for link in self._links.values()))
