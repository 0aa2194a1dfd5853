"""Nodes end at any moment, disks are full, readers read on: nothing is lost and nothing half-done is seen (G3, G6)."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BIG_BYTES = 300 * MIB
MIDDLE_BYTES = 120 * MIB
REPLACES = int(os.environ.get("REPLACES", "100"))
READ_FILES = 20


@contextmanager
def never_partial(path: Path, size: int) -> Iterator[list[int]]:
    """Looks at a path all the time; what was there with another size than the whole comes out as a list."""
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                found = path.lstat().st_size
            except FileNotFoundError:
                found = size
            if found != size:
                seen.append(found)
            done.wait(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_a_killed_receiver_goes_on_where_it_was(pool: Pool) -> None:
    """After kill -9 in the middle of a big file, only the rest is fetched, and no part ever stands under its name."""
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    with never_partial(two.path("big"), BIG_BYTES) as partial:
        pool.put_big(one, "big", BIG_BYTES)
        had = cut_off(pool, sender=one, receiver=two, size=BIG_BYTES)
        pool.kill9(two)
        pool.thaw(one)
        pool.restart(two)
        pool.wait_equal()
    assert partial == []
    received = pool.status(two)["traffic"]["received_bytes"]
    assert received < BIG_BYTES - had // 2, f"{had} were there, {received} of {BIG_BYTES} were received again"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_in_the_middle_of_a_transfer(pool: Pool, number: int, code: int) -> None:
    """SIGTERM and Ctrl-C end a node that is fetching, with their exit codes; the rest comes after the next start."""
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    pool.put_big(one, "big", MIDDLE_BYTES)
    had = cut_off(pool, sender=one, receiver=two, size=MIDDLE_BYTES)
    assert pool.signal(two, number) == code
    pool.thaw(one)
    assert not two.path("big").exists()
    pool.restart(two)
    pool.wait_equal()
    received = pool.status(two)["traffic"]["received_bytes"]
    assert received < MIDDLE_BYTES - had // 2, f"{had} were there, {received} of {MIDDLE_BYTES} were received again"


def test_a_killed_sender_is_replaced(pool: Pool) -> None:
    """When the node that sends dies for good, the rest comes from another that has the file."""
    one = pool.start("one")
    two = pool.join("two", one)
    pool.put_big(one, "big", MIDDLE_BYTES)
    pool.wait_settled()
    three = pool.join("three", one)
    pool.await_staged(three, MIDDLE_BYTES // 4)
    pool.kill9(one)
    pool.wait_equal(two, three)


def test_a_killed_sender_comes_back(pool: Pool) -> None:
    """When the only node that has the file dies half-way, the receiver says what it lacks and goes on on its return."""
    one = pool.start("one")
    two = pool.join("two", one)
    pool.wait_linked()
    pool.put_big(one, "big", MIDDLE_BYTES)
    pool.await_staged(two, MIDDLE_BYTES // 4)
    pool.kill9(one)
    pool.until("two says that it lacks one file", lambda: pool.status(two)["behind"]["files"] == 1)
    assert not two.path("big").exists()
    pool.restart(one)
    pool.wait_equal()
    assert pool.status(two)["traffic"]["received_bytes"] < MIDDLE_BYTES * 5 // 4


def test_readers_never_see_half_a_file(pool: Pool) -> None:
    """Whoever reads files in a loop while another node replaces them again and again (REPLACES: how often) sees whole
    versions only."""
    one = pool.start("one")
    two = pool.join("two", one)
    wrong: list[str] = []
    seen: set[int] = set()
    done = threading.Event()
    paths = [two.path(f"{number}") for number in range(READ_FILES)]

    def version(number: int) -> bytes:
        return bytes([number]) * (10_000 + number % 90 * 1000)

    def put_all(number: int) -> None:
        for path in paths:
            one.path(".next").write_bytes(version(number))
            os.replace(one.path(".next"), one.path(path.name))

    def read_all() -> None:
        while not done.is_set():
            for path in paths:
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    wrong.append("missing")
                    continue
                if not data or data != version(data[0]):
                    wrong.append(f"{len(data)} bytes, beginning with {data[:1]!r}, ending with {data[-1:]!r}")
                seen.update(data[:1])

    put_all(0)
    pool.wait_equal()
    threads = [threading.Thread(target=read_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, REPLACES // READ_FILES + 1):
            put_all(number)
            pool.wait_equal()
        pool.until("the last version was read", lambda: wrong or REPLACES // READ_FILES in seen)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert seen == set(range(REPLACES // READ_FILES + 1))


def test_a_full_disk_is_told_and_heals(pool: Pool, tmp_path: Path) -> None:
    """A node without room says so to everybody, takes what fits, and takes the rest when there is room again."""
    small = tmp_path / "small"
    small.mkdir()
    with tmpfs(small, 48 * MIB):
        one = pool.start("one")
        two = pool.join("two", one)
        full = pool.node("full", small / "folder")
        pool.admit(full, one)
        ballast = small / "ballast"
        ballast.write_bytes(bytes(24 * MIB))
        pool.put_big(one, "too big", 30 * MIB)
        one.path("fits").write_text("there is room for this\n")
        pool.wait_equal(one, two)
        pool.until("what fits has come", lambda: full.path("fits").exists())
        for node in (one, two, full):
            pool.until(f"{node.name} knows of the full disk", lambda node=node: full_reported(pool, node, full))  # type: ignore[misc]
        assert pool.cli("wait", one, "--nodes", "full", "--timeout", "20s").exit == 7
        ballast.unlink()
        pool.wait_equal()
        for node in (one, two, full):
            pool.until(f"{node.name} knows of the cure", lambda node=node: not full_reported(pool, node, full))  # type: ignore[misc]
        pool.close()


def full_reported(pool: Pool, at: Node, full: Node) -> bool:
    """Whether a node's status says that the other's disk is full."""
    problems = pool.status(at)["problems"]
    return any(problem["reason"] == "disk_full" and problem["node"] == full.id for problem in problems)


@contextmanager
def tmpfs(at: Path, size: int) -> Iterator[None]:
    """A disk of that size (bytes). Only root may mount one; where it must work, not being able to is a failure."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "meerkat-test", str(at)], capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode()
        if os.environ.get("CI"):
            pytest.fail(f"no small disk, though this is CI and root: {said}")
        pytest.skip(f"no small disk can be mounted here: {said}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def cut_off(pool: Pool, sender: Node, receiver: Node, size: int) -> int:
    """Freeze the sender when the receiver has a third of the file; how much it has then."""
    pool.await_staged(receiver, size // 3)
    pool.freeze(sender)
    had = pool.staged(receiver)
    assert not receiver.path("big").exists(), "it was too quick for this test"
    return had
