"""The composition root: one folder, one node. Builds every room once, starts them in order, stops them in order."""

import asyncio
import logging
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.disk.watch import Overflowed, Touched, Watch
from meerkat.model.config import Settings
from meerkat.model.fault import Fault
from meerkat.model.frame import Bye
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import DISK_THREADS, SERVE_THREADS
from meerkat.model.member import Summary
from meerkat.model.path import MARKER, RelPath, is_below
from meerkat.node.asking import Asking
from meerkat.node.barrier import Barrier
from meerkat.node.books import Books
from meerkat.node.census import Census
from meerkat.node.claims import Claims
from meerkat.node.control import Control
from meerkat.node.doubles import Doubles
from meerkat.node.edit import Editor
from meerkat.node.gossip import Gossip
from meerkat.node.holds import Holds
from meerkat.node.home import Home, default_name
from meerkat.node.hub import Hub
from meerkat.node.inward import Inward
from meerkat.node.join import Sponsor, join_pool
from meerkat.node.judge import Judge
from meerkat.node.late import Late
from meerkat.node.logs import start_logging, stop_logging
from meerkat.node.losers import Losers
from meerkat.node.memory import Heap, give_back_at_rest
from meerkat.node.morsels import Morsels
from meerkat.node.neighbourhood import look_around
from meerkat.node.oblivion import forget_slowly
from meerkat.node.opening import Opened, close_index, open_index, renew
from meerkat.node.outward import Outward
from meerkat.node.peers import Peers
from meerkat.node.place import Placer
from meerkat.node.progress import Progress
from meerkat.node.pull import Puller
from meerkat.node.recovery import Recovery
from meerkat.node.registry import Registry, found_pool
from meerkat.node.rejoin import Rejoin, keep_invite
from meerkat.node.restore import Restorer
from meerkat.node.rules import Rules, RulesKeeper
from meerkat.node.scrub import Scrub
from meerkat.node.status import Status
from meerkat.node.succession import Succession
from meerkat.node.surroundings import Surroundings, real
from meerkat.node.tasks import Tasks
from meerkat.node.transfer import Transfer
from meerkat.node.undelete import Undelete
from meerkat.node.upkeep import keep_bounded, rescan, scrub_slowly
from meerkat.node.whereabouts import follow
from meerkat.store.errors import IndexDamaged, IndexUnavailable
from meerkat.wire.control import AlreadyRunning, UnsafeSocket
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteCode

log = logging.getLogger("meerkat.node")

T = TypeVar("T")

OnReady = Callable[[dict[str, object]], None]
OnPlan = Callable[[dict[str, object]], Awaitable[bool]]


