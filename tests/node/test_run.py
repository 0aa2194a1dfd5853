"""From a folder to a running node and back: what is wrong is a fault with a next step, and leaves the folder alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import WITHIN_S, until

from meerkat.model.fault import Exit, Fault
from meerkat.model.path import MARKER
from meerkat.node.ports import Tx
from meerkat.store.errors import IndexDamaged


async def refused(nodes: NodePool, running: Running, **settings: Any) -> Fault:
    """The fault that starting ends with."""
    with pytest.raises(Fault) as fault:
        await nodes.start(running, **settings)
    return fault.value


def test_ready_says_what_the_contract_names(tmp_path: Path) -> None:
    """The object that scripts wait for, with every field."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            assert ada.ready.keys() == {"event", "pool", "node", "name", "dir", "listen", "web", "pid"}
            assert (ada.ready["event"], ada.ready["name"], ada.ready["dir"]) == ("ready", "ada", str(ada.folder))
            assert ada.ready["listen"] == ada.address

    asyncio.run(play())


def test_one_node_per_folder(tmp_path: Path) -> None:
    """A second one is refused while the first runs, and may start when it has ended."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            again = Running("ada", ada.folder)
            fault = await refused(nodes, again)
            assert fault.code == "already_running"
            (ada.folder.parent / "alias").symlink_to(ada.folder)
            fault = await refused(nodes, Running("alias", ada.folder.parent / "alias"))
            assert fault.code == "already_running"
            await nodes.stop(ada)
            await nodes.start(ada)

    asyncio.run(play())


def test_a_folder_that_cannot_be_shared_is_left_alone(tmp_path: Path) -> None:
    """Missing, a file, or inside another shared folder."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            (tmp_path / "file").write_text("x")
            assert (await refused(nodes, Running("x", tmp_path / "missing"))).code == "folder_missing"
            assert (await refused(nodes, Running("x", tmp_path / "file"))).code == "not_a_folder"
            (ada.folder / "below").mkdir()
            nested = await refused(nodes, Running("x", ada.folder / "below"))
            assert (nested.code, nested.exit_code) == ("nested", Exit.REFUSED)
            assert not (ada.folder / "below" / MARKER).exists()

    asyncio.run(play())


def test_a_code_that_is_no_code_touches_nothing(tmp_path: Path) -> None:
    """The folder is not even opened."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            bob = nodes.folder("bob")
            assert (await refused(nodes, bob, invite="rubbish")).code == "invite_garbage"
            assert list(bob.folder.iterdir()) == []

    asyncio.run(play())


def test_a_node_of_one_pool_does_not_slip_into_another(tmp_path: Path) -> None:
    """An invite of another pool is refused, one of its own pool is no harm."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await nodes.found("ada"), await nodes.found("bob")
            other, own = await ada.invite(), await bob.invite()
            pool_before = bob.ready["pool"]
            await nodes.stop(bob)
            fault = await refused(nodes, bob, invite=other)
            assert (fault.code, fault.exit_code) == ("other_pool", Exit.REFUSED)
            await nodes.start(bob, invite=own)
            assert bob.ready["pool"] == pool_before

    asyncio.run(play())


def test_a_key_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """The pool knows this node by it: a fault, and what is left of the key stays as it is."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await nodes.stop(ada)
            for each in (ada.folder / MARKER / "identity").iterdir():
                each.write_bytes(b"rot")
            assert (await refused(nodes, ada)).code == "identity_damaged"
            assert {each.read_bytes() for each in (ada.folder / MARKER / "identity").iterdir()} == {b"rot"}

    asyncio.run(play())


def test_a_damaged_index_is_made_anew_from_the_pool(tmp_path: Path) -> None:
    """Found at the start, it is set aside; the files are still there, the deleted ones do not come back."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            for name in ("kept", "deleted"):
                ada.put(name, name.encode())
            await until("bob has both", lambda: len(bob.files()) == 2)
            await nodes.settled()
            await nodes.stop(bob)
            (ada.folder / "deleted").unlink()
            await ada.ask("scan")
            (bob.folder / MARKER / "index.db").write_bytes(b"rot" * 1000)
            await nodes.start(bob)
            await until("bob has it again", lambda: set(bob.files()) == {"kept"} and not bob.node.books.recovering)
            await nodes.settled()
            assert ada.files() == {"kept": b"kept"}
            assert list((bob.folder / MARKER).glob("index.db.damaged-*"))

    asyncio.run(play())


def test_damage_found_while_running_begins_a_new_index(tmp_path: Path) -> None:
    """Wherever it is met, the node goes on by itself: set aside, learnt again, at the same port."""

    async def play() -> None:
        async with pool(tmp_path, bugs_expected=True) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a", b"a")
            await until("bob has it", lambda: bob.read("a") == b"a")
            first, address = bob.node, bob.address

            def fail(tx: Tx) -> None:
                raise IndexDamaged("a page does not add up")

            first.tasks.spawn("a write of any task", first.books.write(fail))
            await until("another engine", lambda: nodes._made[bob.folder] is not first)
            bob.engine = nodes._made[bob.folder]
            await until("it is up", lambda: getattr(bob.node, "listen", "") == address)
            assert list((bob.folder / MARKER).glob("index.db.damaged-*")), "nothing of the old one is thrown away"
            ada.put("b", b"b")
            await until("bob goes on", lambda: bob.read("b") == b"b")

    asyncio.run(play())


def test_a_signal_while_it_starts_ends_it_in_order(tmp_path: Path) -> None:
    """Told to stop before it was up, it comes up and goes down; the folder can be used at once."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await nodes.stop(ada)
            starting = asyncio.ensure_future(nodes.start(ada))
            await asyncio.sleep(0)
            ada.stop.set()
            async with asyncio.timeout(WITHIN_S):
                await starting
            await nodes.ended(ada)
            await nodes.start(ada)

    asyncio.run(play())
