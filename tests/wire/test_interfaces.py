"""Under which addresses this machine may be reached."""

import ipaddress

import pytest

from meerkat.model.limits import INVITE_ADDRESSES_MAX
from meerkat.wire.address import parse_address
from meerkat.wire.interfaces import advertised, ipv4_addresses


@pytest.mark.parametrize("listen", ["192.0.2.7:4200", "nas.local:1", "127.0.0.1:80", "[::1]:80"])
def test_a_certain_host_is_told_as_it_is(listen: str) -> None:
    """Who listens on one address can be reached there and nowhere else."""
    assert advertised(listen) == [listen]


@pytest.mark.parametrize("listen", ["0.0.0.0:4200", "[::]:4200"])
def test_a_wildcard_is_told_as_real_addresses(listen: str) -> None:
    """The wildcard itself means nothing to others: they are told this machine's addresses, with the port, loopback
    last, and no more than find room in an invite."""
    told = [parse_address(address) for address in advertised(listen)]
    assert 1 <= len(told) <= INVITE_ADDRESSES_MAX
    assert {address.port for address in told} == {4200}
    hosts = [address.host for address in told]
    assert "0.0.0.0" not in hosts
    assert hosts[: len(ipv4_addresses())] == ipv4_addresses()[:INVITE_ADDRESSES_MAX]


def test_own_addresses_are_addresses() -> None:
    """What the system says is IPv4, each once, and never loopback."""
    own = ipv4_addresses()
    assert len(own) == len(set(own))
    assert not any(ipaddress.IPv4Address(each).is_loopback for each in own)
