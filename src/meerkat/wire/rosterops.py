"""Roster operations and node records: making and signing ours, taking others' apart.

Invariant: what is parsed here fits the limits and holds certificates of our own making, but nobody has checked yet
whether its signer may say so, nor the signature: `core.roster` does, with `identity.verify`.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence

from meerkat.model.dot import Vector
from meerkat.model.frame import PeerFault, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import (
    ADDRESSES_MAX,
    INVITE_USES_MAX,
    NODE_NAME_CHARS_MAX,
    ROSTER_OP_BYTES_MAX,
    TEXT_CHARS_MAX,
)
from meerkat.model.member import Record
from meerkat.model.roster import AddOp, GenesisOp, InviteOp, RekeyOp, RemoveOp, RevokeOp, RosterOp, Shown
from meerkat.wire.address import AddressFault, parse_address
from meerkat.wire.convert import OP_ID_BYTES
from meerkat.wire.convert_vector import (
    check_count,
    check_length,
    check_text,
    heads_from_pb,
    heads_to_pb,
    node_from_bytes,
    node_to_bytes,
    parsed,
    pool_from_text,
)
from meerkat.wire.identity import (
    FINGERPRINT_BYTES,
    NODE_BYTES,
    CertificateFault,
    Identity,
    check_certificate,
    fingerprint_of,
    sign,
)
from meerkat.wire.invite import InviteSecret
from meerkat.wire.v1 import pool_pb2 as pb

_PROOF_KEY_BYTES = 32
_SALT_BYTES = 16
_SECONDS_END = 1 << 62


class UnknownOp(PeerFault):
    """An operation of a kind that this version does not know: skip it, its sender is not at fault."""


def op_id(body: bytes) -> bytes:
    """The name of an operation: SHA-256 of the signed bytes."""
    return hashlib.sha256(body).digest()


def pool_id_of(genesis_body: bytes) -> PoolId:
    """The id of the pool that begins with this genesis operation."""
    return PoolId(base64.b32encode(op_id(genesis_body)[:NODE_BYTES]).decode("ascii").lower())


# ---- making


def _body(op: pb.RosterOp) -> bytes:
    body = op.SerializeToString(deterministic=True)
    if len(body) > ROSTER_OP_BYTES_MAX:
        raise ValueError(f"a roster operation of {len(body)} bytes is too long")
    return body


def _signed(identity: Identity, op: pb.RosterOp) -> Signed:
    body = _body(op)
    return Signed(body, identity.sign(body))


def make_genesis(identity: Identity, name: str, pool_name: str, salt: bytes | None = None) -> Signed:
    """The beginning of a new pool. `salt` (16 random bytes when left out) tells apart pools of one founder."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    genesis = pb.Genesis(certificate=identity.certificate, name=name, salt=salt, pool_name=pool_name)
    return _signed(identity, pb.RosterOp(genesis=genesis))


def make_invite(
    pool: PoolId,
    identity: Identity,
    secret: InviteSecret,
    *,
    uses: int,
    not_after: int,
    made_at: int,
    signer_name: str,
) -> Signed:
    """The public part of an invite. Times in seconds since 1970."""
    invite = pb.Invite(
        certificate=secret.certificate,
        proof_key=secret.proof_key,
        uses=uses,
        not_after=not_after,
        signer=identity.fingerprint,
        signer_name=signer_name,
        made_at=made_at,
    )
    return _signed(identity, pb.RosterOp(pool=pool, invite=invite))


def make_add(pool: PoolId, secret: InviteSecret, invite: bytes, certificate: bytes, name: str) -> Signed:
    """A newcomer's admission by the invite operation `invite` (id). No time is in it: asked again, it is the same
    operation."""
    body = _body(pb.RosterOp(pool=pool, add=pb.Add(certificate=certificate, name=name, invite=invite)))
    return Signed(body, sign(secret.key, body))


def make_remove(pool: PoolId, identity: Identity, node: NodeId, cut: Vector | None = None, reason: str = "") -> Signed:
    """Take `node` off the roster; one's own: leave. Of `cut` only what concerns that node's own writes is kept."""
    heads = heads_to_pb({author: seq for author, seq in (cut or {}).items() if author.node == node})
    remove = pb.Remove(node=node_to_bytes(node), signer=identity.fingerprint, cut=heads, reason=reason)
    return _signed(identity, pb.RosterOp(pool=pool, remove=remove))


def make_revoke(pool: PoolId, identity: Identity, invite: bytes) -> Signed:
    """End the invite of that operation id."""
    return _signed(identity, pb.RosterOp(pool=pool, revoke=pb.Revoke(invite=invite, signer=identity.fingerprint)))


