"""What a node meets outside its folder: the network, the watch over the folder, the doors for this machine's programs.

The composition root takes them from here and nowhere else, so that the very same engine runs in a simulated world.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from meerkat.core.roster import InviteState
from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.watch import OnEvent, Watch, make_watch
from meerkat.model.frame import JoinAnswer, JoinAsk, Way
from meerkat.model.limits import DIAL_TIMEOUT_S, LOOK_TIMEOUT_S
from meerkat.model.member import Member
from meerkat.node.home import Config
from meerkat.node.port import listen
from meerkat.node.ports import Connection, Ear
from meerkat.wire.client import dial
from meerkat.wire.control import ControlServer, Handle, socket_path
from meerkat.wire.discover import Discovery, is_installed
from meerkat.wire.gate import Gate
from meerkat.wire.identity import Identity
from meerkat.wire.interfaces import advertised
from meerkat.wire.look import look
from meerkat.wire.server import Server

OnConnection = Callable[[Connection], Awaitable[None]]
OnJoin = Callable[[JoinAsk, InviteState], AsyncGenerator[JoinAnswer, None]]


class Port(Protocol):
    """Where members reach this node."""

    async def stop(self) -> None: ...


class Network(Protocol):
    """How members reach each other."""

    async def serve(
        self, config: Config, said: str | None, gate: Gate, on_connection: OnConnection, on_join: OnJoin
    ) -> tuple[Port, str]:
        """Be there for members: the running port, and the HOST:PORT that is bound. Arguments as in `port.listen`."""
        ...

    async def dial(self, address: str, member: Member) -> Connection:
        """Link with a member there. Raises `DialFailed`."""
        ...

    async def look(self, address: str, member: Member) -> Way:
        """Try whether the member can be reached there; no link comes of it."""
        ...

    def advertised(self, listening: str) -> list[str]:
        """What to tell members, who listens there."""
        ...

    def ear(self, wanted: Callable[[str], bool]) -> Ear | None:
        """What hears of members in the local network (those whose names are wanted); None where nothing can."""
        ...


class Doors(Protocol):
    """Where programs of this machine ask the node."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Surroundings(Struct, frozen=True):
    """All of it, for one node."""

    network: Network
    watch: Callable[[Root, Skip, OnEvent], Watch]
    doors: Callable[[Path, Handle], Doors]


class Grpc:
    """The network that ships: gRPC over mutual TLS."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def serve(
        self, config: Config, said: str | None, gate: Gate, on_connection: OnConnection, on_join: OnJoin
    ) -> tuple[Port, str]:
        def make(address: str) -> Server:
            return Server(self._identity, gate, address, on_connection, on_join)

        return await listen(config, said, make)

    async def dial(self, address: str, member: Member) -> Connection:
        return await dial(address, member, self._identity, DIAL_TIMEOUT_S)

    async def look(self, address: str, member: Member) -> Way:
        return await look(address, member, self._identity, LOOK_TIMEOUT_S)

    def advertised(self, listening: str) -> list[str]:
        return advertised(listening)

    def ear(self, wanted: Callable[[str], bool]) -> Ear | None:
        return Discovery(wanted) if is_installed() else None


def real(identity: Identity) -> Surroundings:
    """This machine."""
    return Surroundings(Grpc(identity), make_watch, lambda folder, handle: ControlServer(socket_path(folder), handle))
