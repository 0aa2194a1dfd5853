"""The seeded world: many real nodes in one process, people at each, and everything that can go wrong, from one seed.

Rounds of madness and quiet. In a round people work, links break, disks refuse, nodes stop, die between any two steps
and lose power; then all is well again, and once the pool says that it is quiet, the oracle reckons: equal trees (G1),
every value that nobody knowingly overwrote is somewhere (G2), no reader saw a mix or a gap (G3), nothing that was gone
everywhere is back (G4), no task failed, nothing is left in a stage, and idle nodes are silent. In a lonely round only
one person works; then every tree must be exactly what that person left.
"""

import asyncio
import hashlib
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from pathlib import Path
from typing import Any

from e2e.torture import Chronicle
from world.disk import Door
from world.fates import Fates
from world.loop import BEGINS_S, LIFE, Life, VirtualLoop
from world.network import Machine, Net, SimulatedNetwork
from world.oracle import Oracle
from world.patches import fast_folder, installed
from world.people import EPOCH_NS, Worker
from world.place import NoDoors, Place, SimulatedWatch, identity_from, index_of
from world.weather import Weather

from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.watch import OnEvent
from meerkat.model.config import Settings
from meerkat.model.fault import Fault
from meerkat.model.ids import PoolId
from meerkat.model.limits import TOMBSTONE_AGE_S_MAX, TOMBSTONE_AGE_S_MIN
from meerkat.model.path import MARKER, RelPath
from meerkat.node import oblivion
from meerkat.node.home import open_home
from meerkat.node.node import Node
from meerkat.node.surroundings import Surroundings
from meerkat.store.errors import IndexUnavailable
from meerkat.store.roster import RosterStore
from meerkat.wire import rosterops
from meerkat.wire.invite import InviteSecret

RESCAN_S = 30.0
QUIET_LEAST_S = 65.0  # two rescans: whatever the watch did not tell is found
QUIET_MOST_S = 1500.0
INTERLUDES_MAX = 25  # acts between steps, in one round: each makes work, and work makes steps
ACTS_MAX = 70  # of one person in one round
NAMES = "abcdefgh"


class Violation(AssertionError):
    """A promise was broken; the message says which, and the end of the story."""


