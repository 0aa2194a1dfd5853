"""A node's folder copied with everything in it, and both run: no flapping, no dot twice, nothing lost (MERGE R12)."""

import subprocess
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e


def copied(pool: Pool, original: Node, name: str) -> Node:
    """As `cp -a` does it, the metadata included."""
    folder = pool.base / name
    subprocess.run(["cp", "-a", str(original.folder), str(folder)], check=True)
    return pool.node(name, folder)


def names(pool: Pool, node: Node) -> set[str]:
    return set(pool.roster(node))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside it", "on another machine"])
def test_copied_while_down(pool: Pool, elsewhere: bool, tmp_path: Path) -> None:
    """The copy goes on as a member of its own, the original as who it was; both write at once and all is kept."""
    one = pool.start("one")
    two = pool.join("two", one)
    two.path("shared").write_text("shared\n")
    pool.wait_settled()
    pool.down(two)
    copy = copied(pool, two, "two-copy")
    pool.restart(two)
    was = two.id
    state = pool.environment["XDG_STATE_HOME"]
    if elsewhere:
        (tmp_path / "state").mkdir()
        pool.environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    pool.restart(copy, "--listen", "127.0.0.1:0")
    pool.environment["XDG_STATE_HOME"] = state
    for number in range(20):
        two.path(f"two {number}").write_text(f"two {number}\n")
        copy.path(f"copy {number}").write_text(f"copy {number}\n")
        one.path(f"one {number}").write_text(f"one {number}\n")
    pool.until("the copy has its own name", lambda: "two-copy" in names(pool, one))
    pool.until("the copy knows it", lambda: pool.status(copy)["name"] == "two-copy")
    pool.wait_linked()
    assert len(pool.wait_equal()) == 61
    assert names(pool, one) == {"one", "two", "two-copy"}
    assert pool.roster(one)["two"]["node"] == was
    assert pool.ask("conflicts", one) == []
    pool.kill9(copy)
    pool.restart(copy, "--listen", "127.0.0.1:0")
    copy.path("after").write_text("after\n")
    two.path("after too").write_text("after too\n")
    pool.until("both are everywhere", lambda: one.path("after").exists() and one.path("after too").exists())
    assert len(pool.wait_equal()) == 63
    assert names(pool, two) == {"one", "two", "two-copy"}


def test_copied_while_up(pool: Pool) -> None:
    """Whatever of a running index was copied: three members in the end, and every file."""
    one = pool.start("one")
    two = pool.join("two", one)
    for number in range(30):
        two.path(f"shared {number}").write_text(f"shared {number}\n")
    pool.wait_settled()
    copy = copied(pool, two, "two-copy")
    pool.restart(copy, "--listen", "127.0.0.1:0")
    two.path("of two").write_text("of two\n")
    copy.path("of the copy").write_text("of the copy\n")
    pool.until("three members", lambda: len(names(pool, one)) == 3)
    assert len(pool.wait_equal()) == 32
    assert len({pool.status(node)["node"] for node in (one, two, copy)}) == 3
