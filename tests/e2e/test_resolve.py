"""Conflicts of every kind, settled on one node, or on two at once: equal on all, and undone from the trash."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from blake3 import blake3
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e


def apart(pool: Pool, *nodes: Node) -> None:
    """From now on each edits unseen by the others."""
    for node in nodes:
        pool.stop(node)


def together(pool: Pool, *nodes: Node) -> None:
    for node in nodes:
        pool.restart(node)
    pool.wait_linked(*nodes)


def conflicts(pool: Pool, node: Node) -> dict[str, list[dict[str, Any]]]:
    return {row["path"]: row["copies"] for row in pool.ask("conflicts", node)}


def await_copies(pool: Pool, nodes: list[Node], paths: set[str]) -> None:
    """Wait until every node shows these paths in conflict, each with one copy that stands."""

    def all_made(node: Node) -> bool:
        listed = conflicts(pool, node)
        return listed.keys() == paths and all(
            len(copies) == 1 and os.path.lexists(node.path(copies[0]["path"])) for copies in listed.values()
        )

    pool.until("the copies stand everywhere", lambda: all(all_made(node) for node in nodes))
    pool.wait_equal()


def test_every_kind_is_settled_and_undone(pool: Pool) -> None:
    """A link against a file, a folder against a file, an edit against a deletion: what is asked for stays, what does
    not is in the trash, and the commands that were told bring it back."""
    one = pool.start("one")
    for name in ("link", "edited"):
        one.path(name).write_text("as agreed\n")
    two = pool.join("two", one)
    three = pool.join("three", one)
    nodes = [one, two, three]
    pool.wait_equal()
    apart(pool, one, two)
    one.path("link").unlink()
    one.path("link").symlink_to("edited")
    two.path("link").write_text("a file still\n")
    one.path("mixed").mkdir()
    one.path("mixed/inside").write_text("in the folder\n")
    two.path("mixed").write_text("a file\n")
    one.path("edited").unlink()
    two.path("edited").write_text("edited\n")
    together(pool, one, two)
    await_copies(pool, nodes, {"link", "mixed"})
    assert three.path("edited").read_text() == "edited\n", "an edit beats a deletion, without a conflict"
    assert three.path("mixed/inside").read_text() == "in the folder\n"
    before = pool.wait_equal()

    for keep, is_link in (("one", True), (blake3(b"a file still\n").hexdigest()[:12], False)):
        (compared,) = pool.ask("diff", three, "link")
        assert "a link to edited" in compared["text"]
        answer = pool.ask("resolve", three, "link", "--keep", keep)
        assert answer["stored"] == ["trash"]
        pool.wait_equal()
        assert one.path("link").is_symlink() is is_link
        assert conflicts(pool, three).keys() == {"mixed"}
        for each in answer["trashed"]:
            pool.ask("restore", three, each["path"], "--version", each["version"])
        assert pool.wait_equal().keys() == before.keys()
        await_copies(pool, nodes, {"link", "mixed"})

    refused = pool.cli("resolve", one, "mixed", "--keep", "two")
    assert (refused.exit, refused.error["code"]) == (8, "not_empty")
    assert pool.wait_equal().keys() == before.keys()
    assert pool.ask("resolve", one, "mixed", "--keep", "both")["stored"] == ["mixed.two"]
    pool.wait_equal()
    assert (two.path("mixed.two").read_text(), two.path("mixed/inside").read_text()) == ("a file\n", "in the folder\n")
    assert conflicts(pool, two).keys() == {"link"}


def test_two_who_settle_it_at_once_lose_nothing(pool: Pool) -> None:
    """Each wants another version to stay, each on a node of their own: all nodes end equal, and each version is in the
    tree or in somebody's trash."""
    one = pool.start("one")
    one.path("plan.md").write_text("as agreed\n")
    two = pool.join("two", one)
    pool.wait_equal()
    texts = {"of one\n", "of two\n"}
    apart(pool, one, two)
    one.path("plan.md").write_text("of one\n")
    two.path("plan.md").write_text("of two\n")
    together(pool, one, two)
    await_copies(pool, [one, two], {"plan.md"})
    with ThreadPoolExecutor(2) as both:
        said = list(
            both.map(
                lambda pair: pool.cli("resolve", pair[0], "plan.md", "--keep", pair[1]), [(one, "one"), (two, "two")]
            )
        )
    # who came second may have met what the first had done: no conflict any more, or another file than they had seen
    assert any(each.exit == 0 for each in said), said
    assert all(each.exit == 0 or each.error["code"] in ("not_found", "changed", "not_here") for each in said), said
    pool.wait_settled()
    tree = pool.wait_equal()
    assert "plan.md" in tree
    found = {one.path(name).read_text() for name in tree}
    for node in (one, two):
        kept = [each for each in (node.folder / ".meerkat" / "trash").rglob("*") if each.suffix != ".json"]
        found |= {each.read_text() for each in kept if each.is_file()}
    assert texts <= found
