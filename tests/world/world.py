"""The seeded world: many real nodes in one process, people at each, and everything that can go wrong, from one seed.

Rounds of madness and quiet. In a round people work, links break, disks refuse, nodes stop, die between any two steps
and lose power; then all is well again, and once the pool says that it is quiet, the oracle reckons: equal trees (G1),
every value that nobody knowingly overwrote is somewhere (G2), no reader saw a mix or a gap (G3), nothing that was gone
everywhere is back (G4), no task failed, nothing is left in a stage, and idle nodes are silent. In a lonely round only
one person works; then every tree must be exactly what that person left.
"""

import asyncio
import hashlib
import logging
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from e2e import torture
from e2e.torture import Chronicle, value_of, value_of_link
from e2e.tree import Reader, Tree, differences
from world.disk import Door
from world.loop import LIFE, Died, Life, VirtualLoop
from world.network import Machine, Net, SimulatedNetwork
from world.people import EPOCH_NS, Worker

from meerkat.disk import commit, platform, scan
from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.watch import OnEvent, Overflowed, Touched
from meerkat.model.config import Settings
from meerkat.model.ids import PoolId
from meerkat.model.path import MARKER, RelPath
from meerkat.node import inward, outward, pull
from meerkat.node import node as node_module
from meerkat.node.home import open_home
from meerkat.node.node import Node
from meerkat.node.surroundings import Surroundings
from meerkat.store.roster import RosterStore
from meerkat.wire import identity as identity_module
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteSecret

RESCAN_S = 30.0
QUIET_LEAST_S = 65.0  # two rescans: whatever the watch did not tell is found
QUIET_MOST_S = 1500.0
IDLE_S = 60.0
FRAMES_IDLE_MAX = 70  # on one link in one direction in IDLE_S: pings, their answers, and summaries
INTERLUDES_MAX = 25  # acts between steps, in one round: each makes work, and work makes steps
ACTS_MAX = 70  # of one person in one round
NAMES = "abcdefgh"


@dataclass(frozen=True)
class Weather:
    """What kind of life it is: from the seed, or said.

    Attributes:
        lonely: one person works at a time.
        interlude: how likely a person acts, or a reader looks, at one step of a node.
        lost: share of the watch's events that never come.
        tight: batches and parts hold a few things only, so that all of them come in several.
        accidents: indexes are lost, or older ones come back.
    """

    nodes: int
    rounds: int
    seconds: float
    pace_s: float
    fate_s: float
    lonely: bool
    interlude: float
    lost: float
    power: bool
    refusals: bool
    crashes: bool
    fallback: bool
    doubling: float
    tight: bool
    accidents: bool

    @classmethod
    def of(cls, dice: random.Random) -> "Weather":
        fallback = dice.random() < 0.12  # its changes are not of the kind that the model of flushing can take back
        return cls(
            nodes=dice.choice((2, 2, 3, 3, 4)),
            rounds=2,
            seconds=dice.choice((3.0, 6.0, 10.0)),
            pace_s=dice.choice((0.05, 0.15, 0.4)),
            fate_s=dice.choice((0.4, 1.0, 2.5)),
            lonely=dice.random() < 0.25,
            interlude=dice.choice((0.0, 0.01, 0.04)),
            lost=dice.choice((0.0, 0.0, 0.1, 0.5)),
            power=not fallback and dice.random() < 0.4,
            refusals=dice.random() < 0.3,
            crashes=dice.random() < 0.75,
            fallback=fallback,
            doubling=dice.choice((0.0, 0.2)),
            tight=dice.random() < 0.5,
            accidents=dice.random() < 0.25,
        )

    @classmethod
    def hard(cls, seed: int) -> "Weather":
        """One short round in which everything happens, for finding planted mistakes soon."""
        dice = random.Random(f"{seed}/hard")
        return cls(
            nodes=3,
            rounds=1,
            seconds=5.0,
            pace_s=0.12,
            fate_s=0.4,
            lonely=dice.random() < 0.2,
            interlude=0.05,
            lost=0.05,
            power=dice.random() < 0.5,
            refusals=False,
            crashes=True,
            fallback=False,
            doubling=0.1,
            tight=True,
            accidents=dice.random() < 0.3,
        )


class Violation(AssertionError):
    """A promise was broken; the message says which, and the end of the story."""