class World:
    """
    Args:
        seed: of everything.
        skip: names of acts and fates that do not happen (see `shrink`).
        weather: instead of the seed's own.

    Attributes:
        node_s: virtual seconds that were lived, times the nodes.
    """

    def __init__(self, seed: int, skip: frozenset[str] = frozenset(), weather: Weather | None = None) -> None:
        self.seed = seed
        self.skip = skip
        self.happened: list[str] = []
        self.dice = random.Random(f"{seed}/dice")
        self.weather = weather or Weather.of(random.Random(f"{seed}/weather"))
        self.chronicle = Chronicle(_began=BEGINS_S)
        self.mad = False
        self.violations: list[str] = []
        self.places: list[Place] = []
        self.oracle = Oracle(self)
        self.fates = Fates(self)
        self.accidents = 0
        self.refusals = 0
        self.unsure_of: set[str] = set()  # who has lost an index in this round
        self._years_s = 0.0
        self.power_due: set[Life] = set()
        self.node_s = 0.0
        self._asked: set[asyncio.Task[None]] = set()

    # ---- running

    def run(self) -> str:
        """Live it. Returns a digest of the whole story.

        Raises:
            Violation: a promise was broken.
        """
        base = Path(tempfile.mkdtemp(prefix="meerkat-world-", dir=fast_folder()))
        try:
            self.base = base
            self.loop = VirtualLoop(random.Random(f"{self.seed}/loop"))
            self.net = Net(random.Random(f"{self.seed}/net"))
            self.net.doubling = self.weather.doubling
            self.door = Door(
                random.Random(f"{self.seed}/door"),
                self._meet,
                self._doom_met,
                self._between,
                self._own_doing,
                self._folder_of,
            )
            self.loop.set_exception_handler(self._loop_failed)
            with installed(self):
                asyncio.set_event_loop(self.loop)
                try:
                    self.loop.run_until_complete(self._main())
                except Violation:
                    raise
                except BaseException as error:
                    raise Violation(self._told(["".join(traceback.format_exception(error))])) from error
                finally:
                    self.node_s = (self.loop.time() - BEGINS_S) * self.weather.nodes
                    self._drop_everything()
                    asyncio.set_event_loop(None)
                    self.loop.close()
            return hashlib.sha256("\n".join(self.chronicle.lines).encode()).hexdigest()
        finally:
            shutil.rmtree(base, ignore_errors=True)

    def _drop_everything(self) -> None:
        token = LIFE.set(None)
        try:
            for place in self.places:
                if place.life is not None:
                    place.life.dead = True
            tasks = list(asyncio.all_tasks(self.loop))
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=30))
            for place in self.places:
                self._close_files(place)
        finally:
            LIFE.reset(token)

    def now_ns(self) -> int:
        return EPOCH_NS + int((self.loop.time() - BEGINS_S) * 1e9)

    async def _main(self) -> None:
        self._settle_in()
        for place in self.places:
            self.start(place)
        for number in range(self.weather.rounds):
            self.chronicle.note(f"round {number}")
            alone = self.dice.choice(self.places) if self.weather.lonely else None
            await self._madness(alone)
            left = self.oracle.tree(alone) if alone is not None else None
            await self._quiet()
            self.oracle.reckon(left, alone)
            await self.oracle.listen()
            self._ensure_well()
        for place in self.places:
            await self._stop(place)
        self._ensure_well()

    def _settle_in(self) -> None:
        """Folders, identities, and a roster that all have."""
        dice = random.Random(f"{self.seed}/keys")
        identities = [identity_from(dice) for _ in range(self.weather.nodes)]
        founder = identities[0]
        genesis = rosterops.make_genesis(founder, "a", "pool")
        pool = rosterops.pool_id_of(genesis.body)
        secret = InviteSecret.new()
        invite = rosterops.make_invite(
            pool, founder, secret, uses=len(identities), not_after=1 << 40, made_at=1, signer_name="a"
        )
        number = rosterops.op_id(invite.body)
        ops = [genesis, invite]
        for name, identity in zip(NAMES[1:], identities[1:], strict=False):
            ops.append(rosterops.make_add(pool, secret, number, identity.certificate, name))
        places = [(name, one, f"10.0.0.{at}:7000") for at, (name, one) in enumerate(zip(NAMES, identities), 1)]  # noqa: B905
        records = {one.node: rosterops.make_record(one, 1, name, [address]) for name, one, address in places}
        for name, identity, address in places:
            folder = self.base / name
            folder.mkdir()
            with open_home(folder) as home:
                identity.save(home.identity)
                store = RosterStore(home.roster)
                store.put_ops(ops)
                for node, record in records.items():
                    store.put_record(node, record)
                home.config.pool, home.config.name = PoolId(pool), name
                home.save()
            machine = Machine(name, identity, address)
            self.net.machines[name] = machine
            worker = Worker(name, folder, f"{self.seed}/{name}", self.chronicle, self.now_ns)
            self.places.append(Place(machine, folder, worker))

    # ---- lives

    def start(self, place: Place) -> None:
        place.lives += 1
        life = Life(place.name, place.lives)
        place.life, place.ready, place.stop = life, False, asyncio.Event()
        context = copy_context()
        context.run(LIFE.set, life)
        place.task = self.loop.create_task(self._live(place, life), context=context)
        self.chronicle.note(f"fate {life} starts")

    async def _live(self, place: Place, life: Life) -> None:
        home = open_home(place.folder)
        try:
            settings = Settings(
                str(place.folder),
                listen=place.machine.address,
                name=place.name,
                rescan_interval_s=RESCAN_S,
                hold=self.weather.holding,
            )
            around = Surroundings(
                SimulatedNetwork(self.net, place.machine), self._make_watch(place), lambda folder, handle: NoDoors()
            )
            place.node = Node(home, place.machine.identity, settings, around)
            await place.node.run(lambda ready: setattr(place, "ready", True), place.stop)
        except Exception as error:
            if not life.dead:
                refused = self.door.refusing.get(place.name)
                if not refused:
                    self.violations.append(f"{life} ended: {''.join(traceback.format_exception(error))}")
                self.chronicle.note(f"{life} ended: {error}")
        finally:
            home.close()
            if not life.dead:
                place.life = None
                place.ready = False

    def _make_watch(self, place: Place) -> Callable[[Root, Skip, OnEvent], SimulatedWatch]:
        def make(root: Root, skip: Skip, on_event: OnEvent) -> SimulatedWatch:
            place.watch = SimulatedWatch(self.dice, self._lost, skip, on_event)
            return place.watch

        return make

    def _lost(self) -> float:
        return self.weather.lost if self.mad else 0.0

    async def _stop(self, place: Place) -> None:
        if place.life is not None and place.task is not None:
            self.chronicle.note(f"fate {place.life} is stopped")
            place.stop.set()
            await asyncio.wait([place.task])
            self.door.volatile.pop(place.life, None) if place.life else None
            place.life = None

    def _doom_met(self, life: Life) -> None:
        self.kill(next(each for each in self.places if each.life is life))

    def kill(self, place: Place) -> None:
        """The process is gone. What it had not yet done it will never do; its handles close."""
        life = place.life
        if life is None or life.dead:
            return
        self.chronicle.note(
            f"fate {life} dies at step {life.steps}{' with its power' if life in self.power_due else ''}"
        )
        life.dead = True
        place.ready = False
        place.saved = index_of(place)
        for connection in list(self.net.live()):
            if connection.life is life:
                connection.cut("its process is gone", tell=life not in self.power_due)
        place.machine.life = place.machine.gate = place.machine.on_connection = None
        current = asyncio.current_task(self.loop) if asyncio._get_running_loop() is not None else None
        for task in life.tasks:
            if task is not current:
                task.cancel()
        token = LIFE.set(None)
        try:
            self.loop.create_task(self._bury(place, life), context=copy_context())
        finally:
            LIFE.reset(token)

    async def _bury(self, place: Place, life: Life) -> None:
        while waiting := [task for task in life.tasks if not task.done()]:
            await asyncio.wait(waiting, timeout=60)
            stuck = [task for task in waiting if not task.done()]
            if stuck:
                self.violations.append(f"{life}: tasks do not end: {stuck}")
                break
        self._close_files(place)
        meta = place.folder / MARKER
        for name in ("index.db-shm", "index.db-wal"):
            (meta / name).unlink(missing_ok=True)
        index = place.saved
        if self.mad and self.weather.accidents and self.dice.random() < 0.5:
            index = place.backup if self.dice.random() < 0.5 else {}
            self.accidents += 1
            self.unsure_of.add(place.name)
            self.chronicle.note(f"fate {place.name} has {'an older' if index else 'no'} index now")
            if not index:
                (meta / "index.db").unlink(missing_ok=True)
        for name, data in index.items():
            (meta / f"{name}.restored").write_bytes(data)
            os.replace(meta / f"{name}.restored", meta / name)
        volatile = self.door.volatile.pop(life, None)
        if volatile is not None:
            if life in self.power_due:
                volatile.lose(self.dice)
            else:
                volatile.flush_all()
        await asyncio.sleep(self.dice.choice((0.01, 0.3, 3.0)))
        place.life = None
        if not self.mad or self.dice.random() < 0.8:
            self.start(place)

    def _close_files(self, place: Place) -> None:
        if place.node is None:
            return
        opened = getattr(place.node, "opened", None)
        if opened is not None:
            index: Any = opened.index
            index._closed = True
            for connection in (index._writer, *index._idle):
                connection.close()
            index._idle = []
        place.node = None
        place.watch = None

    # ---- what people ask of a node

    def ask(self, place: Place, what: Coroutine[Any, Any, object]) -> None:
        """Have it done within the node's present life."""
        life = place.life
        assert life is not None
        context = copy_context()
        context.run(LIFE.set, life)
        self._asked.add(asked := self.loop.create_task(self._answered(place, life, what), context=context))
        asked.add_done_callback(self._asked.discard)

    async def _answered(self, place: Place, life: Life, what: Coroutine[Any, Any, object]) -> None:
        try:
            await what
        except (Fault, IndexUnavailable) as error:
            self.chronicle.note(f"{life} answers: {error}")
        except Exception as error:
            if not life.dead and place.life is life and not place.stop.is_set():
                self.violations.append(f"{life} was asked: {''.join(traceback.format_exception(error))}")

    def forget(self, place: Place, *, everything: bool) -> None:
        """Much time passes at this node: it forgets what all members have known for long, or whatever they know."""
        node = place.node
        assert node is not None
        self.chronicle.note(f"fate {place.life} forgets{' everything' if everything else ''}")
        before_s = self._years_s
        self._years_s += (TOMBSTONE_AGE_S_MAX if everything else TOMBSTONE_AGE_S_MIN) + 1.0

        async def forget(after_s: float = self._years_s) -> None:
            for now_s in (before_s, after_s):
                await oblivion.forget(node.books, node.gossip.known_to(node.registry.members()), now_s)

        self.ask(place, forget())

    def _agree(self, place: Place) -> None:
        """Somebody looks at what is held, and lets it go or has it back."""
        node = place.node
        if node is None or not place.ready or not node.holds.any or self._asked or self.dice.random() < 0.5:
            return
        with node.books.snapshot() as view:
            number = min((hold.id for hold in view.holds()), default=0)
        if not number:
            return  # over since it was shown
        if self.weather.lonely or self.dice.random() < 0.5:
            self.chronicle.note(f"{place.name} allows {number}")
            self.ask(place, node.holds.allow(number))
        else:
            self.refusals += 1
            self.chronicle.note(f"{place.name} rejects {number}")
            self.ask(place, node.holds.reject(number))

    # ---- madness

    def may(self, key: str) -> bool:
        self.happened.append(key)
        return key not in self.skip

    async def _madness(self, alone: Place | None) -> None:
        self.mad = True
        self.unsure_of.clear()
        self._interludes = 0
        ends = self.loop.time() + self.weather.seconds
        self._alone = alone
        work = [self.loop.create_task(self._work(each, ends)) for each in self.places if alone in (None, each)]
        work.append(self.loop.create_task(self.fates.strike(ends)))
        await asyncio.gather(*work)
        self.mad = False
        for place in self.places:
            for path in place.worker.let_go():
                if place.watch is not None:
                    place.watch.happened(path)
            if place.life is not None and place.life in self.door.volatile:
                self.door.volatile[place.life].flush_changes()

    async def _work(self, place: Place, ends: float) -> None:
        dice = random.Random(f"{self.seed}/{place.name}/pace/{self.loop.time()}")
        most = place.acts + ACTS_MAX
        while self.loop.time() < ends and place.acts < most:
            self._act(place)
            pause = 1.0 if dice.random() < 0.02 else dice.expovariate(1 / self.weather.pace_s)
            await asyncio.sleep(0.0 if dice.random() < 0.1 else pause)
            self.oracle.look(place)

    def _act(self, place: Place, at: RelPath | None = None) -> None:
        place.acts += 1
        key = f"{place.name}{place.acts}"
        if not self.may(key):
            return
        touched = place.worker.perform(key, at)
        if place.life is not None and place.life in self.door.volatile:
            self.door.volatile[place.life].flush_changes()
        if place.watch is not None:
            for path in touched:
                place.watch.happened(path)

    def _meet(self, life: Life, what: str) -> None:
        """A step of a node: somebody may act, or look, right now."""
        if not self.mad or self.dice.random() >= self.weather.interlude:
            return
        place = next((each for each in self.places if each.life is life), None)
        if place is None:
            return
        token = LIFE.set(None)
        try:
            if self.dice.random() < 0.6 and self._alone in (None, place) and self._interludes < INTERLUDES_MAX:
                self._interludes += 1
                self.chronicle.note(f"at {life} {life.steps}: {what}")
                self._act(place)
            else:
                self.oracle.look(place)
        finally:
            LIFE.reset(token)

    def _between(self, life: Life, full: str) -> None:
        """The node has looked at a path and is about to change it: that is when somebody writes there."""
        inside = os.path.relpath(full, self._folder_of(life))
        # That a folder is about to go is rare enough: whatever comes to it then is worth more than other interludes.
        folder = os.path.isdir(full) and not os.path.islink(full)
        if not self.mad or inside.startswith((MARKER, "..")):
            return
        if self.dice.random() >= self.weather.interlude * (15 if folder else 4):
            return
        place = next((each for each in self.places if each.life is life), None)
        if place is None or self._alone not in (None, place):
            return
        if self._interludes >= INTERLUDES_MAX and not folder:
            return
        token = LIFE.set(None)
        try:
            self._interludes += 1
            self.chronicle.note(f"at {life} {life.steps}: just before {inside} is changed")
            self._act(place, RelPath(inside))
            if self.weather.crashes and not life.doomed_at and self.dice.random() < 0.25:
                life.doomed_at = life.steps + 1 + self.dice.randrange(12)  # with a person's bytes in its hands
                self.chronicle.note(f"fate {life} is doomed at {life.doomed_at}")
        finally:
            LIFE.reset(token)

    def _own_doing(self, life: Life, path: RelPath) -> None:
        place = next((each for each in self.places if each.life is life), None)
        if place is not None and place.watch is not None:
            place.watch.happened(path)

    def _folder_of(self, life: Life) -> Path:
        return self.base / life.name

    # ---- quiet

    async def _quiet(self) -> None:
        """All is well again; wait until the pool says so."""
        self.chronicle.note("quiet")
        self.net.heal()
        self.net.slow_s = 0.005
        self.door.refusing.clear()
        began = self.loop.time()
        calm = 0
        while calm < 3:
            self._ensure_well()
            for place in self.places:
                if place.life is not None and not place.life.dead:
                    place.life.doomed_at = 0
                if place.life is None:
                    self.start(place)
                self._agree(place)
            if self.loop.time() - began > QUIET_MOST_S:
                self.violations.append(f"G1: the pool does not come to rest: {self._why_not()}")
                self._ensure_well()
            await asyncio.sleep(1.0)
            still = self.loop.time() - began >= QUIET_LEAST_S and not self._why_not()
            calm = calm + 1 if still else 0

    def _why_not(self) -> str:
        """What keeps the pool from being at rest; empty: nothing."""
        contexts = []
        for place in self.places:
            node = place.node
            if node is None or not place.ready:
                return f"{place.name} is not up"
            if node.books.recovering:
                return f"{place.name} is recovering"
            with node.books.snapshot() as view:
                pending = view.pending(RelPath(""), 1000)
                held = view.holds()
                if self.accidents or self.refusals:
                    pending = [path for path in pending if not self.oracle.is_hopeless(node, view, path)]
            if pending:
                problems = [(each.path, each.reason.value, each.text) for each in node.hub.problems()]
                return f"{place.name} has pending {pending[:5]}, problems {problems[:5]}"
            if held:
                return f"{place.name} holds {held}"
            if node.inward.busy or node.outward.busy or not node.puller.level:
                return f"{place.name} is busy"
            if len(node.peers.linked()) != len(self.places) - 1:
                return f"{place.name} is linked with {len(node.peers.linked())}"
            contexts.append(node.books.context)
        if any(each != contexts[0] for each in contexts):
            return "contexts differ"
        return ""

    def _ensure_well(self) -> None:
        found = self.violations + self.door.violations
        if found:
            raise Violation(self._told(found))

    def _told(self, found: list[str]) -> str:
        lines = self.chronicle.lines
        return "\n".join(
            [f"seed {self.seed}: {self.weather}", *dict.fromkeys(found), "the end of the story:", *lines[-60:]]
        )

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, asyncio.CancelledError):
            return
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        self.violations.append(f"the loop: {context.get('message')} {text}")