def make_rekey(pool: PoolId, old: Identity, new: Identity) -> Signed:
    """Let `new` follow `old`."""
    rekey = pb.Rekey(node=node_to_bytes(old.node), certificate=new.certificate, signer=old.fingerprint)
    return _signed(old, pb.RosterOp(pool=pool, rekey=rekey))


def make_record(identity: Identity, counter: int, name: str, addresses: Sequence[str]) -> Signed:
    """What this node says of itself; only the first few addresses find room."""
    record = pb.Record(
        node=node_to_bytes(identity.node), counter=counter, name=name, addresses=list(addresses)[:ADDRESSES_MAX]
    )
    body = record.SerializeToString(deterministic=True)
    return Signed(body, identity.sign(body))


# ---- taking apart


def parse_op(signed: Signed) -> RosterOp:
    """The operation in `signed.body`.

    Raises:
        UnknownOp: a kind of a later version.
        PeerFault: not decodable, or out of bounds.
    """
    check_count("bytes in a roster operation", len(signed.body), ROSTER_OP_BYTES_MAX)
    message = parsed(pb.RosterOp, signed.body)
    number = op_id(signed.body)
    kind = message.WhichOneof("op")
    if kind == "genesis":
        genesis = message.genesis
        if message.pool:
            raise PeerFault("a genesis cannot name its pool")
        shown = _shown(genesis.certificate)
        pool_name = check_text("a pool's name", genesis.pool_name, NODE_NAME_CHARS_MAX)
        return GenesisOp(number, pool_id_of(signed.body), shown, _name(genesis.name), pool_name)
    if kind is None:
        raise UnknownOp("a roster operation of an unknown kind")
    return _parse_later(number, pool_from_text(message.pool), message)


def _parse_later(number: bytes, pool: PoolId, message: pb.RosterOp) -> RosterOp:
    match message.WhichOneof("op"):
        case "invite":
            invite = message.invite
            if not 1 <= invite.uses <= INVITE_USES_MAX:
                raise PeerFault(f"an invite for {invite.uses} uses")
            if not (0 <= invite.not_after < _SECONDS_END and 0 <= invite.made_at < _SECONDS_END):
                raise PeerFault("an invite's time is out of range")
            return InviteOp(
                id=number,
                pool=pool,
                signer=_fingerprint(invite.signer),
                shown=_shown(invite.certificate),
                proof_key=check_length("a proof key", invite.proof_key, _PROOF_KEY_BYTES),
                uses=invite.uses,
                not_after=invite.not_after,
                made_at=invite.made_at,
                signer_name=check_text("a name", invite.signer_name, NODE_NAME_CHARS_MAX),
            )
        case "add":
            add = message.add
            return AddOp(number, pool, _shown(add.certificate), _name(add.name), _op_id(add.invite))
        case "remove":
            remove = message.remove
            cut = heads_from_pb(remove.cut, len(remove.cut))
            reason = check_text("a reason", remove.reason, TEXT_CHARS_MAX)
            node = node_from_bytes(remove.node)
            return RemoveOp(number, pool, _fingerprint(remove.signer), node, tuple(sorted(cut.items())), reason)
        case "revoke":
            revoke = message.revoke
            return RevokeOp(number, pool, _fingerprint(revoke.signer), _op_id(revoke.invite))
        case "rekey":
            rekey = message.rekey
            node = node_from_bytes(rekey.node)
            return RekeyOp(number, pool, _fingerprint(rekey.signer), node, _shown(rekey.certificate))
        case _:
            raise UnknownOp("a roster operation of an unknown kind")


def parse_record(signed: Signed) -> Record:
    """The record in `signed.body`.

    Raises:
        PeerFault: not decodable, or out of bounds.
    """
    check_count("bytes in a record", len(signed.body), ROSTER_OP_BYTES_MAX)
    message = parsed(pb.Record, signed.body)
    check_count("addresses of a node", len(message.addresses), ADDRESSES_MAX)
    try:
        addresses = tuple(str(parse_address(address)) for address in message.addresses)
    except AddressFault as fault:
        raise PeerFault(str(fault)) from None
    return Record(node_from_bytes(message.node), message.counter, _name(message.name), addresses)


def _shown(certificate: bytes) -> Shown:
    try:
        node = check_certificate(certificate)
    except CertificateFault as fault:
        raise PeerFault(str(fault)) from None
    return Shown(certificate, fingerprint_of(certificate), node)


def _name(name: str) -> str:
    if not name.strip():
        raise PeerFault("a node without a name")
    return check_text("a node's name", name, NODE_NAME_CHARS_MAX)


def _fingerprint(data: bytes) -> bytes:
    return check_length("a signer's fingerprint", data, FINGERPRINT_BYTES)


def _op_id(data: bytes) -> bytes:
    return check_length("an operation's id", data, OP_ID_BYTES)
