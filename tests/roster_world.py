"""Roster operations with toy keys, and random sets of them, for the tests of the pure core.

A toy certificate is its node's name; a toy signature is a hash over certificate and body. Real keys are for the wire's
tests; here only who signed what matters.
"""

import base64
import hashlib
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from meerkat.model.frame import Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.member import Record
from meerkat.model.roster import AddOp, GenesisOp, InviteOp, RekeyOp, RemoveOp, RevokeOp, RosterOp, Shown

POOL = PoolId("p" * 32)


def node(name: str) -> NodeId:
    return NodeId(base64.b32encode(hashlib.sha256(name.encode()).digest()[:20]).decode().lower())


def shown(name: str) -> Shown:
    certificate = f"certificate of {name}".encode()
    return Shown(certificate, hashlib.sha256(certificate).digest(), node(name))


def signature(certificate: bytes, body: bytes) -> bytes:
    return hashlib.sha256(certificate + b"|" + body).digest()


def verify(certificate: bytes, body: bytes, signed: bytes) -> bool:
    return signed == signature(certificate, body)


@dataclass(frozen=True)
class Said:
    """An operation and the signed bytes that it came in."""

    op: RosterOp
    signed: Signed


def said(op: RosterOp, signer: Shown, forged: bool = False) -> Said:
    """The operation, named by its content as real ones are."""
    body = repr(op).encode()
    sign = b"forged" if forged else signature(signer.certificate, body)
    return Said(replace(op, id=hashlib.sha256(body).digest()), Signed(body, sign))


def genesis(name: str = "ada") -> Said:
    return said(GenesisOp(b"", POOL, shown(name), name, "pool"), shown(name))


def invite(signer: str, tag: str, uses: int = 1) -> Said:
    """`tag` tells apart the invites, and names the invite's key."""
    op = InviteOp(b"", POOL, shown(signer).fingerprint, shown(f"invite {tag}"), b"proof", uses, 10, 5, signer)
    return said(op, shown(signer))


def add(by: Said, name: str, tag: str) -> Said:
    """`name` joins by the invite `by`, whose tag is `tag`."""
    return said(AddOp(b"", POOL, shown(name), name, by.op.id), shown(f"invite {tag}"))


def joined(signer: str, name: str) -> tuple[Said, Said]:
    """`signer` invites, `name` joins."""
    by = invite(signer, f"{signer} for {name}")
    return by, add(by, name, f"{signer} for {name}")


def remove(signer: str, name: str, reason: str = "") -> Said:
    return said(RemoveOp(b"", POOL, shown(signer).fingerprint, node(name), (), reason), shown(signer))


def revoke(signer: str, by: Said) -> Said:
    return said(RevokeOp(b"", POOL, shown(signer).fingerprint, by.op.id), shown(signer))


def rekey(old: str, new: str) -> Said:
    return said(RekeyOp(b"", POOL, shown(old).fingerprint, node(old), shown(new)), shown(old))


def record(name: str, counter: int, calls_itself: str) -> tuple[Record, Signed]:
    body = f"{name} {counter} {calls_itself}".encode()
    return Record(node(name), counter, calls_itself, ()), Signed(body, signature(shown(name).certificate, body))


NAMES = ("ada", "bob", "cy", "dee", "eve")
_names = st.sampled_from(NAMES)


@st.composite
def histories(draw: st.DrawFn) -> list[Said]:
    """Any mixture of operations: sound ones, ones by strangers, contradictory ones, forged ones."""
    invites = [
        (invite(draw(_names), tag, uses=draw(st.integers(1, 2))), tag)
        for tag in draw(st.lists(st.sampled_from("123456"), max_size=6, unique=True))
    ]
    ops = [genesis(), *(one for one, _ in invites)]
    if invites:
        for by, tag in draw(st.lists(st.sampled_from(invites), max_size=8)):
            ops.append(add(by, draw(_names), tag))
    for signer, target in draw(st.lists(st.tuples(_names, _names), max_size=4)):
        ops.append(remove(signer, target))
    for old, new in draw(st.lists(st.tuples(_names, _names), max_size=2)):
        ops.append(rekey(old, new))
    if invites:
        for by, _ in draw(st.lists(st.sampled_from(invites), max_size=2)):
            ops.append(revoke(draw(_names), by))
    for one in draw(st.lists(st.sampled_from(ops[1:] or ops), max_size=2)):
        ops.append(Said(one.op, Signed(one.signed.body, b"forged")))
    for signer, target in draw(st.lists(st.tuples(_names, _names), max_size=1)):
        forged = RemoveOp(b"", POOL, shown(signer).fingerprint, node(target), (), "forged")
        ops.append(said(forged, shown(signer), forged=True))
    return ops