@dataclass
class Place:
    """One node through all its lives."""

    machine: Machine
    folder: Path
    worker: Worker
    lives: int = 0
    life: Life | None = None
    node: Node | None = None
    watch: "SimulatedWatch | None" = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False
    task: "asyncio.Task[None] | None" = None
    saved: dict[str, bytes] = field(default_factory=dict)
    backup: dict[str, bytes] = field(default_factory=dict)
    acts: int = 0

    @property
    def name(self) -> str:
        return self.machine.name


class SimulatedWatch:
    """A watch that hears what happened late, twice, or not at all."""

    def __init__(self, world: "World", skip: Skip, on_event: OnEvent) -> None:
        self.degraded = ""
        self._world, self._skip, self._on_event = world, skip, on_event
        self._running = False

    async def start(self) -> None:
        self._running = True
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self._running = False
        await asyncio.sleep(0)

    def happened(self, path: RelPath) -> None:
        dice, loop = self._world.dice, self._world.loop
        if dice.random() < self._world.weather.lost and self._world.mad:
            return
        for _ in range(2 if dice.random() < 0.1 else 1):
            late = dice.uniform(0.0, 0.02) if dice.random() < 0.9 else dice.uniform(0.0, 3.0)
            loop.call_later(late, self._tell, Touched(path, closed=dice.random() < 0.9))

    def overflow(self) -> None:
        self._world.loop.call_soon(self._tell, Overflowed())

    def _tell(self, event: Touched | Overflowed) -> None:
        if self._running and not (isinstance(event, Touched) and self._skip(event.path, False)):
            self._on_event(event)


