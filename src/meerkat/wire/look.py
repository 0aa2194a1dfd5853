"""Looking whether a member can be reached at an address, and if not, where on the way it fails.

Nothing is joined by this: the certificate that is shown there is compared, and then a call is made that no link can
come of. A port lets that call through to its own check of the call's form only when it counts the caller as a member,
so the error that comes back tells whether the door is open (gRPC itself says no more than "unavailable").
"""

import asyncio
import time

import grpc
import grpc.aio

from meerkat.model.frame import Way
from meerkat.model.ids import NodeId
from meerkat.model.limits import CERTIFICATE_BYTES_MAX
from meerkat.model.member import Member
from meerkat.wire.address import AddressFault
from meerkat.wire.client import NOT_MEMBER, secure_channel, why_unreachable
from meerkat.wire.connection import SERVICE
from meerkat.wire.identity import CertificateFault, Identity, check_certificate, fingerprint_of
from meerkat.wire.pipe import TRANSPORT_FAULTS, describe
from meerkat.wire.transport import fetch_certificate


async def look(address: str, member: Member, identity: Identity, timeout_s: float) -> Way:
    """Try `address` (HOST:PORT) for `member`. Whatever goes wrong is the answer; nothing is raised."""
    began = time.monotonic()
    code, text, shown = await _look(address, member, identity, timeout_s)
    return Way(address, code, text, round((time.monotonic() - began) * 1000), shown)


async def _look(address: str, member: Member, identity: Identity, timeout_s: float) -> tuple[str, str, NodeId]:
    nobody = NodeId("")
    try:
        certificate = await fetch_certificate(address, timeout_s)
    except AddressFault as fault:
        return "no_such_host", str(fault), nobody
    except OSError as fault:
        failed = why_unreachable(address, fault, timeout_s)
        return failed.code, failed.cause, nobody
    if len(certificate) > CERTIFICATE_BYTES_MAX or fingerprint_of(certificate) != member.fingerprint:
        try:
            return "another_node", "another node answers there", check_certificate(certificate)
        except CertificateFault:
            return "not_tls", "another program answers there, not Meerkat", nobody
    code, text = await _knock(address, member, identity, timeout_s)
    return code, text, member.node


async def _knock(address: str, member: Member, identity: Identity, timeout_s: float) -> tuple[str, str]:
    """Whether the member that answers there lets this node in."""
    try:
        async with asyncio.timeout(timeout_s):
            async with secure_channel(
                address, member.certificate, member.node, identity.key_pem, identity.certificate_pem
            ) as channel:
                call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/Link")()
                status = await call.code()
    except TimeoutError:
        return "silent", f"it shows its certificate and then says nothing for {timeout_s:g} s"
    except TRANSPORT_FAULTS as fault:
        return "broken", describe(fault)
    if status is grpc.StatusCode.INVALID_ARGUMENT:
        return "reached", ""
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return "not_member", NOT_MEMBER
    return "broken", f"it answers with {status.name.lower()}"
