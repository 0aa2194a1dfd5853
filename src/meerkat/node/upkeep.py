"""What happens now and then: rescans for whatever the watch missed, and what may go from trash, stage and index."""

import asyncio
import logging
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Final

from meerkat.core.retain import trash_clock
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.disk.watch import Watch
from meerkat.model.limits import (
    CONTENTS_PRUNED_AT_ONCE,
    RESCAN_DEGRADED_S,
    SCRUB_PART_BYTES_MIN,
    SCRUB_SUSPECT_S,
    SCRUB_TURN_S,
    SCRUB_TURNS,
    TRASH_AGE_S_MAX,
    TRASH_CLOCK_STEP_S,
    TRASH_DISK_SHARE_MAX,
    TRASH_GROWN_SHARE,
    TRASH_TURN_S,
    UPKEEP_INTERVAL_S,
)
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked
from meerkat.node.books import Books
from meerkat.node.outward import Outward
from meerkat.node.ports import Tx
from meerkat.node.scrub import Scrub
from meerkat.node.tasks import until

log = logging.getLogger("meerkat.upkeep")

_CLOCK: Final = "trash clock"
_SCRUBBED: Final = "scrubbed to"


async def rescan(outward: Outward, watch: Watch, interval_s: float) -> None:
    """Scan everything each `interval_s`, more often while the watch does not see everything."""
    while True:
        await asyncio.sleep(min(interval_s, RESCAN_DEGRADED_S) if watch.degraded else interval_s)
        await outward.scan()


async def keep_bounded(folder: Path, stage: Stage, trash: Trash, books: Books) -> None:
    """Keep the trash within its age and its share of the disk, and the index free of what nothing refers to."""
    while True:
        room = int(shutil.disk_usage(folder).total * TRASH_DISK_SHARE_MAX)
        try:
            await asyncio.to_thread(trash.prune, await _trash_time(trash, books), TRASH_AGE_S_MAX, room)
        except PathBlocked as error:
            log.warning("the trash cannot be tended: %s", error)
        await books.write(lambda tx: tx.prune_contents(CONTENTS_PRUNED_AT_ONCE))
        for _ in range(int(UPKEEP_INTERVAL_S / TRASH_TURN_S)):
            await asyncio.sleep(TRASH_TURN_S)
            if trash.grown > room * TRASH_GROWN_SHARE:
                break


async def _trash_time(trash: Trash, books: Books) -> float:
    """By which clock the trash ages; remembered, so that a clock gone wrong while the node is down is noticed too."""
    wall_s = time.time()  # noqa: TID251  # the age of what lies in the trash, for people
    noted = await books.read(lambda view: view.meta(_CLOCK))
    if noted is not None:
        before_s = float(noted)
    else:
        newest = await asyncio.to_thread(trash.newest)
        before_s = wall_s if newest is None else newest
    now_s = trash_clock(wall_s, before_s, TRASH_CLOCK_STEP_S)
    await books.write(lambda tx: tx.put_meta(_CLOCK, str(now_s).encode()))
    return now_s


async def scrub_slowly(scrub: Scrub, books: Books) -> None:
    """Read everything again once in a long while, a part at a time, so that rot is found while others have sound bytes.

    No clock is asked: the parts count hours of running, and how far they came is remembered.
    """
    loop = asyncio.get_running_loop()
    turn_at = loop.time() + SCRUB_TURN_S
    while True:
        await until(scrub.suspected, max(0.0, turn_at - loop.time()))
        await scrub.check_suspects()
        if loop.time() >= turn_at:
            after = (await books.read(lambda view: view.meta(_SCRUBBED)) or b"").decode()
            part = max(SCRUB_PART_BYTES_MIN, books.totals.bytes // SCRUB_TURNS)
            reached = await scrub.part(RelPath(after), part)
            await books.write(partial(_note_scrubbed, reached))
            turn_at = loop.time() + SCRUB_TURN_S
        await asyncio.sleep(SCRUB_SUSPECT_S)


def _note_scrubbed(reached: RelPath, tx: Tx) -> None:
    tx.put_meta(_SCRUBBED, reached.encode())
