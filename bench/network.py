"""A network of our own, so that every byte on it is ours.

On Linux the bench starts itself again in a fresh network namespace whose only interface is loopback; the counters of
that interface then hold the bytes of whoever is measured, headers and acknowledgements included, and nobody else's.
Where that is not permitted the bench runs all the same, and the bytes come from what the nodes say.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

MARK = "MEERKAT_BENCH_NETWORK"
"""Set in the process that has the network to itself; its value is "private" or "shared"."""
UNSHARE_AS_ROOT = ("unshare", "--net")
UNSHARE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--net")
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h
LOOPBACK = b"lo"


def enter_private_network(words: list[str]) -> None:
    """Start this program again in a network of its own, if that is possible; returns only in the last process."""
    if MARK in os.environ:
        if is_private():
            _raise_loopback()
        return
    if not _may_unshare():
        os.environ[MARK] = "shared"
        return
    os.environ[MARK] = "private"
    os.execvp("unshare", [*_unshare(), sys.executable, "-m", "bench", *words])


def is_private() -> bool:
    return os.environ.get(MARK) == "private"


def _unshare() -> tuple[str, ...]:
    return UNSHARE_AS_ROOT if os.getuid() == 0 else UNSHARE


def _may_unshare() -> bool:
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    return subprocess.run([*_unshare(), "true"], capture_output=True, check=False).returncode == 0


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", LOOPBACK, 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", LOOPBACK, flags | IFF_UP))


def bytes_on_the_wire() -> int | None:
    """All bytes that loopback has carried so far; None where they are not ours alone."""
    if not is_private():
        return None
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == LOOPBACK.decode():
            return int(figures.split()[0])
    return None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, for rivals that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
