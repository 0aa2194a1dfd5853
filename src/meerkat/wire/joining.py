"""The newcomer's side of joining: two calls on one connection, under the invite's certificate.

Invariant: nothing that the sponsor says is believed, and nothing of ours is handed over, before it has proved that it
knows the invite. The certificate that it showed is pinned for the connection, and the proof covers that very
certificate, so somebody in between can at most deny us service.
"""

import asyncio
import hmac
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import grpc
import grpc.aio
from msgspec import Struct

from meerkat.core.roster import Roster
from meerkat.model.frame import JoinAnswer, JoinAsk, PeerFault, Signed
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import MEMBERS_MAX, ROSTER_OPS_MAX
from meerkat.model.version import Entry
from meerkat.wire.address import AddressFault
from meerkat.wire.client import DialFailed, diagnose, secure_channel, why_unreachable
from meerkat.wire.connection import SERVICE
from meerkat.wire.convert import NONCE_BYTES, OP_ID_BYTES, decode_join_answer, encode_join_ask
from meerkat.wire.identity import CertificateFault, Identity, check_certificate, verify
from meerkat.wire.invite import InviteCode, join_claim, join_proof
from meerkat.wire.rosterops import UnknownOp, make_add, make_record, parse_op, parse_record, pool_id_of
from meerkat.wire.transport import fetch_certificate


class JoinRefused(Exception):
    """The pool does not let us in by this invite, or what answered is not the pool.

    Attributes:
        code: as in `JoinAnswer.refused`, or not_proven (the node could not prove that it knows the invite: somebody
            in between, or another pool's node), busy, bad_answer, or bad_roster (bad_answer to our admission, which it
            may have kept all the same).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Probed(Struct, frozen=True):
    """What a sponsor that has proved itself says: its node id, the pool, the id of the invite's operation, and how much
    the pool holds."""

    sponsor: NodeId
    pool: PoolId
    invite: bytes
    files: int
    bytes: int


class JoinedPool(Struct, frozen=True):
    """The roster that the sponsor handed over, our own admission in it: everything parsed, the genesis fits the pool's
    id, and by what is truly signed this node is a member."""

    pool: PoolId
    ops: tuple[Signed, ...]
    records: tuple[Signed, ...]
    sponsor: NodeId
    files: int
    bytes: int


OnEntries = Callable[[tuple[Entry, ...]], object]


class _Sponsor:
    """A pinned connection to a node that may be a sponsor. `on_part`: called when it has brought us further."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        certificate: bytes,
        node: NodeId,
        invite: InviteCode,
        on_part: Callable[[], object],
    ) -> None:
        self._channel = channel
        self._on_part = on_part
        self.node = node
        self._certificate = certificate
        self._invite = invite

    async def ask(
        self, newcomer: Identity, admission: Signed | None, record: Signed | None, *, plan: bool = False
    ) -> AsyncGenerator[JoinAnswer, None]:
        """Call Join; its answers after the proof was checked, the first of them the one with the proof.

        Raises:
            JoinRefused: not proven, or refused.
            PeerFault: what came is no answer.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(f"/{SERVICE}/Join")
        covered = {
            "nonce": nonce,
            "invite": self._invite.secret.certificate,
            "sponsor": self._certificate,
            "newcomer": newcomer.certificate,
        }
        claim = newcomer.sign(join_claim(**covered))
        call = method(encode_join_ask(JoinAsk(nonce, newcomer.certificate, claim, admission, record, plan)))
        expected = join_proof(self._invite.secret.proof_key, **covered)
        proven = False
        try:
            async for data in call:
                answer = decode_join_answer(data)
                if not proven and not hmac.compare_digest(answer.proof, expected):
                    break
                proven = True
                if answer.refused:
                    raise JoinRefused(answer.refused, answer.reason or answer.refused.replace("_", " "))
                if answer.entries or (answer.roster is not None and answer.roster.ops):
                    self._on_part()
                yield answer
        finally:
            call.cancel()
        if not proven:
            raise JoinRefused("not_proven", "the node there could not prove that it knows this invite")


@asynccontextmanager
async def _pinned(address: str, invite: InviteCode, timeout_s: float) -> AsyncIterator[_Sponsor]:
    """Pin whoever answers at `address`, and turn what fails into `DialFailed` or `JoinRefused`.

    `timeout_s` is for getting through, and then for each part of the roster or the index.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s) as limit:
            try:
                certificate = await fetch_certificate(address, timeout_s)
            except AddressFault as fault:
                raise DialFailed(address, "no_such_host", str(fault)) from None
            except OSError as fault:
                raise why_unreachable(address, fault, timeout_s) from None
            try:
                node = check_certificate(certificate)
            except CertificateFault:
                raise DialFailed(address, "not_tls", "what answers there is not a Meerkat node") from None
            secret = invite.secret
            async with secure_channel(address, certificate, node, secret.key_pem, secret.certificate_pem) as channel:
                try:
                    yield _Sponsor(
                        channel, certificate, node, invite, lambda: limit.reschedule(loop.time() + timeout_s)
                    )
                except grpc.aio.AioRpcError as fault:
                    raise await _why_refused(address, certificate, fault) from None
                except PeerFault as fault:
                    raise JoinRefused("bad_answer", f"the node at {address} answered nonsense: {fault}") from None
    except TimeoutError:
        raise DialFailed(address, "timed_out", f"no answer within {timeout_s:g} s") from None


