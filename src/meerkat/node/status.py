"""The one picture of pool, nodes and this node that every face shows; the fields are the contract's."""

import os
from pathlib import Path

from meerkat.core.membership import Suspended
from meerkat.model.dot import dominates
from meerkat.model.ids import NodeId
from meerkat.model.member import NodeState
from meerkat.model.problem import Problem, next_step
from meerkat.node.books import Books
from meerkat.node.census import Census, surplus_cause
from meerkat.node.gossip import Gossip
from meerkat.node.hub import Hub, now_text
from meerkat.node.outward import Outward
from meerkat.node.peers import Peers
from meerkat.node.progress import Progress
from meerkat.node.registry import Registry

Json = dict[str, object]


class Status:
    """Answers how things stand."""

    def __init__(
        self,
        self_id: NodeId,
        folder: Path,
        registry: Registry,
        books: Books,
        hub: Hub,
        gossip: Gossip,
        peers: Peers,
        outward: Outward,
        progress: Progress,
        census: Census,
    ) -> None:
        self._self_id = self_id
        self._folder = folder
        self._registry = registry
        self._books = books
        self._hub = hub
        self._gossip = gossip
        self._peers = peers
        self._outward = outward
        self._progress = progress
        self._census = census
        self.name = ""
        self.listen = ""

    def reachable(self) -> set[NodeId]:
        """Members that are linked, or linked with somebody who is."""
        return set(self._peers.vigil.within)

    def state(self) -> str:
        """One word for this node's view of the pool."""
        if self._hub.blocked() or self._census.refused_by():
            return "attention"
        context = self._books.context
        linked = self._peers.linked()
        here = self._progress.state is NodeState.UP_TO_DATE and not self._outward.busy
        if here and not linked:
            return "alone"
        there = True
        for node in linked:
            summary = self._gossip.latest.get(node)
            if summary is None or not dominates(summary.complete, context):
                if summary is not None and summary.state is NodeState.BLOCKED:
                    return "attention"
                there = False
            elif not dominates(self._books.complete, summary.context):
                here = False
        return "in_sync" if here and there else "syncing"

    async def snapshot(self) -> Json:
        """`meerkat status --json`."""
        await self._progress.measure()
        totals = self._books.totals
        sent, received = self._peers.traffic
        unsettled = await self._books.read(lambda view: len(view.conflicted()))
        blocked = self._hub.blocked()
        return {
            "pool": self._registry.pool,
            "node": self._self_id,
            "name": self.name,
            "dir": str(self._folder),
            "state": self.state(),
            "files": totals.files,
            "folders": totals.folders,
            "bytes": totals.bytes,
            "behind": {"files": totals.behind_files, "bytes": totals.behind_bytes},
            "conflicts": len(self._books.copies) + unsettled,
            "held": self._books.held,
            "blocked": len(blocked),
            "problems": self._problems(),
            "refused_by": self._census.refused_by(),
            "nodes": self.nodes(),
            "traffic": {"sent_bytes": sent, "received_bytes": received, "reused_bytes": self._hub.traffic.reused},
            "memory_bytes": memory_bytes(),
            "listen": self.listen,
        }

    def _problems(self) -> list[Json]:
        shown = [_problem(self._self_id, problem) for problem in self._hub.problems()]
        for node, summary in self._gossip.latest.items():
            if node != self._self_id and node in self._registry.members():
                for path, reason, text in summary.reasons:
                    row: Json = {"path": path, "node": node, "reason": reason, "text": text}
                    shown.append(row | {"hint": next_step(reason)})
        return shown

    def nodes(self) -> list[Json]:
        """`meerkat nodes --json`."""
        members = self._registry.members()
        rows = [self._node(node) for node in sorted(members, key=lambda node: (members[node].name, node))]
        rows += [self._suspended(node, one) for node, one in self._registry.suspended().items()]
        return sorted(rows, key=lambda row: not row["self"])

    def _suspended(self, node: NodeId, one: Suspended) -> Json:
        """No member, but people look for it here."""
        unknown: Json = dict.fromkeys(("behind_files", "last_seen", "address", "rtt_ms", "link"))
        cause = surplus_cause(one.signer_name)
        return {"node": node, "name": one.name, "self": False, "state": "blocked", "cause": cause} | unknown

    def _cause(self, node: NodeId, *, linked: bool, there: bool) -> str | None:
        """Why there is no link: what the member did wrong is told rather than how the last dial ended."""
        if not linked and (fault := self._peers.blame.remembered(node)):
            return f"it broke the rules: {fault}"
        return None if there else self._peers.last_cause.get(node)

    def _node(self, node: NodeId) -> Json:
        member = self._registry.members()[node]
        addresses = self._registry.addresses(node)
        row: Json = {"node": node, "name": member.name, "self": node == self._self_id}
        if node == self._self_id:
            return row | {
                "state": self._progress.state.value,
                "behind_files": self._books.totals.behind_files,
                "last_seen": now_text(),
                "address": self.listen or None,
                "rtt_ms": 0.0,
                "link": None,
                "cause": None,
            }
        link = self._peers.linked().get(node)
        summary = self._gossip.latest.get(node)
        there = link is not None or node in self._peers.vigil.within
        state = NodeState.OFFLINE
        if there:
            state = summary.state if summary is not None else NodeState.UNKNOWN
            if (
                summary is not None
                and state is NodeState.UP_TO_DATE
                and not dominates(summary.complete, self._books.context)
            ):
                state = NodeState.SYNCING
        rtt = self._peers.rtt_ms(node) if link is not None else None
        return row | {
            "state": state.value,
            "behind_files": summary.behind_files if summary is not None else None,
            "last_seen": now_text() if there else self._peers.last_seen.get(node),
            "address": link.connection.address if link is not None else (addresses[0] if addresses else None),
            "rtt_ms": round(rtt, 1) if rtt is not None else None,
            "link": None if link is None else ("dialled" if link.connection.dialled else "accepted"),
            "cause": self._cause(node, linked=link is not None, there=there),
        }


def _problem(node: NodeId, problem: Problem) -> Json:
    return {
        "path": problem.path,
        "node": node,
        "reason": problem.reason.value,
        "text": problem.text,
        "hint": problem.hint,
    }


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the platform does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * _page_bytes()
    except (OSError, ValueError, IndexError):
        return 0


def _page_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE")
