"""Announcing a name in the local network and hearing the names of others: DNS-SD over multicast DNS (RFC 6762, 6763).

The `zeroconf` package does it. It is an optional extra and imported nowhere else, and only when it is used. What is
announced is a name (see `core/beacon`), addresses and a port; no host's name, no text. What is heard can be anybody's:
only names that are wanted are asked for, a bounded number waits, and nothing but IP addresses is taken from an answer.
"""

import asyncio
import importlib.util
import ipaddress
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from meerkat.model.limits import (
    DISCOVERED_ADDRESSES_MAX,
    DISCOVERED_ASK_S,
    DISCOVERED_NAMES_MAX,
    DISCOVERED_QUEUE_MAX,
)
from meerkat.wire.address import Address, parse_address

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICE = "_meerkat._tcp.local."


def is_installed() -> bool:
    """Whether the optional extra is there."""
    return importlib.util.find_spec("zeroconf") is not None


class Discovery:
    """One node's ear and voice in its network.

    Args:
        wanted: whether a name is worth asking for its addresses.
    """

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._announced: AsyncServiceInfo | None = None
        self._queue: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._heard: dict[str, None] = {}

    async def start(self, interfaces: Sequence[str]) -> None:
        """Begin to listen on the interfaces with these IP addresses (none given: on all).

        Raises:
            OSError: the network does not let us.
        """
        from zeroconf import InterfaceChoice
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        self._zeroconf = AsyncZeroconf(interfaces=list(interfaces) or InterfaceChoice.All)
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._on_change])

    async def announce(self, name: str, addresses: Sequence[str]) -> None:
        """Be found under this name at these addresses (HOST:PORT, of one port); the name before is taken back."""
        from zeroconf.asyncio import AsyncServiceInfo

        assert self._zeroconf is not None
        places = [parse_address(each) for each in addresses]
        packed = [ip.packed for place in places if (ip := _ip(place.host)) is not None]
        before, self._announced = self._announced, None
        if before is not None:
            await (await self._zeroconf.async_unregister_service(before))
        if not packed:
            return
        self._announced = AsyncServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            addresses=packed,
            port=places[0].port,
            properties={},
            server=f"{name}.local.",  # the machine's own name is nobody's business
        )
        # Nobody has to be asked whether the name is free: none but ours can want it, and a liar could else take it.
        await (await self._zeroconf.async_register_service(self._announced, cooperating_responders=True))

    def look_again(self) -> None:
        """Other names than before are wanted: those heard earlier may be among them."""
        for name in self._heard:
            self._take(name)

    async def next(self) -> tuple[str, tuple[str, ...]]:
        """Wait for the next wanted name that says where it is: (name, HOST:PORT …)."""
        from zeroconf.asyncio import AsyncServiceInfo

        assert self._zeroconf is not None
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            name = self._queue.popleft()
            asked = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}")
            if not await asked.async_request(self._zeroconf.zeroconf, DISCOVERED_ASK_S * 1000) or not asked.port:
                continue
            hosts = [host for host in asked.parsed_scoped_addresses() if _ip(host) is not None]
            if hosts:
                return name, tuple(str(Address(host, asked.port)) for host in hosts[:DISCOVERED_ADDRESSES_MAX])

    def _on_change(
        self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange"
    ) -> None:
        """Called in the loop's thread for each name that comes, changes or goes."""
        label = name.removesuffix(f".{SERVICE}")
        if state_change.name == "Removed":
            self._heard.pop(label, None)
            return
        if label in self._heard or len(self._heard) < DISCOVERED_NAMES_MAX:
            self._heard[label] = None
        self._take(label)

    def _take(self, name: str) -> None:
        if self._wanted(name) and name not in self._queue and len(self._queue) < DISCOVERED_QUEUE_MAX:
            self._queue.append(name)
            self._arrived.set()

    async def stop(self) -> None:
        """Take the name back and be silent."""
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()
        self._browser = self._zeroconf = self._announced = None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in `host`; None for a name, and for one that cannot be dialled."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return None if address.is_unspecified or address.is_multicast else address
