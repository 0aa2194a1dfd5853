"""Links whose one end the test speaks itself, as a member does or as no honest one would."""

import asyncio

from node_pool import NodePool, Running
from node_rooms import WITHIN_S, until

from meerkat import __version__
from meerkat.model.frame import PROTOCOL_VERSION_MAX, Bye, Hello
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import DIAL_TIMEOUT_S
from meerkat.wire.client import dial
from meerkat.wire.connection import WireConnection
from meerkat.wire.identity import Identity


async def member_that_is_off(nodes: NodePool, ada: Running) -> Identity:
    """A member of ada's pool whose lines the test speaks itself."""
    bob = await nodes.join("bob", ada)
    await nodes.linked()
    identity = bob.node.identity
    await nodes.stop(bob)
    await until("the link is gone", lambda: not ada.linked())
    return identity


async def dialled(ada: Running, identity: Identity) -> WireConnection:
    return await dial(ada.address, ada.node.registry.members()[ada.id], identity, DIAL_TIMEOUT_S)


def hello(
    ada: Running,
    node: NodeId,
    *,
    pool_id: str = "",
    run: bytes = b"r" * 16,
    version: int = PROTOCOL_VERSION_MAX,
    features: tuple[str, ...] = (),
) -> Hello:
    """A greeting as the member would say it."""
    return Hello(
        pool=PoolId(pool_id) if pool_id else ada.node.registry.pool,
        node=node,
        run=run,
        version_min=version,
        version_max=version,
        features=features,
        context=ada.node.books.context,
        floor={},
        fingerprint=ada.node.books.fingerprint,
        roster_digest=ada.node.registry.digest(),
        software=f"meerkat {__version__}",
    )


async def farewell(connection: WireConnection) -> Bye:
    """The goodbye that ends a link."""
    async with asyncio.timeout(WITHIN_S):
        async for frame in connection.link.frames():
            if isinstance(frame, Bye):
                return frame
    raise AssertionError("it ended without a goodbye")


async def greeted(ada: Running, identity: Identity, greeting: Hello) -> WireConnection:
    connection = await dialled(ada, identity)
    await connection.link.send(greeting)
    return connection
