"""kill -9 at any moment, of who receives and of who sends: what was fetched is used (G3, G6).

A few kills by default. By hand: KILLS (of each kind of node) and KILLS_SEED; `make storm` takes 200 of each.
"""

import hashlib
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

KILLS_DEFAULT = 5
SEED_DEFAULT = 12
LARGE_BYTES = 12 << 20
SMALL = 12
DELAY_S_MAX = 1.2
REUSED_MIN = 0.9


class Work:
    """What a person does at the sender between two kills; knows every content that a path has ever had."""

    def __init__(self, node: Node, dice: random.Random) -> None:
        self.node = node
        self.dice = dice
        self.ever: defaultdict[str, set[str]] = defaultdict(set)
        self.round = 0
        self.bytes = 0

    def put(self, name: str, data: bytes) -> None:
        """Let a file come to stand all at once, so that each content of it is one that somebody meant."""
        self.ever[name].add(hashlib.sha256(data).hexdigest())
        self.bytes += len(data)
        made = self.node.folder.parent / "made"
        made.write_bytes(data)
        made.rename(self.node.path(name))

    def go_on(self) -> None:
        """A large file comes, small ones are replaced, some go."""
        self.round += 1
        self.put(f"large {self.round}", self.dice.randbytes(LARGE_BYTES))
        for number in range(SMALL):
            self.put(f"small {number}", self.dice.randbytes(self.dice.randrange(1, 40_000)))
        self.node.path(f"small {self.dice.randrange(SMALL)}").unlink()

    def strangers(self, folder: Path) -> list[str]:
        """Files under real names whose content nobody has ever given them."""
        found = []
        for path in folder.iterdir():
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() not in self.ever[path.name]:
                found.append(f"{path.name}: {path.stat().st_size} bytes")
        return found


@pytest.mark.parametrize("victim", ["receiver", "sender"])
def test_killed_again_and_again(pool: Pool, victim: str) -> None:
    """After each kill every name holds a whole content that was meant for it; in the end the folders are equal, the
    stages are empty, and of what had been fetched before the kills nearly nothing was fetched again."""
    kills = int(os.environ.get("KILLS", KILLS_DEFAULT))
    dice = random.Random(int(os.environ.get("KILLS_SEED", SEED_DEFAULT)))
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    work = Work(one, dice)
    killed, steady, counter = (two, one, "sent_bytes") if victim == "receiver" else (one, two, "received_bytes")
    stood = 0
    for _ in range(kills):
        work.go_on()
        if not killed.running:
            pool.launch(killed)
        if dice.random() < 0.7:
            pool.await_ready(killed)
        time.sleep(dice.uniform(0.0, DELAY_S_MAX))  # the moment is the dice's, no condition
        pool.kill9(killed)
        stood += pool.staged(two)
        for node in (one, two):
            assert work.strangers(node.folder) == []
    pool.restart(killed)
    pool.wait_linked()
    pool.wait_settled()
    for node in (one, two):
        assert work.strangers(node.folder) == []
        assert pool.ask("conflicts", node) == []
        pool.until("the stage is empty", lambda node=node: not os.listdir(node.folder / ".meerkat" / "stage"))  # type: ignore[misc]
    moved = pool.status(steady)["traffic"][counter]
    twice = max(0, moved - work.bytes)
    print(f"{victim}: {kills} kills, {work.bytes} bytes written, {moved} moved, {stood} stood staged at kills")
    assert twice <= (1 - REUSED_MIN) * work.bytes, f"{twice} of {work.bytes} were fetched twice"
