"""Dialling: to a member for a link, with the three streams on two channels.

Invariant: the only root of a channel is the one certificate that was meant, and the name asked for is that node's id.
Were all members' certificates roots, each member could pose as any other.

gRPC says no more than "unavailable" when TLS fails, so a failed dial looks at the server's certificate on its own and
tells people which of the usual causes it was.
"""

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc
import grpc.aio

from meerkat.model.limits import CERTIFICATE_BYTES_MAX
from meerkat.model.member import Member
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
from meerkat.wire.identity import Identity, fingerprint_of, pem_of
from meerkat.wire.pipe import TRANSPORT_FAULTS, describe
from meerkat.wire.transport import CHANNEL_OPTIONS, NO_OPTIONS, STEADY_OPTIONS, Options, Silent, fetch_certificate

RawCall = grpc.aio.StreamStreamCall[bytes, bytes]

_DIAGNOSIS_S = 3.0  # looking why a dial failed may not take longer than that

NOT_MEMBER = "that node refused our certificate: it has not heard of us, or we were removed"


class DialFailed(Exception):
    """A member could not be linked with at this address.

    Attributes:
        code: refused, timed_out, silent, unreachable, no_such_host, not_tls, another_node, not_member or broken.
        cause: the same for people.
    """

    def __init__(self, address: str, code: str, cause: str) -> None:
        super().__init__(f"{address}: {cause}")
        self.address = address
        self.code = code
        self.cause = cause


def secure_channel(
    address: str, certificate: bytes, name: str, key_pem: bytes, chain_pem: bytes, more: Options = NO_OPTIONS
) -> grpc.aio.Channel:
    """A channel to the server at `address` that shows exactly `certificate` (DER), whose SAN is `name`."""
    credentials = grpc.ssl_channel_credentials(pem_of(certificate), key_pem, chain_pem)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", name), *more]
    return grpc.aio.secure_channel(f"dns:///{parse_address(address)}", credentials, options=options)


async def dial(address: str, member: Member, identity: Identity, timeout_s: float) -> WireConnection:
    """Open a link to `member` at `address` (HOST:PORT).

    Raises:
        DialFailed: with the cause, as far as it can be told.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _open(address, member, identity)
    except AddressFault as fault:
        raise DialFailed(address, "no_such_host", str(fault)) from None
    except TimeoutError:
        raise DialFailed(address, "timed_out", f"no answer within {timeout_s:g} s") from None
    except grpc.aio.AioRpcError as fault:
        raise await diagnose(address, member.certificate, fault) from None
    except TRANSPORT_FAULTS as fault:
        raise DialFailed(address, "broken", describe(fault)) from None


async def _open(address: str, member: Member, identity: Identity) -> WireConnection:
    async with AsyncExitStack() as opened:
        channels = []
        for more in (STEADY_OPTIONS, NO_OPTIONS):
            channel = secure_channel(
                address, member.certificate, member.node, identity.key_pem, identity.certificate_pem, more
            )
            opened.push_async_callback(channel.close)
            channels.append(channel)
        control, bulk = channels
        metadata = ((LINK_KEY, secrets.token_hex(LINK_ID_CHARS // 2)),)
        calls: list[RawCall] = [
            channel.stream_stream(f"/{SERVICE}/{stream}")(metadata=metadata)
            for channel, stream in zip((control, control, bulk), STREAMS, strict=True)
        ]
        await asyncio.gather(*(_accepted(call) for call in calls))
        link, index, carry = calls
        name = f"to {member.node[:8]}"
        connection = WireConnection(
            member.node,
            dialled=True,
            address=address,
            link=link_pipe(name, link, link.cancel, link.done_writing),
            index=index_pipe(name, index, index.cancel, index.done_writing),
            carry=carry_pipe(name, carry, carry.cancel, carry.done_writing),
            release=opened.pop_all().aclose,
        )
    connection.start()
    return connection


async def _accepted(call: RawCall) -> None:
    """Wait until the server says that the link stands.

    Raises:
        grpc.aio.AioRpcError: it refused, or was not reached.
    """
    metadata = await call.initial_metadata()
    if not any(key == LINK_KEY for key, _ in _pairs(metadata)):
        await call.read()  # raises the status of a call that failed
        raise grpc.aio.UsageError("the server ended the stream without a word")


def _pairs(metadata: object) -> Sequence[tuple[str, str | bytes]]:
    return list(metadata) if isinstance(metadata, grpc.aio.Metadata) else []


async def diagnose(address: str, expected: bytes, fault: grpc.aio.AioRpcError) -> DialFailed:
    """Why a call to the server that should show the certificate `expected` failed."""
    code = fault.code()
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return DialFailed(address, "not_member", "that node does not count this one as a member")
    if code is not grpc.StatusCode.UNAVAILABLE:
        return DialFailed(address, "broken", describe(fault))
    try:
        shown = await fetch_certificate(address, _DIAGNOSIS_S)
    except OSError as cause:
        return why_unreachable(address, cause, _DIAGNOSIS_S)
    if len(shown) > CERTIFICATE_BYTES_MAX or fingerprint_of(shown) != fingerprint_of(expected):
        return DialFailed(address, "another_node", "the certificate there is another node's")
    return DialFailed(address, "not_member", NOT_MEMBER)


def why_unreachable(address: str, cause: OSError, timeout_s: float) -> DialFailed:
    """The cause of a bare connection that failed."""
    match cause:
        case Silent():
            return DialFailed(address, "silent", f"something accepts there and says nothing for {timeout_s:g} s")
        case TimeoutError():
            return DialFailed(address, "timed_out", f"no answer within {timeout_s:g} s")
        case ssl.SSLError():
            return DialFailed(address, "not_tls", "what answers there does not speak TLS 1.3")
        case ConnectionRefusedError():
            return DialFailed(address, "refused", "nothing listens there (connection refused)")
        case socket.gaierror():
            return DialFailed(address, "no_such_host", f"the host is not known: {cause.strerror}")
        case _:
            words = os.strerror(cause.errno) if cause.errno else str(cause)
            return DialFailed(address, "unreachable", words or "the connection broke")
