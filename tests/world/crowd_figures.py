"""What a crowd costs and how fast it is, in the world's time, beside what is known of others.

Times are those of the simulated net (10 ms one way, 2 ms a transaction), bytes those of the encoded frames with what
TCP, TLS and HTTP/2 add to each. Baselines: figures published or measured elsewhere for what comes closest.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from world.crowd import Crowd, Resident, p50
from world.wires import DIAL_BYTES, MESSAGE_BYTES

from meerkat.core.compare import Change
from meerkat.model.dot import Author, Dot
from meerkat.model.frame import JoinAsk, RosterPart, Signed
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Kind, Version
from meerkat.node import ledger
from meerkat.node.ports import Tx

SAMPLE_S = 0.01


@dataclass(frozen=True)
class Figure:
    """One line: what, in a pool of how many, how much, and what it should be at most."""

    what: str
    count: int
    values: dict[str, float]
    unit: str
    most: dict[str, float]
    beside: str = ""

    @property
    def kept(self) -> bool:
        return all(self.values[name] <= most for name, most in self.most.items())

    def __str__(self) -> str:
        said = ", ".join(f"{name} {_short(value)}" for name, value in self.values.items())
        most = ", ".join(f"{name} <= {_short(value)}" for name, value in self.most.items())
        sign = "" if self.kept else "  <-- MISSED"
        return f"{self.what:34} {self.count:4}  {said} {self.unit}  (aim: {most or '-'}){sign}  | {self.beside}"


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if value < 100 else f"{value:.0f}"


def spread(crowd: Crowd, times: int = 20) -> Figure:
    """A change, until all know of it."""

    async def scene() -> list[float]:
        took = []
        for number in range(times):
            took.append(await crowd.spread(crowd.dice.choice(crowd.live), f"spread{number}"))
            await asyncio.sleep(crowd.dice.uniform(0.5, 2.0))
        return took

    took = crowd.run(scene())
    most = {8: 0.1, 32: 0.15, 128: 0.25}.get(crowd.count, 0.5)
    beside = "memberlist's gossip, modelled: 0.28 / 0.53 / 0.74 s at 8 / 32 / 128"
    return Figure(
        "a change on all nodes", crowd.count, {"p50": p50(took), "max": max(took)}, "s", {"p50": most}, beside
    )


def idle(crowd: Crowd, seconds: float = 600.0) -> Figure:
    """What a node sends and receives while nothing happens."""

    async def scene() -> None:
        await asyncio.sleep(30)
        crowd.net.sent_bytes.clear()
        crowd.net.counting = True
        await asyncio.sleep(seconds)
        crowd.net.counting = False

    crowd.run(scene())
    each = 2 * sum(crowd.net.sent_bytes.values()) / len(crowd.live) / seconds
    most = {8: 500.0, 32: 700.0, 128: 1000.0}.get(crowd.count, 2000.0)
    return Figure(
        "idle, sent and received",
        crowd.count,
        {"mean": each},
        "B/s a node",
        {"mean": most},
        "kinship sends 585 at 8, 288 at 32",
    )


def killed(crowd: Crowd, times: int = 5) -> Figure:
    """Processes are killed: until those linked with them, and all, take them for gone."""
    near: list[float] = []
    far: list[float] = []

    async def scene() -> None:
        for _ in range(times):
            victim = crowd.dice.choice(crowd.live)
            linked = {each.name for each in crowd.live if victim.node in each.linked()}
            victim.kill()
            missed = await _missed_by_all(crowd, victim.node)
            near.extend(at for name, at in missed.items() if name in linked)
            far.append(max(missed.values()))
            await _again(crowd, victim)

    crowd.run(scene())
    values = {"linked max": max(near), "all max": max(far)}
    most = {"linked max": 0.2, "all max": 1.0}
    return Figure("a killed process is missed", crowd.count, values, "s", most, "kinship 5.4 s at 8, 10.6 s at 32")


def silent(crowd: Crowd, times: int = 5) -> Figure:
    """Machines fall silent."""
    took: list[float] = []

    async def scene() -> None:
        for _ in range(times):
            victim = crowd.dice.choice(crowd.live)
            await asyncio.sleep(crowd.dice.uniform(0, 10))
            victim.lose_power()
            took.extend((await _missed_by_all(crowd, victim.node)).values())
            await _again(crowd, victim)

    crowd.run(scene())
    most = {8: 11.0, 32: 14.0, 128: 17.0}.get(crowd.count, 22.0)
    values, aims = {"p50": p50(took), "max": max(took)}, {"p50": most, "max": 2 * most}
    return Figure(
        "a silent host is missed", crowd.count, values, "s", aims, "memberlist 9.9 s, max 12.1 at 100; kinship 9.5 s"
    )


async def _missed_by_all(crowd: Crowd, node: NodeId) -> dict[str, float]:
    """When each of the others takes the node for gone, from now."""
    began = crowd.loop.time()
    missed: dict[str, float] = {}

    def look() -> bool:
        for each in crowd.live:
            if each.name not in missed and node not in each.there():
                missed[each.name] = crowd.loop.time() - began
        return len(missed) >= len(crowd.live)

    await crowd.until("it is missed by all", look, step_s=SAMPLE_S)
    return missed


async def _again(crowd: Crowd, victim: Resident) -> None:
    """It comes back, and all is as before."""
    crowd.net.heal()
    await victim.start(crowd.ops, crowd.records)
    await crowd.until(
        "all see it again", lambda: all(victim.node in each.there() for each in crowd.live if each is not victim)
    )
    await asyncio.sleep(15)


def lossy(crowd: Crowd, loss: float, seconds: float = 900.0) -> Figure:
    """How often somebody takes a node that is there for gone, while packets get lost on all ways; and what that does to
    data: nothing, also what is written meanwhile comes to all."""
    wrong = 0

    async def scene() -> None:
        nonlocal wrong
        crowd.net.loss = loss
        await asyncio.sleep(30)
        before: set[NodeId] = set()
        ends = crowd.loop.time() + seconds
        everybody = {each.node for each in crowd.live}
        number = 0
        while crowd.loop.time() < ends:
            missed = {node for each in crowd.live for node in everybody - each.there() - {each.node}}
            wrong += len(missed - before)
            before = missed
            number += 1
            if number % 200 == 0:
                await crowd.dice.choice(crowd.live).make(f"loss{loss}{number}")
            await asyncio.sleep(0.25)
        crowd.net.loss = 0.0
        await crowd.until("all is level", crowd.level)
        await asyncio.sleep(30)

    crowd.run(scene())
    hourly = wrong / (len(crowd.live) * seconds / 3600)
    most = 0.0 if loss <= 0.1 else 0.5
    beside = "SWIM with Lifeguard over UDP: 2.7 at 10 %, 25 at 30 % (8 nodes)"
    return Figure(
        f"false deaths, {loss:.0%} loss", crowd.count, {"mean": hourly}, "a node-hour", {"mean": most}, beside
    )


def healed(crowd: Crowd, seconds: float = 300.0, changes: int = 100) -> Figure:
    """The halves of a pool work on without each other, and then together again."""
    values: dict[str, float] = {}

    async def scene() -> None:
        half = {each.name for each in crowd.dice.sample(crowd.live, len(crowd.live) // 2)}
        crowd.net.part(half)
        began = crowd.net.dials
        await asyncio.sleep(seconds / 2)
        for number in range(changes):
            for side in (True, False):
                some = [each for each in crowd.live if (each.name in half) is side]
                await crowd.dice.choice(some).make(f"heal{number}{side}")
        await asyncio.sleep(seconds / 2)
        values["dials a node and minute"] = (crowd.net.dials - began) / len(crowd.live) / (seconds / 60)
        began = crowd.net.dials
        crowd.net.heal()
        values["first link"] = await crowd.until("one graph", crowd.is_connected)
        values["level"] = values["first link"] + await crowd.until("level", crowd.level)
        await asyncio.sleep(max(0.0, 10 - values["level"]))
        values["dials a node in 10 s"] = (crowd.net.dials - began) / len(crowd.live)

    crowd.run(scene())
    aims = {"first link": 5.0, "level": 10.0, "dials a node and minute": 60.0, "dials a node in 10 s": 20.0}
    return Figure("healing after 5 minutes", crowd.count, values, "s", aims, "memberlist's push/pull: 30 to 90 s")


def joined(crowd: Crowd, newcomers: int = 32) -> Figure:
    """Many join at once, through whoever they happen to ask: until everybody's roster has everybody."""

    async def join(one: Resident) -> None:
        await asyncio.sleep(2 * crowd.net.delay_s())  # two calls, each a round trip, and a handshake before
        sponsor = crowd.dice.choice(crowd.residents[: crowd.count])
        invite = sponsor.registry.invites()[0]
        ask = JoinAsk(b"", one.identity.certificate, b"", crowd.admission(one), crowd.record(one))
        ops: list[Signed] = []
        records: list[Signed] = []
        async for answer in sponsor.registry.admit(ask, invite, 0, 0):
            assert not answer.refused, answer.reason
            part: RosterPart | None = answer.roster
            if part is not None:
                ops.extend(part.ops)
                records.extend(part.records)
        await asyncio.sleep(4 * crowd.net.delay_s())
        await one.start(ops, records)

    async def scene() -> float:
        began = crowd.loop.time()
        everybody = crowd.residents[: crowd.count + newcomers]
        every = {each.node for each in everybody}
        await asyncio.gather(*(join(each) for each in everybody[crowd.count :]))
        await crowd.until("all know all", lambda: all(each.registry.members().keys() >= every for each in everybody))
        return crowd.loop.time() - began

    took = crowd.run(scene())
    beside = "kinship: 100 nodes below 1 s in 28 of 30 runs; memberlist needed 54 and 101 s in 2 of 30"
    return Figure(f"{newcomers} join at once", crowd.count, {"all know all": took}, "s", {"all know all": 2.0}, beside)


