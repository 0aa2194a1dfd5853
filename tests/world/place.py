"""One node through all its lives: its folder, its person, and what it meets there instead of this machine."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from world.loop import Life
from world.network import Machine
from world.people import Worker

from meerkat.disk.scan import Skip
from meerkat.disk.watch import OnEvent, Overflowed, Touched
from meerkat.model.path import MARKER, RelPath
from meerkat.node.node import Node
from meerkat.wire import identity as identity_module
from meerkat.wire.identity import Identity


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
    """A watch that hears what happened late, twice, or not at all.

    Args:
        lost: the share of what happens that is never heard of just now.
    """

    def __init__(self, dice: random.Random, lost: Callable[[], float], skip: Skip, on_event: OnEvent) -> None:
        self.degraded = ""
        self._dice, self._lost, self._skip, self._on_event = dice, lost, skip, on_event
        self._running = False
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        self._running = True
        await asyncio.sleep(0)

    def attend(self, folder: RelPath) -> None: ...

    async def stop(self) -> None:
        self._running = False
        await asyncio.sleep(0)

    def happened(self, path: RelPath) -> None:
        dice, loop = self._dice, self._loop
        if dice.random() < self._lost():
            return
        for _ in range(2 if dice.random() < 0.1 else 1):
            late = dice.uniform(0.0, 0.02) if dice.random() < 0.9 else dice.uniform(0.0, 3.0)
            loop.call_later(late, self._tell, Touched(path, closed=dice.random() < 0.9))

    def overflow(self) -> None:
        self._loop.call_soon(self._tell, Overflowed())

    def _tell(self, event: Touched | Overflowed) -> None:
        if self._running and not (isinstance(event, Touched) and self._skip(event.path, False)):
            self._on_event(event)


class NoDoors:
    """No program of this machine asks."""

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await asyncio.sleep(0)


def index_of(place: Place) -> dict[str, bytes]:
    """The index's files as they are on the disk at this moment."""
    meta = place.folder / MARKER
    return {name: (meta / name).read_bytes() for name in ("index.db", "index.db-wal") if (meta / name).exists()}


def identity_from(dice: random.Random) -> Identity:
    key = ec.derive_private_key(dice.getrandbits(250) + 1, ec.SECP256R1())
    return Identity._of(key, identity_module.self_signed(key, dice.getrandbits(100) + 1, deterministic=True))
