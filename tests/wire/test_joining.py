"""Joining by invite, and everybody who would like to be the pool."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from wire_pool import TIMEOUT_S, Pool, serving

from meerkat.core.roster import InviteState, Roster
from meerkat.model.frame import JoinAnswer, JoinAsk, RosterPart, Signed
from meerkat.model.limits import ROSTER_PART_BYTES_MAX
from meerkat.wire.client import DialFailed
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import InviteCode, InviteSecret
from meerkat.wire.joining import JoinedPool, JoinRefused, join, probe
from meerkat.wire.rosterops import make_invite, parse_op, parse_record


def join_through(pool: Pool, code: InviteCode, who: Identity, sponsor: Identity | None = None) -> JoinedPool:
    async def run() -> JoinedPool:
        async with serving(pool, sponsor) as served:
            return await join(served.address, code, who, "newcomer", ["127.0.0.1:9"], TIMEOUT_S)

    return asyncio.run(run())


def refusal(pool: Pool, code: InviteCode, who: Identity) -> str:
    with pytest.raises(JoinRefused) as refused:
        join_through(pool, code, who)
    assert str(refused.value)
    return refused.value.code


def test_a_newcomer_receives_the_whole_roster() -> None:
    """After joining, both sides hold the same roster, the newcomer in it under its name."""
    pool = Pool()
    pool.member("ada")
    code, newcomer = InviteCode(pool.id, pool.invite(), ()), Identity.create()
    joined = join_through(pool, code, newcomer)
    theirs = Roster(verify, pool.id)
    for signed in joined.ops:
        theirs.add(parse_op(signed), signed)
    assert theirs.members() == pool.roster.members()
    assert theirs.digest() == pool.roster.digest()
    assert theirs.members()[newcomer.node].name == "newcomer"
    assert (joined.pool, joined.sponsor, joined.files, joined.bytes) == (pool.id, pool.founder.node, 3, 1234)
    assert parse_record(joined.records[0]).addresses == ("127.0.0.1:9",)


def test_any_member_can_sponsor() -> None:
    """The inviter may be away: whoever has heard of the invite lets the newcomer in."""
    pool = Pool()
    sponsor, newcomer = pool.member(), Identity.create()
    joined = join_through(pool, InviteCode(pool.id, pool.invite(), ()), newcomer, sponsor)
    assert joined.sponsor == sponsor.node
    assert newcomer.node in pool.roster.members()


def test_joining_again_makes_no_second_member() -> None:
    """A sponsor that died half-way costs nothing: the same admission through another one is the same operation."""
    pool = Pool()
    code, newcomer = InviteCode(pool.id, pool.invite(uses=2), ()), Identity.create()
    first, second = join_through(pool, code, newcomer), join_through(pool, code, newcomer)
    assert first.ops[0].body == second.ops[0].body
    assert len(pool.roster.members()) == 2
    assert pool.roster.invites()[0].used == 1


def test_probing_does_not_join() -> None:
    """The first step tells what would be joined, proof checked, and changes nothing."""
    pool = Pool()
    code, digest = InviteCode(pool.id, pool.invite(), ()), pool.roster.digest()

    async def run() -> None:
        async with serving(pool) as served:
            probed = await probe(served.address, InviteCode(pool.id, code.secret, ()), Identity.create(), TIMEOUT_S)
            assert (probed.pool, probed.files, probed.bytes) == (pool.id, 3, 1234)
            assert probed.sponsor == pool.founder.node

    digest = pool.roster.digest()
    asyncio.run(run())
    assert pool.roster.digest() == digest


def test_a_wrong_secret_is_refused() -> None:
    """A secret that nobody has made is not let past TLS, and the newcomer hears what that may mean."""
    pool = Pool()
    assert refusal(pool, InviteCode(pool.id, InviteSecret.new(), ()), Identity.create()) == "invite_unknown"


def test_a_used_invite_is_refused_with_its_reason() -> None:
    """The sponsor's own reason reaches the newcomer."""
    pool = Pool()
    code = InviteCode(pool.id, pool.invite(), ())
    join_through(pool, code, Identity.create())
    assert refusal(pool, code, Identity.create()) == "invite_used"


