"""A copied folder takes a key and a name of its own, so that it and its original can both be members.

Steps, each durable before the next, so that a crash between any two ends well:

1. `identity.new` holds another key, and its admission by the old one (an invite and its use, signed). Made once, asked
   for again and again: the same operations, so never a second member.
2. A member has them and says so: `identity.new` becomes `identity.next`. From here there is no way back.
3. The node stops, or has died; whoever starts next makes `identity.next` its identity, and writes as a new author.

Without a member's word nothing changes: whoever claims falsely that a node is a copy costs it one new name in a long
while, and only if it then takes that node in under it.
"""

import asyncio
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from meerkat.model.fault import Fault
from meerkat.model.frame import PeerFault, RosterPart
from meerkat.model.limits import INVITE_LIFE_S_DEFAULT, NODE_NAME_CHARS_MAX, RENAMED_REST_S
from meerkat.model.roster import AddOp
from meerkat.node.home import Home
from meerkat.node.registry import Registry, wall_clock
from meerkat.store.roster import RosterStore
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity, IdentityFault
from meerkat.wire.invite import InviteSecret

log = logging.getLogger("meerkat.succession")

_SUFFIX = "-copy"
_STAMP = "renamed"


class Succession:
    """The way of one running node to another identity.

    Args:
        on_admitted: called once a member has taken in the new identity: this node has to stop now.
    """

    def __init__(
        self, home: Home, identity: Identity, registry: Registry, name: str, on_admitted: Callable[[], None]
    ) -> None:
        self._home = home
        self._identity = identity
        self._registry = registry
        self._name = name
        self._on_admitted = on_admitted
        self._lock = asyncio.Lock()
        self._asked_for: str | None = None
        self.done = False

    async def offer(self) -> RosterPart | None:
        """The admission of this node under another key; None when it took another one not long ago."""
        async with self._lock:
            if self.done or self._is_recent():
                return None
            part = await asyncio.to_thread(self._prepared)
            self._asked_for = rosterops.op_id(part.ops[-1].body).hex()
            return part

    async def admitted(self, number: str) -> None:
        """A member says that it has taken in the operation of that id."""
        async with self._lock:
            if self.done or number != self._asked_for:
                return
            await asyncio.to_thread(self._decide)
            self.done = True
        self._on_admitted()

    def _is_recent(self) -> bool:
        """Whoever sets the clock makes this happen earlier or later, nothing else."""
        try:
            then = int((self._home.identity / _STAMP).read_text())
        except (OSError, ValueError):
            return False
        return abs(wall_clock() - then) < RENAMED_REST_S

    def _prepared(self) -> RosterPart:
        folder = self._home.identity_in("new")
        if not folder.exists():
            made = self._home.identity_in("made")
            shutil.rmtree(made, ignore_errors=True)
            new, secret, now = Identity.create(), InviteSecret.new(), wall_clock()
            new.save(made)
            invite = rosterops.make_invite(
                self._registry.pool,
                self._identity,
                secret,
                uses=1,
                not_after=now + INVITE_LIFE_S_DEFAULT,
                made_at=now,
                signer_name=self._name,
            )
            add = rosterops.make_add(
                self._registry.pool, secret, rosterops.op_id(invite.body), new.certificate, self._free_name()
            )
            RosterStore(made / "roster").put_ops((invite, add))
            made.rename(folder)
            _sync(self._home.path)
        ops = RosterStore(folder / "roster").load().ops
        return RosterPart(ops=tuple(sorted(ops, key=lambda op: isinstance(rosterops.parse_op(op), AddOp))))

    def _free_name(self) -> str:
        taken = {member.name for member in self._registry.members().values()}
        for number in range(1, len(taken) + 2):
            suffix = _SUFFIX if number == 1 else f"{_SUFFIX}{number}"
            name = self._name[: NODE_NAME_CHARS_MAX - len(suffix)] + suffix
            if name not in taken:
                return name
        return f"{secrets.token_hex(4)}{_SUFFIX}"

    def _decide(self) -> None:
        self._home.identity_in("new").rename(self._home.identity_in("next"))
        _sync(self._home.path)


def succeed(home: Home) -> bool:
    """Make an identity that was admitted before the last stop, however it came, this folder's own (blocking).

    Raises:
        Fault: identity_damaged.
    """
    following, old = home.identity_in("next"), home.identity_in("old")
    shutil.rmtree(old, ignore_errors=True)
    if not following.exists():
        return False
    try:
        identity = Identity.load(following)
        ops = RosterStore(following / "roster").load().ops
        (name,) = {op.name for op in map(rosterops.parse_op, ops) if isinstance(op, AddOp)}
    except (IdentityFault, OSError, PeerFault, ValueError) as fault:
        raise Fault(
            "identity_damaged",
            f"this copy of a node cannot take its new name: {following}: {fault}",
            hint="move .meerkat away and join anew with an invite; the files stay",
        ) from None
    RosterStore(home.roster).put_ops(ops)
    home.config.name = name
    home.save()
    (home.identity / _STAMP).write_text(str(wall_clock()))
    identity.save(home.identity)
    following.rename(old)
    _sync(home.path)
    shutil.rmtree(old, ignore_errors=True)
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
