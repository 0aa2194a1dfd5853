"""The work: real edits in real folders, timed from outside, and every byte read again at the end.

Each workload takes the options and gives lines for the table, ours and the rivals'. Content is prepared outside the
shared folder and moved in, so that nobody's clock holds the making of it.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from bench import store_rates
from bench.content import (
    MIB,
    await_that,
    count_files,
    judge,
    settle_disk,
    write_many,
    write_random,
)
from bench.measure import (
    MEERKAT,
    RSYNC,
    RSYNC_FLUSHED,
    STREAM,
    STREAM_KEPT,
    Line,
    Options,
    percentile,
)
from bench.pool import Pool, running
from bench.rivals import Rsync, bare_stream, rsync_daemon
from bench.usage import Cost, Gauge, memory_bytes

BIG_BYTES = 1024 * MIB
MIDDLE_BYTES = 256 * MIB
SMALL_FILES, SMALL_BYTES = 10_000, 4096
MOVED_FILES = 1000
LATENCY_EDITS, LATENCY_BYTES = 30, 1024
LATENCY_PAUSE_S = 0.15  # the pool is idle again, and the edits do not keep step with any timer
LATENCY_POLL_S = 0.0005
INSERTED_BYTES = 1024
IDLE_S = 20.0
BIG_RUNS_MAX = 2
STORE_FILES = 50_000

Workload = Callable[[Options], list[Line]]


def size_text(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"


def big(options: Options) -> list[Line]:
    """One large random file to a second node."""
    size = options.bytes(BIG_BYTES)
    what = f"one file of {size_text(size)}"
    ours, rsync, flushed, bare, kept = (
        Line("big", what, who) for who in (MEERKAT, RSYNC, RSYNC_FLUSHED, STREAM, STREAM_KEPT)
    )
    with running(2) as pool, rsync_daemon(pool.base) as daemon:
        for run in range(min(options.runs, BIG_RUNS_MAX)):
            source = pool.outside / f"big-{run}.bin"
            write_random(source, size)
            settle_disk()
            bare.costs.append(bare_stream(source, pool.base))
            landed = pool.outside / "landed.bin"
            kept.costs.append(bare_stream(source, pool.base, landed))
            landed.unlink()
            if daemon is not None:
                for line, words in ((rsync, ()), (flushed, ("--fsync",))):
                    line.costs.append(daemon.push(source, *words))
                    (daemon.target / source.name).unlink()
                    settle_disk()
            target = pool.folders[1] / source.name
            gauge = pool.gauge()
            source.rename(pool.folders[0] / source.name)
            await_that(target.exists)
            ours.costs.append(gauge.read())
            judge(pool.folders)
            target.unlink()
            pool.quiet()
    return [ours, rsync, flushed, bare, kept]


def small(options: Options) -> list[Line]:
    """Many small files that appear at once (a folder moved in)."""
    return _many("small", options, _moved_in)


def written(options: Options) -> list[Line]:
    """Many small files written into the shared folder one after the other, timed from the first one's making."""
    return _many("written", options, None)


def _moved_in(source: Path, target: Path) -> None:
    source.rename(target)


def _many(work: str, options: Options, put: Callable[[Path, Path], None] | None) -> list[Line]:
    count = options.count(SMALL_FILES)
    what = f"{count:,} files of 4 KiB" + (" moved in" if put else ", from the first one's making")
    ours, rsync, flushed = (Line(work, what, who) for who in (MEERKAT, RSYNC, RSYNC_FLUSHED))
    with running(2) as pool, rsync_daemon(pool.base) as daemon:
        for run in range(options.runs):
            source = pool.outside / f"many-{run}"
            if put is not None:
                write_many(source, count, SMALL_BYTES)
                settle_disk()
                if daemon is not None:
                    for line, words in ((rsync, ()), (flushed, ("--fsync",))):
                        line.costs.append(daemon.push(source, *words))
                        (daemon.target / source.name).rename(pool.outside / f"done-{run}{''.join(words)}")
                        settle_disk()
            target = pool.folders[1] / source.name
            gauge = pool.gauge()
            if put is not None:
                put(source, pool.folders[0] / source.name)
            else:
                write_many(pool.folders[0] / source.name, count, SMALL_BYTES)
            await_that(lambda target=target: count_files(target) == count, 0.02)  # type: ignore[misc]
            ours.costs.append(gauge.read())
        judge(pool.folders)
    return [ours, rsync, flushed] if put is not None else [ours]


def latency(options: Options) -> list[Line]:
    """A new 1 KiB file in an idle pool of two, until it can be read on the other node."""
    return [_latency("latency", 2, options)]


def latency5(options: Options) -> list[Line]:
    """The same until it can be read on all of five nodes."""
    return [_latency("latency5", 5, options)]


