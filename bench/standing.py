"""Pools that have been there for a while: what they cost at rest, and how soon they are back after a stop."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from .content import await_that, judge, settle_disk, write_many
from .measure import MEERKAT, RSYNC, SYNCTHING, UNISON, Line, Options
from .team import Team
from .teams import teams
from .transfers import SMALL_BYTES, SMALL_FILES, is_new
from .usage import TICKS_PER_S, Gauge, cpu_ticks, memory_bytes

IDLE_S = 60.0
STANDING_FILES, STANDING_BYTES = 100_000, 1024
CHANGED_FILES = 1000
SEED = 11


def idle(options: Options) -> list[Line]:
    """What each node costs while nothing happens; all who watch are measured in the same minute."""
    count, seconds = options.count(SMALL_FILES), IDLE_S * min(1.0, max(0.05, options.scale))
    what = f"{seconds:.0f} s with {count:,} files"

    def fill(folder: Path) -> None:
        write_many(folder / "many", count, SMALL_BYTES, SEED)

    with teams(options, (MEERKAT, SYNCTHING, UNISON), fill=fill) as contestants:
        for team in contestants:
            team.quiet()
            judge(team.folders)
        gauges = [(team, Gauge(team.pids, team.network)) for team in contestants]
        time.sleep(seconds)
        lines = []
        for team, gauge in gauges:
            line = Line("idle", what, team.who, [gauge.read(seconds)])
            _tell(line, team, seconds)
            lines.append(line)
    return lines


def _tell(line: Line, team: Team, seconds: float) -> None:
    (cost,) = line.costs
    for name, pid in team.pids.items():
        line.figures[f"{name} CPU s a minute"] = cost.cpu_s[name] * 60 / seconds
        line.figures[f"{name} MB resident"] = memory_bytes(pid, "VmRSS") / 1e6
    line.figures["highest CPU s a minute"] = max(cost.cpu_s.values()) * 60 / seconds
    line.figures["highest MB resident"] = max(memory_bytes(pid, "VmRSS") for pid in team.pids.values()) / 1e6
    if cost.wire_bytes is not None:
        line.figures["kB/s"] = cost.wire_bytes / seconds / 1000


def restart(options: Options) -> list[Line]:
    """A node comes back to a hundred thousand files: one edit made meanwhile, then a thousand."""
    count, changed = options.count(STANDING_FILES), options.count(CHANGED_FILES)

    def fill(folder: Path) -> None:
        write_many(folder / "many", count, STANDING_BYTES, SEED)

    works = [
        (f"back with {count:,} unchanged files until one edit is through", _one_edit),
        (f"back with {count:,} files, {changed:,} of them changed meanwhile", _many_edits),
    ]
    found = []
    with teams(options, (MEERKAT, SYNCTHING, UNISON, RSYNC), fill=fill) as contestants:
        settle_disk()
        for what, change in works:
            lines = {team.who: Line("restart", what, team.who) for team in contestants}
            for run in range(options.runs):
                for team in contestants:
                    _away(team, lambda team=team, run=run, change=change: change(team, run, changed), lines[team.who])  # type: ignore[misc]
            found += list(lines.values())
        for team in contestants:
            judge(team.folders)
            for line in found:
                if line.who == RSYNC:
                    line.remark = "one shot over the same files"
    return found


def _away(team: Team, change: Callable[[], Callable[[], bool]], line: Line) -> None:
    """Stop the second node, change the first one's files, and time its way back."""
    team.quiet()
    team.stop(1)
    arrived = change()
    wire = team.network.carried()
    gauge = team.gauge()  # of those that stayed; who comes back is a new process
    start = time.monotonic()
    team.start(1)
    team.carry()
    await_that(arrived, 0.005)
    seconds = time.monotonic() - start
    cost = gauge.read()
    cost.seconds = seconds
    for name, pid in team.pids.items():
        if name not in cost.cpu_s:  # who came back: all of its new life
            cost.cpu_s[name] = cpu_ticks(pid) / TICKS_PER_S
            cost.peak_bytes[name] = memory_bytes(pid, "VmHWM")
    now = team.network.carried()
    cost.wire_bytes = None if wire is None or now is None else now - wire
    line.costs.append(cost)


def _one_edit(team: Team, run: int, changed: int) -> Callable[[], bool]:
    name = f"while-away-{run}.txt"
    (team.folders[0] / name).write_bytes(os.urandom(STANDING_BYTES))
    return (team.folders[1] / name).exists


def _many_edits(team: Team, run: int, changed: int) -> Callable[[], bool]:
    """Every file of some folders gets new content; they have arrived when each is a new file there."""
    here, there = (folder / "many" for folder in team.folders)
    names = sorted(path.relative_to(here) for path in _first_files(here, changed))
    before = {name: (there / name).stat().st_ino for name in names}
    for name in names:
        (here / name).write_bytes(os.urandom(STANDING_BYTES))
    left = list(names)

    def arrived() -> bool:
        while left:
            if not is_new(there / left[-1], before[left[-1]]):
                return False
            left.pop()
        return True

    return arrived


def _first_files(folder: Path, count: int) -> list[Path]:
    found: list[Path] = []
    for below in sorted(folder.iterdir()):
        found += sorted(below.iterdir())
        if len(found) >= count:
            break
    return found[:count]
