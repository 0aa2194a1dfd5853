"""Figures of real processes on hosts of their own, by hand:

    cd tests && PYTHONPATH=..:. python -m e2e.network [killed] [silent] [idle] [lossy] [split] [joins] [memory]

NODES (8), ROUNDS (5), SECONDS (60) and LOSS (10,30) come from the environment. Needs root; ends all that it starts.
Times are those of the nodes' own logs, which are on this machine's one clock.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from e2e.network.lab import Lab, ensure_possible
from e2e.network.pool import MISSED, LabPool
from e2e.pool import Node

from bench.usage import memory_bytes

NODES = int(os.environ.get("NODES", "8"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "60"))
LOSSES = [int(percent) for percent in os.environ.get("LOSS", "10,30").split(",")]
NAMES = [f"n{number}" for number in range(256)]
SETTLE_S = 8.0
"""For the last words of whatever was before."""


def moments(node: Node, since: float) -> list[tuple[float, str]]:
    """When (seconds since 1970) a node missed whom, from `since` on."""
    found = []
    for line in (node.folder / ".meerkat" / "log" / "meerkat.log").read_text().splitlines():
        entry = json.loads(line)
        missed = MISSED.match(entry["message"])
        at = datetime.fromisoformat(entry["at"]).timestamp()
        if missed and at >= since - 0.002:
            found.append((at, missed[1]))
    return found


def spread(values: list[float]) -> str:
    return f"p50 {statistics.median(values):.2f}, max {max(values):.2f} s, of {len(values)}"


def noticed(pool: LabPool, who: Node, at: float) -> list[float]:
    """Wait until all others miss a node; after how many seconds each did."""
    others = [node for node in pool.nodes if node is not who]

    def all_miss() -> bool:
        return all(who.name in [name for _, name in moments(node, at)] for node in others)

    pool.until(f"all miss {who.name}", all_miss, 120)
    return [next(when for when, name in moments(node, at) if name == who.name) - at for node in others]


def killed(pool: LabPool) -> None:
    """Detection of a process that ended."""
    pool.linked(*NAMES[:NODES])
    took = []
    for turn in range(ROUNDS):
        time.sleep(SETTLE_S)
        victim = pool.nodes[1 + turn % (NODES - 1)]
        at = time.time()  # noqa: TID251  # compared with the logs
        pool.kill9(victim)
        took += noticed(pool, victim, at)
        pool.restart(victim)
        pool.wait_linked()
    print(f"killed, {NODES} nodes: {spread(took)}")


def silent(pool: LabPool) -> None:
    """Detection of a host that fell silent, and the way back."""
    pool.linked(*NAMES[:NODES])
    took, back = [], []
    for turn in range(ROUNDS):
        time.sleep(SETTLE_S + turn * 0.37)
        victim = pool.nodes[1 + turn % (NODES - 1)]
        at = time.time()  # noqa: TID251
        pool.host(victim).unplug()
        took += noticed(pool, victim, at)
        wrong = [
            f"{node.name} missed {name} after {when - at:.1f} s"
            for node in pool.nodes
            if node is not victim
            for when, name in moments(node, at)
            if name != victim.name
        ]
        if wrong:
            print("wrongly:", "; ".join(wrong))
        pool.host(victim).plug()
        plugged = time.monotonic()
        pool.wait_linked()
        back.append(time.monotonic() - plugged)
    print(f"silent host, {NODES} nodes: {spread(took)}; all linked again {spread(back)}")


def idle(pool: LabPool) -> None:
    """Bytes on the cable of a node where nothing happens."""
    pool.linked(*NAMES[:NODES])
    time.sleep(SETTLE_S)
    before = [pool.host(node).carried() for node in pool.nodes]
    time.sleep(SECONDS)
    after = [pool.host(node).carried() for node in pool.nodes]
    rates = [(sum(now) - sum(then)) / SECONDS for now, then in zip(after, before, strict=True)]
    shown = f"mean {statistics.mean(rates):.0f}, max {max(rates):.0f}"
    print(f"idle, {NODES} nodes, {SECONDS:.0f} s: {shown} bytes a node and second, both directions")


def lossy(pool: LabPool) -> None:
    """How often a node is missed that is there."""
    pool.linked(*NAMES[:NODES])
    pool.nodes[0].path("still here").write_text("x")
    pool.wait_equal()
    for percent in LOSSES:
        time.sleep(SETTLE_S)
        at = time.time()  # noqa: TID251
        relinked = [_links(node) for node in pool.nodes]
        pool.lab.lose(percent)
        time.sleep(SECONDS)
        pool.lab.heal()
        missed = sum(len(moments(node, at)) for node in pool.nodes)
        again = sum(_links(node) - before for node, before in zip(pool.nodes, relinked, strict=True)) / 2
        hours = NODES * SECONDS / 3600
        print(
            f"{percent} % loss, {NODES} nodes, {hours:.2f} node-hours: {missed} missed wrongly"
            f" ({missed / hours:.2f} an hour of a node), {again:.0f} links made again"
        )
        pool.wait_linked()
        assert set(pool.wait_equal()) == {"still here"}


def _links(node: Node) -> int:
    return (node.folder / ".meerkat" / "log" / "meerkat.log").read_text().count(") stands")


def split(pool: LabPool) -> None:
    """Two halves apart for SECONDS, with edits; how long it takes to find back."""
    pool.linked(*NAMES[:NODES])
    half = NODES // 2
    hosts = [pool.host(node) for node in pool.nodes]
    pool.lab.part(hosts[:half], hosts[half:])
    for number, node in enumerate(pool.nodes):
        for each in range(100 // half):
            node.path(f"{number} {each}").write_text(f"{number} {each}")
    time.sleep(SECONDS)
    pool.lab.heal()
    healed = time.monotonic()
    pool.wait_equal()
    equal = time.monotonic() - healed
    pool.wait_linked()
    print(
        f"split of {NODES} nodes for {SECONDS:.0f} s: equal {equal:.1f} s after,"
        f" all linked {time.monotonic() - healed:.1f} s after"
    )


def joins(pool: LabPool) -> None:
    """NODES newcomers at once through one member."""
    first = pool.found(pool.on("first"))
    code = pool.invite(first, "--uses", str(NODES))
    newcomers = [pool.on(name) for name in NAMES[:NODES]]
    began = time.monotonic()
    for node in newcomers:
        pool._spawn(node, ["join", "-", str(node.folder), "--name", node.name, "--listen", node.listen], code)
    for node in newcomers:
        pool.await_ready(node)
    ready = time.monotonic() - began
    for node in newcomers:
        pool.until("all know all", lambda node=node: len(pool.roster(node)) == NODES + 1)  # type: ignore[misc]
    known = time.monotonic() - began
    for node in pool.nodes:
        pool.until("all see all", lambda node=node: _sees(pool, node) == NODES)  # type: ignore[misc]
    seen = time.monotonic() - began
    memory = [memory_bytes(node.process.pid, "VmRSS") / 1e6 for node in pool.nodes if node.process]
    links = [sum(row["link"] is not None for row in pool.roster(node).values()) for node in pool.nodes]
    print(
        f"{NODES} joins at once: all ready {ready:.1f} s, all know all {known:.1f} s, all see all {seen:.1f} s;"
        f" {statistics.mean(memory):.0f} MB a node, {max(memory):.0f} at most; {min(links)} to {max(links)} links"
    )


def _sees(pool: LabPool, node: Node) -> int:
    return sum(not row["self"] and row["state"] not in ("offline", "unknown") for row in pool.roster(node).values())


def memory(pool: LabPool) -> None:
    """What a link more costs the first node."""
    first = pool.found(pool.on("first"))
    figures = []
    for name in NAMES[:NODES]:
        pool.admit(pool.on(name), first)
        pool.wait_linked()
        time.sleep(1)
        assert first.process is not None
        figures.append(memory_bytes(first.process.pid, "VmRSS"))
    per_link = (figures[-1] - figures[0]) / (len(figures) - 1) / 1024
    shown = f"{figures[0] / 1e6:.1f} MB with 1, {figures[-1] / 1e6:.1f} MB with {len(figures)}"
    print(f"memory of a node with links: {shown}: {per_link:.0f} KiB a link")


FIGURES: dict[str, Callable[[LabPool], None]] = {
    each.__name__: each for each in (killed, silent, idle, lossy, split, joins, memory)
}


def main(names: list[str]) -> None:
    ensure_possible()
    for name in names or FIGURES:
        with tempfile.TemporaryDirectory(prefix="figures-") as base:
            lab = Lab()
            pool = LabPool(Path(base), lab)
            try:
                FIGURES[name](pool)
            finally:
                pool.close()
                lab.close()


if __name__ == "__main__":
    main(sys.argv[1:])
