"""The roster at work: who is a member, who may become one, and that it is on the disk before anyone hears of it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import until

from meerkat.core.roster import InviteState
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import JoinAnswer, JoinAsk, RosterPart, Signed
from meerkat.model.ids import PoolId
from meerkat.model.limits import CONTROL_PART_BYTES_MAX, INVITE_LIFE_S_MAX, INVITE_USES_MAX
from meerkat.node import registry as registry_room
from meerkat.node.registry import Registry, found_pool, keep_roster
from meerkat.store.roster import RosterStore
from meerkat.wire import rosterops
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteCode, decode_invite

HOUR_S = 3600
ADDRESS = "192.0.2.1:4200"


class Founder:
    """A pool with one member."""

    def __init__(self, folder: Path, pool: PoolId, identity: Identity) -> None:
        self.folder, self.identity = folder, identity
        self.registry = Registry(folder, identity, pool)

    async def invite(self, uses: int = 1) -> tuple[InviteCode, InviteState]:
        code, state = await self.registry.invite("founder", [ADDRESS], uses=uses, life_s=HOUR_S)
        return decode_invite(code), state

    async def ask(self, invite: InviteState, admission: Signed | None, newcomer: Identity) -> list[JoinAnswer]:
        """What a newcomer that showed the invite's certificate is answered."""
        record = rosterops.make_record(newcomer, 1, "newcomer", [])
        ask = JoinAsk(b"n" * 16, newcomer.certificate, b"", admission, record if admission is not None else None)
        return [answer async for answer in self.registry.admit(ask, invite, 3, 99)]

    async def admit(self, code: InviteCode, invite: InviteState, newcomer: Identity) -> list[JoinAnswer]:
        return await self.ask(invite, admission(code, invite, newcomer), newcomer)


def admission(code: InviteCode, invite: InviteState, newcomer: Identity, name: str = "newcomer") -> Signed:
    return rosterops.make_add(code.pool, code.secret, invite.id, newcomer.certificate, name)


def run(folder: Path, scene: Callable[[Founder], Coroutine[object, object, None]]) -> None:
    """Play a scene in a new pool."""

    async def play() -> None:
        identity = Identity.create()
        pool = await found_pool(folder, identity, "founder", "our pool")
        founder = Founder(folder, pool, identity)
        await founder.registry.load()
        await scene(founder)

    folder.mkdir(exist_ok=True)
    asyncio.run(play())


def refused(answers: list[JoinAnswer]) -> str:
    (answer,) = answers
    return answer.refused


def test_a_new_pool_has_its_founder(tmp_path: Path) -> None:
    """One member, with its name; nobody else comes through the door."""

    async def scene(founder: Founder) -> None:
        members = founder.registry.members()
        assert {node: member.name for node, member in members.items()} == {founder.identity.node: "founder"}
        assert founder.registry.member_of(founder.identity.fingerprint) == founder.identity.node
        assert founder.registry.member_of(Identity.create().fingerprint) is None
        assert founder.registry.certificates()[1] == [founder.identity.certificate]

    run(tmp_path, scene)


def test_an_invite_admits_as_many_as_it_says(tmp_path: Path) -> None:
    """The first two come in; the third is told that it was used, and by whom it was made."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite(uses=2)
        assert code.addresses == (ADDRESS,)
        for _ in range(2):
            newcomer = Identity.create()
            (first,) = await founder.ask(invite, None, newcomer)
            assert (first.refused, first.pool, first.files, first.bytes) == ("", code.pool, 3, 99)
            answers = await founder.admit(code, invite, newcomer)
            assert all(answer.roster is not None for answer in answers)
            assert founder.registry.member_of(newcomer.fingerprint) == newcomer.node
            assert newcomer.certificate in founder.registry.certificates()[1]
        third = Identity.create()
        for answers in (await founder.ask(invite, None, third), await founder.admit(code, invite, third)):
            assert refused(answers) == "invite_used"
            assert "founder" in answers[0].reason
        assert len(founder.registry.members()) == 3

    run(tmp_path, scene)


def test_asking_again_is_no_second_member(tmp_path: Path) -> None:
    """The answer was lost; the same node asks again, here or elsewhere, and gets the roster once more."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        newcomer = Identity.create()
        first = await founder.admit(code, invite, newcomer)
        (question,) = await founder.ask(invite, None, newcomer)
        assert question.refused == "", "it begins from the beginning"
        again = await founder.admit(code, invite, newcomer)
        assert [answer.roster for answer in again] == [answer.roster for answer in first]
        assert len(founder.registry.members()) == 2
        assert refused(await founder.admit(code, invite, Identity.create())) == "invite_used"

    run(tmp_path, scene)


