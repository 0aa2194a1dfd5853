"""Two nodes with one key (R12): noticed at a third, which parts with one of them and takes it in again as another.

Without this the two would take the link with every other member from each other, for ever.
"""

import asyncio
import logging
from collections.abc import Callable

from meerkat.core.clones import Clones, Met
from meerkat.model.frame import Bye, Hello, LinkLost, Ping, Pong, RosterPart
from meerkat.model.ids import NodeId
from meerkat.model.limits import CLONED_HEAR_S, DIAL_TIMEOUT_S, PIPE_DRAIN_S
from meerkat.node.hub import Hub
from meerkat.node.ports import Connection
from meerkat.node.registry import Registry
from meerkat.node.succession import Succession

log = logging.getLogger("meerkat.doubles")

MOVED = "moved"
CONNECT_ANEW = Bye("duplicate", "connect anew")

_PROOF = 1 << 62
"""The number of the ping that asks a returned run whether it lives: no other ping has it."""


class Doubles:
    """Both sides of the matter: as the third, and as one of the two.

    Args:
        moved: this folder was copied or moved to where it lies.
    """

    def __init__(self, registry: Registry, hub: Hub, succession: Succession, *, moved: bool) -> None:
        self._registry = registry
        self._hub = hub
        self._succession = succession
        self._clones = Clones()
        self.features = (MOVED,) if moved else ()

    def only(self, members: set[NodeId]) -> None:
        """Forget everybody else."""
        self._clones.only(members)

    # ---- as the third

    async def judge(self, connection: Connection, hello: Hello, part_with: Callable[[bytes], None]) -> Bye | None:
        """Whether this connection may not become a link, and why: `cloned` when its side has to yield.

        Args:
            part_with: called with the run whose link has to end, when it is the other one that yields.
        """
        node = hello.node
        met = self._clones.greeted(node, hello.run, moved=MOVED in hello.features)
        if met is Met.ORDINARY:
            return None
        if met is Met.RETURNED:
            if not await _answers(connection):
                return Bye("down", "it did not answer")
            condemned = self._clones.confirm(node, hello.run)
            name = self._registry.name_of(node)
            log.warning("two copies of %s (%s) run at once: one of them has to take another name", name, node)
            self._hub.tell("node.blocked", node=node, name=name, cause="two copies of it run at once")
            if condemned != hello.run:
                part_with(condemned)  # both connect anew, and the condemned one is told then
                return CONNECT_ANEW
        return Bye("cloned", "another copy of this node's folder runs elsewhere, with the same key")

    async def hear_out(self, connection: Connection, farewell: Bye) -> None:
        """Tell a copy to take another name, and take in what it hands over to be admitted under it."""
        try:
            async with asyncio.timeout(PIPE_DRAIN_S):
                await connection.link.send(farewell)
            async with asyncio.timeout(CLONED_HEAR_S):
                async for frame in connection.link.frames():
                    if isinstance(frame, RosterPart):
                        await self._registry.take_in(frame, self._registry.name_of(connection.peer))
                        if number := self._registry.admitted_by(frame):
                            await connection.link.send(Bye("admitted", number.hex()))
        except (LinkLost, TimeoutError):
            pass
        await connection.close()

    # ---- as one of the two

    async def told(self, connection: Connection, farewell: Bye) -> bool:
        """A member said `cloned` or `admitted`; False when there is nothing more to be said on that link."""
        if farewell.why == "admitted":
            await self._succession.admitted(farewell.text)
            return True
        log.warning("%s says: %s", self._registry.name_of(connection.peer), farewell.text)
        part = await self._succession.offer()
        if part is None:
            return False
        try:
            await connection.link.send(part)
        except LinkLost:
            return False
        return True


async def _answers(connection: Connection) -> bool:
    """Whether the other side is alive now: what it said before may have waited for long."""
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await connection.link.send(Ping(_PROOF))
            async for frame in connection.link.frames():
                if frame == Pong(_PROOF):
                    return True
    except (LinkLost, TimeoutError):
        pass
    return False
