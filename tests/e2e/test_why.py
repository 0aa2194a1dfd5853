"""A path that cannot be put down waits, is explained on every node, and heals by itself; others go on (nothing is
silent)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Not even root may change, replace or remove it meanwhile (in a folder: nothing may come or go)."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a file immutable")
    done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this file system has no immutable files: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def told_of(pool: Pool, at: Node, path: str, of: Node) -> dict[str, Any]:
    """What a node says of where a path stands on another."""
    answer = pool.ask("why", at, at.path(path).as_posix())
    (row,) = [row for row in answer["members"] if row["node"] == of.id]
    return dict(row)


def is_blocked(pool: Pool, at: Node, stuck: Node) -> bool:
    return bool(told_of(pool, at, "sub/fixed", stuck)["state"] == "blocked")


@pytest.mark.parametrize("where", ["file", "folder"])
def test_an_immutable_path_is_explained_everywhere_and_heals(pool: Pool, where: str) -> None:
    """The node that cannot put it down, and all others: the same reason, a cause, a next step; then nothing more."""
    one = pool.start("one")
    two, stuck = pool.join("two", one), pool.join("stuck", one)
    (one.folder / "sub").mkdir()
    one.path("sub/fixed").write_text("before\n")
    pool.wait_settled()
    with immutable(stuck.path("sub/fixed") if where == "file" else stuck.path("sub")):
        one.path("sub/fixed").write_text("after, and longer\n")
        one.path("other").write_text("others go on\n")
        pool.until("others go on", stuck.path("other").exists)
        for node in (one, two, stuck):
            pool.until(f"{node.name} knows why", lambda node=node: is_blocked(pool, node, stuck))  # type: ignore[misc]
            row = told_of(pool, node, "sub/fixed", stuck)
            assert row["reason"] == "permission", row
            assert row["cause"], row
            assert row["next"], row
            (problem,) = pool.status(node)["problems"]
            assert (problem["path"], problem["node"], problem["reason"]) == ("sub/fixed", stuck.id, "permission")
            assert problem["hint"], problem
            assert [(each["path"], each["node"]) for each in pool.ask("why", node)["paths"]] == [
                ("sub/fixed", stuck.id)
            ]
            assert pool.roster(node)["stuck"]["state"] == "blocked"
        assert stuck.path("sub/fixed").read_text() == "before\n"
    pool.wait_equal()
    for node in (one, two, stuck):
        pool.until(f"{node.name} knows of the cure", lambda node=node: pool.ask("why", node)["paths"] == [])  # type: ignore[misc]
        assert pool.ask("why", node, node.path("sub/fixed").as_posix())["everywhere"]