def reconnected(crowd: Crowd, differences: int, *, forgotten: bool = False, entries: int = 100_000) -> Figure:
    """A member is back that has missed some changes among many entries: all that both say until they are level.

    Args:
        forgotten: one of the changes was a deletion that the pool has forgotten since: everything has to be compared.
    """
    one, *others = crowd.live
    at = [f"folder {number // 200:04}/photo of day {number:06}.jpg" for number in range(entries)]

    def fill(tx: Tx) -> None:
        author = Author(NodeId("a" * 32), 1)
        for seq, name in enumerate(at, 1):
            digest = Digest(seq.to_bytes(32, "big"))
            version = Version(Kind.FILE, size=seq, mtime_ns=(1_600_000_000 + seq) * 10**9, mode=0o644, digest=digest)
            tx.put_siblings(RelPath(name), {Dot(author, seq): version})
        tx.join_context({author: entries}, {})

    def change(tx: Tx) -> None:
        for number, name in enumerate(crowd.dice.sample(at, differences)):
            path = RelPath(name)
            deleted = forgotten and not number
            digest = Digest(crowd.dice.randbytes(32))
            edited = Version(Kind.FILE, size=number, mtime_ns=number * 10**15, mode=0o644, digest=digest, height=2)
            version = Version(Kind.TOMBSTONE) if deleted else edited
            dot = ledger.write(tx, path, Change(version, frozenset(tx.siblings(path))))
            if deleted:
                tx.put_siblings(path, {})
                tx.join_context({}, {dot.author: dot.seq})

    async def scene() -> float:
        for each in crowd.live:
            await each.books.write(fill)
        await crowd.until("level", crowd.level)
        one.kill()
        await asyncio.sleep(5)
        for each in others:
            await each.books.write(change)
        await asyncio.sleep(5)
        crowd.net.counting = True
        await one.start(crowd.ops, crowd.records)
        await crowd.until("level again", lambda: bool(one.linked()) and crowd.level(), most_s=3600)
        await asyncio.sleep(0.1)
        crowd.net.counting = False
        overhead = MESSAGE_BYTES * crowd.net.frames + 2 * DIAL_BYTES * crowd.net.connected
        return float(sum(crowd.net.sent_bytes.values()) - overhead)

    size = crowd.run(scene())
    what = f"reconnect, {differences:,} differ{', below a floor' if forgotten else ''}"
    most = {0: 1000.0, 10: 5000.0}.get(differences, 250_000.0)
    if forgotten:
        most = {10: 2 * 9900.0}.get(differences, 2 * 432_000.0) + 150 * differences
    beside = "range reconciliation alone: 0.33 / 9.9 / 432 kB at 0 / 10 / 1,000; the whole index: 15 MB"
    return Figure(what, entries, {"all": size}, "B", {"all": most}, beside)


