"""Whole nodes: found, join, edit, stop, crash, leave. The order in which the rooms live, seen from outside."""

import asyncio
import os
from pathlib import Path

import pytest
from node_pool import pool
from node_rooms import WITHIN_S, eventually, path, until

from meerkat.model.fault import Exit, Fault
from meerkat.model.path import MARKER
from meerkat.wire.control import ControlClient, socket_path


def test_edits_reach_everybody(tmp_path: Path) -> None:
    """Three nodes, the third joined through the second: what anyone writes, renames or deletes is the same for all."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("first.txt", b"before anyone else was there")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", bob)
            await nodes.linked()
            await nodes.settled()
            bob.put("f/b.txt", b"from bob")
            cy.put("large", os.urandom(700_000))
            os.chmod(cy.folder / "large", 0o750)
            (ada.folder / "link").symlink_to("first.txt")
            await until("all have all", lambda: all(len(each.tree()) == 5 for each in nodes.nodes))
            await nodes.settled()
            os.rename(ada.folder / "f", ada.folder / "g")
            (cy.folder / "first.txt").unlink()
            await until("moved", lambda: all(each.read("g/b.txt") == b"from bob" for each in nodes.nodes))
            tree = await nodes.settled()
            assert set(tree) == {"g", "g/b.txt", "large", "link"}
            assert tree["large"][1] == 0o750

            async def at_rest() -> bool:
                status = await ada.ask("status")
                return (status["state"], status["files"], status["behind"]) == ("in_sync", 3, {"files": 0, "bytes": 0})

            await eventually("ada says so", at_rest)

    asyncio.run(play())


def test_a_stopped_node_catches_up(tmp_path: Path) -> None:
    """What happened on both sides meanwhile meets; an orderly stop goes on as the same author, at the same port."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"a")
            await until("bob has it", lambda: bob.read("a.txt") == b"a")
            await nodes.settled()
            author, address = bob.node.books.author, bob.address
            await nodes.stop(bob)
            ada.put("b.txt", b"b")
            bob.put("c.txt", b"c")
            (ada.folder / "a.txt").unlink()
            await nodes.start(bob)
            await until("both have both", lambda: all(set(each.files()) == {"b.txt", "c.txt"} for each in nodes.live))
            assert (bob.node.books.author, bob.address) == (author, address)

    asyncio.run(play())


def test_a_crashed_node_begins_a_new_epoch_and_loses_nothing(tmp_path: Path) -> None:
    """No number is given twice: after a crash the node writes as another author, and what it had is as before."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"a")
            await until("bob has it", lambda: bob.read("a.txt") == b"a")
            before = bob.node.books.author
            await nodes.crash(bob)
            bob.put("edited while it was down", b"e")
            ada.put("a.txt", b"newer")
            await nodes.start(bob)
            assert bob.node.books.author != before
            await until("ada has the edit", lambda: "edited while it was down" in ada.files())
            await nodes.settled()
            assert bob.read("a.txt") == b"newer"

    asyncio.run(play())


def test_two_who_edit_the_same_keep_both(tmp_path: Path) -> None:
    """Apart from each other they change one file: in the end there is one winner and one copy, on both."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"old")
            await until("bob has it", lambda: bob.read("a.txt") == b"old")
            await nodes.settled()
            await nodes.stop(bob)
            ada.put("a.txt", b"ada's")
            bob.put("a.txt", b"bob's")
            await ada.ask("scan")
            await nodes.start(bob)
            await until("both kept", lambda: all(len(each.files()) == 2 for each in nodes.live))
            await nodes.settled()
            assert set(ada.files().values()) == {b"ada's", b"bob's"}
            (conflict,) = await ada.ask("conflicts")
            assert conflict["path"] == "a.txt"

    asyncio.run(play())


def test_who_leaves_is_a_node_no_more(tmp_path: Path) -> None:
    """The files stay, the key and the index go, and the others know."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"a")
            await until("bob has it", lambda: bob.read("a.txt") == b"a")
            gone = bob.id
            await bob.ask("leave", yes=True)
            await nodes.ended(bob)
            assert bob.files() == {"a.txt": b"a"}
            marker = bob.folder / MARKER
            assert not any((marker / name).exists() for name in ("node.toml", "identity", "index.db"))
            assert len(list((tmp_path / ".state" / "meerkat").iterdir())) == 1, "ada's; nothing of bob stays outside"
            await until("ada knows", lambda: gone not in ada.node.registry.members())
            await nodes.start(bob, invite=await ada.invite(), merge=True)
            await nodes.settled()
            assert bob.id != gone

    asyncio.run(play())


def test_who_was_removed_stops_and_says_why(tmp_path: Path) -> None:
    """It ends by itself, does not start again, and its files stay."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            bob.put("b.txt", b"b")
            await ada.ask("nodes_remove", node="bob")
            with pytest.raises(Fault) as removed:
                await nodes.ended(bob)
            assert (removed.value.code, removed.value.exit_code) == ("not_member", Exit.NOT_ALLOWED)
            with pytest.raises(Fault) as again:
                await nodes.start(bob)
            assert again.value.code == "not_member"
            assert bob.read("b.txt") == b"b"
            assert [row["name"] for row in await ada.ask("nodes")] == ["ada"]

    asyncio.run(play())


def test_a_name_can_be_changed(tmp_path: Path) -> None:
    """The others show the new one, and it is kept for the next start."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await bob.ask("nodes_rename", name="Bob's laptop")
            await until("ada shows it", lambda: ada.node.registry.name_of(bob.id) == "Bob's laptop")
            await nodes.stop(bob)
            await nodes.start(bob, name=None)
            assert bob.ready["name"] == "Bob's laptop"

    asyncio.run(play())


def test_the_shared_rules_count_for_all(tmp_path: Path) -> None:
    """What one node writes into `.meerkatignore` is ignored by the others as well; taken back, it comes."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put(".meerkatignore", b"*.o\n")
            await until("bob ignores", lambda: bob.node.rules.ignored(path("a.o")))
            bob.put("a.o", b"object")
            bob.put("a.c", b"source")
            await until("the source came", lambda: ada.read("a.c"))
            await bob.ask("scan")
            await nodes.settled(ada)
            assert ada.read("a.o") is None
            ada.put(".meerkatignore", b"")
            await until("the object came", lambda: ada.read("a.o") == b"object")

    asyncio.run(play())


def test_programs_of_this_machine_reach_it(tmp_path: Path) -> None:
    """Over the socket of the folder, as the command line does; when the node is down the socket is gone."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            place = socket_path(ada.folder)

            def call() -> object:
                with ControlClient(place) as client:
                    return client.call("status", {}, timeout_s=WITHIN_S)["node"]

            assert await asyncio.to_thread(call) == ada.id
            await nodes.stop(ada)
            assert not place.exists()

    asyncio.run(play())


def test_a_folder_without_its_marker_stops_the_node(tmp_path: Path) -> None:
    """As if the disk had been unmounted: it ends with a reason, and tells the others nothing of the empty folder."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a.txt", b"a")
            await until("bob has it", lambda: bob.read("a.txt") == b"a")
            os.rename(bob.folder, tmp_path / "unmounted")
            bob.folder.mkdir()
            with pytest.raises(Fault) as stopped:
                await bob.node.outward.scan()
            assert stopped.value.code == "marker_missing"
            os.rmdir(bob.folder)
            os.rename(tmp_path / "unmounted", bob.folder)
            assert ada.read("a.txt") == b"a"

    asyncio.run(play())
