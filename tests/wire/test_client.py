"""Dialling, and why it fails."""

import asyncio
import socket

import pytest
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.wire.client import DialFailed, dial
from meerkat.wire.identity import Identity


def code_of(pool: Pool, address: str, whom: Identity, who: Identity, timeout_s: float = TIMEOUT_S) -> str:
    """The cause for which a dial fails while the founder's port is open."""

    async def run() -> str:
        async with serving(pool) as served:
            with pytest.raises(DialFailed) as failed:
                await dial(address or served.address, pool.as_member(whom), who, timeout_s)
            assert failed.value.cause in str(failed.value)
            return failed.value.code

    return asyncio.run(run())


def test_the_wrong_node_is_told_apart() -> None:
    """An address at which another node answers by now is not mistaken for the one that was meant."""
    pool = Pool()
    one, other = pool.member(), pool.member()
    assert code_of(pool, "", other, one) == "another_node"


def test_strangers_and_removed_members_hear_that_they_are_none() -> None:
    """Whose certificate the other side does not take learns that, instead of "unavailable"."""
    pool = Pool()
    assert code_of(pool, "", pool.founder, Identity.create()) == "not_member"
    member = pool.member()
    pool.remove(member)
    assert code_of(pool, "", pool.founder, member) == "not_member"


def test_a_closed_port_is_refused() -> None:
    """Where nothing listens, the cause says so."""
    pool = Pool()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert code_of(pool, f"127.0.0.1:{unused.getsockname()[1]}", pool.founder, pool.member()) == "refused"


def test_a_silent_port_times_out() -> None:
    """Where something accepts but never speaks, the dial gives up in time."""
    pool = Pool()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert code_of(pool, address, pool.founder, pool.member(), timeout_s=0.2) == "timed_out"


def test_what_is_no_address_is_told() -> None:
    """An address that is none fails like any other, with its cause."""
    pool = Pool()
    assert code_of(pool, "nowhere", pool.founder, pool.member()) == "no_such_host"


def test_another_dial_works_after_a_failed_one() -> None:
    """A failure leaves nothing behind: the same node is reached as soon as it is there."""
    pool = Pool()
    member = pool.member()

    async def run() -> None:
        async with serving(pool) as served:
            address = served.address
        with pytest.raises(DialFailed):
            await dial(address, pool.as_member(pool.founder), member, TIMEOUT_S)
        async with serving(pool, listen=address):
            connection = await dial(address, pool.as_member(pool.founder), member, TIMEOUT_S)
            assert connection.peer == pool.founder.node
            await connection.close()

    asyncio.run(run())
