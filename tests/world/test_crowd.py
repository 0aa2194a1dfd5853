"""Crowds on virtual time: one connected graph of few links whatever comes and goes, and the figures that are promised.

In small here; CROWD=32,128,512 lives larger ones (`make crowd` prints their figures).
"""

import asyncio
import os

import pytest
from world.crowd import Crowd, Resident
from world.crowd_figures import SCENES, figures

from meerkat.model.frame import RosterPart
from meerkat.model.limits import FULL_MESH_NODES_MAX, OVERLAY_DEGREE_MAX, OVERLAY_DEGREE_MIN
from meerkat.model.member import NodeState, Summary

COUNTS = [int(each) for each in os.environ.get("CROWD", "18").split(",")]

pytestmark = [pytest.mark.world, pytest.mark.timeout(1800)]


def test_a_pool_of_16_links_everybody() -> None:
    """Up to the limit each has a link with each."""
    with Crowd(FULL_MESH_NODES_MAX) as crowd:
        crowd.run(crowd.begin(calm_s=5))
        assert set(crowd.degrees()) == {FULL_MESH_NODES_MAX - 1}


@pytest.mark.parametrize("count", COUNTS)
def test_a_crowd_is_one_graph_of_few_links(count: int) -> None:
    """At rest each has as many links as it wants; while members are killed, leave, join and return, those that are up
    stay one graph and in the end level; a third that dies at once tears it apart for a moment at most."""

    async def churn(crowd: Crowd) -> None:
        await crowd.begin()
        assert crowd.is_connected()
        assert set(crowd.degrees()) <= set(range(OVERLAY_DEGREE_MIN, OVERLAY_DEGREE_MAX + 1))
        newcomers = crowd.residents[crowd.count :]
        for number in range(12):
            one = crowd.dice.choice(crowd.live)
            match number % 3:
                case 0:
                    one.kill()
                    await crowd.calm(2.0)
                    await one.start(crowd.ops, crowd.records)
                case 1:
                    await one.registry.remove(one.node, "left")
                    await asyncio.sleep(0.5)
                    one.kill()
                    crowd.ops, crowd.records = one.roster()
                case 2:
                    await _join(crowd, newcomers.pop(), one)
            await one.crowd.dice.choice(crowd.live).make(f"churn{number}")
            await crowd.calm(crowd.dice.uniform(0.2, 3.0))
        victims = crowd.dice.sample(crowd.live, count // 3)
        for victim in victims:
            victim.kill()
        await crowd.until("one graph again", crowd.is_connected, most_s=20.0)
        await crowd.until("all is level", crowd.level, most_s=20.0)
        await asyncio.sleep(40)
        low = min(OVERLAY_DEGREE_MIN, len(crowd.live) - 1)
        assert all(low <= degree <= OVERLAY_DEGREE_MAX for degree in crowd.degrees())
        everybody = {each.node for each in crowd.live}
        assert all(each.there() == everybody - {each.node} for each in crowd.live)

    with Crowd(count, more=4) as crowd:
        crowd.run(churn(crowd))


async def _join(crowd: Crowd, newcomer: Resident, sponsor: Resident) -> None:
    part = RosterPart((crowd.admission(newcomer),), (crowd.record(newcomer),))
    await sponsor.registry.take_in(part)
    crowd.ops, crowd.records = sponsor.roster()
    await newcomer.start(crowd.ops, crowd.records)


@pytest.mark.parametrize("count", COUNTS)
def test_being_taken_for_gone_has_no_effect_on_data(count: int) -> None:
    """A node that is cut off from all goes on working, is missed, and has what it wrote, and all else, when it is back:
    nothing is dropped or forgotten for its having been away."""

    async def scene(crowd: Crowd) -> None:
        await crowd.begin()
        alone, *others = crowd.live
        crowd.net.silence(alone.name)
        await crowd.until("it is missed", lambda: all(alone.node not in each.there() for each in others))
        await crowd.until("it misses all", lambda: not alone.there(), most_s=60.0)
        await alone.make("mine")
        await others[0].make("theirs")
        members = [each.registry.members().keys() for each in crowd.live]
        await asyncio.sleep(120)
        assert [each.registry.members().keys() for each in crowd.live] == members
        crowd.net.heal()
        await crowd.until("level again", crowd.level, most_s=30.0)
        assert all(len(each.books.context) == 2 for each in crowd.live)
        await crowd.until("there again", lambda: all(alone.node in each.there() for each in others), most_s=30.0)

    with Crowd(count) as crowd:
        crowd.run(scene(crowd))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("count", [8, *(each for each in COUNTS if "CROWD" in os.environ)])
def test_the_figures_are_kept(count: int, scene: str) -> None:
    """In the world's time and bytes, which no machine makes slower."""
    (figure,) = figures([count], [scene], brief="CROWD" not in os.environ)
    assert figure.kept, str(figure)


def test_words_of_who_is_not_admitted_yet_wait() -> None:
    """A summary may come before the roster knows its node; it counts once it does, and is not asked for again."""

    async def scene(crowd: Crowd) -> None:
        await crowd.begin(calm_s=3)
        one, other = crowd.live[:2]
        newcomer = crowd.residents[-1]
        one.peers._heard_summary(other.node, Summary(newcomer.node, 1, 1, NodeState.SYNCING, 0, 0, {}, {}))
        assert newcomer.node not in one.gossip.latest
        await one.registry.take_in(RosterPart((crowd.admission(newcomer),)))
        assert newcomer.node in one.gossip.latest

    with Crowd(3, more=1) as crowd:
        crowd.run(scene(crowd))
