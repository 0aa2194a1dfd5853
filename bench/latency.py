"""A new small file, and how soon it can be read elsewhere: at rest, on five nodes, and while a large one travels."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .content import await_that, judge, settle_disk, size_text, write_random
from .measure import MEERKAT, SYNCTHING, SYNCTHING_DEFAULT, UNISON, Line, Options, percentile
from .team import Team
from .teams import teams
from .transfers import BIG_BYTES

EDITS, EDIT_BYTES = 30, 1024
PAUSE_S = 0.15  # the pool is idle again, and the edits do not keep step with any timer
BUSY_PAUSE_S = 0.03
POLL_S = 0.0005
SPENT_S_MAX = 45.0  # who takes seconds for one is asked less often
EDITS_MIN = 3


def latency(options: Options) -> list[Line]:
    """A new 1 KiB file in an idle pool of two, until it can be read on the other node."""
    return _latency("latency", 2, options, (MEERKAT, SYNCTHING, SYNCTHING_DEFAULT, UNISON))


def latency5(options: Options) -> list[Line]:
    """The same until it can be read on all of five nodes."""
    return _latency("latency5", 5, options, (MEERKAT, SYNCTHING, SYNCTHING_DEFAULT))


def _latency(work: str, nodes: int, options: Options, who: Sequence[str]) -> list[Line]:
    what = f"a new 1 KiB file on {'the other node' if nodes == 2 else f'all of {nodes}'}"
    with teams(options, who, nodes) as contestants:
        lines = []
        for team in contestants:
            line = Line(work, what, team.who)
            gauge = team.gauge()
            limit = options.count(EDITS)
            spans = edits(team, "new", PAUSE_S, lambda spans, limit=limit: _enough(spans, limit))  # type: ignore[misc]
            cost = gauge.read()
            judge(team.folders)
            _tell(line, spans)
            cost.seconds = percentile(spans, 0.5)
            line.costs.append(cost)
            lines.append(line)
    return lines


def busy(options: Options) -> list[Line]:
    """New 1 KiB files on the other node while a large file is on its way there."""
    size = options.bytes(BIG_BYTES)
    what = f"a new 1 KiB file while {size_text(size)} travel"
    with teams(options, (MEERKAT, SYNCTHING, UNISON)) as contestants:
        lines = {team.who: Line("busy", what, team.who) for team in contestants}
        spans: dict[str, list[float]] = {team.who: [] for team in contestants}
        for run in range(options.runs):
            for team in contestants:
                source = team.outside / f"big-{run}.bin"
                write_random(source, size)
                settle_disk()
                target = team.folders[1] / source.name
                gauge = team.gauge()
                source.rename(team.folders[0] / source.name)
                spans[team.who] += edits(team, f"busy-{run}", BUSY_PAUSE_S, lambda _, at=target: at.exists())  # type: ignore[misc]
                await_that(target.exists)
                lines[team.who].costs.append(gauge.read())
                judge(team.folders)
                (team.folders[0] / source.name).unlink()
                await_that(lambda at=target: not at.exists(), 0.05)  # type: ignore[misc]
    for who, line in lines.items():
        _tell(line, spans[who])
        line.remark += "; the seconds are the large file's"
    return list(lines.values())


def _enough(spans: Sequence[float], limit: int) -> bool:
    return len(spans) >= limit or (len(spans) >= EDITS_MIN and sum(spans) > SPENT_S_MAX)


def edits(team: Team, stem: str, pause_s: float, over: Callable[[Sequence[float]], bool]) -> list[float]:
    """How long each new file took, in seconds, one after the other until it is over; at least one."""
    spans: list[float] = []
    while not spans or not over(spans):
        data = os.urandom(EDIT_BYTES)
        name = f"{stem}-{len(spans)}.txt"
        start = time.monotonic()
        (team.folders[0] / name).write_bytes(data)
        for folder in team.folders[1:]:
            await_that(lambda path=folder / name, data=data: _reads(path) == data, POLL_S)  # type: ignore[misc]
        spans.append(time.monotonic() - start)
        time.sleep(pause_s)
    return spans


def _reads(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _tell(line: Line, spans: Sequence[float]) -> None:
    line.figures = {
        "p50 ms": 1000 * percentile(spans, 0.5),
        "p95 ms": 1000 * percentile(spans, 0.95),
        "max ms": 1000 * max(spans),
    }
    line.remark = f"{len(spans)} files"
