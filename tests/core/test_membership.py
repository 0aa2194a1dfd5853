"""What follows from a set of authentic operations."""

from hypothesis import example, given
from hypothesis import strategies as st
from roster_world import (
    NAMES,
    Said,
    add,
    genesis,
    histories,
    invite,
    joined,
    node,
    rekey,
    remove,
    revoke,
)

from meerkat.core.membership import Membership, Suspended, read_membership
from meerkat.model.ids import NodeId
from meerkat.model.roster import AddOp, InviteOp, RekeyOp, RemoveOp


def read(*ops: Said) -> Membership:
    return read_membership([one.op for one in ops], {})


def names(membership: Membership) -> set[str]:
    return {member.name for member in membership.members.values()}


BOB, CY, DEE = joined("ada", "bob"), joined("bob", "cy"), joined("cy", "dee")
CHAIN = (genesis(), *BOB, *CY, *DEE)


def test_who_was_invited_by_a_member_is_one() -> None:
    """Invites by members, and by those whom they invited, admit; those of strangers do not."""
    assert names(read(*CHAIN)) == {"ada", "bob", "cy", "dee"}
    assert names(read(*CHAIN, *joined("eve", "mallory"))) == {"ada", "bob", "cy", "dee"}
    assert names(read(genesis(), *CY)) == {"ada"}
    assert names(read(*CHAIN[1:])) == set()


def test_the_inviter_may_go_and_the_invited_stay() -> None:
    """Removing a member neither removes whom it had invited, nor leaves its open invites usable."""
    still_open = invite("bob", "open", uses=3)
    membership = read(*CHAIN, still_open, remove("ada", "bob"))
    assert names(membership) == {"ada", "cy", "dee"}
    states = {state.id: state for state in membership.invites.values()}
    assert states[still_open.op.id].revoked
    assert not states[BOB[0].op.id].revoked


def test_a_removed_key_never_comes_back() -> None:
    """Invited again, or admitted twice, the key stays out: a new one is needed."""
    membership = read(*CHAIN, remove("ada", "cy"), *joined("ada", "cy"))
    assert names(membership) == {"ada", "bob", "dee"}
    assert node("cy") in membership.removed


def test_leaving_is_a_removal_of_oneself() -> None:
    """A node may always take itself off, the founder too."""
    assert names(read(*CHAIN, remove("cy", "cy"))) == {"ada", "bob", "dee"}
    assert names(read(*CHAIN, remove("ada", "ada"))) == {"bob", "cy", "dee"}


def test_a_strangers_removal_does_not_count() -> None:
    """Only who ever was a member can take somebody off."""
    assert names(read(*CHAIN, remove("eve", "ada"))) == {"ada", "bob", "cy", "dee"}


def test_of_two_who_remove_each_other_the_senior_stays() -> None:
    """The founder before all, then the shorter chain of invites."""
    assert names(read(*CHAIN, remove("ada", "bob"), remove("bob", "ada"))) == {"ada", "cy", "dee"}
    assert names(read(*CHAIN, remove("dee", "bob"), remove("bob", "dee"))) == {"ada", "bob", "cy"}


def test_of_equal_seniority_exactly_one_stays() -> None:
    """Two whom the founder invited: the lower operation id decides, the same everywhere."""
    eve = joined("ada", "eve")
    membership = read(genesis(), *BOB, *eve, remove("bob", "eve"), remove("eve", "bob"))
    senior = min((BOB[1], eve[1]), key=lambda one: one.op.id)
    assert isinstance(senior.op, AddOp)
    assert names(membership) == {"ada", senior.op.name}


def test_a_ring_of_removals_leaves_its_senior() -> None:
    """Three who remove each other in a circle do not empty the pool."""
    ring = (remove("bob", "cy"), remove("cy", "dee"), remove("dee", "bob"))
    assert names(read(*CHAIN, *ring)) == {"ada", "bob"}


def test_a_removal_from_outside_a_ring_counts() -> None:
    """The senior of a ring is safe from the ring alone."""
    ring = (remove("bob", "cy"), remove("cy", "bob"))
    assert names(read(*CHAIN, *ring, remove("dee", "bob"))) == {"ada", "dee"}


