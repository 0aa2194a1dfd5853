"""How the cost grows with files, with bytes and with nodes: one pool for each step, so that nothing is inherited."""

from collections.abc import Callable
from statistics import median

from .content import MIB, Arrival, await_that, judge, settle_disk, size_text, write_many, write_random
from .latency import PAUSE_S, edits
from .measure import MEERKAT, RSYNC, Line, Options
from .team import Team
from .teams import takes_part, team
from .transfers import SMALL_BYTES
from .usage import Cost

FILES = (1000, 3000, 10_000, 30_000)
BYTES = (16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB)
NODES = (2, 5, 10)
SHARED_BYTES = 64 * MIB
EDITS = 10
WORKS = FILES_WORK, BYTES_WORK, NODES_WORK = "growth with files", "growth with bytes", "growth with nodes"
AXIS, P50 = "size", "p50 ms"
"""Figures of a line: where it stands on the plot's axis, and the latency of a small file."""


def growth(options: Options) -> list[Line]:
    """What more files, more bytes and more nodes cost, a pool for each step."""
    found = []
    who = [each for each in (MEERKAT, RSYNC) if takes_part(each, options)]
    for count in (options.count(count) for count in FILES):
        for each in who:
            line = Line(FILES_WORK, f"{count:,} files of 4 KiB", each, figures={AXIS: count})
            found.append(_repeat(line, 2, options, lambda it, count=count: _many(it, count)))  # type: ignore[misc]
    for size in (options.bytes(size) for size in BYTES):
        for each in who:
            line = Line(BYTES_WORK, f"one file of {size_text(size)}", each, figures={AXIS: size})
            found.append(_repeat(line, 2, options, lambda it, size=size: _one(it, size)))  # type: ignore[misc]
    for nodes in NODES:
        found.append(_with_nodes(nodes, options))
    return found


def _repeat(line: Line, nodes: int, options: Options, work: Callable[[Team], Cost]) -> Line:
    for _ in range(options.runs):
        with team(line.who, nodes) as it:
            line.costs.append(work(it))
            judge(it.folders)
    return line


def _many(it: Team, count: int) -> Cost:
    source = it.outside / "many"
    write_many(source, count, SMALL_BYTES)
    settle_disk()
    arrivals = [Arrival(folder / source.name, count) for folder in it.folders[1:]]
    gauge = it.gauge()
    source.rename(it.folders[0] / source.name)
    it.carry()
    await_that(lambda: all(arrival.complete() for arrival in arrivals), 0.01)
    return gauge.read()


def _one(it: Team, size: int) -> Cost:
    source = it.outside / "one.bin"
    write_random(source, size)
    settle_disk()
    gauge = it.gauge()
    source.rename(it.folders[0] / source.name)
    it.carry()
    await_that(lambda: all((folder / source.name).exists() for folder in it.folders))
    return gauge.read()


def _with_nodes(nodes: int, options: Options) -> Line:
    size = options.bytes(SHARED_BYTES)
    line = Line(NODES_WORK, f"{size_text(size)} to all of {nodes}", MEERKAT, figures={AXIS: nodes})
    spans: list[float] = []

    def work(it: Team) -> Cost:
        limit = options.count(EDITS)
        spans.extend(edits(it, "new", PAUSE_S, lambda done: len(done) >= limit))
        return _one(it, size)

    _repeat(line, nodes, options, work)
    line.figures[P50] = 1000 * median(spans)
    return line
