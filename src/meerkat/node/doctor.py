"""`meerkat doctor`: how this node stands, and for each member which way fails and why.

For each member: every address that is known of it is tried from here; if it is linked, it is asked to try this node's;
if not, a few members that are linked are asked whether they reach it, and to pass the question on. The rest is weighing
(`core/diagnose`). Looking makes no link, changes nothing, and ends within seconds whoever is silent.
"""

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, field

from meerkat.core.diagnose import Diagnosis, Facts, Finding, Witness, diagnose, reached, told
from meerkat.model.frame import Probed, Way
from meerkat.model.ids import NodeId
from meerkat.model.limits import DOCTOR_NODES_AT_ONCE_MAX, DOCTOR_WITNESSES_MAX, FULL_MESH_NODES_MAX
from meerkat.node.checkup import Check, clock_found, inbound_found, look_at, wall_ms
from meerkat.wire.interfaces import is_loopback

if TYPE_CHECKING:
    from meerkat.node.node import Node

Json = dict[str, object]

_NOWHERE = ("refused", "another_node")
_WORST = (Finding.FAIL, Finding.WARN, Finding.OFF, Finding.OK)


class Examined(Struct):
    """One member. `asked`: through whom it answered about this node (itself: directly); empty. `ahead_s`: its clock."""

    node: NodeId
    facts: Facts
    asked: str = ""
    ahead_s: float | None = None
    found: Diagnosis = field(default_factory=lambda: Diagnosis(Finding.OK, ""))


