"""What has another name and nothing new: none of the content needs to travel."""

from pathlib import Path

from .content import Arrival, await_that, judge, settle_disk, size_text, write_many, write_random
from .measure import MEERKAT, RSYNC, SYNCTHING, UNISON, Line, Options
from .team import Team
from .teams import teams
from .transfers import MIDDLE_BYTES, SMALL_BYTES

MOVED_FILES, MANY_MOVED_FILES, TINY_BYTES = 1000, 100_000, 256
SEED = 7
WHO = (MEERKAT, SYNCTHING, UNISON, RSYNC)


def rename(options: Options) -> list[Line]:
    """A large file renamed, and a folder of a thousand moved."""
    size, count = options.bytes(MIDDLE_BYTES), options.count(MOVED_FILES)
    with teams(options, WHO) as contestants:
        files = {team.who: Line("rename", f"a file of {size_text(size)} renamed", team.who) for team in contestants}
        folders = {team.who: Line("rename", f"a folder of {count:,} files moved", team.who) for team in contestants}
        for team in contestants:
            _bring(team, size, count)
        for run in range(options.runs):
            for team in contestants:
                here, there = team.folders
                old, new = f"name-{run}.bin", f"name-{run + 1}.bin"
                gauge = team.gauge()
                (here / old).rename(here / new)
                team.carry()
                await_that(lambda there=there, old=old, new=new: _renamed(there, old, new))  # type: ignore[misc]
                files[team.who].costs.append(gauge.read())
            for team in contestants:
                _move(team, count, run, folders[team.who])
        for team in contestants:
            judge(team.folders)
    return [*files.values(), *folders.values()]


def _bring(team: Team, size: int, count: int) -> None:
    here, there = team.folders
    write_random(team.outside / "name-0.bin", size)
    (team.outside / "name-0.bin").rename(here / "name-0.bin")
    write_many(team.outside / "folder-0", count, SMALL_BYTES)
    (team.outside / "folder-0").rename(here / "folder-0")
    team.carry()
    arrival = Arrival(there / "folder-0", count)
    await_that(lambda: arrival.complete() and (there / "name-0.bin").exists(), 0.05)
    team.quiet()
    settle_disk()


def _renamed(folder: Path, old: str, new: str) -> bool:
    return (folder / new).exists() and not (folder / old).exists()


def move(options: Options) -> list[Line]:
    """A folder of a hundred thousand small files moved; it is on all nodes before they start."""
    count = options.count(MANY_MOVED_FILES)
    what = f"a folder of {count:,} files moved"

    def fill(folder: Path) -> None:
        write_many(folder / "folder-0", count, TINY_BYTES, SEED)

    with teams(options, WHO, fill=fill) as contestants:
        lines = {team.who: Line("move", what, team.who) for team in contestants}
        settle_disk()
        for run in range(min(2, options.runs)):
            for team in contestants:
                _move(team, count, run, lines[team.who])
        for team in contestants:
            judge(team.folders)
    return list(lines.values())


def _move(team: Team, count: int, run: int, line: Line) -> None:
    here, there = team.folders
    old, new = f"folder-{run}", f"folder-{run + 1}"
    arrival = Arrival(there / new, count)
    gauge = team.gauge()
    (here / old).rename(here / new)
    team.carry()
    await_that(lambda: arrival.complete() and not (there / old).exists(), 0.01)
    line.costs.append(gauge.read())
    wire = line.costs[-1].wire_bytes
    if wire is not None:
        line.figures["B a file on the wire"] = wire / count
