"""Where a node listens: where it did last, where it was told to, and never where another does."""

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest
from wire_pool import Pool

from meerkat.core.roster import InviteState
from meerkat.model.fault import Fault
from meerkat.model.frame import JoinAnswer, JoinAsk
from meerkat.node.home import Config
from meerkat.node.port import listen
from meerkat.wire.server import Server

FREE = "127.0.0.1:0"


async def _nothing(connection: object) -> None:
    pass


async def _nobody(ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
    return
    yield


async def bound(config: Config, said: str | None) -> str:
    """Listen and stop again; the address that was bound, which the configuration then keeps."""
    pool = Pool()
    server, address = await listen(config, said, lambda place: Server(pool.founder, pool, place, _nothing, _nobody))
    await server.stop()
    config.listen = address
    return address


def taken() -> tuple[socket.socket, str]:
    """A port that another program listens on."""
    other = socket.create_server(("127.0.0.1", 0))
    return other, f"127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize("said", [FREE, None])
def test_the_port_of_the_last_start_is_kept(said: str | None) -> None:
    """Other members, and people's firewalls, know it: "any free one" and saying nothing both mean the one before."""

    async def play() -> None:
        config = Config()
        first = await bound(config, FREE)
        assert first.startswith("127.0.0.1:")
        assert first != FREE
        assert await bound(config, said) == first

    asyncio.run(play())


def test_a_kept_port_that_is_taken_is_given_up_for_any(caplog: pytest.LogCaptureFixture) -> None:
    """Who asked for any free port gets one; it was only a habit."""

    async def play() -> None:
        other, address = taken()
        with other:
            found = await bound(Config(listen=address), FREE)
            assert found != address
            assert found.startswith("127.0.0.1:")

    asyncio.run(play())


@pytest.mark.parametrize("said", [True, False])
def test_a_port_that_was_chosen_is_not_given_up(said: bool) -> None:
    """Said now or at an earlier start: another program there is a fault, with the way out."""

    async def play() -> None:
        other, address = taken()
        with other, pytest.raises(Fault) as fault:
            await bound(Config() if said else Config(listen=address), address if said else None)
        assert fault.value.code == "port_in_use"
        assert address in fault.value.message
        assert "--listen" in fault.value.hint

    asyncio.run(play())


def test_another_host_does_not_take_over_the_port() -> None:
    """The kept port belongs to the host it was kept for."""

    async def play() -> None:
        config = Config()
        await bound(config, FREE)
        config.listen = config.listen.replace("127.0.0.1", "127.0.0.9")
        other = await bound(config, FREE)
        assert other.startswith("127.0.0.1:")

    asyncio.run(play())


@pytest.mark.parametrize("said", ["192.0.2.1:0", "nonsense", "127.0.0.1:99999"])
def test_what_is_no_address_of_this_machine_is_a_fault(said: str) -> None:
    """With what was said, and what to say instead."""

    async def play() -> None:
        with pytest.raises(Fault) as fault:
            await bound(Config(), said)
        assert fault.value.code == "cannot_listen"
        assert said.rpartition(":")[0] in fault.value.message or said in fault.value.message
        assert fault.value.hint

    asyncio.run(play())