class Impostor(Pool):
    """Somebody in between: takes any invite's certificate for known, but cannot know what the secret proves."""

    def __init__(self, victim: Pool, secret: InviteSecret) -> None:
        super().__init__()
        self.id = victim.id
        guessed = InviteSecret.new()
        self._guess = InviteState(
            bytes(32), secret.certificate, bytes(32), guessed.proof_key, 1, 0, 2_000_000_000, 1, "founder", False
        )

    def invite_of(self, fingerprint: bytes) -> InviteState | None:
        return self._guess

    def member_of(self, fingerprint: bytes) -> None:
        return None

    def certificates(self) -> tuple[int, list[bytes]]:
        return 1, [self._guess.certificate]

    async def on_join(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        self.asks.append(ask)
        yield JoinAnswer(pool=self.id)


def test_an_impostor_without_the_secret_gets_nothing() -> None:
    """Who pins the connection but cannot prove that it knows the invite never sees an admission."""
    pool = Pool()
    secret = pool.invite()
    impostor = Impostor(pool, secret)
    with pytest.raises(JoinRefused) as refused:
        join_through(impostor, InviteCode(pool.id, secret, ()), Identity.create())
    assert refused.value.code == "not_proven"
    assert [ask.admission for ask in impostor.asks] == [None]


def test_another_pool_is_not_joined_by_mistake() -> None:
    """A pool that knows the secret but is not the one in the code (it was given to two) is refused."""
    pool, other = Pool(), Pool()
    secret = InviteSecret.new()
    invite = make_invite(
        other.id, other.founder, secret, uses=1, not_after=2_000_000_000, made_at=1, signer_name="founder"
    )
    assert other.take(invite)
    assert refusal(other, InviteCode(pool.id, secret, ()), Identity.create()) == "bad_answer"
    assert [ask.admission for ask in other.asks] == [None]


class Breaking(Pool):
    """A sponsor that dies before the roster is out."""

    async def on_join(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        if ask.admission is None:
            yield JoinAnswer(pool=self.id)
        else:
            [part] = self.roster.all_parts(ROSTER_PART_BYTES_MAX)
            yield JoinAnswer(roster=RosterPart(part.ops, part.records, last=False))


def test_a_roster_that_broke_off_is_not_a_roster() -> None:
    """A sponsor that ends before the last part leaves the newcomer where it was: it can try again elsewhere."""
    pool = Breaking()
    assert refusal(pool, InviteCode(pool.id, pool.invite(), ()), Identity.create()) == "bad_roster"


class Lying(Pool):
    """A member that knows the invite, and hands over what is no roster of the newcomer's."""

    def __init__(self, lie: RosterPart) -> None:
        super().__init__()
        self.lie = lie

    async def on_join(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        if ask.admission is None:
            yield JoinAnswer(pool=self.id)
            return
        [part] = self.roster.all_parts(ROSTER_PART_BYTES_MAX)
        genesis = part.ops[:1]
        yield JoinAnswer(roster=RosterPart((*genesis, *self.lie.ops), self.lie.records, last=True))


@pytest.mark.parametrize(
    "lie",
    [RosterPart(), RosterPart(ops=(Signed(b"rubbish", b"r"),)), RosterPart(records=(Signed(b"rubbish", b"r"),))],
    ids=["nobody's invite", "no operation", "no record"],
)
def test_a_roster_that_does_not_hold_the_newcomer_is_refused(lie: RosterPart) -> None:
    """Nothing is written down that would not make this node a member, and nothing that cannot be read."""
    pool = Lying(lie)
    assert refusal(pool, InviteCode(pool.id, pool.invite(), ()), Identity.create()) == "bad_roster"


def test_nobody_there_is_not_a_refusal() -> None:
    """A closed port is a failed dial, after which other addresses of the code are worth trying."""
    pool = Pool()

    async def run() -> None:
        async with serving(pool) as served:
            address = served.address
        with pytest.raises(DialFailed) as failed:
            await join(address, InviteCode(pool.id, pool.invite(), ()), Identity.create(), "n", [], TIMEOUT_S)
        assert failed.value.code == "refused"

    asyncio.run(run())
