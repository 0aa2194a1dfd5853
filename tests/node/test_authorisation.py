"""Who may call what at the port of a running node: every method of the service, every kind of caller, over real TLS.

The methods are those of the service's description, so one that is added is denied to everybody, and fails here, until
somebody has said who may call it.
"""

import asyncio
import datetime
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from node_pool import Running, pool
from node_rooms import WITHIN_S

from meerkat.model.frame import JoinAsk, RosterPart
from meerkat.model.ids import NodeId
from meerkat.model.roster import AddOp
from meerkat.node.registry import wall_clock
from meerkat.wire import rosterops
from meerkat.wire.connection import LINK_KEY
from meerkat.wire.convert import NONCE_BYTES, decode_join_answer, encode_join_ask
from meerkat.wire.gate import ACCESS, Caller
from meerkat.wire.identity import Identity, key_pem_of, node_of, pem_of
from meerkat.wire.invite import InviteSecret, join_claim
from meerkat.wire.transport import CHANNEL_OPTIONS
from meerkat.wire.v1 import pool_pb2

SERVICE = pool_pb2.DESCRIPTOR.services_by_name["Pool"]
METHODS = [f"/{SERVICE.full_name}/{method.name}" for method in SERVICE.methods]
ELSEWHERE = [
    f"/{SERVICE.full_name}/Reboot",
    "/meerkat.v1.Control/Call",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
]

IN = "let in"
DENIED = "PERMISSION_DENIED"
UNKNOWN = "UNAUTHENTICATED"
NO_TLS = "UNAVAILABLE"

Outcomes = dict[str, str]


def everywhere(outcome: str, elsewhere: str = "") -> Outcomes:
    return dict.fromkeys(METHODS, outcome) | dict.fromkeys(ELSEWHERE, elsewhere or outcome)


def bearer(outcome: str) -> Outcomes:
    """Of an invite, in whatever state: it may ask to join, and is told how that stands."""
    return everywhere(DENIED) | {f"/{SERVICE.full_name}/Join": outcome}


EXPECTED: dict[str, Outcomes] = {
    "member": everywhere(DENIED) | {f"/{SERVICE.full_name}/{name}": IN for name in ("Link", "Index", "Carry")},
    "removed member": everywhere(NO_TLS),
    "removed member on its old connection": everywhere(UNKNOWN, DENIED),
    "suspended member": everywhere(NO_TLS),
    "invite": bearer(IN),
    "expired invite": bearer("told invite_expired"),
    "used-up invite": bearer("told invite_used"),
    "revoked invite": bearer("told invite_revoked"),
    "invite of a removed member": bearer("told invite_revoked"),
    "leaf signed by a member": everywhere(UNKNOWN, DENIED),
    "leaf signed by an invite": everywhere(UNKNOWN, DENIED),
    "stranger": everywhere(NO_TLS),
    "stranger under a member's name": everywhere(NO_TLS),
    "no certificate": everywhere(NO_TLS),
}


def test_every_method_has_its_callers() -> None:
    """Whoever adds a method to the service has to say who may call it, and to add it to this table."""
    assert sorted(ACCESS) == sorted(METHODS)
    assert {method for method, caller in ACCESS.items() if caller is Caller.INVITE} == {f"/{SERVICE.full_name}/Join"}
    for outcomes in EXPECTED.values():
        assert sorted(outcomes) == sorted([*METHODS, *ELSEWHERE])


@dataclass
class Shown:
    """What a caller shows in the handshake, PEM, or nothing; and the invite with which it would join."""

    key: bytes | None
    chain: bytes | None
    secret: InviteSecret


def as_node(identity: Identity) -> Shown:
    return Shown(identity.key_pem, identity.certificate_pem, InviteSecret.new())


def as_bearer(secret: InviteSecret) -> Shown:
    return Shown(secret.key_pem, secret.certificate_pem, secret)


def signed_by(signer_key: ec.EllipticCurvePrivateKey, signer_certificate: bytes, name: NodeId) -> Shown:
    """A certificate for another key that is signed by this one, and its chain."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]))
        .issuer_name(x509.load_der_x509_certificate(signer_certificate).subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2199))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    return Shown(
        key_pem_of(key),
        pem_of(leaf.public_bytes(serialization.Encoding.DER)) + pem_of(signer_certificate),
        InviteSecret.new(),
    )


def posing_as(node: NodeId) -> Shown:
    """A self-signed certificate with a member's name in it, and another key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2199))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Shown(key_pem_of(key), pem_of(made.public_bytes(serialization.Encoding.DER)), InviteSecret.new())