def test_a_revoked_invite_admits_nobody(tmp_path: Path) -> None:
    """It is named by the beginning of its id; whoever has joined by it stays."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite(uses=5)
        early = Identity.create()
        await founder.admit(code, invite, early)
        assert (await founder.registry.revoke(invite.id.hex()[:8].upper())).id == invite.id
        assert refused(await founder.admit(code, invite, Identity.create())) == "invite_revoked"
        assert early.node in founder.registry.members()
        assert refused(await founder.ask(invite, None, Identity.create())) == "invite_revoked"
        for wrong in ("ffffffffffff", ""):
            if wrong == "":
                await founder.invite()
            with pytest.raises(Fault) as fault:
                await founder.registry.revoke(wrong)
            assert (fault.value.code, fault.value.exit_code) == ("not_found", Exit.NOT_FOUND)

    run(tmp_path, scene)


def test_an_expired_invite_admits_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour is an hour; who was admitted in time may still ask again."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite(uses=2)
        early = Identity.create()
        await founder.admit(code, invite, early)
        now = registry_room.wall_clock()
        monkeypatch.setattr(registry_room, "wall_clock", lambda: now + HOUR_S + 1)
        assert refused(await founder.admit(code, invite, Identity.create())) == "invite_expired"
        assert all(answer.roster is not None for answer in await founder.admit(code, invite, early))

    run(tmp_path, scene)


def test_an_admission_is_for_whoever_shows_it(tmp_path: Path) -> None:
    """For another newcomer, of another invite, of another kind, or no operation at all: bad, and nobody comes in."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        other_code, other = await founder.invite()
        me, somebody = Identity.create(), Identity.create()
        for wrong in (
            admission(code, invite, somebody),
            admission(other_code, other, me),
            rosterops.make_genesis(me, "me", "mine"),
            Signed(b"rubbish", b"rubbish"),
        ):
            assert refused(await founder.ask(invite, wrong, me)) == "bad"
        forged = admission(code, invite, me)
        assert refused(await founder.ask(invite, Signed(forged.body, b"forged"), me)) == "bad"
        assert len(founder.registry.members()) == 1

    run(tmp_path, scene)


@pytest.mark.parametrize(
    ("uses", "life_s"), [(0, HOUR_S), (INVITE_USES_MAX + 1, HOUR_S), (1, 0), (1, INVITE_LIFE_S_MAX + 1)]
)
def test_an_invite_has_bounds(tmp_path: Path, uses: int, life_s: int) -> None:
    """Out of range is the caller's fault, and no invite is made."""

    async def scene(founder: Founder) -> None:
        with pytest.raises(Fault) as fault:
            await founder.registry.invite("founder", [], uses=uses, life_s=life_s)
        assert fault.value.exit_code == Exit.USAGE
        assert founder.registry.invites() == []

    run(tmp_path, scene)


