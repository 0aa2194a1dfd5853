"""The words that scripts build on: `wait`, `events`, `scan`."""

import json
import subprocess

import pytest
from e2e.pool import COMMAND_TIMEOUT_S, PROGRAM, Pool

pytestmark = pytest.mark.e2e

BIG_BYTES = 60 << 20


def test_wait_ends_when_the_content_is_there(pool: Pool) -> None:
    """When `wait` has ended with 0, the other nodes hold the bytes, not only the news of them."""
    one = pool.start("one")
    two = pool.join("two", one)
    three = pool.join("three", two)
    for number in range(200):
        one.path(f"{number}.txt").write_text(f"number {number}\n")
    pool.put_big(one, "big", BIG_BYTES)
    said = pool.cli("wait", one, "--nodes", "all", "--timeout", "80s")
    found = pool.trees()
    assert said.exit == 0, said
    assert (said.out["done"], said.out["waiting_for"]) == (True, [])
    assert found["two"] == found["three"] == found["one"]
    assert len(found["one"]) == 201
    three.path("one more").write_text("from three\n")
    said = pool.cli("wait", three, "--nodes", "two")
    assert said.exit == 0, said
    assert two.path("one more").read_text() == "from three\n"


def test_wait_times_out_for_who_cannot_answer(pool: Pool) -> None:
    """`wait` for all ends with 6 while a node is frozen or down, and names it; without that node it ends with 0."""
    one = pool.start("one")
    two = pool.join("two", one)
    three = pool.join("three", one)
    pool.wait_linked()
    pool.freeze(two)
    one.path("file").write_text("x\n")
    said = pool.cli("wait", one, "--nodes", "all", "--timeout", "3s")
    assert said.exit == 6, said
    assert said.out["done"] is False
    assert {each["node"] for each in said.out["waiting_for"]} == {two.id}
    said = pool.cli("wait", one, "--nodes", "three")
    assert said.exit == 0, said
    assert three.path("file").exists()
    pool.kill9(two)
    pool.until("two is offline", lambda: pool.roster(one)["two"]["state"] == "offline")
    said = pool.cli("wait", one, "--nodes", "all", "--timeout", "2s")
    assert said.exit == 6, said
    assert [(each["node"], each["reason"]) for each in said.out["waiting_for"]] == [(two.id, "offline")]
    said = pool.cli("wait", one, "--timeout", "60s")
    assert said.exit == 0, said
    pool.restart(two)
    said = pool.cli("wait", one, "--nodes", "all")
    assert said.exit == 0, said
    assert two.path("file").exists()
    assert pool.cli("wait", one, "no/such/file").exit == 4
    assert pool.cli("wait", one, "file", "--nodes", "nobody").exit == 4


def test_events_tell_what_was_applied(pool: Pool) -> None:
    """`events` streams numbered objects of the contract's types; a file that came is told with its path."""
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    listener = subprocess.Popen(
        [*PROGRAM, "events", str(two.folder), "--json", "--since", "0"],
        stdout=subprocess.PIPE,
        env=pool.environment,
        start_new_session=True,
    )
    try:
        assert listener.stdout is not None
        one.path("news.txt").write_text("x\n")
        last = 0
        while True:
            event = json.loads(listener.stdout.readline())
            assert {"epoch", "seq", "at", "type", "node", "data"} <= set(event)
            assert event["seq"] > last
            last = event["seq"]
            if event["type"] == "file.applied":
                break
        assert event["node"] == two.id
        assert event["data"]["path"] == "news.txt"
    finally:
        listener.kill()
        listener.wait(COMMAND_TIMEOUT_S)
        if listener.stdout is not None:
            listener.stdout.close()


def test_scan_finds_what_is_there(pool: Pool) -> None:
    """`scan` looks at everything, or at a path, and says how much was looked at and how much had changed."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("folder").mkdir()
    for number in range(20):
        one.path(f"folder/{number}.txt").write_text(f"{number}\n")
    said = pool.ask("scan", one)
    assert said["scanned"] == 21
    assert 0 <= said["changes"] <= 21
    assert pool.status(one)["files"] == 20
    pool.wait_settled()
    assert pool.ask("scan", two)["changes"] == 0
    assert pool.ask("scan", one, "folder/3.txt")["changes"] == 0