async def _why_refused(address: str, certificate: bytes, fault: grpc.aio.AioRpcError) -> Exception:
    if fault.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return JoinRefused("busy", f"too many newcomers ask the node at {address} at once")
    if fault.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return JoinRefused("bad", fault.details() or "the node there did not understand us")
    cause = await diagnose(address, certificate, fault)
    if cause.code != "not_member":
        return cause
    return JoinRefused(
        "invite_unknown",
        "that node does not know this invite: it is of another pool, was used up, revoked or has expired, or the node "
        "has not heard of it yet",
    )


async def _probed(
    sponsor: _Sponsor, invite: InviteCode, identity: Identity, on_entries: OnEntries | None = None
) -> Probed:
    """The first step: the proof, and what the pool says of itself (which may come with the proof or after it)."""
    pool, number, files, size = "", b"", 0, 0
    async with aclosing(sponsor.ask(identity, None, None, plan=on_entries is not None)) as answers:
        async for answer in answers:
            pool = answer.pool or pool
            number = answer.invite or number
            files, size = max(files, answer.files), max(size, answer.bytes)
            if on_entries is not None:
                on_entries(answer.entries)
    if pool != invite.pool or len(number) != OP_ID_BYTES:
        raise JoinRefused("bad_answer", "the node there does not say which pool and invite it answers for")
    return Probed(sponsor.node, invite.pool, number, files, size)


async def probe(
    address: str, invite: InviteCode, identity: Identity, timeout_s: float, on_entries: OnEntries | None = None
) -> Probed:
    """Ask a member at `address` (HOST:PORT) what would be joined, without joining.

    Args:
        on_entries: wants the pool's index as well, and is called with each part of it.

    Raises:
        DialFailed: nobody to talk to there.
        JoinRefused: the invite is not taken there, or the node could not prove that it belongs to the pool.
    """
    async with _pinned(address, invite, timeout_s) as sponsor:
        return await _probed(sponsor, invite, identity, on_entries)


async def join(
    address: str,
    invite: InviteCode,
    identity: Identity,
    name: str,
    addresses: Sequence[str],
    timeout_s: float,
    record_counter: int = 1,
) -> JoinedPool:
    """Join through the member at `address` (HOST:PORT). Asked again, here or through another member, with the same
    identity and name, it is the same admission and no second member.

    Args:
        name, addresses: what this node says of itself in its first record.

    Raises:
        DialFailed: nobody to talk to there; with code "broken", it may have our admission all the same.
        JoinRefused: the invite is not taken there, or the node could not prove that it belongs to the pool.
    """
    sent = False
    try:
        async with _pinned(address, invite, timeout_s) as sponsor:
            known = await _probed(sponsor, invite, identity)
            admission = make_add(invite.pool, invite.secret, known.invite, identity.certificate, name)
            record = make_record(identity, record_counter, name, addresses)
            sent = True
            return await _handed_over(sponsor, known, identity, admission, record)
    except DialFailed as fault:
        raise DialFailed(address, "broken" if sent else fault.code, fault.cause) from None
    except JoinRefused as fault:
        raise JoinRefused("bad_roster" if sent and fault.code == "bad_answer" else fault.code, str(fault)) from None


async def _handed_over(
    sponsor: _Sponsor, known: Probed, identity: Identity, admission: Signed, record: Signed
) -> JoinedPool:
    """The second step: the whole roster, with us in it."""
    ops: list[Signed] = [admission]
    records: list[Signed] = [record]
    complete = False
    async with aclosing(sponsor.ask(identity, admission, record)) as answers:
        async for answer in answers:
            if answer.roster is None:
                continue
            ops += answer.roster.ops
            records += answer.roster.records
            if len(ops) > ROSTER_OPS_MAX + MEMBERS_MAX + 1 or len(records) > MEMBERS_MAX + 1:
                raise PeerFault("a roster beyond all limits")
            if answer.roster.last:
                complete = True
                break
    if not complete:
        raise JoinRefused("bad_answer", "the node there broke off before the roster was complete")
    if not any(pool_id_of(op.body) == known.pool for op in ops):
        raise JoinRefused("bad_answer", "the roster there is not this pool's")
    if not await asyncio.to_thread(_is_member, identity.node, known.pool, ops, records):
        raise JoinRefused("bad_answer", "by the roster there this node is no member")
    return JoinedPool(known.pool, tuple(ops), tuple(records), sponsor.node, known.files, known.bytes)


def _is_member(node: NodeId, pool: PoolId, ops: Sequence[Signed], records: Sequence[Signed]) -> bool:
    """Whether a roster holds what it should.

    Raises:
        PeerFault: an operation or record in it is none.
    """
    roster = Roster(verify, pool)
    for signed in ops:
        try:
            roster.add(parse_op(signed), signed)
        except UnknownOp:
            continue
    for signed in records:
        parse_record(signed)
    return node in roster.members()
