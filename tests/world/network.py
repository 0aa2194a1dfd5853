"""Links without wires: frozen frames travel between nodes with seeded delays, get stuck, and get lost with their link.

As with the real streams, frames of one pipe keep their order and none is missing in between; the three pipes of a link
know nothing of each other. A barrier between two nodes (in one direction or both) holds frames back and lets nobody
dial; the ends find out by themselves. Who may link is asked of the real roster.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from world.loop import LIFE, Life

from meerkat.model.frame import CarryFrame, IndexFrame, LinkFrame, LinkLost, Way
from meerkat.model.ids import NodeId
from meerkat.model.limits import PIPE_OUT_FRAMES_MAX
from meerkat.model.member import Member
from meerkat.node.home import Config
from meerkat.node.ports import Connection
from meerkat.node.surroundings import OnConnection, OnJoin, Port
from meerkat.wire.client import DialFailed
from meerkat.wire.gate import Gate
from meerkat.wire.identity import Identity

Frame = TypeVar("Frame")


class SimulatedPipe(Generic[Frame]):
    """One end of one stream."""

    def __init__(self, net: "Net", here: str, there: str) -> None:
        self._net, self._here, self._there = net, here, there
        self.other: SimulatedPipe[Frame]
        self._in: deque[Frame] = deque()
        self._flying = 0
        self._held: list[Callable[[], None]] = []
        self._last_at = 0.0
        self._changed = asyncio.Event()
        self.why: str | None = None
        self.hushed = False
        self.frames_sent = 0

    async def send(self, frame: Frame) -> None:
        while self.why is None and self._flying + len(self.other._in) >= PIPE_OUT_FRAMES_MAX:
            self._changed.clear()
            await self._changed.wait()
        if self.why is not None or self.hushed:
            raise LinkLost(self.why or "closed here")
        self._flying += 1
        self.frames_sent += 1
        self._net.passing(self._here, self._there, frame)
        self._launch(lambda: self._land(frame))

    def _launch(self, arrive: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._last_at = max(self._last_at + 1e-6, loop.time() + self._net.delay_s())
        loop.call_at(self._last_at, self._arrive, arrive, context=Context())

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self._held or self._net.blocked(self._here, self._there):
            self._held.append(arrive)
        else:
            arrive()

    def release(self) -> None:
        """The barrier is gone."""
        if self._held and not self._net.blocked(self._here, self._there):
            held, self._held = self._held, []
            for arrive in held:
                arrive()

    def _land(self, frame: Frame) -> None:
        self._flying -= 1
        if self.other.why is None and not self.other.hushed:
            self.other._in.append(frame)
            self.other._changed.set()
        self._changed.set()

    async def frames(self) -> AsyncIterator[Frame]:
        while True:
            while self._in:
                frame = self._in.popleft()
                self.other._changed.set()
                yield frame
            if self.why is not None:
                raise LinkLost(self.why)
            self._changed.clear()
            await self._changed.wait()

    def end(self, why: str) -> None:
        if self.why is None:
            self.why = why
            self._changed.set()

    def say_end(self, why: str) -> None:
        """Tell the other end, behind what was sent before."""
        self._launch(lambda: self.other.end(why))


class SimulatedConnection:
    """One end of a link."""

    def __init__(self, net: "Net", life: Life, here: "Machine", there: "Machine", dialled: bool) -> None:
        self.peer: NodeId = there.node
        self.dialled = dialled
        self.address = there.address
        self.life = life
        self.names = (here.name, there.name)
        self.link: SimulatedPipe[LinkFrame] = SimulatedPipe(net, here.name, there.name)
        self.index: SimulatedPipe[IndexFrame] = SimulatedPipe(net, here.name, there.name)
        self.carry: SimulatedPipe[CarryFrame] = SimulatedPipe(net, here.name, there.name)
        self.other: SimulatedConnection

    @property
    def pipes(self) -> tuple[SimulatedPipe[Any], ...]:
        return self.link, self.index, self.carry

    @property
    def sent_bytes(self) -> int:
        return sum(pipe.frames_sent for pipe in self.pipes)

    @property
    def received_bytes(self) -> int:
        return sum(pipe.frames_sent for pipe in self.other.pipes)

    @property
    def fault(self) -> str:
        return ""  # every node of a world is an honest one

    @property
    def ended(self) -> bool:
        return all(pipe.why is not None for pipe in self.pipes)

    def hush(self) -> None:
        for pipe in (self.index, self.carry):
            pipe.hushed = True

    async def close(self) -> None:
        if not self.ended:
            for pipe in self.pipes:
                pipe.end("closed here")
                pipe.say_end("the other side closed the stream")
        await asyncio.sleep(0)

    def cut(self, why: str, *, tell: bool) -> None:
        """The link breaks; the far end hears of it or not."""
        for pipe in self.pipes:
            pipe.end(why)
            if tell:
                pipe.other.end(why)


class Machine:
    """A node's place in the network, from one life to the next."""

    def __init__(self, name: str, identity: Identity, address: str) -> None:
        self.name, self.identity, self.address = name, identity, address
        self.node = identity.node
        self.life: Life | None = None
        self.gate: Gate | None = None
        self.on_connection: OnConnection | None = None
        self.context: Context | None = None


