"""Dialling one member: its addresses shortly after each other, until one answers.

Several addresses are tried at once, each begun a moment after the one before or as soon as that one has failed (after
RFC 8305, "happy eyeballs"): an address that swallows packets costs that moment, not its whole time limit. Invariant: at
most one connection comes out; whatever answers after it is closed, what is still under way is cut.
"""

import asyncio
from collections import deque

from meerkat.model.ids import NodeId
from meerkat.model.limits import DIAL_STAGGER_S
from meerkat.model.member import Member
from meerkat.node.ports import Connection
from meerkat.node.registry import Registry
from meerkat.node.surroundings import Network
from meerkat.node.tasks import Tasks
from meerkat.wire.client import DialFailed

_TELLING = ("not_member", "another_node", "not_tls", "refused", "unreachable", "timed_out", "no_such_host", "broken")
"""Codes of failed dials, the one that says most of why there is no link first."""


class Dialling:
    """Makes connections to members."""

    def __init__(self, network: Network, registry: Registry, tasks: Tasks) -> None:
        self._network = network
        self._registry = registry
        self._tasks = tasks

    async def dial(self, node: NodeId) -> Connection:
        """A connection to the member, at whichever of its addresses answers first.

        Raises:
            DialFailed: none did; with the cause at each, and the code that says most.
        """
        member = self._registry.members().get(node)
        waiting = deque(self._registry.addresses(node))
        if member is None or not waiting:
            raise DialFailed("", "no_address", "it has told no address, it will dial itself")
        order = list(waiting)
        attempts: set[asyncio.Task[Connection | DialFailed]] = set()
        failures: dict[str, DialFailed] = {}
        winner: Connection | None = None
        try:
            while winner is None and (waiting or attempts):
                if waiting:
                    address = waiting.popleft()
                    attempts.add(self._tasks.spawn(f"dial {address}", self._try(address, member)))
                done, attempts = await asyncio.wait(
                    attempts, timeout=DIAL_STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    answer = task.result()
                    if isinstance(answer, DialFailed):
                        failures[answer.address] = answer
                    elif winner is None:
                        winner = answer
                    else:
                        self._close(answer)
        finally:
            for task in attempts:
                task.add_done_callback(self._close_late)
                task.cancel()
        if winner is None:
            raise _summary([failures[address] for address in order if address in failures])
        self._registry.answered(node, winner.address)
        return winner

    async def _try(self, address: str, member: Member) -> Connection | DialFailed:
        try:
            return await self._network.dial(address, member)
        except DialFailed as failure:
            return failure  # nothing unexpected: an address that does not answer

    def _close_late(self, task: "asyncio.Task[Connection | DialFailed]") -> None:
        if not task.cancelled() and task.exception() is None:
            answer = task.result()
            if not isinstance(answer, DialFailed):
                self._close(answer)

    def _close(self, connection: Connection) -> None:
        self._tasks.spawn("close a second connection", connection.close())


def _summary(failures: list[DialFailed]) -> DialFailed:
    """One failure that tells of all."""
    if len(failures) == 1:
        return failures[0]
    code = min((each.code for each in failures), key=lambda code: _TELLING.index(code) if code in _TELLING else 99)
    return DialFailed("", code, "; ".join(f"{each.address}: {each.cause}" for each in failures))
