"""Lines that are cut: one way, for one node, through the middle. Nothing is lost, and all find each other again.

By hand: SPLIT_SECONDS apart (a moment by default), with the time that it took to find back printed.
"""

import os
import time

import pytest
from e2e.network.lab import Lab
from e2e.network.pool import LabPool
from e2e.pool import Node

pytestmark = pytest.mark.e2e

SPLIT_SECONDS_DEFAULT = 0.0


def copies(node: Node) -> list[str]:
    return sorted(path.name for path in node.folder.glob("*.conflict-*"))


def test_a_cable_that_is_pulled(lab: Lab, pool: LabPool) -> None:
    """A host that falls silent is missed by all and by nobody else; that takes nothing from the roster or the tree, and
    when it is back, both sides' edits arrive."""
    ada, bob, cy = pool.linked("ada", "bob", "cy")
    cy.path("kept").write_text("by all")
    pool.wait_equal()
    pool.host(cy).unplug()
    for node in (ada, bob):
        pool.await_offline(cy, by=node)
        assert pool.roster(node)["cy"]["cause"]
    assert pool.link(ada, bob) is not None
    ada.path("meanwhile").write_text("here")
    cy.path("kept").write_text("by all, and edited alone")
    pool.wait_equal(ada, bob)
    assert ada.path("kept").read_text() == "by all"
    pool.host(cy).plug()
    pool.wait_linked()
    assert set(pool.wait_equal()) == {"kept", "meanwhile"}
    assert ada.path("kept").read_text() == "by all, and edited alone"
    assert set(pool.missed(ada)) == set(pool.missed(bob)) == {"cy"}


def test_a_line_that_carries_one_way_only(lab: Lab, pool: LabPool) -> None:
    """Bob does not hear ada any more, ada hears bob: both give the link up, and neither the node, since a third is
    linked with both; edits go through that one. Healed, they are linked again."""
    ada, bob, cy = pool.linked("ada", "bob", "cy")
    pool.host(bob).ignore(pool.host(ada))
    pool.until("ada has given the link up", lambda: pool.link(ada, bob) is None)
    pool.until("bob has given the link up", lambda: pool.link(bob, ada) is None)
    pool.await_there(bob, by=ada)
    pool.await_there(ada, by=bob)
    ada.path("of ada").write_text("through cy")
    bob.path("of bob").write_text("through cy")
    assert set(pool.wait_equal()) == {"of ada", "of bob"}
    lab.heal()
    pool.wait_linked()
    for node in (ada, bob, cy):
        assert pool.missed(node) == []


def test_two_halves_that_find_back(lab: Lab, pool: LabPool) -> None:
    """Two and two are apart and edit; one file is edited on both sides. Each half sees its own, and all of the other
    half go missing; healed, all edits are everywhere, the two of one file as the file and one copy."""
    ada, bob, cy, dan = nodes = pool.linked("ada", "bob", "cy", "dan")
    ada.path("report").write_text("as agreed\n")
    pool.wait_settled()
    lab.part([pool.host(ada), pool.host(bob)], [pool.host(cy), pool.host(dan)])
    for node in (cy, dan):
        pool.await_offline(node, by=ada)
        pool.await_offline({cy: ada, dan: bob}[node], by=dan)
    ada.path("report").write_text("ada's edit\n")
    dan.path("report").write_text("dan's edit, longer\n")
    bob.path("of bob").write_text("b")
    cy.path("of cy").write_text("c")
    pool.wait_equal(ada, bob)
    pool.wait_equal(cy, dan)
    time.sleep(float(os.environ.get("SPLIT_SECONDS", SPLIT_SECONDS_DEFAULT)))
    lab.heal()
    healed = time.monotonic()
    pool.until("the copy is everywhere", lambda: all(copies(node) for node in nodes))
    tree = pool.wait_equal()
    print(f"equal {time.monotonic() - healed:.1f} s after the split was healed")
    (copy,) = copies(ada)
    assert set(tree) == {"report", "of bob", "of cy", copy}
    assert {ada.path(name).read_text() for name in ("report", copy)} == {"ada's edit\n", "dan's edit, longer\n"}
    pool.wait_linked()
    print(f"all linked {time.monotonic() - healed:.1f} s after")
    assert "bob" not in pool.missed(ada)
    assert "cy" not in pool.missed(dan)


def test_a_killed_process_is_missed_at_once_and_a_frozen_one_accuses_nobody(pool: LabPool) -> None:
    """Whoever was stopped for long and goes on has been missed by all, takes part again, gets what was written
    meanwhile, and has made nobody miss anybody else."""
    ada, bob, cy = pool.linked("ada", "bob", "cy")
    pool.freeze(cy)
    for node in (ada, bob):
        pool.await_offline(cy, by=node)
    ada.path("meanwhile").write_text("here")
    pool.wait_equal(ada, bob)
    pool.thaw(cy)
    pool.wait_linked()
    pool.wait_equal()
    assert set(pool.missed(ada)) == set(pool.missed(bob)) == {"cy"}
    pool.kill9(cy)
    for node in (ada, bob):
        pool.await_offline(cy, by=node)
    pool.restart(cy)
    pool.wait_linked()
    assert set(pool.missed(ada)) == set(pool.missed(bob)) == {"cy"}