class Net:
    """All machines and what lies between them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.machines: dict[str, Machine] = {}
        self.barriers: set[tuple[str, str]] = set()
        self.connections: list[SimulatedConnection] = []
        self.traffic: Counter[tuple[str, str]] = Counter()
        self.slow_s = 0.005
        self.doubling = 0.0

    def delay_s(self) -> float:
        return (
            self.rng.expovariate(1 / self.slow_s) if self.rng.random() < 0.95 else self.rng.uniform(0, 60 * self.slow_s)
        )

    def passing(self, here: str, there: str, frame: Any) -> None:
        """A frame goes from here to there."""
        self.traffic[here, there] += 1

    def blocked(self, source: str, target: str) -> bool:
        return (source, target) in self.barriers

    def heal(self) -> None:
        self.barriers.clear()
        for connection in list(self.connections):
            for pipe in connection.pipes:
                pipe.release()

    def live(self) -> list[SimulatedConnection]:
        self.connections = [each for each in self.connections if not (each.ended and each.other.ended)]
        return self.connections

    def at(self, address: str) -> Machine | None:
        return next((each for each in self.machines.values() if each.address == address), None)

    def pair(self, here: Machine, there: Machine) -> tuple[SimulatedConnection, SimulatedConnection]:
        assert here.life is not None
        assert there.life is not None
        one = SimulatedConnection(self, here.life, here, there, True)
        other = SimulatedConnection(self, there.life, there, here, False)
        one.other, other.other = other, one
        for pipe, far in zip(one.pipes, other.pipes, strict=True):
            pipe.other, far.other = far, pipe
        self.live().extend((one, other))
        return one, other

    def hand_over(self, machine: Machine, connection: SimulatedConnection) -> None:
        """As the port does: the engine gets a connection that stands."""
        assert machine.on_connection is not None
        loop = asyncio.get_running_loop()
        loop.create_task(machine.on_connection(connection), context=machine.context)  # type: ignore[arg-type]  # noqa: RUF006


class SimulatedNetwork:
    """One node's way into the net, for one life."""

    def __init__(self, net: Net, machine: Machine) -> None:
        self._net, self._machine = net, machine

    async def serve(
        self, config: Config, said: str | None, gate: Gate, on_connection: OnConnection, on_join: OnJoin
    ) -> tuple[Port, str]:
        machine = self._machine
        machine.life, machine.gate, machine.on_connection = LIFE.get(), gate, on_connection
        machine.context = copy_context()
        return _Port(self._net, machine), machine.address

    async def dial(self, address: str, member: Member) -> Connection:
        net, here = self._net, self._machine
        there = net.at(address)
        await asyncio.sleep(2 * net.delay_s())
        if there is None or there.node != member.node:
            raise DialFailed(address, "another_node", "somebody else is there")
        if net.blocked(here.name, there.name) or net.blocked(there.name, here.name):
            await asyncio.sleep(net.rng.uniform(0.1, 8.0))
            raise DialFailed(address, "timed_out", "no answer")
        if there.life is None or there.life.dead or there.gate is None:
            raise DialFailed(address, "refused", "nothing listens there")
        if there.gate.member_of(here.identity.fingerprint) != here.node:
            raise DialFailed(address, "not_member", "that node does not count this one as a member")
        one, other = net.pair(here, there)
        net.hand_over(there, other)
        if net.rng.random() < net.doubling and here.on_connection is not None:
            twin, far = net.pair(here, there)
            net.hand_over(there, far)
            net.hand_over(here, twin)
        return one

    async def look(self, address: str, member: Member) -> Way:
        there = self._net.at(address)
        if there is None or there.node != member.node:
            return Way(address, "another_node", "somebody else is there")
        return Way(address, "refused" if there.gate is None else "reached", "")

    def advertised(self, listening: str) -> list[str]:
        return [listening]

    def ear(self, wanted: Callable[[str], bool]) -> None:
        """There is no local network."""


class _Port:
    def __init__(self, net: Net, machine: Machine) -> None:
        self._net, self._machine, self._life = net, machine, machine.life

    async def stop(self) -> None:
        if self._machine.life is self._life:
            self._machine.gate = self._machine.on_connection = None
            self._machine.life = None
        for connection in list(self._net.live()):
            if connection.life is self._life and not connection.dialled:
                await connection.close()
