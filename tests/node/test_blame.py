"""The book of faults: who is held to have broken the rules, and when."""

import asyncio

from node_rooms import node_id

from meerkat.model.ids import NodeId
from meerkat.model.limits import OUTRUNS_MAX, SPOILS_MAX
from meerkat.node.blame import Blame

BOB, CY = node_id("bob"), node_id("cy")


def test_a_fault_is_told_with_its_reason_and_kept_while_the_member_rests() -> None:
    """Whoever listens hears the node, the reason and the end of its rest."""

    async def play() -> None:
        told: list[tuple[NodeId, str, float]] = []
        blame = Blame(lambda node: "bob", lambda *fault: told.append(fault))
        blame.blame(BOB, "nonsense")
        assert blame.fault_of(BOB) == "nonsense"
        assert blame.fault_of(CY) == ""
        assert told == [(BOB, "nonsense", blame.until(BOB))]
        blame.only({CY})
        assert blame.fault_of(BOB) == ""

    asyncio.run(play())


def test_what_can_happen_to_an_honest_member_is_not_held_against_it() -> None:
    """One claim of unknown writes (after a rollback) and a few wrong pieces cost nothing; more do."""

    async def play() -> None:
        blame = Blame(lambda node: "bob", lambda node, why, until: None)
        for _ in range(OUTRUNS_MAX):
            blame.outrun_by(BOB)
        for _ in range(SPOILS_MAX - 1):
            blame.spoiled_by(BOB)
        assert blame.fault_of(BOB) == ""
        blame.spoiled_by(BOB)
        assert "other bytes" in blame.fault_of(BOB)
        blame.outrun_by(BOB)
        assert "never made" in blame.fault_of(BOB)

    asyncio.run(play())
