"""The one picture that every face shows: its words, and when each of them is true."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from node_pool import Running, pool
from node_rooms import eventually, node_id, until

from meerkat.model.frame import Neighbours
from meerkat.model.limits import NEIGHBOURS_SWARM_S
from meerkat.model.problem import Problem, Reason
from meerkat.node.status import memory_bytes


async def shows(running: Running, state: str) -> None:
    """Wait until the node says that its pool is in this state."""

    async def look() -> bool:
        return bool((await running.ask("status"))["state"] == state)

    await eventually(f"{running.name} is {state}", look)


def row(answer: list[dict[str, object]], name: str) -> dict[str, object]:
    """One node's line."""
    (found,) = [each for each in answer if each["name"] == name]
    return found


@contextmanager
def holding(running: Running) -> Iterator[None]:
    """The node puts nothing down meanwhile."""
    with patch.object(running.node.inward, "_ready", lambda batch: []):
        yield


def test_alone_in_sync_and_alone_again(tmp_path: Path) -> None:
    """Without a link it is alone, with one and nothing to do in sync; the other's line says the same."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await shows(ada, "alone")
            bob = await nodes.join("bob", ada)
            for each in (ada, bob):
                await shows(each, "in_sync")

            async def up_to_date() -> bool:
                return row(await ada.ask("nodes"), "bob")["state"] == "up_to_date"

            await eventually("bob says so himself", up_to_date)
            lines = await ada.ask("nodes")
            assert [line["name"] for line in lines] == ["ada", "bob"], "this node first"
            assert (row(lines, "ada")["self"], row(lines, "bob")["self"]) == (True, False)
            assert row(lines, "bob")["behind_files"] == 0
            await nodes.stop(bob)
            await shows(ada, "alone")
            gone = row(await ada.ask("nodes"), "bob")
            assert gone["state"] == "offline"
            assert gone["address"] == bob.address
            assert gone["last_seen"] is not None
            assert gone["cause"]

    asyncio.run(play())


def test_what_is_not_everywhere_is_syncing(tmp_path: Path) -> None:
    """Both sides say so while one of them holds back, and how much it lacks."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await shows(ada, "in_sync")
            with holding(bob):
                ada.put("a", b"12345")

                async def behind() -> bool:
                    answer = await bob.ask("status")
                    return bool(answer["state"] == "syncing" and answer["behind"] == {"files": 1, "bytes": 5})

                await eventually("bob lacks it", behind)
                await shows(ada, "syncing")
                line = row(await ada.ask("nodes"), "bob")
                assert line["state"] == "syncing"
            bob.node.inward.wake()
            for each in (ada, bob):
                await shows(each, "in_sync")

    asyncio.run(play())


def test_what_needs_a_person_is_shown_on_every_node(tmp_path: Path) -> None:
    """The path, the node, the reason, and the next step where it is; the same elsewhere, the step by the reason."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await shows(ada, "in_sync")
            problem = Problem("a.txt", Reason.DISK_FULL, "needs 5 MB, 1 MB free", "free some space")
            with holding(bob):
                ada.put("a.txt", b"a")
                await until("bob has heard of it", lambda: ada.id in {a.node for a in bob.node.books.context})
                bob.node.hub.trouble(problem, inward=True)
                for each in (bob, ada):
                    await shows(each, "attention")
                (here,) = (await bob.ask("status"))["problems"]
                assert here == {
                    "path": "a.txt",
                    "node": bob.id,
                    "reason": "disk_full",
                    "text": "needs 5 MB, 1 MB free",
                    "hint": "free some space",
                }
                (there,) = (await ada.ask("status"))["problems"]
                assert there == here | {"hint": "free some space on that node's disk"}
                assert row(await ada.ask("nodes"), "bob")["state"] == "blocked"
            bob.node.inward.wake()
            for each in (bob, ada):
                await shows(each, "in_sync")

    asyncio.run(play())


def test_conflicts_are_counted(tmp_path: Path) -> None:
    """A copy that waits for a person counts, and no longer once it was deleted."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("a.conflict-0a1b2c3d.txt", b"copy")

            async def counts(expected: int) -> bool:
                return bool((await ada.ask("status"))["conflicts"] == expected)

            await eventually("counted", lambda: counts(1))
            (ada.folder / "a.conflict-0a1b2c3d.txt").unlink()
            await eventually("gone", lambda: counts(0))

    asyncio.run(play())


def test_who_is_not_linked_may_be_there_all_the_same(tmp_path: Path) -> None:
    """Whoever is linked with somebody who is linked counts as there, as long as both ends of that link say so."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", ada)
            await nodes.linked()
            await nodes.stop(bob)
            await until("bob is gone", lambda: ada.node.status.reachable() == {cy.id})
            assert row(await ada.ask("nodes"), "bob")["state"] == "offline"
            vigil, run = ada.node.peers.vigil, 2**62
            vigil.take(cy.id, Neighbours(bob.id, run, 1, frozenset({cy.id}), frozenset()))
            await asyncio.sleep(2 * NEIGHBOURS_SWARM_S)
            assert ada.node.status.reachable() == {cy.id}, "only bob says so"
            vigil.take(cy.id, Neighbours(cy.id, run, 1, frozenset({ada.id, bob.id}), frozenset()))
            await until("both say so", lambda: ada.node.status.reachable() == {bob.id, cy.id})
            assert row(await ada.ask("nodes"), "bob")["state"] in ("up_to_date", "syncing")
            vigil.take(cy.id, Neighbours(node_id("stranger"), run, 1, frozenset({cy.id}), frozenset()))
            vigil.take(cy.id, Neighbours(cy.id, run, 2, frozenset({ada.id, node_id("stranger")}), frozenset()))
            await until("a stranger is never there", lambda: ada.node.status.reachable() == {cy.id})

    asyncio.run(play())


def test_totals_tell_what_the_folder_holds(tmp_path: Path) -> None:
    """Files with their bytes, folders; links count as files, deleted things not at all."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("f/a", b"12345")
            ada.put("b", b"123")
            (ada.folder / "l").symlink_to("b")
            ada.put("gone", b"x")
            await ada.ask("scan")
            (ada.folder / "gone").unlink()
            await ada.ask("scan")
            answer = await ada.ask("status")
            assert (answer["files"], answer["folders"], answer["bytes"]) == (3, 1, 8)
            assert answer["memory_bytes"] > 10_000_000
            assert memory_bytes() > 10_000_000

    asyncio.run(play())
