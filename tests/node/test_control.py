"""What scripts rely on: every verb's JSON has the contract's fields, and what is wrong with a question is said."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from node_pool import Running, pool
from node_rooms import WITHIN_S, eventually, until

from meerkat.model.fault import Exit
from meerkat.node.control import Control
from meerkat.wire.control import ControlFault

STATUS = {
    "pool",
    "node",
    "name",
    "dir",
    "state",
    "files",
    "folders",
    "bytes",
    "behind",
    "conflicts",
    "held",
    "problems",
    "nodes",
    "traffic",
    "memory_bytes",
}
NODE = {"node", "name", "state", "self", "behind_files", "last_seen", "address", "rtt_ms"}
EVENT = {"epoch", "seq", "at", "type", "node", "data"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def refused(running: Running, verb: str, **arguments: object) -> ControlFault:
    """The fault that a verb ends with."""
    with pytest.raises(ControlFault) as fault:
        await running.ask(verb, **arguments)
    return fault.value


async def told(running: Running, verb: str, count: int, **arguments: object) -> list[dict[str, Any]]:
    """The first so many things that a verb tells."""
    found: list[dict[str, Any]] = []
    answers = Control(running.node).handle(verb, dict(arguments))
    async with asyncio.timeout(WITHIN_S):
        async for each in answers:
            assert isinstance(each, dict)
            found.append(each)
            if len(found) == count:
                break
    await answers.aclose()  # type: ignore[attr-defined]  # an async generator, as the server knows too
    return found


def test_status_and_nodes_have_every_field(tmp_path: Path) -> None:
    """For this node and for another one, linked and away."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("f/a.txt", b"a")
            await until("bob has it", lambda: bob.read("f/a.txt") == b"a")

            async def with_rtt() -> bool:
                return all(line["rtt_ms"] is not None for line in await ada.ask("nodes"))

            await eventually("pinged", with_rtt)
            status = await ada.ask("status")
            assert status.keys() >= STATUS
            assert status["behind"].keys() == {"files", "bytes"}
            assert status["traffic"].keys() == {"sent_bytes", "received_bytes", "reused_bytes"}
            assert (status["node"], status["dir"], status["held"]) == (ada.id, str(ada.folder), 0)
            for line in (*status["nodes"], *await ada.ask("nodes")):
                assert line.keys() >= NODE
                assert TIME.fullmatch(line["last_seen"])
            await nodes.stop(bob)
            await until("gone", lambda: not ada.linked())
            away = (await ada.ask("nodes"))[1]
            assert away.keys() >= NODE
            assert (away["state"], away["rtt_ms"]) == ("offline", None)

    asyncio.run(play())


def test_invites_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """With the command to paste, whose folder is quoted for a shell; used up ones are listed no more."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("our photos")
            made = await ada.ask("invite", uses=2, **{"for": 600})
            assert made.keys() >= {"code", "command", "id", "expires_at", "uses_left"}
            assert made["command"] == f"meerkat join {made['code']} 'our photos'"
            assert made["uses_left"] == 2
            assert TIME.fullmatch(made["expires_at"])
            await nodes.start(nodes.folder("bob"), invite=made["code"])
            (listed,) = await ada.ask("invite_list")
            assert (listed["id"], listed["uses_left"]) == (made["id"], 1)
            revoked = await ada.ask("invite_revoke", id=made["id"][:6])
            assert revoked["id"] == made["id"]
            assert await ada.ask("invite_list") == []

    asyncio.run(play())


def test_events_are_told_as_they_come(tmp_path: Path) -> None:
    """Numbered, timed, of this node; whoever was away asks for what came after a number."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await until("quiet", lambda: not ada.node.outward.busy)
            last = int(str(ada.node.hub.recent(1)[0]["seq"]))
            ada.put("a.txt", b"a")
            await ada.ask("scan")
            events = await told(ada, "events", 3, since=last)
            assert [event["seq"] for event in events] == [last + 1, last + 2, last + 3]
            for event in events:
                assert event.keys() == EVENT
                assert event["node"] == ada.id
                assert TIME.fullmatch(event["at"])
            assert any(event["data"].get("path") == "a.txt" for event in await told(ada, "events", 3, since=last))

    asyncio.run(play())


def test_a_scan_says_what_it_found(tmp_path: Path) -> None:
    """Paths seen, changes, seconds; of the whole folder, or of what was named."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await nodes.stop(ada)
            ada.put("f/a.txt", b"a")
            await nodes.start(ada)
            await until("taken in", lambda: ada.node.books.totals.files == 1)
            answer = await ada.ask("scan")
            assert answer.keys() == {"scanned", "changes", "seconds"}
            assert (answer["scanned"], answer["changes"]) == (2, 0)
            assert (await ada.ask("scan", paths=["f/", "f/a.txt"]))["changes"] == 0

    asyncio.run(play())


def test_waiting_tells_for_whom(tmp_path: Path) -> None:
    """Done with everybody, or not done with a node that is away, by its name; progress is told meanwhile."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            ada.put("a.txt", b"a")
            for named in ("reachable", "all", "bob", bob.id[:8]):
                answer = await ada.ask("wait", nodes=named, timeout=WITHIN_S)
                assert answer.keys() == {"done", "seconds", "waiting_for"}
                assert (answer["done"], answer["waiting_for"]) == (True, [])
            assert bob.read("a.txt") == b"a"
            assert (await ada.ask("wait", paths=["a.txt"], timeout=WITHIN_S))["done"]
            await nodes.stop(bob)
            await until("gone", lambda: not ada.linked())
            ada.put("b.txt", b"b")
            assert (await ada.ask("wait", timeout=WITHIN_S))["done"], "nobody is reachable"
            answer = await ada.ask("wait", nodes="all", timeout=0.2)
            assert not answer["done"]
            assert answer["waiting_for"] == [{"node": bob.id, "name": "bob", "reason": "offline"}]
            progress = await told(ada, "wait", 1, nodes="all", timeout=5)
            assert progress[0]["waiting_for"][0]["name"] == "bob"

    asyncio.run(play())


