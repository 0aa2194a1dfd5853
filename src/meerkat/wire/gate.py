"""Who may call what: the TLS roots, and the check of every single call.

Invariants: every call's peer certificate is compared with the roster by fingerprint before anything else happens (TLS
alone accepts leaves that a member's key has signed, and lets a removed member keep its open connection); what is not
in `ACCESS` is denied, whatever it is; an invite's certificate may call Join and nothing else.
"""

import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio

from meerkat.core.roster import InviteState
from meerkat.model.ids import NodeId
from meerkat.wire.connection import SERVICE
from meerkat.wire.identity import Identity, fingerprint_of, pem_of

Context = grpc.aio.ServicerContext[bytes, bytes]
Requests = AsyncIterator[bytes]


class Caller(Enum):
    """Who may call a method."""

    MEMBER = "member"
    INVITE = "invite"


ACCESS = {
    f"/{SERVICE}/Join": Caller.INVITE,
    f"/{SERVICE}/Link": Caller.MEMBER,
    f"/{SERVICE}/Index": Caller.MEMBER,
    f"/{SERVICE}/Carry": Caller.MEMBER,
}


class Gate(Protocol):
    """What the server asks the roster. `certificates` is called on gRPC's own threads at every handshake: it must be
    quick and safe there (keep a tuple and swap it)."""

    def member_of(self, fingerprint: bytes) -> NodeId | None:
        """The member with that certificate; None for anybody else, the removed included."""
        ...

    def invite_of(self, fingerprint: bytes) -> InviteState | None:
        """The invite with that certificate, in whatever state: `on_join` says why it may not be used any more."""
        ...

    def certificates(self) -> tuple[int, list[bytes]]:
        """A number that changes with the list, and the DERs of all members and of the invites that may still call."""
        ...


class Roots:
    """The TLS side of the roster: which certificates may finish a handshake at all."""

    def __init__(self, identity: Identity, gate: Gate) -> None:
        self._identity = identity
        self._gate = gate
        self._version: int | None = None
        self._lock = threading.Lock()

    def credentials(self) -> grpc.ServerCredentials:
        first = self._fetch()
        assert first is not None
        # The stubs do not know that the fetcher may answer None.
        fetch: Callable[[], Any] = self._fetch
        return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=True)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The present roots, or None while they are those of the last call: parsing a thousand certificates at every
        handshake would cost twenty times the handshake."""
        with self._lock:
            version, certificates = self._gate.certificates()
            if version == self._version:
                return None
            self._version = version
        # Our own certificate keeps the list from being empty; by itself it admits nobody.
        roots = b"".join(pem_of(der) for der in {self._identity.certificate, *certificates})
        return grpc.ssl_server_certificate_configuration(
            [(self._identity.key_pem, self._identity.certificate_pem)], roots
        )


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Lets a call through only when its method is listed and its peer's fingerprint may call it. It asks before the
    first byte of a request is read, so handlers take streams, also of methods with a single request."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        # grpcio's stubs describe handlers of the blocking API only; ours are coroutines over raw bytes.
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        needed = ACCESS.get(handler_call_details.method)
        # A handler of one request is begun only when that has come: who never sends it would hold a call unasked.
        if needed is None or handler is None or not (handler.request_streaming and handler.response_streaming):
            return grpc.stream_stream_rpc_method_handler(self._refuse)
        served = handler.stream_stream

        async def guarded(requests: Requests, context: Context) -> None:
            await self._admit(needed, context)
            await served(requests, context)

        return grpc.stream_stream_rpc_method_handler(guarded)

    async def _admit(self, needed: Caller, context: Context) -> None:
        fingerprint = peer_fingerprint(context)
        is_member = self._gate.member_of(fingerprint) is not None
        is_invite = self._gate.invite_of(fingerprint) is not None
        if not (is_member or is_invite):
            await deny(context, grpc.StatusCode.UNAUTHENTICATED, "not known here")
        # A certificate that is both (someone invited a member's key) is a member.
        if needed is not (Caller.MEMBER if is_member else Caller.INVITE):
            await deny(context, grpc.StatusCode.PERMISSION_DENIED, f"only for a {needed.value}'s certificate")

    async def _refuse(self, _: Requests, context: Context) -> None:
        await deny(context, grpc.StatusCode.PERMISSION_DENIED, "no such call")


async def deny(context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort returns never")


def peer_fingerprint(context: Context) -> bytes:
    """The fingerprint of the certificate that the peer proved; empty, which nobody has, where TLS tells none."""
    shown = list(context.auth_context().get("x509_pem_cert", ()))
    if len(shown) != 1:
        return b""
    try:
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(shown[0].decode("ascii")))
    except ValueError:
        return b""
