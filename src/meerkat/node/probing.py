"""Who reaches whom, tried for a person: from here, and asked of other members over the links.

Nothing follows from an answer but what is shown. What a member asks for costs bounded work here: so many looks at a
time, each at the few addresses that a member of this pool has told of itself.
"""

import asyncio
import time
from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from meerkat.model.frame import LinkFrame, LinkLost, Probe, Probed, Way
from meerkat.model.ids import NodeId
from meerkat.model.limits import PROBE_RELAY_TIMEOUT_S, PROBE_TIMEOUT_S, PROBES_AT_ONCE_MAX, WAYS_MAX
from meerkat.model.member import Member
from meerkat.node.ports import Pipe
from meerkat.node.registry import Registry
from meerkat.node.surroundings import Network

PROBE = "probe"
"""The feature that says in a greeting that probes are answered."""

Line = Callable[[NodeId], Pipe[LinkFrame] | None]


class Probing:
    """Asks and answers probes.

    Args:
        line: the link with a member that answers probes; None where there is none.
        linked: whether there is a link with that member at all.
    """

    def __init__(
        self, self_id: NodeId, network: Network, registry: Registry, line: Line, linked: Callable[[NodeId], bool]
    ) -> None:
        self._self_id = self_id
        self._network = network
        self._registry = registry
        self._line = line
        self._linked = linked
        self._numbers = count(1)
        self._asked: dict[tuple[NodeId, int], asyncio.Future[Probed]] = {}
        self._answering = 0

    async def look(self, address: str, member: Member) -> Way:
        """Try one address for a member, this node itself for instance."""
        return await self._network.look(address, member)

    async def ways(self, node: NodeId) -> tuple[Way, ...]:
        """Try every address that is known of a member, side by side."""
        member = self._registry.members().get(node)
        if member is None:
            return ()
        addresses = self._registry.addresses(node)[:WAYS_MAX]
        return tuple(await asyncio.gather(*(self._network.look(address, member) for address in addresses)))

    async def ask(self, witness: NodeId, target: NodeId, through: NodeId | None = None) -> Probed | None:
        """What a linked member says of its way to `target`; None where it says nothing (it knows no probes, or is not
        linked any more, or takes too long)."""
        line = self._line(witness)
        if line is None:
            return None
        number = next(self._numbers)
        answer: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self._asked[witness, number] = answer
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S if through is None else PROBE_RELAY_TIMEOUT_S):
                await line.send(Probe(number, target, through or NodeId("")))
                return await answer
        except (TimeoutError, LinkLost):
            return None
        finally:
            del self._asked[witness, number]

    def heard(self, node: NodeId, probed: Probed) -> None:
        """An answer came. One that nobody waits for (any more) is dropped."""
        waiting = self._asked.get((node, probed.number))
        if waiting is not None and not waiting.done():
            waiting.set_result(probed)

    async def answer(self, node: NodeId, pipe: Pipe[LinkFrame], probe: Probe) -> None:
        """Answer a member's probe."""
        if self._answering >= PROBES_AT_ONCE_MAX:
            probed = Probed(0, refused="it is busy with other questions")
        else:
            self._answering += 1
            try:
                probed = await self._look_for(probe)
            finally:
                self._answering -= 1
        try:
            await pipe.send(replace(probed, number=probe.number))
        except LinkLost:
            pass

    async def _look_for(self, probe: Probe) -> Probed:
        if probe.through and probe.through != self._self_id:
            name = self._registry.name_of(probe.through)
            passed_on = await self.ask(probe.through, probe.target)
            return passed_on or Probed(0, refused=f"it has no answer from {name}")
        ways = () if probe.target == self._self_id else await self.ways(probe.target)
        at_ms = int(time.time() * 1000)  # noqa: TID251  # for people: are the clocks apart?
        return Probed(0, standing=self._standing(probe.target), at_ms=at_ms, ways=ways)

    def _standing(self, target: NodeId) -> str:
        if target == self._self_id:
            return "self"
        if target in self._registry.members():
            return "linked" if self._linked(target) else "member"
        return "removed" if target in self._registry.removed() else "unknown"
