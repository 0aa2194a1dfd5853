"""Why a path is not everywhere: what is said of this node, and of others by their own word."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from node_pool import Running, pool
from node_rooms import eventually, path, until

from meerkat.model.fault import Exit
from meerkat.model.member import Summary
from meerkat.model.problem import Problem, Reason
from meerkat.wire.control import ControlFault


def member(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """What is said of one node."""
    (found,) = [each for each in answer["members"] if each["name"] == name]
    return dict(found)


async def everywhere(running: Running, name: str = "") -> None:
    """Wait until it says so."""

    async def look() -> bool:
        if name:
            return bool((await running.ask("why", paths=[name]))["everywhere"])
        return not (await running.ask("why"))["paths"]

    await eventually("it is everywhere", look)


def test_what_is_everywhere_is_said_to_be(tmp_path: Path) -> None:
    """With who wrote it; a deletion as well."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"12345")
            await nodes.equal()
            for each in (ada, bob):
                await everywhere(each, "a.txt")
                await everywhere(each)
            answer = await bob.ask("why", paths=["a.txt"])
            assert (answer["kind"], answer["size"], answer["ignored"], answer["held"]) == ("file", 5, False, False)
            assert answer["written_by"] == {"node": ada.id, "name": "ada"}
            assert answer["heard_at"]
            (ada.folder / "a.txt").unlink()
            await ada.ask("scan")

            async def deleted() -> bool:
                return bool((await bob.ask("why", paths=["a.txt"]))["kind"] == "deleted")

            await eventually("bob has heard of it", deleted)
            await everywhere(bob, "a.txt")

    asyncio.run(play())


def test_a_blocked_path_is_told_on_both_nodes(tmp_path: Path) -> None:
    """Where it is blocked with its own hint, elsewhere with a step by the reason; other paths are not blamed."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await nodes.equal()
            ready = bob.node.inward._ready
            with patch.object(
                bob.node.inward, "_ready", lambda batch: [job for job in ready(batch) if job.path != "a.txt"]
            ):
                ada.put("a.txt", b"a")
                await ada.ask("scan")
                ada.put("later.txt", b"x")

                async def told() -> bool:
                    return bool(await bob.node.books.read(lambda view: view.siblings(path("a.txt"))))

                await eventually("bob has heard of it", told)
                assert member(await bob.ask("why", paths=["a.txt"]), "bob")["state"] == "behind"
                bob.node.hub.trouble(Problem("a.txt", Reason.PERMISSION, "may not write", "chmod it"), inward=True)

                async def blocked() -> bool:
                    return bool(member(await ada.ask("why", paths=["a.txt"]), "bob")["state"] == "blocked")

                await eventually("ada is told", blocked)
                here = member(await bob.ask("why", paths=["a.txt"]), "bob")
                there = member(await ada.ask("why", paths=["a.txt"]), "bob")
                assert (here["reason"], here["cause"], here["next"]) == ("permission", "may not write", "chmod it")
                assert (there["reason"], there["cause"]) == ("permission", "may not write")
                assert there["next"]
                await until("others go on", lambda: bob.read("later.txt") == b"x")
                await everywhere(ada, "later.txt")
                for each in (ada, bob):

                    async def nothing_else(each: Running = each) -> bool:
                        rows = (await each.ask("why"))["paths"]
                        return [(row["path"], row["node"], row["reason"]) for row in rows] == [
                            ("a.txt", bob.id, "permission")
                        ]

                    await eventually("only that is told", nothing_else)
            bob.node.inward.wake()
            for each in (ada, bob):
                await everywhere(each)

    asyncio.run(play())


def test_who_is_away_is_named_with_the_cause(tmp_path: Path) -> None:
    """What was written since is not on a node that is offline; what it had when it was last heard of, it has."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("before", b"x")
            await nodes.equal()
            await everywhere(ada)
            await nodes.stop(bob)
            await until("ada sees it", lambda: not ada.node.status.reachable())
            ada.put("after", b"y")
            await ada.ask("scan")
            row = member(await ada.ask("why", paths=["after"]), "bob")
            assert row["state"] == "offline"
            assert row["since"]
            assert row["cause"]
            assert row["next"]
            assert member(await ada.ask("why", paths=["before"]), "bob")["state"] == "has_it"
            listed = (await ada.ask("why"))["paths"]
            assert [(each["path"], each["name"]) for each in listed] == [("after", "bob")]

    asyncio.run(play())


def test_a_path_without_a_source_names_who_was_asked_and_who_had_it(tmp_path: Path) -> None:
    """The writer went away before anybody had the bytes: start it. Other nodes are told as well."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", ada)
            await nodes.linked()
            with (
                patch.object(bob.node.inward, "_ready", lambda batch: []),
                patch.object(cy.node.inward, "_ready", lambda batch: []),
            ):
                ada.put("a.txt", b"only here, and too large to ride along" * 400)
                for each in (bob, cy):

                    async def told(each: Running = each) -> bool:
                        return bool(await each.node.books.read(lambda view: view.siblings(path("a.txt"))))

                    await eventually("it has heard", told)
                await nodes.stop(ada)
                await until("ada is gone", lambda: bob.node.status.reachable() == {cy.id})
            bob.node.inward.wake()
            cy.node.inward.wake()

            async def sourceless() -> bool:
                answer = await bob.ask("why", paths=["a.txt"])
                return all(member(answer, each)["reason"] == "no_source_online" for each in ("bob", "cy"))

            await eventually("both say why", sourceless)
            row = member(await bob.ask("why", paths=["a.txt"]), "bob")
            assert "asked: cy" in row["cause"]
            assert "had it: ada" in row["cause"]
            assert row["next"] == "start ada"
            await nodes.start(ada)
            await nodes.equal()
            await everywhere(bob)

    asyncio.run(play())


def test_what_is_not_shared_says_so(tmp_path: Path) -> None:
    """Ignored here, a special file, nothing at all."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put(".meerkatignore", b"*.tmp\n")
            await ada.ask("scan")
            ada.put("x.tmp", b"x")

            async def ignored() -> bool:
                return bool((await ada.ask("why", paths=["x.tmp"]))["ignored"])

            await eventually("the rules are read", ignored)
            answer = await ada.ask("why", paths=["x.tmp"])
            assert member(answer, "ada")["state"] == "ignored"
            assert not answer["everywhere"]
            with pytest.raises(ControlFault) as nothing:
                await ada.ask("why", paths=["nothing"])
            assert nothing.value.exit_code == Exit.NOT_FOUND

    asyncio.run(play())


def test_a_member_that_never_spoke_is_not_taken_for_one_that_has_all(tmp_path: Path) -> None:
    """Unknown is said as unknown, also in the list of what is not everywhere."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a", b"x")
            await nodes.equal()
            await nodes.stop(bob)
            await until("ada sees it", lambda: not ada.node.status.reachable())
            latest: dict[Any, Summary] = {each: word for each, word in ada.node.gossip.latest.items() if each != bob.id}
            with patch.object(ada.node.gossip, "latest", latest):
                assert member(await ada.ask("why", paths=["a"]), "bob")["state"] == "offline"
                (unknown,) = (await ada.ask("why"))["unknown"]
                assert unknown["name"] == "bob"

    asyncio.run(play())
