"""Where a node listens, as text: `HOST:PORT`, with an IPv6 host in brackets.

Addresses come from invites, records and people. A spelling that passed `parse_address` is safe to give to a resolver:
no scheme, no path, no spaces, nothing but a host and a port.
"""

import ipaddress
import re
from typing import NamedTuple

from meerkat.model.limits import ADDRESS_CHARS_MAX

_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?\Z")
_SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")


class AddressFault(ValueError):
    """Text that is not HOST:PORT; the message says why."""


class Address(NamedTuple):
    """A host (name, IPv4, or IPv6 without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, port_min: int = 1) -> Address:
    """Take `text` apart. A port of 0 ("pick one") passes only with `port_min=0`.

    Raises:
        AddressFault: anything but HOST:PORT.
    """
    if len(text) > ADDRESS_CHARS_MAX:
        raise AddressFault(f"the address is longer than {ADDRESS_CHARS_MAX} characters")
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5:
        raise AddressFault(f"{text!r} is not HOST:PORT")
    if not port_min <= int(port) <= 65535:
        raise AddressFault(f"{text!r}: the port is not between {port_min} and 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        bare, percent, scope = host.partition("%")
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            raise AddressFault(f"{text!r}: {host!r} is not an IPv6 address") from None
        if percent and not _SCOPE.match(scope):
            raise AddressFault(f"{text!r}: {scope!r} is not a network interface")
    elif not _HOST.match(host):
        raise AddressFault(f"{text!r}: {host!r} is not a host (an IPv6 address goes in brackets)")
    return Address(host, int(port))
