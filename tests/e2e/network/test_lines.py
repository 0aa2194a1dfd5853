"""Bad lines: packets are lost, the line is slow, the other end is far away. Everything arrives, nobody is given up.

By hand: LOSSY_SECONDS of life on lossy lines (a few by default), and how often somebody was missed is printed.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e.network.lab import Lab
from e2e.network.pool import PORT, LabPool

from bench.processes import end

pytestmark = pytest.mark.e2e

LOSSY_SECONDS_DEFAULT = 6
DELAY_S = 0.1
BIG_BYTES = 600_000
RATE = "1mbit"


@pytest.mark.parametrize("percent", [10, 30])
def test_a_pool_lives_on_lossy_lines(lab: Lab, pool: LabPool, percent: int) -> None:
    """A tenth or a third of all packets is lost on every way: what is written, changed and deleted anywhere arrives
    everywhere, and nobody is ever taken off the roster, nor anything deleted, for not being heard of."""
    nodes = pool.linked("ada", "bob", "cy")
    for node in nodes:
        for number in range(3):
            node.path(f"{node.name} {number}").write_text(f"{number} of {node.name}\n" * 50)
    pool.wait_equal()
    lab.lose(percent)
    until, turn = time.monotonic() + float(os.environ.get("LOSSY_SECONDS", LOSSY_SECONDS_DEFAULT)), 0
    while time.monotonic() < until:
        writer = nodes[turn % 3]
        writer.path(f"{writer.name} {turn % 4}").write_text(f"turn {turn}\n" * 50)
        writer.path(f"turn {turn}").write_text("to go")
        gone = nodes[(turn - 3) % 3].path(f"turn {turn - 3}")
        if gone.exists():
            gone.unlink()
        turn += 1
        time.sleep(0.5)
    expected = {f"{node.name} {number}" for node in nodes for number in range(3)}
    assert expected <= set(pool.wait_equal())
    lost = sum(len(pool.missed(node)) for node in nodes)
    print(f"{percent} % loss: {turn} turns, {lost} times a node was missed by another")
    lab.heal()
    pool.wait_linked()
    for node in nodes:
        assert set(pool.roster(node)) == {"ada", "bob", "cy"}
    assert expected <= set(pool.wait_equal())


def test_small_edits_and_pings_pass_what_is_big_on_a_slow_line(lab: Lab, pool: LabPool) -> None:
    """While a big file creeps over a slow line, a small one written later is there first, and nobody is missed."""
    ada, bob = pool.linked("ada", "bob")
    pool.host(bob).slow(RATE)
    pool.put_big(ada, "big", BIG_BYTES)
    pool.until("the big file is on its way", lambda: pool.roster(ada)["bob"]["behind_files"])
    ada.path("small").write_text("urgent")
    pool.until("the small one is there", lambda: bob.path("small").exists())
    first = not bob.path("big").exists()
    pool.wait_equal()
    assert first
    assert pool.missed(ada) == pool.missed(bob) == []


def test_a_pool_with_far_away_nodes(lab: Lab, pool: LabPool) -> None:
    """All that two nodes say to each other takes a while each way: they link, sync, and know how far it is."""
    far, relays = lab.host("far"), []
    ada, bob = pool.on("ada"), pool.on("bob")
    hosts = [pool.host(ada), pool.host(bob)]
    lab.part([hosts[0]], [hosts[1]])  # only over the relays
    try:
        for number, host in enumerate(hosts):
            words = [sys.executable, str(Path(__file__).with_name("relay.py"))]
            words += [str(5000 + number), f"{host.address}:{PORT}", str(DELAY_S)]
            relays.append(subprocess.Popen([*far.words, *words], stdout=subprocess.PIPE, stdin=subprocess.PIPE))
        for relay in relays:
            assert relay.stdout is not None
            assert relay.stdout.readline() == b"ready\n"
        pool.found(ada, "--advertise", f"{far.address}:5000")
        pool.admit(bob, ada, "--advertise", f"{far.address}:5001")
        pool.wait_linked()
        ada.path("here").write_text("from here")
        bob.path("there").write_text("from there")
        assert set(pool.wait_equal()) == {"here", "there"}
        rtt_ms = pool.until("it was measured", lambda: pool.roster(ada)["bob"]["rtt_ms"])
        assert rtt_ms >= 2 * DELAY_S * 1000 * 0.99
    finally:
        pool.close()
        for relay in relays:
            end(relay)
