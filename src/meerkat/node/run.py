"""Running the node of one folder, from opening it to giving it back: what the command line and programs call."""

import asyncio
import logging
import os
import shutil
from pathlib import Path

from msgspec.structs import replace

from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault
from meerkat.node.home import Home, open_home
from meerkat.node.join import parse_code
from meerkat.node.memory import Heap
from meerkat.node.node import Node, OnPlan, OnReady
from meerkat.node.succession import succeed
from meerkat.store.errors import IndexDamaged
from meerkat.store.index import Index
from meerkat.wire.identity import Identity, IdentityFault

log = logging.getLogger("meerkat.run")


async def run_node(settings: Settings, on_ready: OnReady, stop: asyncio.Event, on_plan: OnPlan | None) -> None:
    """Run the node of a folder until `stop` is set (or a `down`, `leave` or fatal trouble ends it).

    Args:
        on_ready: called once, when other nodes can connect, with the contract's `ready` object.
        on_plan: asked before a join mixes this folder's files with the pool's; False ends without joining.

    Raises:
        Fault: whatever is wrong with the folder, the port or the invite; nothing was lost.
    """
    Heap().share()
    invite = parse_code(settings.invite) if settings.invite is not None else None
    folder = Path(os.path.realpath(settings.directory))
    home = open_home(folder)
    made = not home.config.pool
    try:
        if invite is not None and not made and home.config.pool != invite.pool:
            raise Fault(
                "other_pool",
                f"{folder} belongs to another pool than this invite",
                hint="join with another folder, or leave that pool first: meerkat leave",
                exit_code=Exit.REFUSED,
            )
        if succeed(home):
            settings = replace(settings, name=None)
        identity = _identity(home)
        node = Node(home, identity, settings)
        if made and not await node.become_member(invite, on_plan):
            return
        made = False
        node = await _live(node, on_ready, stop)
        while succeed(home) and not stop.is_set():
            # A copy of another node goes on under a name of its own; for whoever started it it is the same node.
            settings = replace(settings, name=None)
            node = Node(home, Identity.load(home.identity), settings)
            node.was_copy = True
            node = await _live(node, lambda ready: None, stop)
        if node.left:
            home.forget()
    finally:
        home.close()
        if made and not home.asked_to_join:
            shutil.rmtree(home.path, ignore_errors=True)


async def _live(node: Node, on_ready: OnReady, stop: asyncio.Event) -> Node:
    """Run a node to its end; the one that ended, which is another when the index was found damaged."""
    try:
        await node.run(on_ready, stop)
    except IndexDamaged as error:
        # The disk and the pool still have everything: begin a new index and learn it again (R11).
        log.error("the index was found damaged while running (%s): it is set aside and made anew", error)
        Index.set_aside(node.home.index)
        node = Node(node.home, node.identity, node.settings)
        await node.run(lambda ready: None, stop)
    return node


def _identity(home: Home) -> Identity:
    """The node's key; made once. A key that cannot be read is never replaced: the pool knows this node by it."""
    if not any(home.identity.iterdir()) and not home.config.pool:
        identity = Identity.create()
        identity.save(home.identity)
        return identity
    try:
        return Identity.load(home.identity)
    except (IdentityFault, FileNotFoundError) as fault:
        raise Fault(
            "identity_damaged",
            str(fault),
            hint="restore .meerkat/identity from a backup; or move .meerkat away and join anew, the files stay",
        ) from None
