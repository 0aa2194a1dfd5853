"""Deleted trees and past versions come back on real nodes, whoever still keeps them, and on all nodes the same."""

import os
import shutil

import pytest
from blake3 import blake3
from e2e.pool import Node, Pool
from e2e.tree import Tree

pytestmark = pytest.mark.e2e

BIG = os.urandom(900_000)


def plant(node: Node) -> None:
    """A small tree of everything, beside enough else that its going is no mass deletion."""
    for number in range(30):
        node.path(f"other-{number}").write_text(f"{number}\n")
    node.path("trip/photos/day 1").mkdir(parents=True)
    node.path("trip/empty").mkdir()
    node.path("trip/plan.md").write_text("to the sea\n")
    node.path("trip/run.sh").write_text("#!/bin/sh\n")
    node.path("trip/run.sh").chmod(0o755)
    node.path("trip/photos/day 1/sea.raw").write_bytes(BIG)
    node.path("trip/photos/last").symlink_to("day 1/sea.raw")
    node.path("trip/photos").chmod(0o750)


def part(tree: Tree, folder: str) -> Tree:
    return {path: thing for path, thing in tree.items() if path == folder or path.startswith(f"{folder}/")}


def test_a_deleted_folder_comes_back_on_all_nodes(pool: Pool) -> None:
    """By the node that deleted it, whose own disk has no byte of it left; taken back by deleting it again, and restored
    by the other node, from its own trash, after a restart."""
    one = pool.start("one")
    plant(one)
    two = pool.join("two", one)
    before = pool.wait_equal()
    shutil.rmtree(one.path("trip"))
    pool.until("it is gone", lambda: not two.path("trip").exists())
    back = pool.ask("restore", one, "trip")
    assert (back["files"], back["folders"], back["missing"], back["version"]) == (4, 4, 0, None)
    assert pool.reader.read(one.folder) == before
    assert pool.wait_equal() == before
    shutil.rmtree(two.path("trip"))
    pool.until("it is gone again", lambda: not one.path("trip").exists())
    pool.kill9(one)
    pool.restart(one)
    pool.ask("restore", one, "trip")
    assert pool.wait_equal() == before


def test_what_was_put_there_since_stays(pool: Pool) -> None:
    """A new file at one of the paths is left as it is, everywhere; a file in the folder's own place goes to the trash
    and can be had back in turn."""
    one = pool.start("one")
    plant(one)
    two = pool.join("two", one)
    before = pool.wait_equal()
    shutil.rmtree(one.path("trip"))
    pool.until("it is gone", lambda: not two.path("trip").exists())
    two.path("trip").mkdir()
    two.path("trip/plan.md").write_text("to the hills\n")
    pool.wait_equal()
    assert pool.ask("restore", one, "trip")["missing"] == 0
    tree = pool.wait_equal()
    assert two.path("trip/plan.md").read_text() == "to the hills\n"
    assert tree.keys() == before.keys()
    shutil.rmtree(one.path("trip"))
    one.path("trip").write_text("a file now\n")
    pool.until("it is a file", lambda: two.path("trip").is_file())
    back = pool.ask("restore", two, "trip")
    assert back["replaced"]
    assert part(pool.wait_equal(), "trip").keys() == part(before, "trip").keys()
    refused = pool.cli("restore", one, "trip", "--version", back["replaced"])
    assert (refused.exit, refused.error["code"]) == (8, "not_empty")
    shutil.rmtree(one.path("trip"))
    pool.until("it is gone", lambda: not two.path("trip").exists())
    pool.ask("restore", one, "trip", "--version", back["replaced"])
    pool.wait_equal()
    assert two.path("trip").read_text() == "a file now\n"


def test_a_version_that_only_another_member_keeps(pool: Pool) -> None:
    """Small and large, edited and deleted: this node's trash has lost them, one member's holds them. While that one is
    away it is said, and nothing is changed; when it is back, they come, to all."""
    one = pool.start("one")
    plant(one)
    two = pool.join("two", one)
    before = pool.wait_equal()
    small, large = "trip/plan.md", "trip/photos/day 1/sea.raw"
    first = {path: blake3(one.path(path).read_bytes()).hexdigest() for path in (small, large)}
    times = {path: one.path(path).stat().st_mtime_ns for path in (small, large)}
    two.path(small).write_text("to the hills\n")
    two.path(large).write_bytes(BIG[::-1])
    edited = pool.wait_equal()
    shutil.rmtree(two.path("trip"))
    pool.until("it is gone", lambda: not one.path("trip").exists())
    three = pool.join("three", one)
    pool.wait_equal(one, two, three)
    pool.stop(one)  # whose trash holds both versions of both: it was told of the edits, and of the deletion
    said = pool.cli("restore", two, "trip")
    assert (said.exit, said.out["files"], said.out["missing"]) == (6, 1, 3), said
    assert {row["code"] for row in said.out["missing_examples"]} == {"unreachable"}
    away = pool.cli("restore", two, small, "--version", first[small][:12])
    assert (away.exit, away.error["code"]) == (6, "unreachable")
    assert not two.path(small).exists()
    pool.restart(one)
    pool.until(
        "all of it is back", lambda: pool.cli("restore", two, "trip").exit in (0, 4) and two.path(large).exists()
    )
    assert pool.wait_equal() == edited
    for path in (small, large):
        pool.ask("restore", two, path, "--version", first[path][:12])
    assert pool.wait_equal() == before
    assert {path: three.path(path).stat().st_mtime_ns for path in (small, large)} == times