def test_conflicts_are_listed_with_their_copies(tmp_path: Path) -> None:
    """Each with the fields that scripts read."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("f/a.conflict-0a1b2c3d.txt", b"copy")
            await ada.ask("scan")
            (conflict,) = await ada.ask("conflicts")
            assert conflict["path"] == "f/a.txt"
            (copy,) = conflict["copies"]
            assert copy.keys() >= {"path", "node", "at", "size", "digest"}
            assert (copy["path"], copy["size"]) == ("f/a.conflict-0a1b2c3d.txt", 4)

    asyncio.run(play())


def test_stopping_is_answered_first(tmp_path: Path) -> None:
    """`down` says whom it stops, and then it stops."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            answer = await ada.ask("down")
            assert (answer["node"], answer["dir"], answer["pid"]) == (ada.id, str(ada.folder), ada.ready["pid"])
            await nodes.ended(ada)

    asyncio.run(play())


def test_leaving_with_the_only_copy_needs_a_yes(tmp_path: Path) -> None:
    """While no other node is known to have what is in the folder now it is refused; when one is, it needs no yes."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await until("bob is a whole node", lambda: not bob.node.books.recovering)
            await nodes.stop(ada)
            bob.put("b.txt", b"only here")
            fault = await refused(bob, "leave")
            assert (fault.code, fault.exit_code) == ("only_copy", Exit.REFUSED)
            await nodes.start(ada)
            await nodes.linked()
            assert (await bob.ask("wait", nodes="all", timeout=WITHIN_S))["done"]
            answer = await bob.ask("leave")
            assert answer.keys() == {"pool", "node", "dir"}
            await nodes.ended(bob)
            assert ada.read("b.txt") == b"only here"

    asyncio.run(play())


def test_who_has_not_learnt_the_pool_yet_leaves_only_on_purpose(tmp_path: Path) -> None:
    """While its index is being recovered a node cannot know what is elsewhere."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await until("bob is a whole node", lambda: not bob.node.books.recovering)
            await nodes.settled()
            await bob.node.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
            assert (await refused(bob, "leave")).code == "only_copy"
            assert (await bob.ask("leave", yes=True)).keys() == {"pool", "node", "dir"}
            await nodes.ended(bob)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("verb", "arguments", "code", "exit_code"),
    [
        ("dance", {}, "unknown_verb", Exit.ERROR),
        ("nodes_rename", {}, "usage", Exit.USAGE),
        ("nodes_rename", {"name": 7}, "usage", Exit.USAGE),
        ("nodes_rename", {"name": ""}, "bad_value", Exit.USAGE),
        ("nodes_rename", {"name": "x" * 65}, "bad_value", Exit.USAGE),
        ("nodes_rename", {"name": "a\x1b[2J"}, "bad_value", Exit.USAGE),
        ("nodes_remove", {"node": "nobody"}, "not_found", Exit.NOT_FOUND),
        ("nodes_remove", {"node": "ada"}, "refused", Exit.REFUSED),
        ("nodes_remove", {}, "usage", Exit.USAGE),
        ("invite", {"uses": "many"}, "usage", Exit.USAGE),
        ("invite", {"uses": True}, "usage", Exit.USAGE),
        ("invite", {"uses": 0}, "bad_value", Exit.USAGE),
        ("invite", {"for": -1}, "bad_value", Exit.USAGE),
        ("invite_revoke", {"id": "ffff"}, "not_found", Exit.NOT_FOUND),
        ("invite_revoke", {}, "usage", Exit.USAGE),
        ("scan", {"paths": "a.txt"}, "usage", Exit.USAGE),
        ("scan", {"paths": ["../etc"]}, "usage", Exit.USAGE),
        ("scan", {"paths": ["/etc"]}, "usage", Exit.USAGE),
        ("scan", {"paths": [".meerkat/identity"]}, "usage", Exit.USAGE),
        ("wait", {"paths": ["nowhere"]}, "not_found", Exit.NOT_FOUND),
        ("wait", {"nodes": "nobody"}, "not_found", Exit.NOT_FOUND),
        ("wait", {"timeout": "soon"}, "usage", Exit.USAGE),
    ],
)
def test_what_is_wrong_with_a_question_is_said(
    tmp_path: Path, verb: str, arguments: dict[str, object], code: str, exit_code: int
) -> None:
    """A word for programs, a sentence for people, and the exit code of the contract."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            fault = await refused(await nodes.found("ada"), verb, **arguments)
            assert (fault.code, fault.exit_code) == (code, exit_code)
            assert fault.message

    asyncio.run(play())


def test_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """A name that two nodes have, or a beginning that is too short, names nobody; the id's beginning does."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            one = await nodes.join("1", ada, called="twin")
            two = await nodes.join("2", ada, called="twin")
            await nodes.linked()
            fault = await refused(ada, "nodes_remove", node="twin")
            assert fault.code == "not_found"
            assert "2 nodes" in fault.message
            assert (await refused(ada, "nodes_remove", node=one.id[:2])).code == "not_found"
            answer = await ada.ask("nodes_remove", node=one.id[:12])
            assert answer == {"node": one.id, "name": "twin"}
            assert two.id in ada.node.registry.members()
            assert one.task is not None
            await asyncio.wait([one.task])
            one.task.exception()

    asyncio.run(play())