def test_an_invite_for_one_admits_one() -> None:
    """Redeemed on several sides of a partition, the lowest operation id stays and the rest are suspended, by name."""
    by = invite("ada", "tag")
    adds = sorted((add(by, name, "tag") for name in ("bob", "cy", "dee")), key=lambda one: one.op.id)
    membership = read(genesis(), by, *adds)
    first, *others = [one.op for one in adds if isinstance(one.op, AddOp)]
    assert names(membership) == {"ada", first.name}
    assert membership.suspended == {
        other.shown.node: Suspended(other.name, by.op.id, "ada") for other in sorted(others, key=lambda op: op.id)
    }
    [state] = membership.invites.values()
    assert (state.used, state.uses, list(state.admitted)) == (1, 1, [first.shown.node])


def test_an_invite_for_several_may_overshoot() -> None:
    """Whoever made it meant a crowd, so nobody who came in on the other side of a partition is sent away; it shows."""
    by = invite("ada", "tag", uses=2)
    membership = read(genesis(), by, *(add(by, name, "tag") for name in ("bob", "cy", "dee", "eve")))
    assert names(membership) == {"ada", "bob", "cy", "dee", "eve"}
    assert membership.suspended == {}
    [state] = membership.invites.values()
    assert (state.used, state.uses, len(state.admitted)) == (4, 2, 4)


def test_who_was_suspended_can_be_invited_again() -> None:
    """Being surplus is no removal."""
    by = invite("ada", "tag")
    adds = [add(by, name, "tag") for name in ("bob", "cy")]
    membership = read(genesis(), by, *adds, *joined("ada", "bob"), *joined("ada", "cy"))
    assert names(membership) == {"ada", "bob", "cy"}
    assert membership.suspended == {}


def test_invites_of_the_suspended_admit_nobody() -> None:
    """What hangs on a surplus admission hangs in the air."""
    by = invite("ada", "tag")
    first, second = sorted((add(by, name, "tag") for name in ("bob", "cy")), key=lambda one: one.op.id)
    assert isinstance(second.op, AddOp)
    membership = read(genesis(), by, first, second, *joined(second.op.name, "dee"), remove(second.op.name, "ada"))
    assert len(membership.members) == 2
    assert node("dee") not in membership.members


def test_a_revoked_invite_shows_as_such() -> None:
    """Revoking ends an invite and leaves those whom it admitted."""
    membership = read(genesis(), *BOB, revoke("ada", BOB[0]))
    assert names(membership) == {"ada", "bob"}
    assert [state.revoked for state in membership.invites.values()] == [True]
    assert [state.revoked for state in read(genesis(), *BOB, revoke("eve", BOB[0])).invites.values()] == [False]


def test_a_new_key_follows_the_old() -> None:
    """The node goes on under its new id and old name; the old key is out, a removal of it takes the new along."""
    membership = read(*CHAIN, rekey("bob", "bob 2"), rekey("bob 2", "bob 3"))
    assert {one.name for node_id, one in membership.members.items() if node_id == node("bob 3")} == {"bob"}
    assert {node("bob"), node("bob 2")} <= membership.removed
    gone = read(*CHAIN, rekey("bob", "bob 2"), rekey("bob 2", "bob 3"), remove("ada", "bob"))
    assert names(gone) == {"ada", "cy", "dee"}


def test_only_a_node_itself_changes_its_key() -> None:
    """A change of somebody else's key does not count, and of two changes of one key one does."""
    foreign = rekey("cy", "evil")
    assert isinstance(foreign.op, RekeyOp)
    twisted = Said(
        RekeyOp(foreign.op.id, foreign.op.pool, foreign.op.signer, node("bob"), foreign.op.shown), foreign.signed
    )
    assert names(read(*CHAIN, twisted)) == {"ada", "bob", "cy", "dee"}
    assert len(read(*CHAIN, rekey("bob", "x"), rekey("bob", "y")).members) == 4


def test_taking_anothers_certificate_as_ones_new_key_gives_no_power() -> None:
    """A node that names a member's certificate as its new key, and is removed then, does not take that member along."""
    membership = read(*CHAIN, rekey("dee", "bob"), remove("ada", "dee"))
    assert names(membership) == {"ada", "bob", "cy"}


def test_records_name_the_members() -> None:
    """What nodes call themselves by now stands before the name of their admission."""
    membership = read_membership([one.op for one in CHAIN], {node("bob"): "bobby"})
    assert names(membership) == {"ada", "bobby", "cy", "dee"}


