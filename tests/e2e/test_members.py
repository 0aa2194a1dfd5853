"""Pools form through any member, outlive their first node, shrink when told to, and need not be dialled both ways."""

import asyncio
import email
import encodings
import json
import shutil
import socket
from pathlib import Path

import pytest
from e2e.pool import Node, NotUp, Pool

pytestmark = pytest.mark.e2e

NOWHERE = "127.0.0.1:1"


def test_a_chain_of_five_becomes_one_pool(pool: Pool) -> None:
    """Each of five joins through the one before; a real tree reaches all, and each is linked with each other."""
    nodes = [pool.start("n1")]
    for package in (json, email, asyncio, encodings):
        source = Path(package.__file__ or "").parent
        shutil.copytree(source, nodes[0].path(source.name), symlinks=True)
    for number in range(2, 6):
        nodes.append(pool.join(f"n{number}", nodes[-1]))
    tree = pool.wait_equal()
    assert {"json/decoder.py", "email/mime/text.py", "asyncio/tasks.py", "encodings/utf_8.py"} <= set(tree)
    pool.wait_linked()
    for node in nodes:
        roster = pool.roster(node)
        assert set(roster) == {"n1", "n2", "n3", "n4", "n5"}
        assert "offline" not in {row["state"] for row in roster.values()}
    nodes[4].path("from the last.txt").write_text("hello, first\n")
    assert set(pool.wait_equal()) == set(tree) | {"from the last.txt"}


def test_the_first_node_may_die_for_good(pool: Pool) -> None:
    """After the founder's machine is lost, the others go on and admit a newcomer through any of them."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("legacy").write_text("by the founder\n")
    three = pool.join("three", two)
    pool.wait_equal()
    pool.destroy(one)
    two.path("after").write_text("the founder is gone\n")
    pool.wait_equal(two, three)
    four = pool.join("four", three)
    tree = pool.wait_equal(two, three, four)
    assert set(tree) == {"legacy", "after"}
    four.path("new").write_text("from the newcomer\n")
    assert set(pool.wait_equal(two, three, four)) == {"legacy", "after", "new"}
    said = pool.ask("nodes", "remove", "one", "--folder", two)
    assert said["name"] == "one"
    for node in (two, three, four):
        pool.until(f"one is off {node.name}'s roster", lambda node=node: "one" not in pool.roster(node))  # type: ignore[misc]


def test_who_leaves_is_off_the_roster_and_keeps_the_files(pool: Pool) -> None:
    """`leave` ends the node, shrinks the roster everywhere, keeps the files there, and the folder can join anew."""
    one, two, three = three_nodes(pool)
    one.path("kept").write_text("by everybody\n")
    pool.wait_settled()
    said = pool.cli("leave", two)
    assert said.exit == 0, said
    assert pool.await_end(two) == 0
    for node in (one, three):
        pool.until(f"two is off {node.name}'s roster", lambda node=node: set(pool.roster(node)) == {"one", "three"})  # type: ignore[misc]
    assert two.path("kept").read_text() == "by everybody\n"
    one.path("later").write_text("not for the one who left\n")
    pool.wait_equal(one, three)
    assert not two.path("later").exists()
    pool.admit(two, three, "--merge")
    assert set(pool.wait_equal()) == {"kept", "later"}
    assert pool.ask("conflicts", one) == []


def test_who_was_removed_is_refused(pool: Pool) -> None:
    """A removed node stops, gets nothing any more, and cannot come back without an invite; nor one that was away."""
    one, two, three = three_nodes(pool)
    one.path("before").write_text("for three\n")
    pool.wait_equal()
    pool.stop(three)
    for name in ("two", "three"):
        pool.ask("nodes", "remove", name, "--folder", one)
    assert pool.await_end(two) == 5  # it is told, and says so
    assert set(pool.roster(one)) == {"one"}
    with pytest.raises(NotUp) as refused:
        pool.restart(two)
    assert refused.value.said.exit == 5
    assert refused.value.said.error["code"] == "not_member"
    pool.restart(three)  # it was away, so it does not know yet, and nobody lets it in to be told
    pool.until("three is refused", lambda: "refused" in (pool.roster(three)["one"]["cause"] or ""))
    assert pool.roster(three)["one"]["link"] is None
    three.path("from a stranger").write_text("not for members\n")
    one.path("secret").write_text("for members\n")
    newcomer = pool.join("newcomer", one)
    assert set(pool.wait_equal(one, newcomer)) == {"before", "secret"}
    assert not two.path("secret").exists()
    assert set(pool.reader.read(three.folder)) == {"before", "from a stranger"}
    assert set(pool.roster(one)) == {"one", "newcomer"}


def test_a_node_that_is_down_comes_back_elsewhere(pool: Pool) -> None:
    """`down` keeps the membership; at another port the node is found again and catches up."""
    one, two, three = three_nodes(pool)
    pool.wait_linked()
    pool.down(two)
    pool.until("two is offline", lambda: pool.roster(one)["two"]["state"] == "offline")
    assert set(pool.roster(three)) == {"one", "two", "three"}
    one.path("while away").write_text("x\n")
    old = two.ready["listen"]
    pool.restart(two, "--listen", f"127.0.0.1:{free_port()}")
    assert two.ready["listen"] != old
    assert set(pool.wait_equal()) == {"while away"}
    pool.wait_linked()
    pool.stop(one)
    two.path("without one").write_text("y\n")
    pool.wait_equal(two, three)


def test_a_node_that_nobody_can_dial_takes_full_part(pool: Pool) -> None:
    """Behind a firewall that lets nothing in, a node fetches and serves over the streams that it opened itself."""
    one = pool.start("one")
    two = pool.join("two", one)
    hidden = pool.join("hidden", one, "--advertise", NOWHERE)
    one.path("from one").write_bytes(bytes(range(256)) * 20_000)
    pool.put_big(hidden, "from hidden", 8 << 20)
    assert set(pool.wait_equal()) == {"from one", "from hidden"}
    pool.wait_linked()
    pool.destroy(one)
    pool.put_big(hidden, "also without one", 8 << 20)
    two.path("back").write_text("to the hidden one\n")
    assert set(pool.wait_equal(two, hidden)) == {"from one", "from hidden", "also without one", "back"}


def test_two_hidden_nodes_meet_through_a_third(pool: Pool) -> None:
    """Two nodes that cannot reach each other at all are in sync through the one that both can reach."""
    middle = pool.start("middle")
    left = pool.join("left", middle, "--advertise", NOWHERE)
    right = pool.join("right", middle, "--advertise", NOWHERE)
    pool.put_big(left, "from left", 4 << 20)
    right.path("folder").mkdir()
    right.path("folder/from right").write_text("hello\n")
    assert set(pool.wait_equal()) == {"from left", "folder", "folder/from right"}
    assert pool.roster(left)["right"]["link"] is None
    left.path("folder/from right").unlink()
    right.path("from left").rename(right.path("folder/moved"))
    assert set(pool.wait_equal()) == {"folder", "folder/moved"}
    said = pool.cli("wait", left, "--nodes", "all")
    assert said.exit == 0, said


def three_nodes(pool: Pool) -> tuple[Node, Node, Node]:
    """Three nodes of one pool."""
    one = pool.start("one")
    return one, pool.join("two", one), pool.join("three", one)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
