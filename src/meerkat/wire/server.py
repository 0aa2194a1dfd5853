"""The pool's port: putting a link's three streams together, and answering newcomers.

Invariant: a connection reaches the engine only when all three of its streams are here, come from one member, and that
node is still on the roster. Who may call at all is decided in `gate`, before anything here runs.
"""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import grpc
import grpc.aio

from meerkat.core.pace import Pace
from meerkat.core.roster import InviteState
from meerkat.model.frame import JoinAnswer, JoinAsk, PeerFault
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    JOIN_ASK_S,
    JOIN_PLAN_COST,
    JOIN_STALL_S,
    LINK_OPENS_BURST,
    LINK_OPENS_PER_S,
    LINKS_PER_NODE_MAX,
    RPCS_MAX,
    STREAMS_GATHER_S,
    STREAMS_GATHERING_MAX,
)
from meerkat.wire.address import AddressFault, parse_address
from meerkat.wire.connection import (
    LINK_ID_CHARS,
    LINK_KEY,
    SERVICE,
    STREAMS,
    WireConnection,
    carry_pipe,
    index_pipe,
    link_pipe,
)
from meerkat.wire.convert import decode_join_ask, encode_join_answer
from meerkat.wire.gate import Context, Doorkeeper, Requests, Roots, deny, peer_fingerprint
from meerkat.wire.gate import Gate as Gate
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import join_claim, join_proof
from meerkat.wire.porch import Crowded, Porch
from meerkat.wire.transport import connections_max, server_options

logger = logging.getLogger(__name__)

_LINK_ID = re.compile(rf"[0-9a-f]{{{LINK_ID_CHARS}}}\Z")


