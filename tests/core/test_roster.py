"""The roster as a set: order does not matter, forgery does not count, everything is bounded."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roster_world import (
    POOL,
    Said,
    add,
    genesis,
    histories,
    invite,
    joined,
    node,
    record,
    rekey,
    remove,
    shown,
    verify,
)

from meerkat.core import roster as roster_module
from meerkat.core.roster import Roster
from meerkat.model.frame import RosterPart, Signed
from meerkat.model.ids import PoolId
from meerkat.model.limits import MEMBERS_MAX


def roster_of(ops: list[Said]) -> Roster:
    roster = Roster(verify, POOL)
    for one in ops:
        roster.add(one.op, one.signed)
    return roster


def state(roster: Roster) -> tuple[object, ...]:
    return (
        roster.digest(),
        roster.members(),
        roster.removed(),
        roster.suspended(),
        roster.invites(),
        sorted(signed.body for signed in roster.ops()),
        roster.records(),
    )


@given(histories(), st.data())
def test_the_same_set_is_the_same_roster(ops: list[Said], data: st.DataObject) -> None:
    """In whatever order, with repetitions, and read in between: the same operations make the same roster."""
    once = roster_of(ops)
    again = Roster(verify, POOL)
    for one in data.draw(st.permutations([*ops, *ops[:3]])):
        again.add(one.op, one.signed)
        if data.draw(st.booleans()):
            again.members()
    for one in ops:  # a forgery that came too early to be known for one may have taken the place of the true operation
        once.add(one.op, one.signed)
        again.add(one.op, one.signed)
    assert state(again) == state(once)


@given(histories(), st.integers(0, 20))
def test_two_rosters_become_one_by_union(ops: list[Said], cut: int) -> None:
    """Two nodes that each heard a part hand each other all parts, and hold the same; then nothing is news any more."""
    here, there = roster_of(ops[:cut]), roster_of(ops[cut:])
    for source, target in ((here, there), (there, here), (here, there)):
        hand_over(source, target, ops)
    assert state(here) == state(there)
    assert not hand_over(here, there, ops)


def hand_over(source: Roster, target: Roster, known: list[Said]) -> bool:
    """Send all parts; whether anything was news."""
    parsed = {one.signed.body: one.op for one in known}
    news = [target.add(parsed[signed.body], signed) for part in source.all_parts(bytes_max=400) for signed in part.ops]
    return any(news)


@given(histories())
def test_forgeries_change_nothing(ops: list[Said]) -> None:
    """Operations that somebody else has signed are as good as never sent."""
    true = [one for one in ops if one.signed.signature != b"forged"]
    mixed, clean = roster_of([*ops, *ops]), roster_of(true)
    assert mixed.members() == clean.members()
    assert mixed.removed() == clean.removed()


def test_operations_go_out_after_what_they_rest_on() -> None:
    """Whoever takes the parts in order can judge each operation when it comes."""
    by, bob = joined("ada", "bob")
    roster = roster_of([remove("bob", "ada"), bob, by, genesis()])
    bodies = [signed.body for signed in roster.ops()]
    assert bodies == [one.signed.body for one in (genesis(), by, bob, remove("bob", "ada"))]


def test_news_is_told_from_what_is_known() -> None:
    """Only what is new and not signed by somebody else is worth passing on."""
    roster = Roster(verify, POOL)
    by, bob = joined("ada", "bob")
    assert roster.add(bob.op, bob.signed)  # cannot be judged yet, so it may be true
    assert roster.add(genesis().op, genesis().signed)
    assert not roster.add(genesis().op, genesis().signed)
    assert not roster.add(by.op, Signed(by.signed.body, b"forged"))
    assert roster.members().keys() == {node("ada")}
    assert roster.add(by.op, by.signed)
    assert roster.members().keys() == {node("ada"), node("bob")}
    assert not roster.add(bob.op, bob.signed)


def test_a_forgery_does_not_shut_out_the_true_operation() -> None:
    """Whether the forged signature came before its signer was known or after, the true one still counts."""
    by, bob = joined("ada", "bob")
    forged = Said(bob.op, Signed(bob.signed.body, b"forged"))
    for ops in ([forged, bob, genesis(), by], [forged, genesis(), by, bob], [genesis(), by, forged, bob]):
        assert node("bob") in roster_of(ops).members()


def test_another_pools_operations_are_refused() -> None:
    """A roster holds one pool's operations; which pool, the first decides where nobody has said."""
    by, _ = joined("ada", "bob")
    elsewhere = Roster(verify, PoolId("q" * 32))
    assert not elsewhere.add(genesis().op, genesis().signed)
    fresh = Roster(verify)
    assert fresh.add(by.op, by.signed)
    assert fresh.pool == POOL


