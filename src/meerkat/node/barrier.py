"""The barrier: what was in the folder when it was called is on those nodes, and what they had announced is here.

It scans first, then compares vectors: a node has everything when its `complete` covers this node's context of that
moment. Vectors only grow, so nothing that happens meanwhile can make the answer wrong.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from meerkat.model.dot import Author, Vector, dominates, joined
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.member import NodeState
from meerkat.model.path import RelPath
from meerkat.model.problem import Reason
from meerkat.node.books import Books
from meerkat.node.gossip import Gossip
from meerkat.node.hub import Hub
from meerkat.node.outward import Outward
from meerkat.node.progress import Progress
from meerkat.node.tasks import until

BLOCKED_PATIENCE_S = 3.0
"""A blocked node may heal by itself within moments (a busy file); longer than this and a person is needed."""
PATIENCE = 5
"""Nothing is measured again for this many times as long as the last measuring took."""


class Waiting(Struct, frozen=True):
    """A node that lacks something, and why."""

    node: NodeId
    reason: str


class Barrier:
    def __init__(
        self,
        self_id: NodeId,
        books: Books,
        gossip: Gossip,
        outward: Outward,
        progress: Progress,
        hub: Hub,
        reachable: Callable[[], set[NodeId]],
        members: Callable[[], set[NodeId]],
    ) -> None:
        self._self_id = self_id
        self._books = books
        self._gossip = gossip
        self._outward = outward
        self._progress = progress
        self._hub = hub
        self._reachable = reachable
        self._members = members

    async def wait(
        self,
        whom: Callable[[], set[NodeId]],
        paths: list[RelPath],
        timeout_s: float,
        tell: Callable[[list[Waiting]], None],
    ) -> tuple[bool, list[Waiting]]:
        """Block until those nodes have everything (or the paths).

        Args:
            whom: the nodes waited for, asked again each time (reachable ones come and go).
            tell: called with who is still waited for, whenever that changes.

        Returns:
            whether all have it, and who has not.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        changed = self._progress.subscribe()
        waiting = [Waiting(self._self_id, "scanning")]
        blocked_since: float | None = None
        try:
            async with asyncio.timeout_at(deadline):
                await self._take_in_all(paths)
                ours, theirs = await self._target(paths)
                while True:
                    changed.clear()
                    began = loop.time()
                    await self._progress.measure()
                    cost = loop.time() - began
                    waiting = self._lacking(whom(), ours, theirs, everything=not paths)
                    tell(waiting)
                    if not waiting:
                        return True, []
                    stuck = [each for each in waiting if each.reason not in ("syncing", "offline", "no_source_online")]
                    blocked_since = (blocked_since or loop.time()) if stuck else None
                    if blocked_since is not None and loop.time() - blocked_since > BLOCKED_PATIENCE_S:
                        return False, waiting
                    await until(changed, 0.5)
                    # While much comes in, every measuring is news: whoever waits must not keep the index from it.
                    await asyncio.sleep(min(0.5, PATIENCE * cost))
        except TimeoutError:
            return False, waiting
        finally:
            self._progress.unsubscribe(changed)

    async def _take_in_all(self, paths: list[RelPath]) -> None:
        await self._books.recovered.wait()
        for path in paths:
            await self._outward.scan(path)
        if not paths:
            await self._outward.scan()

    async def _target(self, paths: list[RelPath]) -> tuple[dict[Author, int], dict[Author, int]]:
        """What the others must have, and what must be here: vectors of this moment."""
        announced: dict[Author, int] = {}
        for node in self._reachable() & self._gossip.latest.keys():
            announced = joined(announced, self._gossip.latest[node].context)
        if not paths:
            return dict(self._books.context), announced
        ours: dict[Author, int] = {}
        for path in paths:
            entries = await self._books.read(lambda view, path=path: list(view.entries(path)))  # type: ignore[misc]
            if not entries and not await self._books.read(lambda view, path=path: view.base(path)):  # type: ignore[misc]
                raise Fault(
                    "not_found",
                    f"{path!r} is not in the folder",
                    hint="meerkat wait without a path waits for all",
                    exit_code=Exit.NOT_FOUND,
                )
            for entry in entries:
                ours = joined(ours, {dot.author: dot.seq for dot in entry.siblings})
        return ours, announced

    def _lacking(self, nodes: set[NodeId], ours: Vector, theirs: Vector, *, everything: bool) -> list[Waiting]:
        waiting = []
        for node in sorted(nodes - {self._self_id}):
            summary = self._gossip.latest.get(node)
            if summary is not None and dominates(summary.complete, ours):
                continue
            if node not in self._reachable():
                waiting.append(Waiting(node, "offline"))
            elif summary is not None and summary.state is NodeState.BLOCKED and summary.reasons:
                waiting.append(Waiting(node, summary.reasons[0][1]))
            else:
                waiting.append(Waiting(node, "syncing"))
        if everything and not dominates(self._books.complete, theirs):
            blocked = self._hub.blocked()
            waiting.append(Waiting(self._self_id, blocked[0].reason.value if blocked else "syncing"))
        elif everything and self._books.held:
            waiting.append(Waiting(self._self_id, Reason.HELD.value))  # what went here went nowhere else
        return waiting
