"""A network of its own for each contestant, so that every byte on it is that contestant's and none leaves this machine.

On Linux a small process holds a fresh network namespace whose only interface is loopback; whoever is measured is
started inside. The counters of that interface then hold the contestant's bytes, headers and acknowledgements included,
and nobody else's, while all contestants live at once and take turns. Where that is not permitted everybody shares the
machine's loopback, and no bytes of the interface are told.

Invariant: nothing that runs inside can reach any address but its own loopback, whatever its configuration says.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .processes import end

UNSHARE_AS_ROOT = ("unshare", "--net")
UNSHARE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--net")
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h
LOOPBACK = b"lo"
READY = "ready"


class Network:
    """Where one contestant runs.

    Attributes:
        words: what to put before a command so that it runs inside.
    """

    def __init__(self) -> None:
        self._holder: subprocess.Popen[str] | None = None
        self.words: list[str] = []
        if not can_be_private():
            return
        self._holder = subprocess.Popen(
            [*_unshare(), sys.executable, "-m", f"{__package__}.network"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline().strip() != READY:
            end(self._holder)
            raise OSError("the process that holds a network of its own did not come up")
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        self.words = ["nsenter", f"--target={self._holder.pid}", "--net", *user]

    @property
    def holder(self) -> int:
        """The process whose network this is.

        Raises:
            OSError: it is the machine's own.
        """
        if self._holder is None:
            raise OSError("this machine permits no network of one's own")
        return self._holder.pid

    def carried(self) -> int | None:
        """All bytes that loopback has carried so far; None where they are not the contestant's alone."""
        figures = self.counters(LOOPBACK.decode())
        return None if figures is None else figures[0]

    def counters(self, interface: str) -> tuple[int, int] | None:
        """Bytes that an interface has received and sent so far; None where it is not ours, or gone."""
        if self._holder is None:
            return None
        try:
            lines = Path(f"/proc/{self._holder.pid}/net/dev").read_text().splitlines()
        except OSError:
            return None  # it is closed
        for line in lines:
            name, _, figures = line.partition(":")
            if name.strip() == interface:
                columns = figures.split()
                return int(columns[0]), int(columns[8])
        return None

    def close(self) -> None:
        if self._holder is not None:
            end(self._holder)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A network that is gone afterwards."""
    own = Network()
    try:
        yield own
    finally:
        own.close()


@functools.cache
def can_be_private() -> bool:
    """Whether this machine lets us have networks of our own."""
    if not sys.platform.startswith("linux") or not all(map(shutil.which, ("unshare", "nsenter"))):
        return False
    return subprocess.run([*_unshare(), "true"], capture_output=True, check=False).returncode == 0


def _unshare() -> tuple[str, ...]:
    return UNSHARE_AS_ROOT if os.getuid() == 0 else UNSHARE


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, for rivals that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", LOOPBACK, 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", LOOPBACK, flags | IFF_UP))


def _hold() -> None:
    """The holder: it lives as long as whoever started it keeps its input open."""
    _raise_loopback()
    print(READY, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _hold()
