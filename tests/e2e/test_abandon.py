"""A machine dies before anybody has its newest file: a person gives that up on another (MERGE rule R7)."""

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

BIG = 96 << 20


def cut_off(pool: Pool) -> tuple[Node, Node, Node]:
    """Three nodes; the first dies while the others fetch its large file."""
    one = pool.start("one")
    two, three = pool.join("two", one), pool.join("three", one)
    one.path("small").write_text("everybody has this\n")
    pool.wait_settled()
    pool.wait_linked()
    pool.put_big(one, "big", BIG)
    pool.await_staged(two, 1 << 20)
    pool.kill9(one)
    return one, two, three


def give_up(pool: Pool, two: Node, three: Node) -> None:
    """Refused, then said with `--yes`; after that both are in sync without it."""
    for node in (two, three):
        pool.until("it waits", lambda node=node: pool.status(node)["problems"])  # type: ignore[misc]
        (problem,) = [each for each in pool.status(node)["problems"] if each["node"] == node.id]
        assert (problem["path"], problem["reason"]) == ("big", "no_source_online")
        assert "meerkat abandon" in problem["hint"]
    pool.until("the dead one is missed", lambda: pool.roster(two)["one"]["link"] is None)
    refused = pool.cli("abandon", two, "big")
    assert refused.exit == 8, refused
    assert "one" in refused.error["hint"]
    assert pool.cli("abandon", two, "small").exit == 4
    assert pool.ask("abandon", two, "big", "--yes")["written_by"]["name"] == "one"
    for node in (two, three):
        pool.until("in sync", lambda node=node: pool.status(node)["state"] == "in_sync")  # type: ignore[misc]
        pool.until("nothing waits", lambda node=node: not pool.status(node)["problems"])  # type: ignore[misc]
        assert pool.ask("history", node, "big", "--limit", "1")["op"] == "abandoned"
    assert list(map(str, pool.wait_equal(two, three))) == ["small"]


def test_the_writer_never_returns(pool: Pool) -> None:
    """The others are equal and in sync without its file."""
    one, two, three = cut_off(pool)
    pool.destroy_folder(one)
    give_up(pool, two, three)


def test_the_writer_returns(pool: Pool) -> None:
    """Its file goes to its trash and comes back for everybody only when a person says so."""
    one, two, three = cut_off(pool)
    give_up(pool, two, three)
    pool.restart(one)
    assert list(map(str, pool.wait_equal())) == ["small"]
    assert pool.ask("conflicts", one) == []
    pool.ask("restore", one, "big")
    pool.until("it is restored", lambda: three.path("big").exists() and two.path("big").exists())
    assert sorted(map(str, pool.wait_equal())) == ["big", "small"]
