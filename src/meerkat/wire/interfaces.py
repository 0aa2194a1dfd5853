"""The addresses under which other machines may reach this one: asked of the system, nothing is sent."""

import fcntl
import ipaddress
import socket
import struct
import sys

from meerkat.model.limits import INVITE_ADDRESSES_MAX
from meerkat.wire.address import Address, parse_address

_SIOCGIFADDR = 0x8915


def advertised(listen: str) -> list[str]:
    """What to tell other nodes when listening on `listen` (HOST:PORT, bound): the host itself, or, for a wildcard, each
    address of this machine, loopback last."""
    address = parse_address(listen)
    try:
        host = ipaddress.ip_address(address.host)
    except ValueError:
        return [str(address)]
    if not host.is_unspecified:
        return [str(address)]
    own = [*ipv4_addresses(), "127.0.0.1"]
    return [str(Address(each, address.port)) for each in dict.fromkeys(own)][:INVITE_ADDRESSES_MAX]


def ipv4_addresses() -> list[str]:
    """This machine's IPv4 addresses but loopback ones, in the order of its interfaces."""
    found = _by_interface() if sys.platform == "linux" else _by_name()
    return [each for each in dict.fromkeys(found) if not ipaddress.ip_address(each).is_loopback]


def _by_interface() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _by_name() -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        return []
