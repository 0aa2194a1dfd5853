"""Who may call what: every method of the service against every kind of caller, over real TLS."""

import asyncio
import datetime
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.wire.connection import LINK_KEY
from meerkat.wire.gate import ACCESS, Caller, Context, Doorkeeper, Requests, Roots
from meerkat.wire.identity import Identity, key_pem_of, node_of, pem_of
from meerkat.wire.transport import CHANNEL_OPTIONS, SERVER_OPTIONS
from meerkat.wire.v1 import pool_pb2

SERVICE = pool_pb2.DESCRIPTOR.services_by_name["Pool"]
METHODS = [f"/{SERVICE.full_name}/{method.name}" for method in SERVICE.methods]
NOT_LISTED = "/meerkat.v1.Pool/Reboot"

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
NO_TLS = grpc.StatusCode.UNAVAILABLE


@dataclass
class Shown:
    """What a caller shows in the handshake: PEM, or nothing."""

    key: bytes | None
    chain: bytes | None


def leaf_of(signer: Identity) -> Shown:
    """A certificate that a member's key has signed for another key, though it is no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_der_x509_certificate(signer.certificate).subject
    now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now.replace(year=2199))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(signer.node)]), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    pem = pem_of(leaf.public_bytes(serialization.Encoding.DER))
    return Shown(key_pem_of(key), pem + signer.certificate_pem)


def shown_by(pool: Pool, kind: str) -> Shown:
    match kind:
        case "member":
            identity = pool.member()
        case "stranger":
            identity = Identity.create()
        case "removed":
            identity = pool.member()
            pool.remove(identity)
        case "leaf":
            return leaf_of(pool.member())
        case "leaf of an invite":
            secret = pool.invite()
            return leaf_of(Identity(secret.key, secret.certificate, b"", node_of(secret.certificate)))
        case "invite":
            secret = pool.invite()
            return Shown(secret.key_pem, secret.certificate_pem)
        case _:
            return Shown(None, None)
    return Shown(identity.key_pem, identity.certificate_pem)


def channel_to(pool: Pool, address: str, shown: Shown) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(pool.founder.certificate_pem, shown.key, shown.chain)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", pool.founder.node)]
    return grpc.aio.secure_channel(address, credentials, options=options)


async def code_of(channel: grpc.aio.Channel, method: str) -> grpc.StatusCode:
    """How a call ends that sends one rubbish message: whoever is let in is told that it is rubbish."""
    if method.endswith("/Join"):
        unary: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
        return await unary(b"\xff", timeout=TIMEOUT_S).code()
    both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
    return await both(metadata=((LINK_KEY, "rubbish"),), timeout=TIMEOUT_S).code()


def codes(kind: str) -> dict[str, grpc.StatusCode]:
    """For each method how a call by that kind of caller ends; INVALID_ARGUMENT means that it was let in."""

    async def run() -> dict[str, grpc.StatusCode]:
        pool = Pool()
        shown = shown_by(pool, kind)
        async with serving(pool) as served, channel_to(pool, served.address, shown) as channel:
            found = {method: await code_of(channel, method) for method in [*METHODS, NOT_LISTED]}
            assert served.connections.empty()
        return {method: OK if code is grpc.StatusCode.INVALID_ARGUMENT else code for method, code in found.items()}

    return asyncio.run(run())


def expected(caller: Caller) -> dict[str, grpc.StatusCode]:
    return {method: OK if ACCESS.get(method) is caller else DENIED for method in [*METHODS, NOT_LISTED]}


def test_every_method_is_listed() -> None:
    """A method that is added to the service must be given its callers before anybody can call it."""
    assert sorted(ACCESS) == sorted(METHODS)


def test_members_may_link_and_nothing_else() -> None:
    """A member's certificate opens the three streams; Join and what is not listed are denied."""
    found = codes("member")
    assert found == expected(Caller.MEMBER)
    assert [method for method, code in found.items() if code is OK] == [
        f"/{SERVICE.full_name}/{name}" for name in ("Link", "Index", "Carry")
    ]


def test_an_invite_may_join_and_nothing_else() -> None:
    """An invite's certificate opens Join alone."""
    found = codes("invite")
    assert found == expected(Caller.INVITE)
    assert [method for method, code in found.items() if code is OK] == [f"/{SERVICE.full_name}/Join"]


@pytest.mark.parametrize("kind", ["stranger", "removed", "nobody"])
def test_outsiders_do_not_get_past_tls(kind: str) -> None:
    """Unknown certificates, removed members and callers without a certificate learn only that there is a port."""
    assert set(codes(kind).values()) == {NO_TLS}


@pytest.mark.parametrize("kind", ["leaf", "leaf of an invite"])
def test_a_certificate_signed_by_one_that_is_known_opens_nothing(kind: str) -> None:
    """TLS lets such a leaf pass, so the fingerprint has to stop it: on every method, listed or not."""
    found = codes(kind)
    assert {found[method] for method in METHODS} == {UNKNOWN}
    assert found[NOT_LISTED] is DENIED


def test_whoever_may_not_call_is_not_waited_for() -> None:
    """A caller that never sends its request is refused all the same: it must not hold a place that members need."""

    async def run() -> None:
        pool = Pool()
        shown = leaf_of(pool.member())
        async with serving(pool) as served, channel_to(pool, served.address, shown) as channel:
            for method in METHODS:
                call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(method)(timeout=TIMEOUT_S)
                assert await call.code() is UNKNOWN

    asyncio.run(run())


def test_a_removed_member_is_out_on_its_open_connection() -> None:
    """The connection outlives the removal, the next call on it does not."""

    async def run() -> None:
        pool = Pool()
        member = pool.member()
        shown = Shown(member.key_pem, member.certificate_pem)
        async with serving(pool) as served, channel_to(pool, served.address, shown) as channel:
            assert await code_of(channel, METHODS[1]) is grpc.StatusCode.INVALID_ARGUMENT
            pool.remove(member)
            for method in METHODS:
                assert await code_of(channel, method) is UNKNOWN

    asyncio.run(run())


def test_a_method_that_nobody_listed_is_denied_even_where_it_is_served() -> None:
    """Whoever adds a method and forgets to say who may call it has added nothing that can be called."""
    called: list[bool] = []

    async def reboot(_: Requests, context: Context) -> None:
        called.append(True)

    async def run() -> None:
        pool = Pool()
        member = pool.member()
        server = grpc.aio.server(interceptors=[Doorkeeper(pool)], options=SERVER_OPTIONS)
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Reboot": grpc.stream_stream_rpc_method_handler(reboot)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
        port = server.add_secure_port("127.0.0.1:0", Roots(pool.founder, pool).credentials())
        await server.start()
        shown = Shown(member.key_pem, member.certificate_pem)
        async with channel_to(pool, f"127.0.0.1:{port}", shown) as channel:
            assert await code_of(channel, NOT_LISTED) is DENIED
        await server.stop(None)

    asyncio.run(run())
    assert called == []


def test_a_new_member_is_in_at_once() -> None:
    """Who is added while the port is open can call without a restart of the server."""

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            member = pool.member()
            shown = Shown(member.key_pem, member.certificate_pem)
            async with channel_to(pool, served.address, shown) as channel:
                assert await code_of(channel, METHODS[1]) is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(run())