class Node:
    """One node: the rooms, and the order in which they live.

    Args:
        surroundings: what lies outside the folder; None: this machine.
    """

    def __init__(
        self, home: Home, identity: Identity, settings: Settings, surroundings: Surroundings | None = None
    ) -> None:
        self.home = home
        self.identity = identity
        self.settings = settings
        self._around = surroundings or real(identity)
        self.name = settings.name or home.config.name or default_name()
        self.stopping = asyncio.Event()
        self._farewell = Bye("down", "this node was stopped")
        self.left = False
        self.was_copy = False

    # ---- becoming a node

    async def become_member(self, invite: InviteCode | None, on_plan: OnPlan | None) -> bool:
        """Found a pool or join one; writes `node.toml` last. False when a person declined."""
        config = self.home.config
        if invite is None:
            config.pool_name = self.home.folder.name
            config.pool = await found_pool(self.home.roster, self.identity, self.name, config.pool_name)
        else:
            # The port is not bound yet, so there is nothing to advertise; the first link tells the addresses.
            joined = await join_pool(self.home, self.identity, invite, self.settings, self.name, [], on_plan)
            if not joined:
                return False
            await asyncio.to_thread(keep_invite, self.home, invite, self.name)
            config.pool = invite.pool
        config.name = self.name
        self.home.save()
        return True

    # ---- living

    async def run(self, on_ready: OnReady, stop: asyncio.Event) -> None:
        """Start everything, stay until told to stop, stop everything."""
        handler = start_logging(self.home.log, self.settings.log_level)
        try:
            async with AsyncExitStack() as closing:
                self._build(closing)
                await self._start(closing)
                log.info("%s (%s) is up for %s on %s", self.name, self.identity.node, self.home.folder, self.listen)
                on_ready(self.ready())
                await self._until_stopped(stop)
            log.info("%s is down", self.name)
            if self.left:
                self.opened.witness.forget()
        finally:
            stop_logging(handler)

    def _build(self, closing: AsyncExitStack) -> None:
        """Every room, in the order in which they need each other; `closing` ends them in the reverse order."""
        self.tasks = Tasks(fatal=(IndexDamaged,))
        self.root = Root(self.home.folder)
        closing.callback(self.root.close)
        self.stage = Stage(self.root)
        closing.callback(self.stage.close)
        self.trash = Trash(self.root)
        self.rules = Rules(self.root, self.home.ignore)
        closing.callback(self.trash.close)
        self.disk_threads = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self.serve_threads = ThreadPoolExecutor(SERVE_THREADS, thread_name_prefix="serve")
        closing.callback(self.disk_threads.shutdown)
        closing.callback(self.serve_threads.shutdown)
        self.opened: Opened = open_index(self.home, self.identity.node, self.root, self.stage, self.trash)
        node = self.identity.node
        rng = random.Random(secrets.randbits(64))
        self.hub = Hub(node)
        self.books = Books(self.opened.index)
        closing.push_async_callback(self._close_index)
        closing.push_async_callback(self.tasks.stop)
        self.books.on_trouble = self.hub.index_trouble
        self.claims = Claims()
        self.claims.cut_off.update(self.opened.cut_off)
        self.registry = Registry(self.home.roster, self.identity, PoolId(self.home.config.pool))
        self.gossip = Gossip(node, self.books, self._heard_summary)
        self.holds = Holds(self.books, self.hub, enabled=self.home.holding(self.settings))
        self.outward = Outward(
            self.root,
            self.books,
            self.claims,
            self.hub,
            self.rules,
            self.disk_threads,
            self._reload_rules,
            self._looked_at,
            self.holds,
        )
        here = self.root, self.stage, self.trash, self.books, self.hub, self.serve_threads
        self.asking = Asking(*here, self.tasks, rng)
        self.transfer = Transfer(*here, self.asking, rng)
        self.placer = placer = Placer(
            self.root,
            self.stage,
            self.trash,
            self.books,
            self.claims,
            self.hub,
            self.transfer,
            self.disk_threads,
            self._look_again,
            self.rules.ignored,
        )
        self.rules_keeper = RulesKeeper(self.rules, self.root, self.books)
        self.late = Late(self.root, self.trash, self.hub, self.disk_threads, self._look_again, placer.put_away)
        losers = Losers(
            self.root, self.stage, self.books, self.claims, self.transfer, self.disk_threads, self._look_again
        )
        self.inward = Inward(self.books, self.claims, self.hub, placer, losers, self.tasks, self.rules.ignored)
        self._build_recall()
        self.puller = Puller(self.books, self.serve_threads, self.tasks, self.inward.merged, self._recovered)
        Morsels(self.root).ride(self.outward, self.puller, self.transfer)
        self.recovery = Recovery(node, self.books, self.puller, self.outward, self._others)
        self.progress = Progress(node, time.time_ns(), self.books, self.hub, self.gossip, self._busy)
        self.gossip.on_outbid = self.progress.outbid
        self._build_links(rng)
        self.watch: Watch = self._around.watch(self.root, self.rules.skip, self._watched)
        self.control = self._around.doors(self.home.folder, Control(self).handle)

    def _build_links(self, rng: random.Random) -> None:
        """The rooms that know how it stands between this node and the others."""
        node = self.identity.node
        self.census = Census(node, self.registry, self.hub)
        succession = Succession(self.home, self.identity, self.registry, self.name, self.stopping.set)
        doubles = Doubles(self.registry, self.hub, succession, moved=self.opened.moved)
        self.peers = Peers(
            node,
            self._around.network,
            self.registry,
            self.books,
            self.gossip,
            self.puller,
            self.asking,
            self.hub,
            self.tasks,
            rng,
            secrets.token_bytes(16),
            time.time_ns(),
            doubles,
            self._links_changed,
            self._outrun,
        )
        self.status = Status(
            node,
            self.home.folder,
            self.registry,
            self.books,
            self.hub,
            self.gossip,
            self.peers,
            self.outward,
            self.progress,
            self.census,
        )
        self.rejoin = Rejoin(self.home, self.identity, self.registry, self.census, self.tasks)
        self.peers.on_refused, self.rejoin.on_known = self.rejoin.refused, self.peers.try_at_once
        self.barrier = Barrier(
            node,
            self.books,
            self.gossip,
            self.outward,
            self.progress,
            self.hub,
            self.status.reachable,
            lambda: set(self.registry.members()),
        )

    def _build_recall(self) -> None:
        """The rooms with which people look back and put things right."""
        editor = Editor(self.root, self.stage, self.books, self.claims, self.placer, self.outward, self.disk_threads)
        self.restorer = Restorer(self.stage, self.trash, self.books, self.transfer, editor, self.disk_threads)
        self.undelete = Undelete(self.trash, self.books, self.restorer, editor, self.outward)
        self.judge = Judge(self.books, editor, self.restorer, self.registry.name_of)
        self.scrub = Scrub(
            self.root,
            self.stage,
            self.trash,
            self.books,
            self.claims,
            self.hub,
            self.transfer,
            self.placer,
            self.disk_threads,
        )
        self.asking.giving.on_suspect = self._suspect

    async def _start(self, closing: AsyncExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        await self.books.open()
        await self.registry.load()
        if self.registry.is_out:
            raise self.registry.why_out(self.home.folder)
        await self.rules_keeper.turn()
        self.rules_keeper.on_turned = self._rescan
        closing.push_async_callback(self.watch.stop)
        await self._listen()
        closing.push_async_callback(self.server.stop)
        closing.push_async_callback(self.control.stop)
        try:
            await self.control.start()
        except (AlreadyRunning, UnsafeSocket, OSError) as error:
            raise Fault("control", f"cannot serve this machine's doors: {error}") from error
        closing.push_async_callback(self._say_goodbye)
        self.books.on_written(self.inward.wake)
        self.books.on_written(self.gossip.written)
        self.books.on_written(self.progress.touch)
        self.hub.on_change.append(self.progress.touch)
        self.registry.on_changed(self._roster_changed)
        await self.registry.tell_record(self.name, self.addresses())
        if self.was_copy:
            log.warning("this folder is a copy of another node that runs too; from now on it is %s", self.name)
            self.hub.tell("config.changed", name=self.name, cause="this folder is a copy of another node that runs too")
        self._roster_changed()
        for name, work in (
            ("links", self.peers.run()),
            ("vigil", self.peers.vigil.run()),
            ("progress", self.progress.run()),
            ("record", self.registry.stay_told(lambda: (self.name, self.addresses()))),
            ("whereabouts", follow(self._found, self._moved)),
            ("inward", self.inward.run()),
            ("outward", self._take_in()),
            ("scrub", scrub_slowly(self.scrub, self.books)),
            ("oblivion", forget_slowly(self.books, lambda: self.gossip.known_to(self._others()))),
            ("upkeep", keep_bounded(self.home.folder, self.stage, self.trash, self.books)),
        ):
            self.tasks.spawn(name, work, vital=True)
        wanted, network = self.home.discovering(self.settings), self._around.network
        around = look_around(wanted, self.identity.node, self.registry, network, self.listen, self.peers.try_at_once)
        if around is not None:
            self.tasks.spawn("neighbourhood", around.run())
        self.tasks.spawn("memory", give_back_at_rest(Heap(), self.books, self.hub, (self.inward, self.outward)))

    async def _listen(self) -> None:
        config = self.home.config
        self.server, self.listen = await self._around.network.serve(
            config,
            self.settings.listen,
            self.registry,
            self.peers.welcome,
            Sponsor(self.registry, self.books, self.puller).admit,
        )
        if self.settings.advertise:
            config.advertise = list(self.settings.advertise)
        config.listen = self.listen
        config.name = self.name
        self.home.save()
        self.status.name = self.name
        self.status.listen = self.listen

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        try:
            await asyncio.wait([*waits, self.tasks.failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.tasks.failed.done():
            self.tasks.failed.result()
        if self.registry.is_out and not self.left:
            raise self.registry.why_out(self.home.folder)

    async def _say_goodbye(self) -> None:
        await self.peers.stop(self._farewell)

    async def _close_index(self) -> None:
        """The last thing: note the clean stop, close. A damaged or full disk must not keep the node from stopping."""
        try:
            await asyncio.to_thread(close_index, self.opened, self.identity.node)
        except (IndexDamaged, IndexUnavailable) as error:
            log.error("the stop could not be noted: %s", error)
        await self.books.close()

    # ---- what the rooms tell each other

    async def _take_in(self) -> None:
        """The outward half: adopt if the index is new, scan what happened meanwhile, then follow the watch."""
        await self.watch.start()
        self.tasks.spawn("late", self.late.run(self.watch, self.settings.rescan_interval_s), vital=True)
        await self.holds.open()
        await self.recovery.run()
        await self.outward.scan()
        self.tasks.spawn("rescan", rescan(self.outward, self.watch, self.settings.rescan_interval_s), vital=True)
        await self.outward.run()

    def _others(self) -> set[NodeId]:
        return set(self.registry.members()) - {self.identity.node}

    def _recovered(self) -> None:
        self.recovery.look()

    def _looked_at(self, paths: Iterable[RelPath], changed: Set[RelPath]) -> None:
        self.inward.looked_at(paths, changed)

    def _watched(self, event: Touched | Overflowed) -> None:
        self.late.heard(event)
        if isinstance(event, Overflowed) or not is_below(event.path, RelPath(MARKER)):
            self.outward.heard(event)

    def _suspect(self, path: RelPath) -> None:
        """Called from worker threads."""
        self._loop.call_soon_threadsafe(self.scrub.suspect, path)

    def _look_again(self, paths: Iterable[RelPath]) -> None:
        """Called from worker threads."""
        self._loop.call_soon_threadsafe(self.outward.touched, list(paths))

    def _busy(self) -> bool:
        return not self.puller.level

    def _reload_rules(self) -> None:
        self.tasks.spawn("read the ignore rules", self.rules_keeper.turn())

    def _rescan(self) -> None:
        self.tasks.spawn("scan under other rules", self.outward.scan())

    def addresses(self) -> list[str]:
        return list(self.home.config.advertise) or self._found()

    def _found(self) -> list[str]:
        return self._around.network.advertised(self.listen)

    async def _moved(self) -> None:
        self.peers.network_changed()
        await self.registry.tell_record(self.name, self.addresses())

    def _roster_changed(self) -> None:
        if self.registry.is_out:
            self.stopping.set()
        self.peers.roster_changed()
        self.census.look()
        self.recovery.look()
        for node in list(self.gossip.latest):
            if node not in self.registry.members() and node != self.identity.node:
                self.gossip.forget(node)
        self.progress.others_changed()
        self.hub.changed()

    def _links_changed(self) -> None:
        self.rejoin.linked(self.peers.linked().keys())
        if not self.registry.tells(self.name, self.addresses()):  # a copy of this node has spoken in its name
            self.tasks.spawn("say again", self.registry.tell_record(self.name, self.addresses()))
        self.inward.sources_changed()
        self.scrub.sources_changed()
        self.recovery.look()
        self.progress.touch()
        self.progress.others_changed()

    def _heard_summary(self, summary: Summary) -> None:
        if self.asking.progressed(summary.node, summary.complete):
            self.inward.sources_changed()
        self.progress.others_changed()

    def _outrun(self, seq: int) -> None:
        """R12: a member remembers more of our present life than we do, so that life is over."""
        log.warning(
            "a member knows %d writes of this node's present epoch: this index was rolled back; a new epoch", seq
        )
        self.tasks.spawn("new epoch", self.books.write(partial(renew, self.books.author)))

    # ---- for the doors

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on the disk's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.disk_threads, work)

    def ready(self) -> dict[str, object]:
        return {
            "event": "ready",
            "pool": self.home.config.pool,
            "node": self.identity.node,
            "name": self.name,
            "dir": str(self.home.folder),
            "listen": self.listen,
            "web": None,
            "pid": os.getpid(),
        }

    async def rename(self, name: str) -> None:
        self.name = name
        self.home.config.name = name
        self.status.name = name
        self.home.save()
        await self.registry.tell_record(name, self.addresses())

    async def leave(self) -> None:
        """Take this node off the roster, tell whoever is linked, and stop being a node."""
        await self.registry.remove(self.identity.node, "left")
        self._farewell = Bye("left", "this node has left the pool")
        self.left = True