class ListenFault(Exception):
    """The port cannot be served; the message names the address and the cause."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(f"cannot listen on {address}: {cause}")
        self.address = address
        self.cause = cause


class PortInUse(ListenFault):
    """Another process serves that port."""


OnConnection = Callable[[WireConnection], Awaitable[None]]
OnJoin = Callable[[JoinAsk, InviteState], AsyncGenerator[JoinAnswer, None]]


class Server:
    """Serves the pool's port.

    Args:
        identity: this node's.
        gate: the roster's answers.
        listen: HOST:PORT; port 0 picks a free one.
        on_connection: called with each link that stands; may return at once or stay.
        on_join: answers a newcomer whose invite's certificate is known.
    """

    def __init__(
        self, identity: Identity, gate: Gate, listen: str, on_connection: OnConnection, on_join: OnJoin
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._listen = listen
        self._on_connection = on_connection
        self._on_join = on_join
        self._porch = Porch()
        self._paces: dict[NodeId, Pace] = {}  # of everybody who ever was a member: as bounded as the roster
        self._gatherings: dict[tuple[NodeId, str], _Gathering] = {}
        self._connections: set[WireConnection] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> str:
        """Begin to serve; the HOST:PORT that is bound.

        Raises:
            PortInUse: somebody else has the port.
            ListenFault: the address is not ours, not allowed, or not an address.
        """
        try:
            address = parse_address(self._listen, port_min=0)
        except AddressFault as fault:
            raise ListenFault(self._listen, str(fault)) from None
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Join": grpc.stream_stream_rpc_method_handler(self._join),
            **{name: grpc.stream_stream_rpc_method_handler(self._stream_handler(name)) for name in STREAMS},
        }
        server = grpc.aio.server(
            interceptors=[Doorkeeper(self._gate)],
            options=server_options(connections_max()),
            maximum_concurrent_rpcs=RPCS_MAX,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            port = server.add_secure_port(str(address), Roots(self._identity, self._gate).credentials())
        except RuntimeError as fault:
            raise await asyncio.to_thread(_why_not_bound, str(address), address.host, address.port, fault) from None
        await server.start()
        self._server = server
        return str(address._replace(port=port))

    async def stop(self) -> None:
        """Close all connections that came in (what was sent on their links leaves first) and the port."""
        await asyncio.gather(*(connection.close("this node stops") for connection in list(self._connections)))
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    # ---- Join

    async def _join(self, _: Requests, context: Context) -> None:
        invite = self._gate.invite_of(peer_fingerprint(context))
        if invite is None:
            await deny(context, grpc.StatusCode.UNAUTHENTICATED, "not known here")
        try:
            with self._porch.place(invite.fingerprint):
                await self._receive(invite, context)
        except Crowded:
            await deny(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many newcomers at once")
        except TimeoutError:
            await deny(context, grpc.StatusCode.DEADLINE_EXCEEDED, "too slow")

    async def _receive(self, invite: InviteState, context: Context) -> None:
        async with asyncio.timeout(JOIN_ASK_S):
            request = await context.read()
        try:
            ask = decode_join_ask(request if isinstance(request, bytes) else b"")
        except PeerFault as fault:
            await deny(context, grpc.StatusCode.INVALID_ARGUMENT, str(fault))
        covered = {
            "nonce": ask.nonce,
            "invite": invite.certificate,
            "sponsor": self._identity.certificate,
            "newcomer": ask.certificate,
        }
        if not verify(ask.certificate, join_claim(**covered), ask.claim):
            await deny(context, grpc.StatusCode.INVALID_ARGUMENT, "the certificate is not shown to be the newcomer's")
        if ask.plan:
            self._porch.charge(invite.fingerprint, JOIN_PLAN_COST)
        # The proof goes out alone and first: a newcomer may not rely on anything that comes before it.
        proof = join_proof(invite.proof_key, **covered)
        await _tell(context, JoinAnswer(proof=proof, invite=invite.id))
        async with aclosing(self._on_join(ask, invite)) as answers:
            async for answer in answers:
                await _tell(context, answer)

    # ---- Link, Index, Carry

    def _stream_handler(self, name: str) -> Callable[[Requests, Context], Awaitable[None]]:
        async def handle(_: Requests, context: Context) -> None:
            await self._gather(name, context)

        return handle

    async def _gather(self, name: str, context: Context) -> None:
        """Hold one of a link's streams until the others are here, then for as long as the connection lives."""
        node = self._gate.member_of(peer_fingerprint(context))
        link_id = _link_id(context)
        if node is None:
            await deny(context, grpc.StatusCode.UNAUTHENTICATED, "not known here")
        if link_id is None:
            await deny(context, grpc.StatusCode.INVALID_ARGUMENT, f"{LINK_KEY} is missing or malformed")
        key = (node, link_id)
        gathering = self._gatherings.get(key)
        if gathering is None:
            if len(self._gatherings) >= STREAMS_GATHERING_MAX:
                await deny(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many links are being opened")
            if self._links_of(node) >= LINKS_PER_NODE_MAX:
                await deny(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many links from this member")
            if not self._may_open(node):
                await deny(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "this member opens links without end")
            gathering = self._gatherings[key] = _Gathering()
        if name in gathering.contexts:
            await deny(context, grpc.StatusCode.ALREADY_EXISTS, "this link has that stream already")
        gathering.contexts[name] = context
        try:
            if len(gathering.contexts) == len(STREAMS):
                await self._stand(node, gathering)
            async with asyncio.timeout(STREAMS_GATHER_S):
                connection = await asyncio.shield(gathering.standing)
        except TimeoutError:
            await deny(context, grpc.StatusCode.DEADLINE_EXCEEDED, "the link's other streams did not come")
        finally:
            gathering.contexts.pop(name, None)
            if not gathering.contexts:
                self._gatherings.pop(key, None)
        await self._hold(name, connection, context)

    def _may_open(self, node: NodeId) -> bool:
        pace = self._paces.setdefault(node, Pace(LINK_OPENS_PER_S, LINK_OPENS_BURST))
        return pace.afford(1, asyncio.get_running_loop().time())

    def _links_of(self, node: NodeId) -> int:
        """Links of that member, half-arrived ones too: nobody may take all the room there is."""
        arriving = sum(member == node for member, _ in self._gatherings)
        return arriving + sum(connection.peer == node for connection in self._connections)

    async def _stand(self, node: NodeId, gathering: "_Gathering") -> None:
        """Make the connection of a complete gathering. Where a stream breaks meanwhile, the others run into their
        time limit."""
        contexts = dict(gathering.contexts)
        for context in contexts.values():
            # Said on all three before anything is written: a write would send the metadata without our word.
            await context.send_initial_metadata(((LINK_KEY, "stands"),))
        name = f"from {node[:8]}"

        def nothing() -> None:
            """A served stream ends when its handler returns."""

        connection = WireConnection(
            node,
            dialled=False,
            address=_address_of(contexts["Link"]),
            link=link_pipe(name, contexts["Link"], nothing, None),
            index=index_pipe(name, contexts["Index"], nothing, None),
            carry=carry_pipe(name, contexts["Carry"], nothing, None),
        )
        connection.start()
        gathering.standing.set_result(connection)

    async def _hold(self, name: str, connection: WireConnection, context: Context) -> None:
        pipe = connection.pipe(name)
        try:
            # The roster may have changed while the streams gathered.
            if self._gate.member_of(peer_fingerprint(context)) != connection.peer:
                await deny(context, grpc.StatusCode.UNAUTHENTICATED, "not known here")
            if name == "Link":
                await self._serve(connection)
            await pipe.ended()
        finally:
            pipe.end("the other side broke the connection")

    async def _serve(self, connection: WireConnection) -> None:
        self._connections.add(connection)
        try:
            await self._on_connection(connection)
            await connection.ended()
        finally:
            self._connections.discard(connection)


class _Gathering:
    """The streams of one link that have come so far."""

    def __init__(self) -> None:
        self.contexts: dict[str, Context] = {}
        self.standing: asyncio.Future[WireConnection] = asyncio.get_running_loop().create_future()


async def _tell(context: Context, answer: JoinAnswer) -> None:
    """Raises `TimeoutError` when the newcomer does not read."""
    async with asyncio.timeout(JOIN_STALL_S):
        await context.write(encode_join_answer(answer))


def _link_id(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == LINK_KEY:
            return value if isinstance(value, str) and _LINK_ID.match(value) else None
    return None


def _address_of(context: Context) -> str:
    """The peer's HOST:PORT as this side sees it; gRPC spells it `ipv4:1.2.3.4:5` or `ipv6:%5B::1%5D:5`."""
    _, _, address = context.peer().partition(":")
    return address.replace("%5B", "[").replace("%5D", "]").replace("%25", "%")


def _why_not_bound(address: str, host: str, port: int, fault: RuntimeError) -> ListenFault:
    """gRPC only says that it failed; the same bind by hand says why."""
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen(1)
    except OSError as cause:
        if cause.errno == errno.EADDRINUSE:
            return PortInUse(address, "another process uses this port")
        return ListenFault(address, cause.strerror or str(cause))
    return ListenFault(address, str(fault))