class Callers:
    """Makes callers of each kind, by what ada's roster takes in."""

    def __init__(self, ada: Running) -> None:
        self._ada = ada
        self._registry = ada.node.registry

    async def invite(self, signer: Identity | None = None, *, expired: bool = False) -> tuple[InviteSecret, bytes]:
        secret, now = InviteSecret.new(), wall_clock()
        op = rosterops.make_invite(
            self._registry.pool,
            signer or self._ada.node.identity,
            secret,
            uses=1,
            not_after=now - 1 if expired else now + 3600,
            made_at=now - 7200,
            signer_name="ada",
        )
        await self._registry.take_in(RosterPart(ops=(op,)))
        return secret, rosterops.op_id(op.body)

    async def admit(self, secret: InviteSecret, invite: bytes, name: str = "somebody") -> Identity:
        identity = Identity.create()
        op = rosterops.make_add(self._registry.pool, secret, invite, identity.certificate, name)
        await self._registry.take_in(RosterPart(ops=(op,)))
        return identity

    async def member(self) -> Identity:
        return await self.admit(*await self.invite())

    async def shown(self, kind: str) -> Shown:
        match kind:
            case "member" | "removed member on its old connection":
                return as_node(await self.member())
            case "removed member":
                identity = await self.member()
                await self._registry.remove(identity.node, "")
                return as_node(identity)
            case "suspended member":
                secret, number = await self.invite()
                pair = [await self.admit(secret, number, name) for name in ("one", "two")]
                (surplus,) = [each for each in pair if each.node in self._registry.suspended()]
                return as_node(surplus)
            case "invite":
                return as_bearer((await self.invite())[0])
            case "expired invite":
                return as_bearer((await self.invite(expired=True))[0])
            case "used-up invite":
                secret, number = await self.invite()
                await self.admit(secret, number)
                return as_bearer(secret)
            case "revoked invite":
                secret, number = await self.invite()
                await self._registry.revoke(number.hex())
                return as_bearer(secret)
            case "invite of a removed member":
                gone = await self.member()
                secret, _ = await self.invite(gone)
                await self._registry.remove(gone.node, "")
                return as_bearer(secret)
            case "leaf signed by a member":
                member = await self.member()
                return signed_by(member.key, member.certificate, member.node)
            case "leaf signed by an invite":
                secret, _ = await self.invite()
                return signed_by(secret.key, secret.certificate, node_of(secret.certificate))
            case "stranger under a member's name":
                return posing_as((await self.member()).node)
            case "stranger":
                return as_node(Identity.create())
            case _:
                return Shown(None, None, InviteSecret.new())


class Call:
    """One caller's connection to ada."""

    def __init__(self, ada: Running, shown: Shown) -> None:
        self._sponsor = ada.node.identity
        self._secret = shown.secret
        credentials = grpc.ssl_channel_credentials(self._sponsor.certificate_pem, shown.key, shown.chain)
        options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", self._sponsor.node)]
        self.channel = grpc.aio.secure_channel(ada.address, credentials, options=options)

    async def outcome(self, method: str) -> str:
        """How a call ends: a newcomer's first question where that is what the method takes, else rubbish."""
        if not method.endswith("/Join"):
            both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(method)
            code = await both(metadata=((LINK_KEY, "rubbish"),), timeout=WITHIN_S).code()
            return IN if code is grpc.StatusCode.INVALID_ARGUMENT else code.name
        unary: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(method)
        call = unary(self._question(), timeout=WITHIN_S)
        try:
            answers = [decode_join_answer(data) async for data in call]
        except grpc.aio.AioRpcError as fault:
            return fault.code().name
        refused = [answer.refused for answer in answers if answer.refused]
        assert [answer.pool for answer in answers if answer.pool and refused] == [], "a refused one learns nothing"
        return f"told {refused[0]}" if refused else IN

    def _question(self) -> bytes:
        newcomer, nonce = Identity.create(), bytes(NONCE_BYTES)
        claim = join_claim(
            nonce=nonce,
            invite=self._secret.certificate,
            sponsor=self._sponsor.certificate,
            newcomer=newcomer.certificate,
        )
        return encode_join_ask(JoinAsk(nonce, newcomer.certificate, newcomer.sign(claim)))


def test_everybody_may_do_what_is_listed_and_nothing_else(tmp_path: Path) -> None:
    """The whole table, against one node that serves all of them; nobody of them got a link."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            callers = Callers(ada)
            found: dict[str, Outcomes] = {}
            for kind in EXPECTED:
                call = Call(ada, await callers.shown(kind))
                async with call.channel:
                    if kind == "removed member on its old connection":
                        assert await call.outcome(METHODS[1]) == IN
                        await ada.node.registry.remove(_newest(ada), "")
                    found[kind] = {method: await call.outcome(method) for method in [*METHODS, *ELSEWHERE]}
            assert found == EXPECTED
            assert ada.linked() == set()

    asyncio.run(play())


def _newest(ada: Running) -> NodeId:
    """The member that was admitted last (the roster keeps operations in the order of their coming)."""
    ops = [rosterops.parse_op(signed) for part in ada.node.registry.all_parts(1 << 20) for signed in part.ops]
    return next(op.shown.node for op in reversed(ops) if isinstance(op, AddOp))