@given(histories())
def test_the_laws_hold_for_any_set(ops: list[Said]) -> None:
    """Whatever the operations: nobody is member and removed; uses are kept; every removal by a member that nobody
    answers takes effect; and members are exactly those whom a standing invite has admitted."""
    distinct = list({one.op.id: one.op for one in ops}.values())
    membership = read_membership(distinct, {})
    assert not membership.members.keys() & membership.removed
    assert not membership.suspended & membership.members.keys()
    for state in membership.invites.values():
        assert state.used == len(state.admitted)
        assert state.used <= 1 or state.uses > 1
    was_member = {node_id for node_id in map(node, NAMES) if node_id in membership.members.keys() | membership.removed}
    by_fingerprint = {one.shown.fingerprint: one.shown.node for one in distinct if isinstance(one, AddOp | RekeyOp)}
    removals: set[tuple[NodeId, NodeId]] = {
        (by_fingerprint[one.signer], one.node)
        for one in distinct
        if isinstance(one, RemoveOp) and one.signer in by_fingerprint and by_fingerprint[one.signer] in was_member
    }
    aimed_back = {target for _, target in removals} & {signer for signer, _ in removals}
    for signer, target in removals:
        if signer in membership.members and target not in aimed_back:
            assert target not in membership.members
    admitted = {node_id for state in membership.invites.values() for node_id in state.admitted}
    heirs = {one.shown.node for one in distinct if isinstance(one, RekeyOp)}
    assert membership.members.keys() <= admitted | heirs | {node("ada")}
    assert all(isinstance(one, InviteOp) for one in distinct if one.id in {s.id for s in membership.invites.values()})


def read_set(ops: list[Said]) -> Membership:
    return read_membership([one.op for one in ops], {})


@given(histories(), st.sampled_from(NAMES))
def test_a_removal_is_for_good(ops: list[Said], name: str) -> None:
    """Whoever is taken off by the founder, whom nobody takes off, stays off whatever else is said: invited again,
    admitted again, under a new key; and taking one off brings nobody in."""
    calm = [one for one in ops if not (isinstance(one.op, RemoveOp) and one.op.node == node("ada"))]
    calm = [one for one in calm if not (isinstance(one.op, RekeyOp) and one.op.node == node("ada"))]
    before = read_set(calm)
    after = read_set([*calm, remove("ada", name)])
    if name == "ada":
        assert names(after) <= names(before)  # leaving
        return
    assert node(name) not in after.members
    assert after.members.keys() <= before.members.keys()
    again = read_set([*calm, remove("ada", name), *joined("ada", name)])
    assert node(name) not in again.members


@given(st.permutations(NAMES[1:]), st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=8))
@example(["bob", "cy", "dee", "eve"], [("ada", "cy"), ("bob", "ada"), ("bob", "cy"), ("cy", "bob")])
def test_nobody_but_the_founder_can_empty_the_pool(order: list[str], aims: list[tuple[str, str]]) -> None:
    """Whatever removals members aim at each other: a ring leaves its senior, unless somebody outside it, or the senior
    itself, has aimed there too; of two who make a ring of their own exactly the senior stays."""
    chain = [genesis()]
    for inviter, name in zip(["ada", *order], order, strict=False):
        chain += joined(inviter, name)
    rank = {"ada": 0} | {name: place for place, name in enumerate(order, 1)}
    membership = read_set([*chain, *(remove(one, other) for one, other in set(aims))])
    left = {one for one, other in aims if one == other}
    for one, other in aims:
        if one == other:
            assert node(one) not in membership.members
        elif (other, one) in aims:
            junior = max(one, other, key=rank.__getitem__)
            senior = min(one, other, key=rank.__getitem__)
            assert node(junior) not in membership.members
            ring = {each for each in NAMES if chained(aims, senior, each) and chained(aims, each, senior)}
            aiming = {each for each, target in aims if target == senior}
            if ring == {senior, junior} and aiming == {junior} and senior not in left:
                assert node(senior) in membership.members
    if "ada" not in left:
        assert node("ada") in membership.members or any(
            target == "ada" and not chained(aims, "ada", each) for each, target in aims
        )


def chained(aims: list[tuple[str, str]], start: str, end: str) -> bool:
    """Whether a chain of removals leads from one to another."""
    found, ends = {start}, [start]
    while ends:
        here = ends.pop()
        for one, other in aims:
            if one == here and other not in found and one != other:
                found.add(other)
                ends.append(other)
    return end in found
