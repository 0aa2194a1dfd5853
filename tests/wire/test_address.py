"""Addresses as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.wire.address import Address, AddressFault, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:4200", Address("10.0.0.1", 4200)),
        ("nas.local:1", Address("nas.local", 1)),
        ("[fe80::1%eth0]:65535", Address("fe80::1%eth0", 65535)),
        ("[::1]:80", Address("::1", 80)),
    ],
)
def test_hosts_and_ports_are_told_apart(text: str, address: Address) -> None:
    """Names, IPv4 and bracketed IPv6 are taken apart, and spelt again as they were."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:٣",
        "host:000080",
        "::1:80",
        "[host]:80",
        "[::1%]/:80",
        "[fe80::1%a b]:80",
        "unix:/run/x:80",
        "a b:80",
        "-a:80",
        "a/b:80",
        "h" * 300 + ":80",
        "host\n:80",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What is not HOST:PORT never reaches a resolver."""
    with pytest.raises(AddressFault):
        parse_address(text)


def test_port_zero_is_for_listening_only() -> None:
    """Port 0 ("pick one") passes only where that is meant."""
    assert parse_address("127.0.0.1:0", port_min=0).port == 0


@given(st.text(max_size=40))
def test_a_parsed_address_is_stable(text: str) -> None:
    """Whatever passes reads the same when spelt again."""
    try:
        address = parse_address(text)
    except AddressFault:
        return
    assert parse_address(str(address)) == address
