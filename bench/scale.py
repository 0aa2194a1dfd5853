"""Very many files, and one very large: rates and memory. Scaled down unless asked for in full."""

import time
from pathlib import Path

from meerkat.cli.demo import NAMES

from .content import MIB, await_that, judge, settle_disk, size_text, write_many, write_random
from .measure import MEERKAT, SYNCTHING, Line, Options
from .network import network
from .pool import Pool
from .syncthing import FASTEST_DELAY_S, Syncthing
from .team import Team
from .teams import takes_part, teams, temporary_folder
from .usage import Cost, memory_bytes, reset_peak

FILES, FILE_BYTES = 1_000_000, 256
HUGE_BYTES = 20 * 1024 * MIB
SCALED, SCALED_WORKS = 0.1, ("million", "huge")
VERIFIED_FILES_MAX = 20_000
POLL_S, TIMEOUT_S = 0.1, 1800.0
SEED = 13


def million(options: Options) -> list[Line]:
    """A million small files (a tenth of it unless --full): first index, rescan, another node's metadata, memory."""
    count = options.count(FILES if options.full else int(FILES * SCALED), 100)
    found = []
    for who, measure in ((MEERKAT, _ours), (SYNCTHING, _theirs)):
        if takes_part(who, options):
            line = Line("million", f"{count:,} files of {FILE_BYTES} B", who)
            measure(line, count)
            found.append(line)
    return found


class _Book:
    """Times one stage after the other and keeps the rates of a line."""

    def __init__(self, line: Line, count: int) -> None:
        self._line, self._count = line, count
        self.start = time.monotonic()

    def begin(self) -> None:
        self.start = time.monotonic()

    def keep(self, what: str, seconds: float | None = None) -> None:
        spent = time.monotonic() - self.start if seconds is None else seconds
        self._line.figures[f"{what} a second"] = self._count / spent

    def peaks(self, stage: str, pids: dict[str, int]) -> None:
        """The highest memory of a stage, which ends here."""
        peak = max(memory_bytes(pid, "VmHWM") for pid in pids.values())
        self._line.figures[f"MB at most, {stage}"] = peak / 1e6
        for pid in pids.values():
            reset_peak(pid)


def _first_only(folder: Path, count: int) -> None:
    if folder.name == NAMES[0]:
        write_many(folder / "many", count, FILE_BYTES, SEED)
        settle_disk()


def _ours(line: Line, count: int) -> None:
    book = _Book(line, count)

    def fill(folder: Path) -> None:
        _first_only(folder, count)
        book.begin()

    with temporary_folder() as base, network() as own:
        pool = Pool(base, own, 0)
        try:
            pool.grow(fill)
            await_that(lambda: pool.ask(0, "status")["files"] >= count, POLL_S, TIMEOUT_S)
            book.keep("files indexed at first")
            book.peaks("first index", pool.pids)
            pool.quiet()
            line.figures["MB resident after it"] = memory_bytes(pool.pids[NAMES[0]], "VmRSS") / 1e6
            book.begin()
            scanned = pool.ask(0, "scan", {"paths": []})["scanned"]
            if scanned < count:
                raise ValueError(f"the scan looked at {scanned} of {count} files")
            book.keep("files looked at again")
            book.peaks("rescan", pool.pids)
            pool.grow(fill)
            await_that(lambda: pool.ask(1, "status")["files"] >= count, POLL_S, TIMEOUT_S)
            book.keep("entries to another node")
            _finish(line, pool, count)
            book.peaks("another node", pool.pids)
        finally:
            pool.close()


def _theirs(line: Line, count: int) -> None:
    book = _Book(line, count)
    with temporary_folder() as base, network() as own:
        team = Syncthing(base, own, 2, lambda folder: _first_only(folder, count), FASTEST_DELAY_S, started=False)
        try:
            book.begin()
            team.start(0)
            await_that(lambda: _counts(team, 0, "localFiles") >= count, POLL_S, TIMEOUT_S)
            book.keep("files indexed at first")
            book.peaks("first index", team.pids)
            team.quiet()
            line.figures["MB resident after it"] = memory_bytes(team.pids[NAMES[0]], "VmRSS") / 1e6
            book.keep("files looked at again", team.rescan_s(0))
            book.peaks("rescan", team.pids)
            book.begin()
            team.start(1)
            await_that(lambda: _counts(team, 1, "globalFiles") >= count, POLL_S, TIMEOUT_S)
            book.keep("entries to another node")
            _finish(line, team, count)
            book.peaks("another node", team.pids)
        finally:
            team.close()


def _counts(team: Syncthing, number: int, what: str) -> int:
    try:
        return int(team.status(number)[what])
    except OSError:
        return 0


def _finish(line: Line, team: Team, count: int) -> None:
    """Wait for the content and compare it where that is done in a minute."""
    if count > VERIFIED_FILES_MAX:
        line.remark = "the content, which follows the entries, was not waited for"
        return
    start = time.monotonic()
    team.quiet()
    judge(team.folders)
    line.costs.append(Cost(time.monotonic() - start))
    line.remark = "the seconds: until the content had followed, too, and was compared"


def huge(options: Options) -> list[Line]:
    """A file of 20 GiB (a tenth of it unless --full) to a second node: memory."""
    size = options.bytes(HUGE_BYTES if options.full else int(HUGE_BYTES * SCALED))
    with teams(options, (MEERKAT, SYNCTHING)) as contestants:
        lines = []
        for team in contestants:
            line = Line("huge", f"one file of {size_text(size)}", team.who)
            source = team.outside / "huge.bin"
            write_random(source, size)
            settle_disk()
            gauge = team.gauge()
            source.rename(team.folders[0] / source.name)
            await_that((team.folders[1] / source.name).exists, 0.02, TIMEOUT_S)
            cost = gauge.read()
            line.costs.append(cost)
            line.figures["MB at most"] = max(cost.peak_bytes.values()) / 1e6
            judge(team.folders)
            (team.folders[0] / source.name).unlink()
            lines.append(line)
    return lines