class Doctor:
    """Answers the verb for one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._slots = asyncio.Semaphore(DOCTOR_NODES_AT_ONCE_MAX)

    async def examine(self, whom: NodeId | None) -> Json:
        """This node, and that member (None: all that matter to it)."""
        node = self._node
        looking = node.tasks.spawn("look at this node", look_at(node))
        members: list[Examined] = await asyncio.gather(*(self._member(each) for each in self._chosen(whom)))
        checks: list[Check] = await looking
        self._tell_apart_removal(members)
        ahead = {each.facts.name: each.ahead_s for each in members if each.ahead_s is not None}
        checks.append(Check("clock", clock_found(ahead)))
        answered = [each for each in members if each.facts.back is not None]
        can = [each.facts.name for each in answered if reached(each.facts.back)]
        cannot = [each.facts.name for each in answered if not reached(each.facts.back)]
        can += [each.facts.name for each in members if each.facts.back is None and each.facts.linked == "accepted"]
        checks.append(Check("inbound", inbound_found(can, cannot, node.listen.rpartition(":")[2])))
        states = [each.found.state for each in checks] + [each.found.state for each in members]
        return {
            "node": node.identity.node,
            "name": node.name,
            "state": min(states, key=_WORST.index),
            "checks": [
                {"check": each.check, "state": each.found.state, "text": each.found.text, "fix": each.found.fix}
                for each in checks
            ],
            "members": [self._row(each) for each in members],
            "others": len(self._others()) - len(members) if whom is None else 0,
        }

    # ---- one member

    def _others(self) -> set[NodeId]:
        return set(self._node.registry.members()) - {self._node.identity.node}

    def _chosen(self, whom: NodeId | None) -> list[NodeId]:
        """In a pool in which not everybody is linked with everybody, those linked say enough."""
        if whom is not None:
            return [whom] if whom != self._node.identity.node else []
        others = self._others()
        if not self._is_close():
            others &= set(self._node.peers.linked())
        return sorted(others, key=self._node.registry.name_of)

    def _is_close(self) -> bool:
        return len(self._node.registry.members()) <= FULL_MESH_NODES_MAX

    async def _member(self, whom: NodeId) -> Examined:
        async with self._slots:
            peers = self._node.peers
            if whom in peers.linked():
                examined = await self._neighbour(whom)
            else:
                examined = await self._stranger(whom)
            examined.found = diagnose(examined.facts, self._node.registry.name_of)
            return examined

    async def _neighbour(self, whom: NodeId) -> Examined:
        """A member with which there is a link: it is asked itself."""
        peers = self._node.peers
        forth, answer = await asyncio.gather(
            peers.probing.ways(whom), peers.probing.ask(whom, self._node.identity.node)
        )
        examined = Examined(whom, self._facts(whom, forth, answer))
        if answer is not None and not answer.refused:
            examined.asked = examined.facts.name
            examined.ahead_s = (answer.at_ms - wall_ms()) / 1000
        return examined

    async def _stranger(self, whom: NodeId) -> Examined:
        """A member with which there is no link: others are asked about it."""
        peers, name_of = self._node.peers, self._node.registry.name_of
        friends = sorted(peers.linked(), key=name_of)[:DOCTOR_WITNESSES_MAX]
        asking = asyncio.gather(*(peers.probing.ask(friend, whom) for friend in friends))
        forth, said = await asyncio.gather(peers.probing.ways(whom), asking)
        witnesses = [
            (friend, Witness(name_of(friend), one.standing, one.ways))
            for friend, one in zip(friends, said, strict=True)
            if one is not None and not one.refused
        ]
        answer, asked = None, ""
        for friend, witness in witnesses:
            if witness.standing == "linked":
                answer = await peers.probing.ask(friend, self._node.identity.node, through=whom)
                asked = witness.name if answer is not None and not answer.refused else ""
                break
        facts = self._facts(whom, forth, answer, tuple(witness for _, witness in witnesses))
        return Examined(whom, facts, asked)

    def _facts(
        self, whom: NodeId, forth: tuple[Way, ...], answer: Probed | None, witnesses: tuple[Witness, ...] = ()
    ) -> Facts:
        peers = self._node.peers
        link = peers.linked().get(whom)
        fault = peers.blame.remembered(whom)
        return Facts(
            name=self._node.registry.name_of(whom),
            linked="" if link is None else ("dialled" if link.connection.dialled else "accepted"),
            forth=_worth_telling(forth),
            back=None if answer is None or answer.refused else _worth_telling(answer.ways),
            cause=f"it broke the rules: {fault}" if fault else peers.last_cause.get(whom, ""),
            bye=peers.last_bye.get(whom, ""),
            witnesses=witnesses,
            close=self._is_close(),
        )

    def _tell_apart_removal(self, members: list[Examined]) -> None:
        """One member that refuses this node may not have heard of it yet. All whom it meets: it is off their roster."""
        met = [each for each in members if any(way.shown == each.node for way in each.facts.forth)]
        if not met or any(each.facts.linked or reached(each.facts.forth) for each in members):
            return
        for each in met:
            each.found = Diagnosis(
                Finding.FAIL,
                f"it refuses this node, as every member does that could be asked ({len(met)}): "
                "this node was most likely taken off the roster",
                "look on another node: meerkat nodes; to come back, move .meerkat away and join anew with an invite",
            )

    # ---- telling

    def _row(self, examined: Examined) -> Json:
        facts, name_of = examined.facts, self._node.registry.name_of
        link = self._node.peers.linked().get(examined.node)
        rtt = self._node.peers.rtt_ms(examined.node) if link is not None else None
        return {
            "node": examined.node,
            "name": facts.name,
            "state": examined.found.state,
            "text": examined.found.text,
            "fix": examined.found.fix,
            "link": facts.linked or None,
            "address": link.connection.address if link is not None else None,
            "rtt_ms": round(rtt, 1) if rtt is not None else None,
            "ways": [_way(way, told(way, name_of)) for way in facts.forth],
            "back": None if facts.back is None else [_way(way, told(way, name_of)) for way in facts.back],
            "asked": examined.asked or None,
            "through": [each.name for each in facts.witnesses if each.standing == "linked"],
        }


def _worth_telling(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    """Without the loopback addresses of another machine, which by their nature lead nowhere, or to this one."""
    elsewhere = tuple(way for way in ways if way.code not in _NOWHERE or not is_loopback(way.address))
    return elsewhere or ways


def _way(way: Way, text: str) -> Json:
    return {"address": way.address, "code": way.code, "text": text, "ms": way.ms}
