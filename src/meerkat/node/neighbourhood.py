"""Finding known members in this machine's own network, when none of their addresses answers any more.

A node announces itself under a name that only members can read (`core/beacon`) and listens for theirs. Where a member
says that it is, is one more address to try: who answers there must prove itself by its certificate, as everywhere.
Nobody is admitted by this, and nothing of it is passed on.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from meerkat.core.beacon import DAY_S, beacon_key, beacon_name, names_near
from meerkat.model.fault import Fault
from meerkat.model.ids import NodeId
from meerkat.model.limits import DISCOVERY_NUDGE_S, DISCOVERY_RETRY_S, DISCOVERY_TURN_S
from meerkat.node.ports import Ear
from meerkat.node.registry import Registry
from meerkat.node.surroundings import Network
from meerkat.wire.interfaces import for_elsewhere, is_loopback

log = logging.getLogger("meerkat.neighbourhood")


def today() -> int:
    """Days since 1970. A clock that is wrong by more than a day is not understood, and nothing else."""
    return int(time.time() // DAY_S)  # noqa: TID251  # names change daily; nothing is decided by it


class Neighbourhood:
    """Announces this node and hears of others, for as long as it runs.

    Args:
        make: builds the ear; is given which names are wanted.
        addresses: under which addresses this machine is to be found now.
        interfaces: IP addresses of the interfaces to use; none: all.
        on_met: a member says that it is somewhere where it was not known to be.
    """

    def __init__(
        self,
        self_id: NodeId,
        registry: Registry,
        make: Callable[[Callable[[str], bool]], Ear | None],
        addresses: Callable[[], list[str]],
        interfaces: list[str],
        on_met: Callable[[NodeId], None],
        day: Callable[[], int] = today,
    ) -> None:
        self._self_id = self_id
        self._registry = registry
        self._make = make
        self._addresses = addresses
        self._interfaces = interfaces
        self._on_met = on_met
        self._day = day
        self._names: dict[str, NodeId] = {}
        self._named: tuple[object, int] = (None, 0)
        self._nudged: dict[NodeId, float] = {}

    async def run(self) -> None:
        """For ever. A network that does not let us is tried again from time to time."""
        told = ""
        while True:
            ear = self._make(lambda name: name in self._names)
            if ear is None:
                return
            try:
                await ear.start(self._interfaces)
                await self._live(ear)
                continue  # in another network, with another ear
            except OSError as error:
                if told != str(error):
                    log.warning("members cannot be looked for in the local network: %s", error)
                    told = str(error)
            finally:
                await ear.stop()
            await asyncio.sleep(DISCOVERY_RETRY_S)

    async def _live(self, ear: Ear) -> None:
        """Until the machine is in another network: then a new ear is needed."""
        key = beacon_key(self._registry.genesis())
        here, announced_on = self._addresses(), -1
        while self._addresses() == here:
            day = self._day()
            if self._learn_names(key, day):
                ear.look_again()
            if day != announced_on:
                await ear.announce(beacon_name(key, self._self_id, day), here)
                announced_on = day
            try:
                async with asyncio.timeout(DISCOVERY_TURN_S):
                    while True:
                        self._heard(*await ear.next())
            except TimeoutError:
                pass

    def _learn_names(self, key: bytes, day: int) -> bool:
        """Whether other names than before are wanted."""
        members = self._registry.members()
        if self._named[0] is members and self._named[1] == day:
            return False
        self._names = names_near(key, (node for node in members if node != self._self_id), day)
        self._named = members, day
        return True

    def _heard(self, name: str, addresses: tuple[str, ...]) -> None:
        node = self._names.get(name)
        if node is None or not self._registry.met(node, addresses):
            return
        now = asyncio.get_running_loop().time()
        if now - self._nudged.get(node, float("-inf")) >= DISCOVERY_NUDGE_S:
            # Names can be repeated by whoever has heard them: it must not make this node dial without end.
            self._nudged[node] = now
            log.info(
                "%s says in the local network that it is at %s", self._registry.name_of(node), ", ".join(addresses)
            )
            self._on_met(node)


def look_around(
    wanted: bool | None,
    self_id: NodeId,
    registry: Registry,
    network: Network,
    listen: str,
    on_met: Callable[[NodeId], None],
) -> Neighbourhood | None:
    """What finds members in the local network, if that is wanted (None: where it can be had, and others can dial this
    node) and can be had.

    Raises:
        Fault: discovery_missing.
    """
    at_home = all(is_loopback(each) for each in network.advertised(listen))
    missing = network.ear(lambda name: False) is None
    if wanted is False or (wanted is None and (at_home or missing)):
        return None
    if missing:
        raise Fault(
            "discovery_missing",
            "members cannot be looked for in the local network: what that takes is not installed",
            hint="pip install 'meerkat-sync[discovery]', or start with --discovery off",
        )
    interfaces = ["127.0.0.1"] if at_home else []
    return Neighbourhood(
        self_id, registry, network.ear, lambda: for_elsewhere(network.advertised(listen)), interfaces, on_met
    )
