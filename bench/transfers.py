"""Content that has to travel: big and small, new and changed, to one node and to four."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .content import MIB, Arrival, await_that, judge, settle_disk, size_text, write_many, write_random
from .measure import (
    MEERKAT,
    RSYNC,
    RSYNC_FLUSHED,
    STREAM,
    STREAM_KEPT,
    SYNCTHING,
    SYNCTHING_DEFAULT,
    UNISON,
    Line,
    Options,
    median_of,
)
from .stream import bare_stream
from .team import Team
from .teams import teams

BIG_BYTES, BIG_RUNS_MAX = 1024 * MIB, 2
MIDDLE_BYTES = 256 * MIB
SMALL_FILES, SMALL_BYTES = 10_000, 4096
INSERTED_BYTES = 1024
EVERYBODY = (MEERKAT, SYNCTHING, UNISON, RSYNC, RSYNC_FLUSHED)


def big(options: Options) -> list[Line]:
    """One large random file to a second node, beside a bare gRPC stream of the same bytes."""
    size = options.bytes(BIG_BYTES)
    what = f"one file of {size_text(size)}"
    bare, kept = Line("big", what, STREAM), Line("big", what, STREAM_KEPT)
    with teams(options, EVERYBODY) as contestants:
        lines = {team.who: Line("big", what, team.who) for team in contestants}
        for run in range(min(options.runs, BIG_RUNS_MAX)):
            for team in contestants:
                source = team.outside / f"big-{run}.bin"
                write_random(source, size)
                settle_disk()
                if team.who == MEERKAT:
                    bare.costs.append(bare_stream(source, team.base, team.network))
                    landed = team.outside / "landed.bin"
                    kept.costs.append(bare_stream(source, team.base, team.network, landed))
                    landed.unlink()
                target = team.folders[1] / source.name
                gauge = team.gauge()
                source.rename(team.folders[0] / source.name)
                team.carry()
                await_that(target.exists)
                lines[team.who].costs.append(gauge.read())
                judge(team.folders)
                _take_away(team, source.name)
    return [*lines.values(), bare, kept]


def _take_away(team: Team, name: str) -> None:
    """Remove a file everywhere, so that the disk does not fill and the next run begins alike."""
    (team.folders[0] / name).unlink()
    team.carry()
    await_that(lambda: not any((folder / name).exists() for folder in team.folders), 0.05)
    team.quiet()


def small(options: Options) -> list[Line]:
    """Many small files that appear at once (a folder moved in)."""
    count = options.count(SMALL_FILES)
    return _many("small", f"{count:,} files of 4 KiB moved in", count, options, EVERYBODY, moved_in=True)


def written(options: Options) -> list[Line]:
    """Many small files written into the shared folder one after the other, timed from the first one's making."""
    count = options.count(SMALL_FILES)
    what = f"{count:,} files of 4 KiB, from the first one's making"
    return _many("written", what, count, options, (MEERKAT, SYNCTHING, UNISON), moved_in=False)


def _many(work: str, what: str, count: int, options: Options, who: tuple[str, ...], *, moved_in: bool) -> list[Line]:
    with teams(options, who) as contestants:
        lines = {team.who: Line(work, what, team.who) for team in contestants}
        for run in range(options.runs):
            for team in contestants:
                source, here = team.outside / f"many-{run}", team.folders[0] / f"many-{run}"
                if moved_in:
                    write_many(source, count, SMALL_BYTES)
                    settle_disk()
                arrival = Arrival(team.folders[1] / source.name, count)
                gauge = team.gauge()
                if moved_in:
                    source.rename(here)
                else:
                    write_many(here, count, SMALL_BYTES)
                team.carry()
                await_that(arrival.complete, 0.01)
                lines[team.who].costs.append(gauge.read())
        for team in contestants:
            judge(team.folders)
    return list(lines.values())


def edit(options: Options) -> list[Line]:
    """One byte changed in the middle of a file; then 1 KiB inserted at its front."""
    size = options.bytes(MIDDLE_BYTES)
    changes: list[tuple[str, Callable[[Path, Path], Callable[[], object]]]] = [
        (f"one byte changed in {size_text(size)}", change_one_byte),
        (f"1 KiB inserted at the front of {size_text(size)}", insert_at_front),
    ]
    found = []
    with teams(options, (MEERKAT, SYNCTHING, UNISON, RSYNC)) as contestants:
        for team in contestants:
            _bring(team, size)
        for what, prepare_change in changes:
            lines = {team.who: Line("edit", what, team.who) for team in contestants}
            for _ in range(options.runs):
                for team in contestants:
                    ours, theirs = (folder / "edited.bin" for folder in team.folders)
                    change = prepare_change(ours, team.outside)
                    before = theirs.stat().st_ino
                    gauge = team.gauge()
                    change()
                    team.carry()
                    await_that(lambda theirs=theirs, before=before: is_new(theirs, before))  # type: ignore[misc]
                    lines[team.who].costs.append(gauge.read())
                    judge(team.folders)
            found += list(lines.values())
    return found


def is_new(path: Path, before: int) -> bool:
    """Whether a path is another file than the one of that inode; with some there is none for a moment."""
    try:
        return path.stat().st_ino != before
    except FileNotFoundError:
        return False


def _bring(team: Team, size: int) -> None:
    source = team.outside / "edited.bin"
    write_random(source, size)
    source.rename(team.folders[0] / source.name)
    team.carry()
    await_that((team.folders[1] / source.name).exists)
    team.quiet()
    settle_disk()


def change_one_byte(path: Path, outside: Path) -> Callable[[], object]:
    """In place, as databases do it; gives what makes the change."""

    def change() -> None:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))

    return change


def insert_at_front(path: Path, outside: Path) -> Callable[[], object]:
    """As editors do it: a new file takes the old one's place; gives what makes the change."""
    beside = outside / "inserted.bin"
    with beside.open("wb") as new, path.open("rb") as old:
        new.write(os.urandom(INSERTED_BYTES))
        shutil.copyfileobj(old, new, MIB)
    return lambda: beside.replace(path)


def fanout(options: Options) -> list[Line]:
    """A file that appears on one of five nodes, until all have it."""
    size = options.bytes(MIDDLE_BYTES)
    what = f"{size_text(size)} from one to all of 5"
    copies: dict[str, list[float]] = {}
    with teams(options, (MEERKAT, SYNCTHING, SYNCTHING_DEFAULT, RSYNC), 5) as contestants:
        lines = {team.who: Line("fanout", what, team.who) for team in contestants}
        for run in range(options.runs):
            for team in contestants:
                if run and team.who == SYNCTHING_DEFAULT:
                    continue  # it takes a minute to forget a file, and does not vary
                source = team.outside / f"fan-{run}.bin"
                write_random(source, size)
                settle_disk()
                gauge = team.gauge()
                source.rename(team.folders[0] / source.name)
                team.carry()
                targets = [folder / source.name for folder in team.folders]
                await_that(lambda targets=targets: all(each.exists() for each in targets))  # type: ignore[misc]
                lines[team.who].costs.append(gauge.read())
                sent = gauge.sent()
                if sent:
                    copies.setdefault(team.who, []).append(next(iter(sent.values())) / size)
                judge(team.folders)
                if team.who != SYNCTHING_DEFAULT:
                    _take_away(team, source.name)
    for who, each in copies.items():
        lines[who].figures = {"copies sent by the origin": median_of(each)}
    if RSYNC in lines:
        lines[RSYNC].remark = "four times, one after the other"
    return list(lines.values())
