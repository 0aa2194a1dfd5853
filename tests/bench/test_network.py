"""A network of its own: its bytes are counted apart from all others, and nothing outside is within reach."""

import subprocess
import sys

import pytest

from bench.network import Network, can_be_private, network

TALK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
inner, _ = server.accept()
client.sendall(bytes(100_000)); client.close()
while inner.recv(65536): pass
"""
REACH = """
import socket
try:
    socket.create_connection(("192.0.2.1", 9), 1)
except OSError as error:
    print(error.errno)
"""

needs_namespaces = pytest.mark.skipif(not can_be_private(), reason="this system permits no network namespaces")


def run(inside: Network, program: str) -> str:
    words = [*inside.words, sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@needs_namespaces
def test_bytes_are_counted_where_they_are_sent() -> None:
    """What one contestant sends stands in its own count and in no other's."""
    with network() as talker, network() as other:
        assert (talker.carried(), other.carried()) == (0, 0)
        run(talker, TALK)
        carried = talker.carried()
        assert carried is not None
        assert 100_000 < carried < 200_000
        assert other.carried() == 0


@needs_namespaces
def test_nothing_outside_is_within_reach() -> None:
    """An address that is not loopback's has no way to it."""
    with network() as inside:
        assert run(inside, REACH) == "101"  # ENETUNREACH
