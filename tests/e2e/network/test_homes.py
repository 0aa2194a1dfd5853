"""Nodes behind routers that let nobody in, and nodes whose address changes: the way is found again by itself."""

import pytest
from e2e.network.lab import Lab
from e2e.network.pool import LabPool
from e2e.pool import Node

pytestmark = pytest.mark.e2e


def test_a_node_behind_a_router(lab: Lab, pool: LabPool) -> None:
    """It can only dial out, and syncs both ways; when the router gets another address, so that the connection hangs at
    both ends, it does again."""
    ada, bob = pool.linked("ada", "bob")
    router = lab.router("router")
    cy = pool.admit(pool.on("cy", lab.behind(router, "cy")), ada)
    pool.wait_linked()
    assert {pool.link(cy, ada), pool.link(cy, bob)} == {"dialled"}
    cy.path("out").write_text("from behind the router")
    ada.path("in").write_text("to behind the router")
    pool.wait_equal()
    router.move(lab.free_address())
    ada.path("in").write_text("after the router has moved")
    cy.path("out").write_text("after the router has moved, too")
    pool.wait_equal()
    pool.wait_linked()


def test_two_nodes_behind_routers_sync_through_a_third(lab: Lab, pool: LabPool) -> None:
    """Neither can dial the other: what both write goes through the one that both reach, and both see each other."""
    hub = pool.found(pool.on("hub"))
    ada, bob = (
        pool.admit(pool.on(name, lab.behind(lab.router(f"router of {name}"), name)), hub) for name in ("ada", "bob")
    )
    pool.wait_linked(ada, hub)
    pool.wait_linked(bob, hub)
    ada.path("of ada").write_text("through the hub")
    bob.path("of bob").write_text("through the hub")
    assert set(pool.wait_equal()) == {"of ada", "of bob"}
    assert pool.link(ada, bob) is pool.link(bob, ada) is None
    pool.await_there(bob, by=ada)
    pool.await_there(ada, by=bob)
    said = pool.cli("wait", ada, "--nodes", "bob")
    assert (said.exit, said.out["done"]) == (0, True)


def test_an_address_that_changes_under_way(lab: Lab, pool: LabPool) -> None:
    """From cable to Wi-Fi: the old address is gone, connections over it hang. All are linked again, and edits made
    meanwhile arrive both ways."""
    ada, bob, cy = pool.linked("ada", "bob", "cy")
    before = pool.host(bob).address
    pool.host(bob).move(lab.free_address())
    bob.path("of bob").write_text("from the new address")
    ada.path("of ada").write_text("to the new address")
    assert set(pool.wait_equal()) == {"of ada", "of bob"}
    pool.wait_linked()
    after = pool.host(bob).address
    for node in (ada, cy):
        pool.until("the new address is known", lambda node=node: _host_of_bob(pool, node) == after)  # type: ignore[misc]
    assert before != after


def _host_of_bob(pool: LabPool, by: Node) -> str:
    return str(pool.roster(by)["bob"]["address"]).rpartition(":")[0]


def test_containers_that_start_again_elsewhere(lab: Lab, pool: LabPool) -> None:
    """Two are killed and come back at addresses that nobody knows: they find the third where it was, and through what
    it tells each other."""
    _, bob, cy = pool.linked("ada", "bob", "cy")
    pool.kill9(bob)
    pool.kill9(cy)
    for node in (bob, cy):
        pool.host(node).move(lab.free_address())
        pool.restart(node)
    pool.wait_linked()
    bob.path("of bob").write_text("b")
    cy.path("of cy").write_text("c")
    assert set(pool.wait_equal()) == {"of bob", "of cy"}
