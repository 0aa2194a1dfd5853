"""A newcomer whose sponsor has died shows its invite to the others.

Between the sponsor's answer and the moment when somebody else has heard of it, one member alone knows of a new node.
If that one goes for good, the others would refuse the newcomer for ever, and rightly so. So the newcomer keeps its
invite beside its key until enough members have taken it, and shows it to whoever refuses it: the same admission again,
which is no second member.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Set
from pathlib import Path

from meerkat.model.frame import RosterPart
from meerkat.model.ids import NodeId
from meerkat.model.limits import JOIN_TIMEOUT_S
from meerkat.node.census import Census
from meerkat.node.home import Home
from meerkat.node.registry import Registry
from meerkat.node.tasks import Tasks
from meerkat.wire.client import DialFailed
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteCode, InviteFault, decode_invite, encode_invite
from meerkat.wire.joining import JoinRefused, join

log = logging.getLogger("meerkat.rejoin")

_FILE = "invite"
_TAKERS_ENOUGH = 2


def keep_invite(home: Home, invite: InviteCode, name: str) -> None:
    """Remember by which invite, and under which name, this node joins (blocking; durable when this returns)."""
    place = home.identity / _FILE
    kept = {"code": encode_invite(invite.pool, invite.secret, invite.addresses), "name": name}
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(kept, file)
        file.flush()
        os.fsync(file.fileno())


def _kept(place: Path) -> tuple[InviteCode, str] | None:
    try:
        values = json.loads(place.read_text("utf-8"))
        return decode_invite(values["code"]), str(values["name"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, InviteFault) as fault:
        log.warning("%s cannot be read: %s", place, fault)
        return None


class Rejoin:
    """What this node does about members that refuse it.

    Attributes:
        on_known: called with a member that has taken this node in just now.
    """

    def __init__(self, home: Home, identity: Identity, registry: Registry, census: Census, tasks: Tasks) -> None:
        self._place = home.identity / _FILE
        self._identity = identity
        self._registry = registry
        self._census = census
        self._tasks = tasks
        self._invite = _kept(self._place)
        self._asking = asyncio.Lock()
        self.on_known: Callable[[NodeId], None] = lambda node: None

    def refused(self, node: NodeId) -> None:
        """The member showed its certificate, and would not have ours."""
        self._census.refused(node)
        if self._invite is not None and not self._asking.locked():
            self._tasks.spawn(f"join again through {node}", self._ask(node))

    def linked(self, nodes: Set[NodeId]) -> None:
        """These take this node for a member."""
        self._census.linked(nodes)
        if len(nodes) >= min(_TAKERS_ENOUGH, len(self._registry.members()) - 1) and nodes:
            self._forget()

    def _forget(self) -> None:
        if self._invite is not None:
            self._invite = None
            self._place.unlink(missing_ok=True)

    async def _ask(self, node: NodeId) -> None:
        async with self._asking:
            for address in self._registry.addresses(node):
                if self._invite is None:
                    return
                invite, name = self._invite
                try:
                    joined = await join(address, invite, self._identity, name, [], JOIN_TIMEOUT_S)
                except DialFailed:
                    continue
                except JoinRefused as fault:
                    log.warning("%s does not take this node in: %s", self._registry.name_of(node), fault)
                    return
                await self._registry.take_in(RosterPart(joined.ops, joined.records))
                self.on_known(node)
                return
