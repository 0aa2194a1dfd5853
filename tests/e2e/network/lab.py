"""Hosts on one switch, made of network namespaces: the kernel's own TCP between them, and every fault a cable can have.

A host is a namespace whose one cable ends at a bridge in the lab's own namespace; a router has a second cable, behind
which another host is hidden. Addresses are private to the lab: nothing in it reaches this machine or the world.

Invariant: nothing of a lab outlives it, whatever its test did: namespaces, cables and rules go with the processes that
hold them, and each of those is ended by its own id.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from bench.network import Network, can_be_private

PROGRAMS = ("ip", "tc", "nft")
SWITCH, CABLE, INNER = "switch", "cable", "inner"
FIRST_HOST = 11
TRIAL = (
    "ip link add trial type veth peer name end",
    "ip link add trunk type bridge",
    "tc qdisc add dev trial root tbf rate 1mbit burst 32kb latency 400ms",
    "nft add table ip trial",
    "nft add chain ip trial taken { type filter hook input priority 0; }",
    "nft add rule ip trial taken numgen random mod 100 < 10 drop",
    "nft add chain ip trial left { type nat hook postrouting priority 100; }",
    "nft add rule ip trial left masquerade",
    "nft add chain ip trial passed { type filter hook forward priority 0; }",
    "nft add rule ip trial passed ct state established accept",
)


class NotPermitted(Exception):
    """This machine lets nobody make networks, or not this user."""


class ProgramMissing(Exception):
    """It would, if a program were installed."""


@functools.cache
def ensure_possible() -> None:
    """Try everything that a lab needs in a namespace that is thrown away.

    Raises:
        NotPermitted, ProgramMissing: with the reason.
    """
    if not sys.platform.startswith("linux"):
        raise NotPermitted("network namespaces are Linux's")
    if os.getuid() != 0:
        raise NotPermitted("joining network namespaces by cables takes root")
    if not can_be_private():
        raise NotPermitted("this system permits no network namespaces")
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise ProgramMissing(f"not installed: {', '.join(missing)} (packages iproute2, nftables)")
    network = Network()
    try:
        for line in TRIAL:
            done = subprocess.run([*network.words, *line.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotPermitted(f"this kernel refuses {line!r}: {done.stderr.strip()}")
    finally:
        network.close()


class Host:
    """One machine of the lab.

    Attributes:
        address: its IPv4 address, as others on its cable see it.
        words: what to put before a command so that it runs on this host.
    """

    def __init__(self, lab: "Lab", name: str, address: str, port: str) -> None:
        self._lab, self.name, self.address, self._port = lab, name, address, port
        self.network = Network()
        self._loss_percent = 0
        self._unheard: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.network.words)

    def run(self, *words: str, stdin: str = "") -> str:
        """What a command says on this host; it must succeed."""
        return _run([*self.words, *words], stdin)

    # ---- faults

    def lose(self, percent: int) -> None:
        """Of the packets that come in, each is lost with this chance. On all hosts: the loss in each direction."""
        self._loss_percent = percent
        self._filter()

    def ignore(self, *others: "Host") -> None:
        """What these send does not arrive here, as long as nothing else is said; none: everybody is heard."""
        self._unheard = tuple(other.address for other in others)
        self._filter()

    def _filter(self) -> None:
        rules = []
        if self._unheard:
            rules.append(f"ip saddr {{ {', '.join(self._unheard)} }} drop")
        if self._loss_percent:
            rules.append(f"iifname != lo numgen random mod 100 < {self._loss_percent} drop")
        chain = "\n".join(["type filter hook input priority 0", *rules])
        fresh = "table inet faults\ndelete table inet faults\n"  # made where it is missing, so that it can be deleted
        self.run("nft", "-f", "-", stdin=f"{fresh}table inet faults {{\nchain taken {{\n{chain}\n}}\n}}\n")

    def unplug(self) -> None:
        """Nothing reaches this host and nothing leaves it; its own end of the cable does not notice."""
        self._lab.switch("ip", "link", "set", self._port, "nomaster")

    def plug(self) -> None:
        self._lab.switch("ip", "link", "set", self._port, "master", SWITCH)

    def slow(self, rate: str) -> None:
        """Both directions of the cable carry that much and no more ("1mbit")."""
        words = ["root", "tbf", "rate", rate, "burst", "32kb", "latency", "200ms"]
        self.run("tc", "qdisc", "replace", "dev", CABLE, *words)
        self._lab.switch("tc", "qdisc", "replace", "dev", self._port, *words)

    def move(self, address: str) -> None:
        """The old address is gone, there is another: as from cable to Wi-Fi. Connections over the old one hang."""
        self.run("ip", "address", "flush", "dev", CABLE, "scope", "global")
        self.address = address
        self.run("ip", "address", "add", f"{address}/24", "dev", CABLE)

    # ---- figures

    def carried(self) -> tuple[int, int]:
        """Bytes received and sent over the cable so far, all headers included."""
        figures = self.network.counters(CABLE)
        assert figures is not None
        return figures


class Lab:
    """A switch with hosts."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self._ports = 0
        self._insides = 0
        self._switch = Network()
        self.switch("ip", "link", "add", SWITCH, "type", "bridge", "forward_delay", "0")
        self.switch("ip", "link", "set", SWITCH, "up")

    def switch(self, *words: str) -> str:
        """Run a command where the cables end."""
        return _run([*self._switch.words, *words])

    def free_address(self) -> str:
        """One that no host has or has had."""
        self._ports += 1
        return f"10.77.0.{FIRST_HOST + self._ports}"

    def host(self, name: str) -> Host:
        """A host on the switch."""
        address = self.free_address()
        host = Host(self, name, address, f"port{self._ports}")
        self.hosts.append(host)
        self.switch(
            *("ip", "link", "add", host._port, "type", "veth", "peer", "name", CABLE),
            *("netns", str(host.network.holder)),
        )
        self.switch("ip", "link", "set", host._port, "master", SWITCH, "up")
        host.run("ip", "address", "add", f"{address}/24", "dev", CABLE)
        host.run("ip", "link", "set", CABLE, "up")
        return host

    def router(self, name: str) -> Host:
        """A host that lets those behind it out, under its own address, and nobody in."""
        router = self.host(name)
        router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        router.run(
            "nft",
            "-f",
            "-",
            stdin=f"""table ip home {{
                chain leaves {{
                    type nat hook postrouting priority 100
                    oifname {CABLE} masquerade
                }}
                chain passes {{
                    type filter hook forward priority 0
                    iifname {CABLE} ct state established,related accept
                    iifname {CABLE} drop
                }}
            }}""",
        )
        return router

    def behind(self, router: Host, name: str) -> Host:
        """The one host behind a router."""
        self._insides += 1
        net = f"192.168.{self._insides}"
        host = Host(self, name, f"{net}.2", "")
        self.hosts.append(host)
        router.run("ip", "link", "add", INNER, "type", "veth", "peer", "name", CABLE, "netns", str(host.network.holder))
        router.run("ip", "address", "add", f"{net}.1/24", "dev", INNER)
        router.run("ip", "link", "set", INNER, "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", CABLE)
        host.run("ip", "link", "set", CABLE, "up")
        host.run("ip", "route", "add", "default", "via", f"{net}.1")
        return host

    def lose(self, percent: int) -> None:
        """Every host loses that much of what comes in."""
        for host in self.hosts:
            host.lose(percent)

    def part(self, *sides: Iterable[Host]) -> None:
        """Nobody hears anybody of another side."""
        groups = [list(side) for side in sides]
        for group in groups:
            for host in group:
                host.ignore(*(other for others in groups if others is not group for other in others))

    def heal(self) -> None:
        """Everybody hears everybody, without loss."""
        for host in self.hosts:
            host.lose(0)
            host.ignore()

    def close(self) -> None:
        for host in self.hosts:
            host.network.close()
        self._switch.close()


def _run(words: list[str], stdin: str = "") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"
    return done.stdout