def test_certificates_are_looked_up_by_fingerprint() -> None:
    """The gate asks with what TLS has shown: members and invites are found, the removed and strangers are not."""
    by, bob = joined("ada", "bob")
    roster = roster_of([genesis(), by, bob])
    assert roster.member_of(shown("bob").fingerprint) == node("bob")
    found = roster.invite_of(shown("invite ada for bob").fingerprint)
    assert found is not None
    assert (found.id, found.used, found.uses, found.signer_name) == (by.op.id, 1, 1, "ada")
    assert roster.member_of(found.fingerprint) is None
    assert roster.member_of(shown("eve").fingerprint) is None
    assert roster.invite_of(shown("bob").fingerprint) is None
    out = remove("ada", "bob")
    assert roster.add(out.op, out.signed)
    assert roster.member_of(shown("bob").fingerprint) is None


def test_the_newest_record_of_a_node_counts() -> None:
    """A greater counter replaces, a lesser does not, and a record names its node from then on."""
    by, bob = joined("ada", "bob")
    roster = roster_of([genesis(), by, bob])
    assert roster.members()[node("bob")].name == "bob"
    before = roster.digest()
    assert roster.put_record(*record("bob", 2, "bob's laptop"))
    assert roster.members()[node("bob")].name == "bob's laptop"
    assert roster.digest() != before
    assert not roster.put_record(*record("bob", 1, "old name"))
    assert not roster.put_record(*record("bob", 2, "bob's laptop"))
    newer, _ = record("bob", 3, "forged")
    assert not roster.put_record(newer, Signed(b"bob 3 forged", b"forged"))
    assert roster.records()[node("bob")].name == "bob's laptop"


@given(st.permutations(range(6)))
def test_records_may_come_before_their_node(order: list[int]) -> None:
    """Records and operations in any order, two records of one counter among them, make the same roster."""
    by, bob = joined("ada", "bob")
    roster = Roster(verify, POOL)
    ops = [genesis(), by, bob]
    records = [record("bob", 1, "one"), record("bob", 2, "two"), record("bob", 2, "another")]
    for number in order:
        if number < 3:
            roster.add(ops[number].op, ops[number].signed)
        else:
            roster.put_record(*records[number - 3])
    assert roster.records()[node("bob")].name == "two"


def test_parts_are_bounded_and_whole() -> None:
    """Parts stay within their size, hold everything once, and the last says so; an empty roster is one last part."""
    ops = [genesis()]
    for number in range(40):
        ops += joined("ada", f"node {number}")
    roster = roster_of(ops)
    for number in range(40):
        assert roster.put_record(*record(f"node {number}", 1, "x"))
    parts = roster.all_parts(bytes_max=2000)
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 10
    assert sorted(one.body for part in parts for one in part.ops) == sorted(one.signed.body for one in ops)
    assert sum(len(part.records) for part in parts) == 40
    for part in parts:
        size = sum(len(one.body) + len(one.signature) for one in (*part.ops, *part.records))
        assert size <= 2000 or len(part.ops) + len(part.records) == 1
    assert Roster(verify).all_parts(100) == [RosterPart()]


