"""What happens now and then: rescans for whatever the watch missed, and what may go from trash, stage and index."""

import asyncio
import shutil
import time
from pathlib import Path

from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.disk.watch import Watch
from meerkat.model.limits import (
    CONTENTS_PRUNED_AT_ONCE,
    RESCAN_DEGRADED_S,
    TRASH_AGE_S_MAX,
    TRASH_DISK_SHARE_MAX,
    UPKEEP_INTERVAL_S,
)
from meerkat.node.books import Books
from meerkat.node.outward import Outward


async def rescan(outward: Outward, watch: Watch, interval_s: float) -> None:
    """Scan everything each `interval_s`, more often while the watch does not see everything."""
    while True:
        await asyncio.sleep(min(interval_s, RESCAN_DEGRADED_S) if watch.degraded else interval_s)
        await outward.scan()


async def keep_bounded(folder: Path, stage: Stage, trash: Trash, books: Books) -> None:
    """Keep the trash within its age and its share of the disk, and the index free of what nothing refers to."""
    while True:
        room = shutil.disk_usage(folder).total * TRASH_DISK_SHARE_MAX
        now = time.time()  # noqa: TID251  # the age of what lies in the trash, for people
        await asyncio.to_thread(trash.prune, now, TRASH_AGE_S_MAX, int(room))
        await books.write(lambda tx: tx.prune_contents(CONTENTS_PRUNED_AT_ONCE))
        await asyncio.sleep(UPKEEP_INTERVAL_S)
