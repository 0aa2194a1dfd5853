"""Where this node listens: the address that was said, else the one of the last start, else any that is free."""

from collections.abc import Callable

from meerkat.model.fault import Fault
from meerkat.node.home import Config
from meerkat.wire.server import ListenFault, PortInUse, Server

ANYWHERE = "0.0.0.0:0"


async def listen(config: Config, said: str | None, make: Callable[[str], Server]) -> tuple[Server, str]:
    """Bind and serve.

    Args:
        config: `listen` holds the address of the last start, whose port is kept.
        said: HOST:PORT; port 0 asks for any free one, which is the kept one while that is free.
        make: builds a server for an address.

    Returns:
        the running server and the HOST:PORT that is bound.

    Raises:
        Fault: port_in_use, cannot_listen.
    """
    wanted = said or config.listen or ANYWHERE
    any_port = wanted.endswith(":0") or said is None
    kept = config.listen if _host(config.listen) == _host(wanted) else ""
    first = kept if kept and any_port else wanted
    try:
        return await _bind(first, make)
    except PortInUse:
        if not (said is not None and any_port and first != wanted):
            raise Fault(
                "port_in_use",
                f"another program already listens on {first}",
                hint="choose another port with --listen, or HOST:0 for any free one",
            ) from None
    except ListenFault as error:
        raise _cannot(error) from error
    try:
        return await _bind(wanted, make)  # the kept port was only a habit
    except ListenFault as error:
        raise _cannot(error) from error


async def _bind(address: str, make: Callable[[str], Server]) -> tuple[Server, str]:
    server = make(address)
    return server, await server.start()


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _cannot(error: ListenFault) -> Fault:
    return Fault("cannot_listen", str(error), hint="name an address of this machine: --listen HOST:PORT")