class _Doors:
    async def start(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await asyncio.sleep(0)


class World:
    """
    Args:
        seed: of everything.
        skip: names of acts and fates that do not happen (see `shrink`).
        weather: instead of the seed's own.
    """

    def __init__(self, seed: int, skip: frozenset[str] = frozenset(), weather: Weather | None = None) -> None:
        self.seed = seed
        self.skip = skip
        self.happened: list[str] = []
        self.dice = random.Random(f"{seed}/dice")
        self.weather = weather or Weather.of(random.Random(f"{seed}/weather"))
        self.chronicle = Chronicle(_began=1000.0)
        self.mad = False
        self.violations: list[str] = []
        self.places: list[Place] = []
        self._reader = Reader()
        self._gone: set[str] = set()
        self._fates = 0
        self.accidents = 0
        self._power_due: set[Life] = set()
        self._refused_at = float("-inf")

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
                random.Random(f"{self.seed}/door"), self._meet, self._doom_met, self._own_doing, self._folder_of
            )
            self.loop.set_exception_handler(self._loop_failed)
            with self._patched():
                asyncio.set_event_loop(self.loop)
                try:
                    self.loop.run_until_complete(self._main())
                except Violation:
                    raise
                except BaseException as error:
                    raise Violation(self._told(["".join(traceback.format_exception(error))])) from error
                finally:
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

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Clocks and dice of the whole process are the world's; logging goes into the chronicle."""
        dice = random.Random(f"{self.seed}/secrets")
        undo: list[tuple[Any, str, Any]] = []

        def patch(owner: Any, name: str, value: Any) -> None:
            undo.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, value)

        def sign(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
            return key.sign(body, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

        patch(secrets, "randbits", dice.getrandbits)
        patch(secrets, "token_bytes", dice.randbytes)
        patch(secrets, "token_hex", lambda count: dice.randbytes(count).hex())
        patch(time, "time_ns", self._now_ns)
        patch(torture, "time", SimpleNamespace(monotonic=self.loop.time, sleep=lambda seconds: None))
        patch(identity_module, "sign", sign)
        patch(rosterops, "sign", sign)
        if not fine_times(self.base):  # then an equal lstat proves nothing here, where years pass in a moment
            for module in (scan, commit):
                patch(module, "RACY_WINDOW_NS", 1 << 62)
        if self.weather.tight:
            patch(pull, "ENTRIES_PER_PART_MAX", 2)
            patch(pull, "ENTRIES_ASIDE_MIN", 3)
            patch(inward, "PLAN_BATCH_MAX", 3)
            patch(inward, "COMMIT_BATCH_MAX", 2)
            patch(outward, "SCAN_BATCH_PATHS_MAX", 3)
        handler = _Listener(self)
        logger = logging.getLogger("meerkat")
        patch(node_module, "start_logging", lambda path, level: logging.NullHandler())
        patch(node_module, "stop_logging", lambda handler: None)
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        lacking = set(platform.lacking)
        platform.lacking.clear()
        if self.weather.fallback:
            platform.lacking.update(("renameat2", "openat2", "syncfs", "copy_file_range"))
        state = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = str(self.base / "state")
        self.door.graves = self.base / "graves"
        self.door.graves.mkdir()
        self.door.power = self.weather.power
        self.door.install()
        try:
            yield
        finally:
            self.door.uninstall()
            os.environ.pop("XDG_STATE_HOME")
            if state is not None:
                os.environ["XDG_STATE_HOME"] = state
            platform.lacking.clear()
            platform.lacking.update(lacking)
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
            while undo:
                owner, name, value = undo.pop()
                setattr(owner, name, value)

    def _now_ns(self) -> int:
        return EPOCH_NS + int((self.loop.time() - 1000.0) * 1e9)

    async def _main(self) -> None:
        self._settle_in()
        for place in self.places:
            self._start(place)
        for number in range(self.weather.rounds):
            self.chronicle.note(f"round {number}")
            alone = self.dice.choice(self.places) if self.weather.lonely else None
            await self._madness(alone)
            left = self._reader.read(alone.folder) if alone is not None else None
            await self._quiet()
            self._reckon(left, alone)
            await self._silence()
            self._ensure_well()
        for place in self.places:
            await self._stop(place)
        self._ensure_well()

    def _settle_in(self) -> None:
        """Folders, identities, and a roster that all have."""
        dice = random.Random(f"{self.seed}/keys")
        identities = [_identity(dice) for _ in range(self.weather.nodes)]
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
            worker = Worker(name, folder, f"{self.seed}/{name}", self.chronicle, self._now_ns)
            self.places.append(Place(machine, folder, worker))

    # ---- lives

    def _start(self, place: Place) -> None:
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
                str(place.folder), listen=place.machine.address, name=place.name, rescan_interval_s=RESCAN_S
            )
            around = Surroundings(
                SimulatedNetwork(self.net, place.machine), self._make_watch(place), lambda folder, handle: _Doors()
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
            place.watch = SimulatedWatch(self, skip, on_event)
            return place.watch

        return make

    async def _stop(self, place: Place) -> None:
        if place.life is not None and place.task is not None:
            self.chronicle.note(f"fate {place.life} is stopped")
            place.stop.set()
            await asyncio.wait([place.task])
            self.door.volatile.pop(place.life, None) if place.life else None
            place.life = None

    def _doom_met(self, life: Life) -> None:
        self._kill(next(each for each in self.places if each.life is life))

    def _kill(self, place: Place) -> None:
        """The process is gone. What it had not yet done it will never do; its handles close."""
        life = place.life
        if life is None or life.dead:
            return
        self.chronicle.note(
            f"fate {life} dies at step {life.steps}{' with its power' if life in self._power_due else ''}"
        )
        life.dead = True
        place.ready = False
        place.saved = _index_of(place)
        for connection in list(self.net.live()):
            if connection.life is life:
                connection.cut("its process is gone", tell=life not in self._power_due)
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
            self.chronicle.note(f"fate {place.name} has {'an older' if index else 'no'} index now")
            if not index:
                (meta / "index.db").unlink(missing_ok=True)
        for name, data in index.items():
            (meta / f"{name}.restored").write_bytes(data)
            os.replace(meta / f"{name}.restored", meta / name)
        volatile = self.door.volatile.pop(life, None)
        if volatile is not None:
            if life in self._power_due:
                volatile.lose(self.dice)
            else:
                volatile.flush_all()
        await asyncio.sleep(self.dice.choice((0.01, 0.3, 3.0)))
        place.life = None
        if not self.mad or self.dice.random() < 0.8:
            self._start(place)

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

    # ---- madness

    def _may(self, key: str) -> bool:
        self.happened.append(key)
        return key not in self.skip

    async def _madness(self, alone: Place | None) -> None:
        self.mad = True
        self._interludes = 0
        ends = self.loop.time() + self.weather.seconds
        self._alone = alone
        work = [self.loop.create_task(self._work(each, ends)) for each in self.places if alone in (None, each)]
        work.append(self.loop.create_task(self._strike(ends)))
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
            self._read(place)

    def _act(self, place: Place) -> None:
        place.acts += 1
        key = f"{place.name}{place.acts}"
        if not self._may(key):
            return
        touched = place.worker.perform(key)
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
                self._read(place)
        finally:
            LIFE.reset(token)

    def _own_doing(self, life: Life, path: RelPath) -> None:
        place = next((each for each in self.places if each.life is life), None)
        if place is not None and place.watch is not None:
            place.watch.happened(path)

    def _folder_of(self, life: Life) -> Path:
        return self.base / life.name

    def _read(self, place: Place) -> None:
        """G3: whatever a reader finds in a tree is what somebody wrote, all of it."""
        files = sorted(place.worker.files())
        for path in self.dice.sample(files, min(3, len(files))):
            data = Path(path).read_bytes()
            if data and value_of(data) not in self.chronicle.written and not path.endswith(".tmp"):
                self.violations.append(f"G3: {place.name} {path} holds what nobody wrote: {len(data)} {data[:60]!r}")

    async def _strike(self, ends: float) -> None:
        while self.loop.time() < ends:
            await asyncio.sleep(self.dice.expovariate(1 / self.weather.fate_s))
            self._fates += 1
            key = f"F{self._fates}"
            dice = random.Random(f"{self.seed}/{key}")
            place = dice.choice(self.places)
            if not self._may(key):
                continue
            fate = dice.choice(
                (
                    self._doom,
                    self._doom,
                    self._die,
                    self._halt,
                    self._part,
                    self._part,
                    self._mend,
                    self._break,
                    self._overflow,
                    self._refuse,
                    self._slow,
                    self._back_up,
                )
            )
            fate(place, dice)

    def _doom(self, place: Place, dice: random.Random) -> None:
        """It dies some steps from now, wherever that is."""
        life = place.life
        if not self.weather.crashes or life is None or life.dead:
            return
        if self.weather.power and dice.random() < 0.5:
            self._power_due.add(life)
        life.doomed_at = life.steps + dice.choice((1, 3, 10, 30, 100)) + dice.randrange(5)
        self.chronicle.note(f"fate {life} is doomed at {life.doomed_at}")

    def _die(self, place: Place, dice: random.Random) -> None:
        if self.weather.crashes and place.life is not None and place.node is not None:
            if self.weather.power and dice.random() < 0.5:
                self._power_due.add(place.life)
            self._kill(place)
        elif place.life is None:
            self._start(place)

    def _halt(self, place: Place, dice: random.Random) -> None:
        if place.life is None:
            self._start(place)
        elif place.ready and not place.life.dead:
            self.chronicle.note(f"fate {place.life} is told to stop")
            place.stop.set()

    def _part(self, place: Place, dice: random.Random) -> None:
        other = dice.choice([each for each in self.places if each is not place])
        self.net.barriers.add((place.name, other.name))
        if dice.random() < 0.7:
            self.net.barriers.add((other.name, place.name))
        self.chronicle.note(f"fate barriers {sorted(self.net.barriers)}")

    def _mend(self, place: Place, dice: random.Random) -> None:
        self.net.heal()
        self.chronicle.note("fate no barriers")

    def _break(self, place: Place, dice: random.Random) -> None:
        live = [each for each in self.net.live() if not each.ended]
        if live:
            connection = dice.choice(live)
            connection.cut("the link broke", tell=dice.random() < 0.7)
            self.chronicle.note(f"fate link {connection.names} breaks")

    def _overflow(self, place: Place, dice: random.Random) -> None:
        if place.watch is not None:
            place.watch.overflow()

    def _refuse(self, place: Place, dice: random.Random) -> None:
        if self.weather.refusals:
            self.door.refusing[place.name] = dice.choice((0.02, 0.3, 1.0))
            self.chronicle.note(f"fate the disk of {place.name} refuses {self.door.refusing[place.name]}")
            self.loop.call_later(dice.uniform(0.1, 3.0), self.door.refusing.pop, place.name, None)

    def _back_up(self, place: Place, dice: random.Random) -> None:
        if place.ready and place.life is not None and not place.life.dead:
            place.backup = _index_of(place)

    def _slow(self, place: Place, dice: random.Random) -> None:
        self.net.slow_s = dice.choice((0.0005, 0.005, 0.05))

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
                    self._start(place)
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
                pending = view.pending(RelPath(""), 5)
            if pending:
                problems = [(each.path, each.reason.value, each.text) for each in node.hub.problems()]
                return f"{place.name} has pending {pending}, problems {problems[:5]}"
            if node.inward.busy or node.outward.busy or not node.puller.level:
                return f"{place.name} is busy"
            if len(node.peers.linked()) != len(self.places) - 1:
                return f"{place.name} is linked with {len(node.peers.linked())}"
            contexts.append(node.books.context)
        if any(each != contexts[0] for each in contexts):
            return "contexts differ"
        return ""

    async def _silence(self) -> None:
        """Nothing happens while nothing happens."""
        before = [dict(place.node.books.context) for place in self.places if place.node is not None]
        self.net.traffic.clear()
        await asyncio.sleep(IDLE_S)
        after = [dict(place.node.books.context) for place in self.places if place.node is not None]
        if before != after:
            self.violations.append("G11: idle nodes write")
        loud = {pair: count for pair, count in self.net.traffic.items() if count > FRAMES_IDLE_MAX}
        if loud:
            self.violations.append(f"idle nodes talk: {loud} frames in {IDLE_S} s")

    # ---- the reckoning

    def _reckon(self, left: Tree | None, alone: Place | None) -> None:
        trees = {place.name: self._reader.read(place.folder) for place in self.places}
        told = self.violations
        told.extend(f"G1: {line}" for line in differences(trees)[:10])
        if left is not None and alone is not None and not self.accidents:
            told.extend(f"lonely: {line}" for line in differences({"left": left, **trees})[:10])
        in_trees: set[str] = set()
        in_trashes: set[str] = set()
        for place in self.places:
            for path in place.folder.rglob("*"):
                inside = path.relative_to(place.folder).parts
                if inside[0] != MARKER:
                    in_trees.update(torture._values_at(path))
                elif inside[1:2] == ("trash",):
                    in_trashes.update(torture._values_at(path))
                    if path.suffix == ".json":
                        in_trashes.update(_targets(path.read_bytes()))
            stage = sorted(os.listdir(place.folder / MARKER / "stage"))
            if stage:
                told.append(f"G6: left in the stage of {place.name}: {stage}")
        wrote, over = self.chronicle.written, self.chronicle.overwritten
        lost = [value for value in wrote if value not in in_trees | in_trashes and value not in over]
        told.extend(f"G2: {wrote[value]} is lost:\n{self.chronicle.story(value)}" for value in lost[:5])
        back = sorted(self._gone & in_trees)
        told.extend(f"G4: {wrote[value]} is back:\n{self.chronicle.story(value)}" for value in back[:5])
        self._gone |= wrote.keys() - in_trees
        self.chronicle.note(f"reckoned {len(in_trees)} in trees, {len(in_trashes)} in trashes, {len(wrote)} written")

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


class _Listener(logging.Handler):
    """What nodes log goes into the chronicle; an exception that they did not expect is a violation."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        life = LIFE.get()
        self._world.chronicle.note(f"  {life}| {record.getMessage()}")
        if record.exc_info and record.exc_info[1] is not None and not (life is not None and life.dead):
            error = record.exc_info[1]
            if not isinstance(error, Died):
                text = "".join(traceback.format_exception(error))
                self._world.violations.append(f"{life} {record.getMessage()}: {text}")


def _index_of(place: Place) -> dict[str, bytes]:
    """The index's files as they are on the disk at this moment."""
    meta = place.folder / MARKER
    return {name: (meta / name).read_bytes() for name in ("index.db", "index.db-wal") if (meta / name).exists()}


def _targets(note: bytes) -> Iterator[str]:
    text = note.decode(errors="replace")
    if '"target": "' in text:
        yield value_of_link(text.split('"target": "')[1].split('"')[0])


def _identity(dice: random.Random) -> Identity:
    key = ec.derive_private_key(dice.getrandbits(250) + 1, ec.SECP256R1())
    return Identity._of(key, identity_module.self_signed(key, dice.getrandbits(100) + 1, deterministic=True))


def fast_folder() -> Path:
    """Where worlds live: in memory, if the system offers that."""
    memory = Path("/dev/shm")
    usual = memory if sys.platform == "linux" and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return Path(os.environ.get("MEERKAT_WORLD_DIR", usual))


def fine_times(folder: Path) -> bool:
    """Whether each change that follows a look gives a file another ctime (Linux since 6.13; before, every few ms)."""
    place = folder / "clock"
    seen = set()
    for number in range(50):
        place.write_text(str(number))
        seen.add(place.stat().st_ctime_ns)
    place.unlink()
    return len(seen) == 50
