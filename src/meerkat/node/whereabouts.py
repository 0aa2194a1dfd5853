"""Following this machine through networks: Wi-Fi to cable, another lease, a VPN that comes and goes.

The addresses are looked at every few seconds. When they change, members are told (links that stand carry the record,
and it spreads from member to member), and whoever is not linked is dialled anew: another network may lead there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from meerkat.model.limits import ADDRESSES_LOOK_S

log = logging.getLogger("meerkat.whereabouts")


async def follow(found: Callable[[], list[str]], on_moved: Callable[[], Awaitable[None]]) -> None:
    """For ever.

    Args:
        found: under which addresses this machine may be reached now.
        on_moved: called after each change.
    """
    known = found()
    while True:
        await asyncio.sleep(ADDRESSES_LOOK_S)
        now = found()
        if now != known:
            log.info("this machine's addresses are now %s", ", ".join(now) or "none")
            known = now
            await on_moved()
