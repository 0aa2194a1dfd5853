"""Making roster operations and records, and taking others' apart."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.model.dot import Author
from meerkat.model.frame import PeerFault, Signed
from meerkat.model.limits import INVITE_USES_MAX, ROSTER_OP_BYTES_MAX
from meerkat.model.member import Record
from meerkat.model.roster import AddOp, GenesisOp, InviteOp, RekeyOp, RemoveOp, RevokeOp, Shown
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import InviteSecret
from meerkat.wire.rosterops import (
    UnknownOp,
    make_add,
    make_genesis,
    make_invite,
    make_record,
    make_rekey,
    make_remove,
    make_revoke,
    op_id,
    parse_op,
    parse_record,
    pool_id_of,
)
from meerkat.wire.v1 import pool_pb2 as pb

ADA, BOB = Identity.create(), Identity.create()
SECRET = InviteSecret.new()
GENESIS = make_genesis(ADA, "ada", "photos")
POOL = pool_id_of(GENESIS.body)


def shown(identity: Identity) -> Shown:
    return Shown(identity.certificate, identity.fingerprint, identity.node)


def test_what_is_made_is_what_is_read() -> None:
    """Each kind of operation comes back with all that was put in, named by the hash of its bytes."""
    invite = make_invite(POOL, ADA, SECRET, uses=3, not_after=20, made_at=10, signer_name="ada")
    op = parse_op(GENESIS)
    assert op == GenesisOp(op_id(GENESIS.body), POOL, shown(ADA), "ada", "photos")
    read = parse_op(invite)
    assert isinstance(read, InviteOp)
    assert (read.pool, read.signer, read.uses, read.not_after, read.made_at) == (POOL, ADA.fingerprint, 3, 20, 10)
    assert (read.shown.certificate, read.proof_key, read.signer_name) == (SECRET.certificate, SECRET.proof_key, "ada")
    add = make_add(POOL, SECRET, read.id, BOB.certificate, "bob")
    assert parse_op(add) == AddOp(op_id(add.body), POOL, shown(BOB), "bob", read.id)
    mine, other = Author(BOB.node, 5), Author(ADA.node, 6)
    remove = make_remove(POOL, ADA, BOB.node, {mine: 7, other: 9}, "lost")
    assert parse_op(remove) == RemoveOp(op_id(remove.body), POOL, ADA.fingerprint, BOB.node, ((mine, 7),), "lost")
    revoke = make_revoke(POOL, ADA, read.id)
    assert parse_op(revoke) == RevokeOp(op_id(revoke.body), POOL, ADA.fingerprint, read.id)
    rekey = make_rekey(POOL, ADA, BOB)
    assert parse_op(rekey) == RekeyOp(op_id(rekey.body), POOL, ADA.fingerprint, ADA.node, shown(BOB))


def test_operations_are_signed_by_whom_they_name() -> None:
    """A member signs with its own key, a newcomer with the invite's."""
    assert verify(ADA.certificate, GENESIS.body, GENESIS.signature)
    add = make_add(POOL, SECRET, bytes(32), BOB.certificate, "bob")
    assert verify(SECRET.certificate, add.body, add.signature)
    assert not verify(BOB.certificate, add.body, add.signature)


def test_an_admission_is_the_same_each_time() -> None:
    """Asked again, a newcomer's admission has the same id; two pools of one founder have not."""
    one, again = (make_add(POOL, SECRET, bytes(32), BOB.certificate, "bob") for _ in range(2))
    assert op_id(one.body) == op_id(again.body)
    assert pool_id_of(make_genesis(ADA, "ada", "photos").body) != POOL


def test_records_come_back() -> None:
    """Name, counter and addresses; of many addresses the first few."""
    addresses = [f"10.0.0.{number}:1" for number in range(20)]
    record = make_record(ADA, 7, "ada's laptop", addresses)
    assert parse_record(record) == Record(ADA.node, 7, "ada's laptop", tuple(addresses[:8]))
    assert verify(ADA.certificate, record.body, record.signature)


def op(**fields: object) -> bytes:
    return pb.RosterOp(**fields).SerializeToString()  # type: ignore[arg-type]


def invite(**fields: object) -> bytes:
    given: dict[str, object] = {
        "certificate": SECRET.certificate,
        "proof_key": bytes(32),
        "uses": 1,
        "signer": bytes(32),
    }
    return op(pool=POOL, invite=pb.Invite(**{**given, **fields}))  # type: ignore[arg-type]


def test_the_plain_invite_of_these_tests_is_valid() -> None:
    """What the next test spoils one field at a time passes unspoilt."""
    assert isinstance(parse_op(Signed(invite(), b"")), InviteOp)


@pytest.mark.parametrize(
    "body",
    [
        invite(certificate=b"rubbish"),
        invite(proof_key=b""),
        invite(uses=0),
        invite(uses=INVITE_USES_MAX + 1),
        invite(not_after=-1),
        invite(made_at=1 << 62),
        invite(signer=b""),
        invite(signer_name="x" * 65),
        op(pool="elsewhere", revoke=pb.Revoke(invite=bytes(32), signer=bytes(32))),
        op(pool=POOL, revoke=pb.Revoke(invite=bytes(31), signer=bytes(32))),
        op(pool=POOL, add=pb.Add(certificate=BOB.certificate, name=" ", invite=bytes(32))),
        op(pool=POOL, add=pb.Add(certificate=BOB.certificate, name="x" * 65, invite=bytes(32))),
        op(pool=POOL, add=pb.Add(certificate=BOB.certificate, name="bob")),
        op(pool=POOL, remove=pb.Remove(node=bytes(19), signer=bytes(32))),
        op(pool=POOL, remove=pb.Remove(node=bytes(20), signer=bytes(32), cut=[pb.Head()])),
        op(pool=POOL, rekey=pb.Rekey(node=bytes(20), signer=bytes(32))),
        op(pool=POOL, genesis=pb.Genesis(certificate=ADA.certificate, name="ada")),
        op(genesis=pb.Genesis(name="ada")),
        b"\xff",
        bytes(ROSTER_OP_BYTES_MAX + 1),
    ],
    ids=count(),
)
def test_operations_that_no_honest_peer_sends(body: bytes) -> None:
    """Fields of a wrong length, names that are none, certificates that are not ours and rubbish are refused."""
    with pytest.raises(PeerFault) as refused:
        parse_op(Signed(body, b""))
    assert not isinstance(refused.value, UnknownOp)


def test_an_operation_of_a_later_version_is_told_apart() -> None:
    """Its sender is not at fault, so that a pool of mixed versions stays together."""
    with pytest.raises(UnknownOp):
        parse_op(Signed(op(pool=POOL), b""))


@pytest.mark.parametrize(
    "record",
    [
        pb.Record(node=bytes(19), name="x"),
        pb.Record(node=bytes(20)),
        pb.Record(node=bytes(20), name="x", addresses=["nowhere"]),
        pb.Record(node=bytes(20), name="x", addresses=["a:1"] * 9),
    ],
    ids=["node", "name", "address", "addresses"],
)
def test_records_that_no_honest_peer_sends(record: pb.Record) -> None:
    """A record with addresses that are none, or too many, is refused."""
    with pytest.raises(PeerFault):
        parse_record(Signed(record.SerializeToString(), b""))


@given(st.binary(max_size=200))
def test_rubbish_is_only_ever_a_peer_fault(data: bytes) -> None:
    """No bytes provoke another error."""
    for parse in (parse_op, parse_record):
        try:
            parse(Signed(data, b""))
        except PeerFault:
            pass
