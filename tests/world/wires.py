"""The net of a crowd: links that cost bytes and milliseconds, lose packets as TCP loses them, and take time to dial.

A lost packet is no lost frame but a late one: it comes after a retransmission time-out, doubled with each loss in a
row, and everything behind it waits. The shares are set so that a question and its answer take as long as over real
gRPC streams whose packets are dropped at 10 % and 30 % each way (p99 454 ms and 0.09 % above 1 s; 13 % above 1 s and
2.6 % above 5 s).
"""

import asyncio
import random
from collections import Counter
from typing import Any

from world.network import Machine, Net, SimulatedNetwork

from meerkat.model.frame import AskEntries, EntriesEnd, EntriesPart, Marks, Pick, Prints, Refused
from meerkat.model.limits import DIAL_TIMEOUT_S
from meerkat.model.member import Member
from meerkat.node.ports import Connection
from meerkat.wire.client import DialFailed
from meerkat.wire.convert import encode_frame
from meerkat.wire.convert_index import encode_query

LATENCY_S = 0.01
"""One way."""

RTO_S = 0.2
RTO_MAX_S = 60.0
LATE_SHARES = {0.0: 0.0, 0.01: 0.008, 0.1: 0.08, 0.3: 0.4}
"""What share of packets comes a time-out late, for so much real loss each way."""

MESSAGE_BYTES = 115
"""What a message costs beyond its own bytes: TCP and IP 52, TLS 22, HTTP/2 and gRPC 14, its share of
acknowledgements. A question and its answer of a few bytes are measured at 349 bytes, with 60 bytes of content each."""

DIAL_BYTES = 6900 // 2
"""A TLS connection of gRPC, of which each side sends about half."""

SYN_AT_S = (0.0, 1.0, 3.0, 7.0)
"""When a dial knocks: nothing comes of it in between."""


class CrowdNet(Net):
    """
    Attributes:
        loss: share of packets that are lost each way, one of `LATE_SHARES`.
        counting: whether bytes are counted: that means encoding every frame.
        sent_bytes: by the name of who sent them. frames: how many those were. connected: dials that were
            counted. dials: all that were tried.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.loss = 0.0
        self.counting = False
        self.sent_bytes: Counter[str] = Counter()
        self.frames = 0
        self.connected = 0
        self.dials = 0
        self._by_address: dict[str, Machine] = {}

    def add(self, machine: Machine) -> None:
        self.machines[machine.name] = machine
        self._by_address[machine.address] = machine

    def at(self, address: str) -> Machine | None:
        return self._by_address.get(address)

    def delay_s(self) -> float:
        late, wait, late_share = 0.0, RTO_S, LATE_SHARES[self.loss]
        while self.rng.random() < late_share and wait < RTO_MAX_S:
            late += wait
            wait *= 2
        return LATENCY_S + self.rng.expovariate(1 / 0.001) + late

    def passing(self, here: str, there: str, frame: Any) -> None:
        super().passing(here, there, frame)
        if self.counting:
            self.sent_bytes[here] += MESSAGE_BYTES + _bytes_of(frame)
            self.frames += 1

    def silence(self, name: str) -> None:
        """Nothing comes from that machine any more, nor to it."""
        for other in self.machines:
            if other != name:
                self.barriers.update(((name, other), (other, name)))

    def part(self, some: set[str]) -> None:
        """Those and the others do not hear each other."""
        for one in some:
            for other in self.machines.keys() - some:
                self.barriers.update(((one, other), (other, one)))


class CrowdNetwork(SimulatedNetwork):
    """One node's way into the net of a crowd."""

    async def dial(self, address: str, member: Member) -> Connection:
        net, here = self._net, self._machine
        assert isinstance(net, CrowdNet)
        there = net.at(address)
        net.dials += 1
        began = asyncio.get_running_loop().time()
        for at in SYN_AT_S:
            await asyncio.sleep(max(0.0, began + at - asyncio.get_running_loop().time()))
            if there is not None and not net.blocked(here.name, there.name) and not net.blocked(there.name, here.name):
                if there.life is None or there.life.dead or there.gate is None:
                    await asyncio.sleep(2 * net.delay_s())
                    raise DialFailed(address, "refused", "nothing listens there")
                await asyncio.sleep(2 * net.delay_s())  # and two more round trips in `super`
                if net.counting:
                    net.connected += 1
                    net.sent_bytes[here.name] += DIAL_BYTES
                    net.sent_bytes[there.name] += DIAL_BYTES
                return await super().dial(address, member)
        await asyncio.sleep(max(0.0, began + DIAL_TIMEOUT_S - asyncio.get_running_loop().time()))
        raise DialFailed(address, "timed_out", "no answer")


def _bytes_of(frame: Any) -> int:
    if isinstance(frame, AskEntries | EntriesPart | EntriesEnd | Refused | Marks | Prints | Pick):
        return len(encode_query(frame))
    try:
        return len(encode_frame(frame))
    except AssertionError:
        return 0  # content, of which a crowd has none
