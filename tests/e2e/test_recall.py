"""Looking back and putting right, through the command line, on real nodes."""

import pytest
from e2e.pool import Pool

pytestmark = pytest.mark.e2e


def test_what_was_replaced_and_deleted_comes_back(pool: Pool) -> None:
    """A version that only another node still keeps, a deletion, and a conflict: each put right on one node, equal on
    both, and each in the contract's words."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("doc").write_text("first\n")
    pool.wait_equal()
    one.path("doc").write_text("second\n")
    pool.wait_equal()
    told = pool.ask("history", one, "doc", "--limit", "1")
    assert (told["op"], told["node"], told["size"]) == ("edited", one.id, 7)
    restored = pool.ask("restore", one, "doc")
    assert (restored["path"], restored["size"]) == ("doc", 6)
    pool.wait_equal()
    assert two.path("doc").read_text() == "first\n"
    two.path("doc").unlink()
    pool.until("it is gone", lambda: not one.path("doc").exists())
    pool.ask("restore", two, "doc")
    pool.wait_equal()
    assert one.path("doc").read_text() == "first\n"
    assert pool.cli("restore", one, "never").exit == 4
    for node in (one, two):
        pool.stop(node)
    one.path("plan.md").write_text("of one\n")
    two.path("plan.md").write_text("of two\n")
    for node in (one, two):
        pool.restart(node)
    pool.wait_equal()
    (conflict,) = pool.until("both are listed", lambda: pool.ask("conflicts", one))
    assert conflict["path"] == "plan.md"
    (compared,) = pool.ask("diff", one, "plan.md")
    assert "of one" in compared["text"]
    assert pool.ask("resolve", one, "plan.md", "--keep", "two")["kept"] == two.id
    tree = pool.wait_equal()
    assert sorted(str(path) for path in tree) == ["doc", "plan.md"]
    assert two.path("plan.md").read_text() == "of two\n"
    scrubbed = pool.ask("scrub", one)
    assert (scrubbed["files"], scrubbed["rotten"]) == (2, [])
