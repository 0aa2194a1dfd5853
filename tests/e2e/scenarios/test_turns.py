"""Names that change places faster than anybody looks (G1, G2)."""

import os

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e


def test_names_that_change_places(pool: Pool) -> None:
    """Swaps, chains, renames over others and deletions that are taken back at once end as they were meant, without
    conflict copies, and what was overwritten lies in the trash of the other node."""
    one = pool.start("one")
    two = pool.join("two", one)
    for name in ("a", "b", "f", "g", "over", "under", "again"):
        one.path(name).write_text(f"was {name}\n")
    pool.wait_settled()
    one.path("a").rename(one.path("tmp"))
    one.path("b").rename(one.path("a"))
    one.path("tmp").rename(one.path("b"))
    one.path("g").rename(one.path("h"))
    one.path("f").rename(one.path("g"))
    one.path("over").replace(one.path("under"))
    one.path("again").unlink()
    one.path("again").write_text("was made again\n")
    wanted = {
        "a": "was b\n",
        "b": "was a\n",
        "g": "was f\n",
        "h": "was g\n",
        "under": "was over\n",
        "again": "was made again\n",
    }

    def as_meant(node: Node) -> bool:
        return {path.name: path.read_text() for path in node.folder.iterdir() if path.is_file()} == wanted

    pool.until("it is as it was meant", lambda: as_meant(one) and as_meant(two))
    pool.wait_settled()
    assert as_meant(one)
    assert as_meant(two)
    kept = {
        path.read_text()
        for path in (two.folder / ".meerkat" / "trash").rglob("*")
        if path.is_file() and path.suffix != ".json"
    }
    assert {"was under\n", "was again\n"} <= kept
    for _ in range(10):  # and again, as fast as it goes, while the other node is busy with the last round
        one.path("a").rename(one.path("tmp"))
        one.path("b").rename(one.path("a"))
        os.rename(one.path("tmp"), one.path("b"))
    pool.until("ten swaps are none", lambda: as_meant(one) and as_meant(two))
    pool.wait_settled()
    assert as_meant(two)