def test_everything_is_on_the_disk_before_anyone_hears(tmp_path: Path) -> None:
    """A listener that starts a second registry from the disk finds the same members there."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        newcomer = Identity.create()
        found: list[bool] = []

        def heard() -> None:
            stored = RosterStore(founder.folder).load()
            found.append(admission(code, invite, newcomer).body in [op.body for op in stored.ops])

        founder.registry.on_changed(heard)
        await founder.admit(code, invite, newcomer)
        assert found == [True]
        again = Registry(founder.folder, founder.identity, code.pool)
        await again.load()
        assert again.members() == founder.registry.members()
        assert again.digest() == founder.registry.digest()
        assert again.fresh_parts() == [], "what was known before is no news to the links"

    run(tmp_path, scene)


def test_what_is_new_is_passed_on_once(tmp_path: Path) -> None:
    """Operations that are known already, or that do not hold, are neither told nor kept."""

    async def scene(founder: Founder) -> None:
        changes: list[int] = []
        founder.registry.on_changed(lambda: changes.append(1))
        code, invite = await founder.invite()
        newcomer = Identity.create()
        part = RosterPart(ops=(admission(code, invite, newcomer), Signed(b"rubbish", b"")))
        founder.registry.fresh_parts()
        await founder.registry.take_in(part)
        await founder.registry.take_in(part)
        assert [len(each.ops) for each in founder.registry.fresh_parts()] == [1]
        assert founder.registry.fresh_parts() == []
        assert len(changes) == 2, "the invite and the member"

    run(tmp_path, scene)


def test_a_node_says_where_it_is_when_that_is_news(tmp_path: Path) -> None:
    """The same name and addresses again are not said again; others are, under a greater counter."""

    async def scene(founder: Founder) -> None:
        registry, node = founder.registry, founder.identity.node
        for name, addresses in (("ada", ["192.0.2.1:1"]), ("ada", ["192.0.2.1:1"]), ("bob", ["192.0.2.1:2"])):
            await registry.tell_record(name, addresses)
        assert len(registry.fresh_parts()) == 2
        assert registry.name_of(node) == "bob"
        assert registry.addresses(node) == ["192.0.2.1:2"]

    run(tmp_path, scene)


def test_where_a_node_answered_is_tried_first(tmp_path: Path) -> None:
    """Where it says that it still is; then its other addresses; then places of which it says nothing any more. Also
    after a restart."""

    async def scene(founder: Founder) -> None:
        registry, node = founder.registry, founder.identity.node
        await registry.tell_record("ada", ["192.0.2.1:1", "192.0.2.2:1"])
        for address in ("192.0.2.9:1", "192.0.2.2:1"):
            registry.answered(node, address)
        expected = ["192.0.2.2:1", "192.0.2.1:1", "192.0.2.9:1"]
        assert registry.addresses(node) == expected
        again = Registry(founder.folder, founder.identity, registry.pool)
        await again.load()
        assert again.addresses(node) == expected
        assert again.addresses(Identity.create().node) == []

    run(tmp_path, scene)


def test_a_removed_member_is_out(tmp_path: Path) -> None:
    """Its certificate opens nothing any more, and the node itself knows when it reads the roster."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        newcomer = Identity.create()
        await founder.admit(code, invite, newcomer)
        await founder.registry.remove(newcomer.node, "lost")
        assert founder.registry.member_of(newcomer.fingerprint) is None
        assert newcomer.certificate not in founder.registry.certificates()[1]
        assert not founder.registry.is_out
        theirs = Registry(founder.folder, newcomer, code.pool)
        await theirs.load()
        assert theirs.is_out
        for again in (await founder.ask(invite, None, newcomer), await founder.admit(code, invite, newcomer)):
            assert refused(again) == "removed", "the invite does not bring it back, nor tell it anything"
        fault = theirs.why_out(tmp_path)
        assert (fault.code, fault.exit_code) == ("not_member", Exit.NOT_ALLOWED)

    run(tmp_path, scene)


def test_the_roster_that_a_newcomer_was_handed_is_kept(tmp_path: Path) -> None:
    """Written down, it makes the same registry on the newcomer's disk; a damaged file costs that one alone."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        newcomer = Identity.create()
        answers = await founder.admit(code, invite, newcomer)
        parts = [answer.roster for answer in answers if answer.roster is not None]
        folder = tmp_path / "theirs"
        folder.mkdir()
        await keep_roster(folder, [op for part in parts for op in part.ops], [r for p in parts for r in p.records])
        theirs = Registry(folder, newcomer, code.pool)
        await theirs.load()
        assert theirs.members() == founder.registry.members()
        for record in folder.glob("*.record"):
            record.write_bytes(b"rot")
        again = Registry(folder, newcomer, code.pool)
        await again.load()
        assert again.members().keys() == founder.registry.members().keys()
        for part in founder.registry.all_parts(CONTROL_PART_BYTES_MAX):
            await again.take_in(part)
        assert again.digest() == founder.registry.digest(), "members hand over what was lost"

    run(tmp_path / "ours", scene)


def test_what_was_said_in_a_nodes_name_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, or the node itself before its roster was set back, has said something later: the node says again what is
    true, with a counter beyond that."""
    monkeypatch.setattr(registry_room, "RECORD_RETELL_S", 0.01)

    async def scene(founder: Founder) -> None:
        registry, node = founder.registry, founder.identity.node
        await registry.tell_record("founder", [ADDRESS])
        keeping = asyncio.ensure_future(registry.stay_told(lambda: ("founder", [ADDRESS])))
        await asyncio.sleep(0)
        later = rosterops.make_record(founder.identity, 7, "copy", ["192.0.2.9:1"])
        await registry.take_in(RosterPart(records=(later,)))
        assert registry.name_of(node) == "copy"
        await until("it is put right", lambda: registry.tells("founder", [ADDRESS]))
        assert registry.name_of(node) == "founder"
        keeping.cancel()

    run(tmp_path / "roster", scene)


