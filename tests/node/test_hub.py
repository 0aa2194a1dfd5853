"""One place knows how the node stands; whoever listens slowly loses events and never holds anything up."""

import asyncio

from meerkat.model.limits import EVENT_QUEUE_MAX
from meerkat.model.problem import Problem, Reason
from meerkat.node.hub import Hub, now_text


def test_events_are_numbered_and_can_be_had_from_a_number_on() -> None:
    """Numbers have no holes; who comes late names the last one that it has."""

    async def scene() -> None:
        hub = Hub("n")
        for number in range(3):
            hub.tell("file.changed", path=str(number))
        events = hub.events(since=1)
        got = [await anext(events), await anext(events)]
        assert [(event["seq"], event["data"]) for event in got] == [(2, {"path": "1"}), (3, {"path": "2"})]
        hub.tell("scan.finished")
        assert (await anext(events))["type"] == "scan.finished"
        await events.aclose()  # type: ignore[attr-defined]  # a generator

    asyncio.run(scene())


def test_a_slow_listener_is_reset() -> None:
    """Instead of what it missed it gets one `reset`, and then goes on."""

    async def scene() -> None:
        hub = Hub("n")
        events = hub.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        for number in range(EVENT_QUEUE_MAX + 2):
            hub.tell("file.changed", path=str(number))
        got = [await first]
        while got[-1]["type"] != "reset":
            got.append(await anext(events))
        assert len(got) < EVENT_QUEUE_MAX
        assert (await anext(events))["data"] == {"path": str(EVENT_QUEUE_MAX + 1)}
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())


def test_a_problem_is_told_once_and_heals() -> None:
    """Only what keeps something of the pool away from here, and needs a person, blocks."""

    async def scene() -> None:
        hub = Hub("n")
        full = Problem("a", Reason.DISK_FULL, "full", "free some")
        hub.trouble(full, inward=True)
        hub.trouble(full, inward=True)
        hub.trouble(Problem("b", Reason.PERMISSION, "unreadable"), inward=False)
        hub.trouble(Problem("c", Reason.NO_SOURCE_ONLINE, "nobody"), inward=True)
        assert [event["type"] for event in hub.recent(10)] == ["file.failed"] * 3
        assert hub.blocked() == [full]
        hub.trouble(Problem("d", Reason.FILE_BUSY, "in use"), inward=True)
        assert [problem.path for problem in hub.told()] == ["a", "c", "d"], "what time or a member cures comes last"
        assert [problem.path for problem in hub.unshared()] == ["b"]
        assert len(hub.problems()) == 4
        hub.healed("a")
        assert hub.blocked() == []
        assert not hub.has_problem("a")

    asyncio.run(scene())


def test_times_for_people() -> None:
    """RFC 3339 in UTC, to the millisecond."""
    assert now_text(0.25) == "1970-01-01T00:00:00.250Z"
