"""The verbs of this machine's doors: what the command line asks is answered here, in the contract's JSON.

One method a verb; they parse arguments and call the rooms. No decision about syncing is made here.
"""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from meerkat.core.roster import InviteState
from meerkat.model.dot import dominates
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.limits import INVITE_LIFE_S_DEFAULT, NODE_NAME_CHARS_MAX
from meerkat.model.path import RelPath
from meerkat.node.arguments import Json, number, paths_in, text
from meerkat.node.barrier import Waiting
from meerkat.node.conflicts import list_conflicts
from meerkat.node.doctor import Doctor
from meerkat.node.hub import now_text
from meerkat.node.recall import Recall
from meerkat.node.registry import MARKS_OF_INVITE, is_overused, is_usable, wall_clock
from meerkat.node.why import Why
from meerkat.wire.control import ControlFault, Result
from meerkat.wire.interfaces import for_elsewhere

if TYPE_CHECKING:
    from meerkat.node.node import Node

ANSWER_HEAD_START_S = 0.05

Answers = AsyncIterator[Json | Result]


class Control:
    """Answers the control service for one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._reasons = Why(
            node.identity.node, node.root, node.books, node.hub, node.gossip, node.status, node.rules.ignored
        )
        self._verbs: dict[str, Callable[[Json], Answers]] = {
            "status": self._status,
            "why": self._why,
            "nodes": self._nodes,
            "doctor": self._doctor,
            "nodes_rename": self._nodes_rename,
            "nodes_remove": self._nodes_remove,
            "invite": self._invite,
            "invite_list": self._invite_list,
            "invite_revoke": self._invite_revoke,
            "wait": self._wait,
            "conflicts": self._conflicts,
            "scan": self._scan,
            "events": self._events,
            "leave": self._leave,
            "down": self._down,
            **Recall(node).verbs,
        }

    async def handle(self, verb: str, arguments: Json) -> Answers:
        """Answer one call.

        Raises:
            ControlFault: what the caller is to be shown.
        """
        answer = self._verbs.get(verb)
        if answer is None:
            raise ControlFault(
                "unknown_verb", f"this node does not know {verb!r}", hint="is it older than the command?"
            )
        try:
            async for each in answer(arguments):
                yield each
        except Fault as fault:
            raise ControlFault(fault.code, fault.message, fault.cause, fault.hint, fault.exit_code) from fault

    # ---- see

    async def _status(self, _: Json) -> Answers:
        yield Result(await self._node.status.snapshot())

    async def _why(self, arguments: Json) -> Answers:
        paths = paths_in(arguments)
        yield Result(await self._reasons.path(paths[0]) if paths else await self._reasons.everything())

    async def _nodes(self, _: Json) -> Answers:
        yield Result(self._node.status.nodes())  # type: ignore[arg-type]  # the contract wants a list here

    async def _doctor(self, arguments: Json) -> Answers:
        named = arguments.get("node")
        yield Result(await Doctor(self._node).examine(self._find_node(str(named)) if named else None))

    async def _conflicts(self, _: Json) -> Answers:
        node = self._node
        found = await node.books.read(lambda view: list_conflicts(view, node.registry.name_of))
        yield Result(found)  # type: ignore[arg-type]  # the contract wants a list here

    async def _events(self, arguments: Json) -> Answers:
        since = arguments.get("since")
        async for event in self._node.hub.events(since if isinstance(since, int) else None):
            yield event

    # ---- pool

    async def _nodes_rename(self, arguments: Json) -> Answers:
        name = text(arguments, "name")
        if not name or len(name) > NODE_NAME_CHARS_MAX or not name.isprintable():
            raise Fault(
                "bad_value", f"a name has 1 to {NODE_NAME_CHARS_MAX} printable characters", exit_code=Exit.USAGE
            )
        await self._node.rename(name)
        yield Result({"node": self._node.identity.node, "name": name})

    async def _nodes_remove(self, arguments: Json) -> Answers:
        node = self._find_node(text(arguments, "node"))
        if node == self._node.identity.node:
            raise Fault("refused", "that is this node", hint="meerkat leave takes it out", exit_code=Exit.REFUSED)
        name = self._node.registry.name_of(node)
        await self._node.registry.remove(node, "removed")
        yield Result({"node": node, "name": name})

    async def _invite(self, arguments: Json) -> Answers:
        node = self._node
        code, state = await node.registry.invite(
            node.name,
            for_elsewhere(node.addresses()),
            uses=int(number(arguments, "uses", 1)),
            life_s=int(number(arguments, "for", INVITE_LIFE_S_DEFAULT)),
        )
        yield Result(
            {
                "code": code,
                "command": f"meerkat join {code} {shlex.quote(node.home.folder.name or 'shared')}",
                **_invite_row(state),
            }
        )

    async def _invite_list(self, _: Json) -> Answers:
        """Those that can be used, and those that were used by more than they are for: people have to know."""
        now, registry = wall_clock(), self._node.registry
        suspended = registry.suspended()
        rows = [
            _invite_row(state) | {"suspended": [one.name for one in suspended.values() if one.invite == state.id]}
            for state in registry.invites()
            if is_usable(state, now) or is_overused(state, suspended.values())
        ]
        yield Result(rows)  # type: ignore[arg-type]  # the contract wants a list here

    async def _invite_revoke(self, arguments: Json) -> Answers:
        state = await self._node.registry.revoke(text(arguments, "id"))
        yield Result(_invite_row(state) | {"revoked": True})

    async def _leave(self, arguments: Json) -> Answers:
        node = self._node
        others = set(node.registry.members()) - {node.identity.node}
        if others and not arguments.get("yes") and not await self._is_elsewhere(others):
            raise Fault(
                "only_copy",
                "no other node is known to have everything that is here",
                cause="some of it may be on this node alone",
                hint="meerkat wait first, or meerkat leave --yes; the files stay here in any case",
                exit_code=Exit.REFUSED,
            )
        await node.leave()
        self._stop_soon()
        yield Result({"pool": node.home.config.pool, "node": node.identity.node, "dir": str(node.home.folder)})

    async def _is_elsewhere(self, others: set[NodeId]) -> bool:
        """True when one of the others is known to have everything that is in the folder now."""
        node = self._node
        await node.outward.scan()
        return not node.books.recovering and any(
            dominates(summary.complete, node.books.context)
            for each, summary in node.gossip.latest.items()
            if each in others
        )

    def _stop_soon(self) -> None:
        """After the answer: an answer that stops the node must not be lost with it."""
        asyncio.get_running_loop().call_later(ANSWER_HEAD_START_S, self._node.stopping.set)

    async def _down(self, _: Json) -> Answers:
        self._stop_soon()
        yield Result(
            {"node": self._node.identity.node, "dir": str(self._node.home.folder), "pid": self._node.ready()["pid"]}
        )

    # ---- act

    async def _scan(self, arguments: Json) -> Answers:
        paths = paths_in(arguments)
        began = time.monotonic()
        scanned = changes = 0
        for path in paths or [RelPath("")]:
            report = await self._node.outward.scan(path)
            scanned += report.scanned
            changes += report.changes
        yield Result({"scanned": scanned, "changes": changes, "seconds": round(time.monotonic() - began, 3)})

    async def _wait(self, arguments: Json) -> Answers:
        node = self._node
        named = str(arguments.get("nodes") or "reachable")
        paths = paths_in(arguments)
        timeout = number(arguments, "timeout", 60.0)
        if named == "reachable":
            whom = node.status.reachable
        elif named == "all":
            whom = lambda: set(node.registry.members())  # noqa: E731  # beside its two siblings
        else:
            wanted = {self._find_node(named)}
            whom = lambda: wanted  # noqa: E731
        told: asyncio.Queue[list[Waiting]] = asyncio.Queue()
        began = time.monotonic()
        work = node.tasks.spawn("wait", node.barrier.wait(whom, paths, timeout, told.put_nowait))
        try:
            while not work.done():
                news = asyncio.ensure_future(told.get())
                await asyncio.wait({work, news}, return_when=asyncio.FIRST_COMPLETED)
                if news.done():
                    yield {"waiting_for": [self._waiting_row(each) for each in news.result()]}
                else:
                    news.cancel()
            done, waiting = work.result()
        finally:
            work.cancel()
        seconds = round(time.monotonic() - began, 3)
        yield Result({"done": done, "seconds": seconds, "waiting_for": [self._waiting_row(each) for each in waiting]})

    # ---- arguments

    def _waiting_row(self, waiting: Waiting) -> Json:
        return {"node": waiting.node, "name": self._node.registry.name_of(waiting.node), "reason": waiting.reason}

    def _find_node(self, text: str) -> NodeId:
        """A member by its name or the beginning of its id."""
        members = self._node.registry.members()
        named = [node for node, member in members.items() if member.name == text]
        found = named or [node for node in members if len(text) >= 4 and node.startswith(text)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(member.name for member in members.values()))
        what = "no node is" if not found else f"{len(found)} nodes are"
        hint = f"members: {names}" if not found else "name it by the beginning of its id: meerkat nodes --json"
        raise Fault("not_found", f"{what} called {text!r}", hint=hint, exit_code=Exit.NOT_FOUND)


def _invite_row(state: InviteState) -> Json:
    return {
        "id": state.id.hex()[:MARKS_OF_INVITE],
        "expires_at": now_text(state.not_after),
        "uses_left": 0 if state.revoked else max(0, state.uses - state.used),
        "uses": state.uses,
        "used": state.used,
        "made_by": state.signer_name,
    }