def test_known_operations_are_not_judged_again(tmp_path: Path) -> None:
    """A roster that is handed over at each link costs its hashes; what is new or false costs a signature's check."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite(uses=9)
        for _ in range(4):
            await founder.admit(code, invite, Identity.create())
        ops = tuple(op for part in founder.registry.all_parts(1 << 20) for op in part.ops)
        assert await founder.registry.take_in(RosterPart(ops=ops)) == 0
        false = Signed(admission(code, invite, Identity.create()).body, b"forged")
        assert await founder.registry.take_in(RosterPart(ops=(*ops, false))) == 1
        assert len(founder.registry.members()) == 5

    run(tmp_path, scene)


def test_a_member_that_makes_work_without_end_is_heard_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged operations by the hundred keep its own link waiting, and nobody else's."""
    monkeypatch.setattr(registry_room, "ROSTER_JUDGED_BURST", 20.0)
    monkeypatch.setattr(registry_room, "ROSTER_JUDGED_PER_S", 0.1)

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite(uses=9)
        liar, honest = Identity.create(), Identity.create()
        for each in (liar, honest):
            await founder.admit(code, invite, each)
        forged = tuple(Signed(admission(code, invite, liar, f"x{number}").body, b"forged") for number in range(40))
        slow = asyncio.ensure_future(founder.registry.hear(RosterPart(ops=forged), liar.node))
        await founder.registry.hear(RosterPart(ops=forged[:10]), honest.node)
        await asyncio.sleep(0)
        assert not slow.done()
        slow.cancel()
        assert len(founder.registry.members()) == 3

    run(tmp_path, scene)


def test_invites_that_are_over_leave_the_roots_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest can still be told why; all of them, over years, would make each handshake after a change slow."""
    monkeypatch.setattr(registry_room, "INVITES_OVER_TOLD_MAX", 2)

    async def scene(founder: Founder) -> None:
        certificates = []
        for number in range(5):
            now = 1_000_000 + number
            monkeypatch.setattr(registry_room, "wall_clock", lambda now=now: now)
            code, state = await founder.invite()
            await founder.registry.revoke(state.id.hex())
            certificates.append(code.secret.certificate)
        code, _ = await founder.invite()
        roots = founder.registry.certificates()[1]
        assert [one in roots for one in certificates] == [False, False, False, True, True]
        assert code.secret.certificate in roots

    run(tmp_path, scene)


def test_a_node_that_is_one_too_many_knows_it(tmp_path: Path) -> None:
    """Two nodes with one invite, taken in elsewhere: the one that does not stay reads so in its own roster, and why."""

    async def scene(founder: Founder) -> None:
        code, invite = await founder.invite()
        pair = [Identity.create(), Identity.create()]
        for each in pair:
            await founder.registry.take_in(RosterPart(ops=(admission(code, invite, each, each.node[:8]),)))
        out = []
        for each in pair:
            theirs = Registry(founder.folder, each, code.pool)
            await theirs.load()
            if theirs.is_out:
                out.append(theirs.why_out(tmp_path))
        (fault,) = out
        assert fault.code == "not_member"
        assert "same invite" in fault.message
        assert "founder" in fault.cause
        state = next(each for each in founder.registry.invites() if each.id == invite.id)
        assert registry_room.is_overused(state, founder.registry.suspended().values())

    run(tmp_path, scene)