def _latency(work: str, nodes: int, options: Options) -> Line:
    edits = options.count(LATENCY_EDITS)
    line = Line(work, f"a new 1 KiB file on {'the other node' if nodes == 2 else f'all of {nodes}'}", MEERKAT)
    with running(nodes) as pool:
        gauge = pool.gauge()
        spans = []
        for number in range(edits):
            data = os.urandom(LATENCY_BYTES)
            name = f"new-{number}.txt"
            start = time.monotonic()
            (pool.folders[0] / name).write_bytes(data)
            for folder in pool.folders[1:]:
                await_that(lambda path=folder / name, data=data: _reads(path) == data, LATENCY_POLL_S)  # type: ignore[misc]
            spans.append(time.monotonic() - start)
            time.sleep(LATENCY_PAUSE_S)
        cost = gauge.read()
        judge(pool.folders)
    cost.seconds = percentile(spans, 0.5)
    line.costs.append(cost)
    line.figures = {
        "p50 ms": 1000 * cost.seconds,
        "p95 ms": 1000 * percentile(spans, 0.95),
        "max ms": 1000 * max(spans),
    }
    line.remark = f"{edits} files"
    return line


def _reads(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def edit(options: Options) -> list[Line]:
    """One byte changed in the middle of a file; then 1 KiB inserted at its front."""
    size = options.bytes(MIDDLE_BYTES)
    changes: list[tuple[str, Callable[[Path], None]]] = [
        (f"one byte changed in {size_text(size)}", _change_one_byte),
        (f"1 KiB inserted at the front of {size_text(size)}", _insert_at_front),
    ]
    lines = []
    with running(2) as pool, rsync_daemon(pool.base) as daemon:
        ours, theirs = (folder / "edited.bin" for folder in pool.folders)
        _bring(pool, daemon, size, ours, theirs)
        for what, change in changes:
            line, rival = Line("edit", what, MEERKAT), Line("edit", what, RSYNC)
            for _ in range(options.runs):
                before = theirs.stat().st_ino
                gauge = pool.gauge()
                change(ours)
                await_that(lambda before=before: theirs.stat().st_ino != before)  # type: ignore[misc]
                line.costs.append(gauge.read())
                judge(pool.folders)
                if daemon is not None:
                    rival.costs.append(daemon.push(ours))
            lines += [line, rival]
    return lines


def _bring(pool: Pool, daemon: Rsync | None, size: int, ours: Path, theirs: Path) -> None:
    source = pool.outside / ours.name
    write_random(source, size)
    source.rename(ours)
    await_that(theirs.exists)
    if daemon is not None:
        daemon.push(ours)
    pool.quiet()
    settle_disk()


def _change_one_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def _insert_at_front(path: Path) -> None:
    """As editors do it: a new file beside the old one takes its place."""
    beside = path.parent.parent / "outside" / "inserted.bin"
    with beside.open("wb") as new, path.open("rb") as old:
        new.write(os.urandom(INSERTED_BYTES))
        while data := old.read(MIB):
            new.write(data)
    beside.replace(path)


def rename(options: Options) -> list[Line]:
    """A large file renamed, and a folder of a thousand moved: nothing of the content needs to travel."""
    size, count = options.bytes(MIDDLE_BYTES), options.count(MOVED_FILES)
    file_line = Line("rename", f"a file of {size_text(size)} renamed", MEERKAT)
    folder_line = Line("rename", f"a folder of {count:,} files moved", MEERKAT)
    with running(2) as pool:
        here, there = pool.folders
        write_random(pool.outside / "name-0.bin", size)
        (pool.outside / "name-0.bin").rename(here / "name-0.bin")
        write_many(pool.outside / "folder-0", count, SMALL_BYTES)
        (here / "inner").mkdir()
        (pool.outside / "folder-0").rename(here / "folder-0")
        await_that(lambda: count_files(there / "folder-0") == count and (there / "name-0.bin").exists(), 0.05)
        pool.quiet()
        settle_disk()
        for run in range(options.runs):
            gauge = pool.gauge()
            old, new = f"name-{run}.bin", f"name-{run + 1}.bin"
            (here / old).rename(here / new)
            await_that(lambda old=old, new=new: (there / new).exists() and not (there / old).exists())  # type: ignore[misc]
            file_line.costs.append(gauge.read())
        for run in range(options.runs):
            gauge = pool.gauge()
            old, new = f"folder-{run}", f"folder-{run + 1}"
            (here / old).rename(here / new)
            await_that(lambda old=old, new=new: _moved(there, old, new, count), 0.01)  # type: ignore[misc]
            folder_line.costs.append(gauge.read())
        judge(pool.folders)
    return [file_line, folder_line]


def _moved(folder: Path, old: str, new: str, count: int) -> bool:
    return count_files(folder / new) == count and not (folder / old).exists()


def fanout(options: Options) -> list[Line]:
    """A file that appears on one of five nodes, until all have it."""
    size = options.bytes(MIDDLE_BYTES)
    what = f"{size_text(size)} from one to all of 5"
    ours, rsync = Line("fanout", what, MEERKAT), Line("fanout", what, RSYNC, remark="four times, one after the other")
    copies = []
    with running(5) as pool, rsync_daemon(pool.base) as daemon:
        for run in range(options.runs):
            source = pool.outside / f"fan-{run}.bin"
            write_random(source, size)
            settle_disk()
            if daemon is not None:
                rsync.costs.append(_four_times(daemon, source))
            gauge = pool.gauge()
            source.rename(pool.folders[0] / source.name)
            await_that(lambda name=source.name: all((each / name).exists() for each in pool.folders))  # type: ignore[misc]
            ours.costs.append(gauge.read())
            copies.append(gauge.sent()[pool.nodes[0].name] / size)
        judge(pool.folders)
    ours.figures = {"copies sent by the origin": sorted(copies)[len(copies) // 2]}
    return [ours, rsync]


def _four_times(daemon: Rsync, source: Path) -> Cost:
    total = Cost(wire_bytes=0)
    for _ in range(4):
        cost = daemon.push(source)
        (daemon.target / source.name).unlink()
        total.seconds += cost.seconds
        total.wire_bytes = None if cost.wire_bytes is None else (total.wire_bytes or 0) + cost.wire_bytes
        total.cpu_s = {name: total.cpu_s.get(name, 0.0) + value for name, value in cost.cpu_s.items()}
    return total


def idle(options: Options) -> list[Line]:
    """What each node costs while nothing happens."""
    count, seconds = options.count(SMALL_FILES), IDLE_S * min(1.0, max(0.1, options.scale))
    line = Line("idle", f"{seconds:.0f} s with {count:,} files", MEERKAT)
    with running(2) as pool:
        write_many(pool.outside / "many", count, SMALL_BYTES)
        (pool.outside / "many").rename(pool.folders[0] / "many")
        await_that(lambda: count_files(pool.folders[1] / "many") == count, 0.05)
        pool.quiet()
        judge(pool.folders)
        gauge = Gauge(pool.pids)
        time.sleep(seconds)
        cost = gauge.read(seconds)
        line.costs.append(cost)
        for name, pid in pool.pids.items():
            line.figures[f"{name} CPU s a minute"] = cost.cpu_s[name] * 60 / seconds
            line.figures[f"{name} MB resident"] = memory_bytes(pid, "VmRSS") / 1e6
        if cost.wire_bytes is not None:
            line.figures["kB/s"] = cost.wire_bytes / seconds / 1000
    return [line]


def restart(options: Options) -> list[Line]:
    """A node comes back with everything unchanged: until the first edit made meanwhile is there."""
    count = options.count(SMALL_FILES)
    what = f"restart with {count:,} unchanged files until one edit is through"
    ours, rsync = Line("restart", what, MEERKAT), Line("restart", what, RSYNC, remark="one shot over the same files")
    with running(2) as pool, rsync_daemon(pool.base) as daemon:
        here, there = pool.folders
        write_many(pool.outside / "many", count, SMALL_BYTES)
        if daemon is not None:
            daemon.push(pool.outside / "many")
        (pool.outside / "many").rename(here / "many")
        await_that(lambda: count_files(there / "many") == count, 0.05)
        pool.quiet()
        settle_disk()
        for run in range(options.runs):
            pool.stop(pool.nodes[1])
            name = f"while-away-{run}.txt"
            (here / name).write_bytes(os.urandom(LATENCY_BYTES))
            start = time.monotonic()
            pool.start(pool.nodes[1])
            ready = time.monotonic() - start
            await_that((there / name).exists)
            ours.costs.append(Cost(time.monotonic() - start))
            ours.figures["s until ready"] = ready
            if daemon is not None:
                (here / "many" / name).write_bytes(os.urandom(LATENCY_BYTES))
                rsync.costs.append(daemon.push(here / "many"))
            pool.quiet()
        judge(pool.folders)
    return [ours, rsync]


def store(options: Options) -> list[Line]:
    """The index alone, without nodes: rates of what a transfer does to it."""
    count = options.count(STORE_FILES, 2000)
    line = Line("store", f"the index alone, {count:,} files", MEERKAT, figures=store_rates.rates(count))
    line.remark = "figures are per second, but for the last"
    return [line]


WORKLOADS: dict[str, Workload] = {
    each.__name__: each for each in (big, small, written, latency, latency5, edit, rename, fanout, idle, restart, store)
}