Scene = Callable[[Crowd, bool], Figure]

SCENES: dict[str, Scene] = {
    "spread": lambda crowd, brief: spread(crowd, 5 if brief else 20),
    "idle": lambda crowd, brief: idle(crowd, 120.0 if brief else 600.0),
    "killed": lambda crowd, brief: killed(crowd, 1 if brief else 5),
    "silent": lambda crowd, brief: silent(crowd, 1 if brief else 5),
    "loss10": lambda crowd, brief: lossy(crowd, 0.1, 60.0 if brief else 900.0),
    "loss30": lambda crowd, brief: lossy(crowd, 0.3, 60.0 if brief else 900.0),
    "healed": lambda crowd, brief: healed(crowd, changes=10 if brief else 100),
    "joined": lambda crowd, brief: joined(crowd, 8 if brief else 32),
}


BETWEEN_TWO: dict[str, Callable[[Crowd], Figure]] = {
    "reconnect0": lambda crowd: reconnected(crowd, 0),
    "reconnect10": lambda crowd: reconnected(crowd, 10),
    "reconnect1000": lambda crowd: reconnected(crowd, 1000),
    "floor10": lambda crowd: reconnected(crowd, 10, forgotten=True),
    "floor1000": lambda crowd: reconnected(crowd, 1000, forgotten=True),
}
"""Figures of a pair, whatever the size of the pool."""


def between_two(scenes: list[str], seed: int = 0) -> Iterator[Figure]:
    for name in scenes:
        with Crowd(2, seed) as crowd:
            crowd.run(crowd.begin(calm_s=5.0))
            yield BETWEEN_TWO[name](crowd)


def figures(counts: list[int], scenes: list[str], seed: int = 0, *, brief: bool = False) -> Iterator[Figure]:
    """Every scene in a pool of each size, each in a world of its own. `brief`: less of each, for tests."""
    for count in counts:
        for name in scenes:
            with Crowd(count, seed, more=32 if name == "joined" else 0) as crowd:
                crowd.run(crowd.begin(calm_s=15.0 if brief else 30.0))
                yield SCENES[name](crowd, brief)
