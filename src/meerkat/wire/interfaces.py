"""The addresses under which other machines may reach this one: asked of the system, nothing is sent."""

import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from meerkat.model.limits import ADDRESSES_MAX
from meerkat.wire.address import Address, parse_address

_SIOCGIFADDR = 0x8915
_IPV6_LIST = Path("/proc/net/if_inet6")
_SCOPE_GLOBAL = 0x00  # of the kernel's words for an IPv6 address (linux/if_addr.h)
_TEMPORARY = 0x01
_UNUSABLE = 0x08 | 0x20 | 0x40  # taken by another machine, about to go, not yet known to be free


def advertised(listen: str) -> list[str]:
    """What to tell other nodes when listening on `listen` (HOST:PORT, bound): the host itself, or, for a wildcard (gRPC
    takes each of them for IPv4 and IPv6), the addresses of this machine, loopback last."""
    address = parse_address(listen)
    try:
        host = ipaddress.ip_address(address.host)
    except ValueError:
        return [str(address)]
    if not host.is_unspecified:
        return [str(address)]
    loopback = ["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]
    own = [*ipv4_addresses(), *ipv6_addresses()][: ADDRESSES_MAX - len(loopback)]
    return [str(Address(each, address.port)) for each in dict.fromkeys([*own, *loopback])]


def for_elsewhere(addresses: Sequence[str]) -> list[str]:
    """Those of the addresses that may mean something on another machine; all, where none does."""
    return [each for each in addresses if not is_loopback(each)] or list(addresses)


def is_loopback(text: str) -> bool:
    """Whether HOST:PORT leads back to whoever dials it."""
    try:
        host = parse_address(text).host
        return host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name, or no address at all
        return False


def ipv4_addresses() -> list[str]:
    """This machine's IPv4 addresses but loopback ones, in the order of its interfaces."""
    found = _by_interface() if sys.platform == "linux" else _by_name()
    return [each for each in dict.fromkeys(found) if not ipaddress.ip_address(each).is_loopback]


def ipv6_addresses() -> list[str]:
    """This machine's IPv6 addresses that others can use as they are (not those of one link only, nor loopback), lasting
    ones first: temporary ones are given up after a day."""
    try:
        lines = _IPV6_LIST.read_text("ascii").splitlines()
    except OSError:
        return []  # no IPv6, or not Linux
    found = []
    for line in lines:
        digits, _, _, scope, flags, _ = line.split()
        if int(scope, 16) == _SCOPE_GLOBAL and not int(flags, 16) & _UNUSABLE:
            found.append((bool(int(flags, 16) & _TEMPORARY), str(ipaddress.IPv6Address(bytes.fromhex(digits)))))
    return [address for _, address in sorted(found, key=lambda each: each[0])]


def _has_ipv6() -> bool:
    return _IPV6_LIST.exists()


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
