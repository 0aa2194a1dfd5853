"""How people write lengths of time and addresses."""

import click
import pytest

from meerkat.cli.options import Address, Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("1.5 h", 5400), ("60", 60)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A number with a unit, or bare seconds."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1h", "h"])
def test_other_words_are_refused_with_an_example(text: str) -> None:
    """What is no length of time is a usage error that shows how to write one."""
    with pytest.raises(click.BadParameter, match="write 90s"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "nas:7447", "[::1]:7447"])
def test_addresses_are_host_and_port(text: str) -> None:
    """IPv4, names and bracketed IPv6 pass as they are."""
    assert Address().convert(text, None, None) == text


@pytest.mark.parametrize("text", ["nas", ":80", "nas:", "nas:70000", "nas:x", "::1:80", "off"])
def test_other_addresses_are_refused(text: str) -> None:
    """No host, no port, a port out of range, and IPv6 without brackets are usage errors."""
    with pytest.raises(click.BadParameter):
        Address().convert(text, None, None)


def test_off_is_an_address_where_it_makes_sense() -> None:
    """The dashboard can be switched off in the place of its address."""
    assert Address(or_off=True).convert("off", None, None) == "off"
