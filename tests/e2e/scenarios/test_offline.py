"""Edits made apart and the peace afterwards, and programs whose clocks are wrong (G1, G2, G5)."""

import os
import sys
from pathlib import Path

import pytest
from e2e.pool import PROGRAM, Node, Pool

pytestmark = pytest.mark.e2e

DAY_S = 86_400
SKEWED = Path(__file__).parent / "skewed.py"
SKEWS_S = {"one": 0, "two": DAY_S, "three": -365 * DAY_S}


def copies(node: Node) -> list[str]:
    return sorted(path.name for path in node.folder.glob("*.conflict-*"))


def stamps(node: Node) -> dict[str, tuple[int, int]]:
    """What changes when somebody touches a file at all: its inode and its ctime."""
    found = {}
    for path in node.folder.iterdir():
        if path.is_file():
            seen = path.lstat()
            found[path.name] = (seen.st_ino, seen.st_ctime_ns)
    return found


def with_clock(pool: Pool, name: str) -> None:
    """Let the next process of this pool be one whose clock is wrong by what belongs to that name."""
    pool.program = (sys.executable, str(SKEWED), str(SKEWS_S[name])) if SKEWS_S[name] else PROGRAM


def write(node: Node, name: str, text: str) -> None:
    """Write a file as a person would whose clock is wrong: the file's time is wrong as well."""
    path = node.path(name)
    path.write_text(text)
    at = path.stat().st_mtime_ns + SKEWS_S[node.name] * 1_000_000_000
    os.utime(path, ns=(at, at))


def test_both_edited_apart_and_then_there_is_peace(pool: Pool) -> None:
    """Two edits apart leave one file and one copy on all three nodes; afterwards nobody touches either again."""
    one = pool.start("one")
    two, three = pool.join("two", one), pool.join("three", one)
    one.path("f").write_text("as agreed\n")
    pool.wait_settled()
    for node in (one, two):
        pool.stop(node)
        node.path("f").write_text(f"the edit of {node.name}\n")
    for node in (one, two):
        pool.restart(node)
    pool.until("the copy is everywhere", lambda: all(len(copies(node)) == 1 for node in pool.nodes))
    tree = pool.wait_equal()
    assert len(tree) == 2
    pool.wait_settled()
    before = {node.name: stamps(node) for node in pool.nodes}
    for number, node in enumerate(pool.nodes):  # what comes later passes through all that could stir the conflict
        node.path(f"later {number}").write_text("x\n")
        pool.wait_settled()
    for node in pool.nodes:
        assert pool.ask("scan", node)["changes"] == 0
    for node in pool.nodes:
        after = stamps(node)
        assert {name: after.get(name) for name in before[node.name]} == before[node.name], node.name
    texts = {one.path(name).read_text() for name in tree}
    assert texts == {"the edit of one\n", "the edit of two\n"}
    assert three.path("f").read_text() == one.path("f").read_text()


def test_no_clock_decides(pool: Pool) -> None:
    """With one clock a day ahead and one a year behind, edits apart are all kept, and whoever edits last, having seen
    the others' edits, has the last word, also where its clock is the slowest."""
    with_clock(pool, "one")
    one = pool.start("one")
    for name in ("two", "three"):
        with_clock(pool, name)
        pool.join(name, one)
    _, two, three = pool.nodes
    write(one, "f", "as agreed\n")
    pool.wait_settled()
    for node in pool.nodes:
        pool.stop(node)
        write(node, "f", f"the edit of {node.name}\n")
    for node in pool.nodes:
        with_clock(pool, node.name)
        pool.restart(node)
    pool.until("both copies are everywhere", lambda: all(len(copies(node)) == 2 for node in pool.nodes))
    tree = pool.wait_equal()
    texts = {one.path(name).read_text() for name in tree}
    assert texts == {f"the edit of {node.name}\n" for node in pool.nodes}
    for turn, node in enumerate((two, three, one, three)):
        write(node, "f", f"turn {turn}\n")
        pool.until(
            f"turn {turn} counts everywhere",
            lambda turn=turn: all(each.path("f").read_text() == f"turn {turn}\n" for each in pool.nodes),  # type: ignore[misc]
        )
        assert set(pool.wait_equal()) == set(tree), "an edit of what everybody had seen is no conflict"
    three.path("f").unlink()
    pool.until("the deletion counts", lambda: not any(node.path("f").exists() for node in pool.nodes))