def test_what_nobody_can_judge_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends operations of unknown signers fills only so much, and what is true still finds room."""
    monkeypatch.setattr(roster_module, "ROSTER_PENDING_MAX", 3)
    roster = Roster(verify, POOL)
    results = [roster.add(one.op, one.signed) for one in (remove("eve", "ada", str(number)) for number in range(6))]
    assert results == [True] * 3 + [False] * 3
    assert roster.add(genesis().op, genesis().signed)
    by, bob = joined("ada", "bob")
    assert roster.add(by.op, by.signed)
    assert roster.add(bob.op, bob.signed)
    monkeypatch.setattr(roster_module, "ROSTER_OPS_MAX", 6)
    more = invite("ada", "more")
    assert not roster.add(more.op, more.signed)


def test_a_chain_that_comes_backwards_is_judged_in_one_go() -> None:
    """Invites and admissions a hundred deep, last first, are all members once the genesis comes."""
    ops: list[Said] = []
    for number in range(100):
        ops += joined(f"node {number}", f"node {number + 1}")
    roster = roster_of(ops[::-1])
    assert roster.members() == {}
    first = genesis("node 0")
    assert roster.add(first.op, first.signed)
    assert len(roster.members()) == 101


def test_a_new_key_signs_for_its_node() -> None:
    """What the new key signs counts once the change of keys has come, in either order."""
    by, bob = joined("ada", "bob")
    change = rekey("bob", "bob's new key")
    out = remove("bob's new key", "ada")
    for ops in ([genesis(), by, bob, change, out], [out, change, bob, by, genesis()]):
        assert node("ada") in roster_of(ops).removed()


def test_an_invite_admits_by_its_own_key_alone() -> None:
    """A member's or another invite's signature under an admission does not admit."""
    by, _ = joined("ada", "bob")
    wrong = add(by, "eve", "another tag")
    assert node("eve") not in roster_of([genesis(), by, wrong]).members()


def test_a_full_roster_still_lets_a_member_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fills the roster up with operations of its own can be taken off it all the same, once by each member."""
    monkeypatch.setattr(roster_module, "ROSTER_OPS_MAX", 8)
    roster = roster_of([genesis(), *joined("ada", "bob"), *joined("ada", "eve")])
    for number in range(20):
        flood = invite("eve", f"flood {number}")
        roster.add(flood.op, flood.signed)
    assert len(roster.ops()) == 8
    for reason, counts in (("hostile", True), ("again", False)):
        removal = remove("bob", "eve", reason)
        assert roster.add(removal.op, removal.signed) is counts
    assert node("eve") not in roster.members()


@given(st.lists(st.tuples(st.sampled_from(["known", "unknown", "forged"]), st.integers(0, 400)), max_size=60))
def test_a_roster_is_bounded_whatever_is_poured_in(floods: list[tuple[str, int]]) -> None:
    """Operations of members, of nobody known and forged ones: never more than the limits, in memory and in what is
    told; and whoever poured can be taken off in the end."""
    with patch.object(roster_module, "ROSTER_OPS_MAX", 40), patch.object(roster_module, "ROSTER_PENDING_MAX", 10):
        roster = roster_of([genesis(), *joined("ada", "bob"), *joined("ada", "eve")])
        for kind, number in floods:
            signer = "eve" if kind != "unknown" else f"nobody {number}"
            one = invite(signer, f"flood {number}")
            signed = Signed(one.signed.body, b"forged") if kind == "forged" else one.signed
            roster.add(one.op, signed)
            roster.put_record(*record(f"stranger {number}", number, "x"))
        assert len(roster.ops()) <= 40 + 10 * 4
        assert len(roster._claims) <= MEMBERS_MAX
        removal = remove("bob", "eve")
        assert roster.add(removal.op, removal.signed)
        assert node("eve") not in roster.members()
        assert sum(len(part.ops) for part in roster.all_parts(400)) == len(roster.ops())
