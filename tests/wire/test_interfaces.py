"""Under which addresses this machine may be reached."""

import ipaddress
from pathlib import Path

import pytest

from meerkat.model.limits import ADDRESSES_MAX
from meerkat.wire import interfaces
from meerkat.wire.address import parse_address
from meerkat.wire.interfaces import advertised, for_elsewhere, ipv4_addresses, ipv6_addresses, is_loopback


@pytest.mark.parametrize("listen", ["192.0.2.7:4200", "nas.local:1", "127.0.0.1:80", "[::1]:80"])
def test_a_certain_host_is_told_as_it_is(listen: str) -> None:
    """Who listens on one address can be reached there and nowhere else."""
    assert advertised(listen) == [listen]


@pytest.mark.parametrize("listen", ["0.0.0.0:4200", "[::]:4200"])
def test_a_wildcard_is_told_as_real_addresses(listen: str) -> None:
    """The wildcard itself means nothing to others: they are told this machine's addresses, with the port, loopback
    last, and no more than find room in a node's record."""
    told = [parse_address(address) for address in advertised(listen)]
    assert 1 <= len(told) <= ADDRESSES_MAX
    assert {address.port for address in told} == {4200}
    hosts = [address.host for address in told]
    assert not {"0.0.0.0", "::"} & set(hosts)
    own = [*ipv4_addresses(), *ipv6_addresses()]
    assert hosts[: len(own)] == own[: len(hosts)]
    assert [host for host in hosts if host not in own] in (["127.0.0.1"], ["127.0.0.1", "::1"])


def test_ipv6_addresses_are_those_that_others_can_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not loopback, not those of one link, not those that are not valid (yet, or any more); temporary ones last."""
    listed = tmp_path / "if_inet6"
    listed.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n"
        "20010db8000000000000000000000009 04 40 00 01     eth0\n"
        "20010db8000000000000000000000001 04 40 00 80     eth0\n"
        "20010db8000000000000000000000002 04 40 00 a0     eth0\n"
        "20010db8000000000000000000000003 04 40 00 40     eth0\n"
        "fd000000000000000000000000000002 04 40 00 82     eth0\n"
    )
    monkeypatch.setattr(interfaces, "_IPV6_LIST", listed)
    assert ipv6_addresses() == ["2001:db8::1", "fd00::2", "2001:db8::9"]
    assert "[2001:db8::1]:7" in advertised("0.0.0.0:7")
    assert advertised("[::]:7")[-2:] == ["127.0.0.1:7", "[::1]:7"]
    monkeypatch.setattr(interfaces, "_IPV6_LIST", tmp_path / "none")
    assert ipv6_addresses() == []
    assert advertised("[::]:7")[-1] == "127.0.0.1:7"


def test_an_invite_spares_the_room_for_addresses_that_mean_something() -> None:
    """Loopback is left out, unless there is nothing else."""
    assert for_elsewhere(["192.0.2.1:7", "127.0.0.1:7", "[::1]:7", "nas:7"]) == ["192.0.2.1:7", "nas:7"]
    assert for_elsewhere(["127.0.0.1:7", "localhost:7"]) == ["127.0.0.1:7", "localhost:7"]
    assert not is_loopback("nonsense")
    assert is_loopback("[::1%lo]:7")


def test_own_addresses_are_addresses() -> None:
    """What the system says is IPv4, each once, and never loopback."""
    own = ipv4_addresses()
    assert len(own) == len(set(own))
    assert not any(ipaddress.IPv4Address(each).is_loopback for each in own)
