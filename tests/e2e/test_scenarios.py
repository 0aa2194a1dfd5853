"""Nasty days that nobody plans for, one after the other (the list is in `SCENARIOS.md`); those of other rooms of tests
are not repeated here."""

import hashlib
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

MIB = 1 << 20
KILLS = int(os.environ.get("KILLS", "10"))
KILLS_SEED = int(os.environ.get("KILLS_SEED", "1"))
YEAR_S = 365 * 86_400


@pytest.fixture
def three(pool: Pool) -> tuple[Node, Node, Node]:
    """Three linked nodes."""
    one = pool.start("one")
    two = pool.join("two", one)
    return one, two, pool.join("three", one)


def test_clocks_that_are_wrong_by_years_decide_nothing(pool: Pool, three: tuple[Node, Node, Node]) -> None:
    """A file saved with a time of next year gives way to a later edit with a time of last year, and concurrent edits
    with any times end as one file and one copy."""
    one, two, three_ = three
    now = one.folder.stat().st_mtime
    one.path("f").write_text("from the future")
    os.utime(one.path("f"), (now + YEAR_S, now + YEAR_S))
    pool.wait_equal()
    two.path("f").write_text("edited later, by a slow clock")
    os.utime(two.path("f"), (now - YEAR_S, now - YEAR_S))
    pool.until("the later edit is everywhere", lambda: "later" in three_.path("f").read_text())
    pool.wait_equal()
    assert one.path("f").read_text() == "edited later, by a slow clock"
    pool.stop(two)
    one.path("f").write_text("one, last year")
    os.utime(one.path("f"), (now - YEAR_S, now - YEAR_S))
    two.path("f").write_text("two, tomorrow")
    os.utime(two.path("f"), (now + 86_400, now + 86_400))
    pool.restart(two)
    pool.wait_linked()
    pool.wait_settled()
    tree = pool.wait_equal()
    assert len(tree) == 2
    texts = {three_.path(name).read_text() for name in tree}
    assert texts == {"one, last year", "two, tomorrow"}


def test_a_folder_deleted_while_somebody_adds_to_it(pool: Pool, three: tuple[Node, Node, Node]) -> None:
    """What was added lives, with its folder; what was only deleted is gone; nothing waits afterwards."""
    one, two, _ = three
    for number in range(3):
        one.path("d/e").mkdir(parents=True, exist_ok=True)
        one.path(f"d/e/{number}").write_text(f"old {number}")
    one.path("stays").write_text("stays")
    pool.wait_equal()
    pool.stop(two)
    shutil.rmtree(one.path("d"))
    two.path("d/e/new").write_text("added apart")
    pool.wait_equal(one, three[2])
    pool.restart(two)
    pool.wait_linked()
    pool.wait_settled()
    tree = pool.wait_equal()
    assert set(tree) == {"stays", "d", "d/e", "d/e/new"}
    assert all(pool.status(node)["problems"] == [] for node in three)


def test_a_file_that_is_replaced_while_it_is_fetched(pool: Pool, three: tuple[Node, Node, Node]) -> None:
    """The others end with the last version, and at no time show a mix, or less than one."""
    one, _, three_ = three
    seen: set[str] = set()
    with looking(lambda: seen.add(digest_of(three_.path("f")))):
        wrote = []
        for number in range(4):
            beside = pool.private / f"version-{number}"
            beside.write_bytes(random.Random(number).randbytes(24 * MIB))
            wrote.append(digest_of(beside))
            shutil.copy(beside, one.path(".f.new"))
            one.path(".f.new").rename(one.path("f"))
            pool.until("it is on its way", lambda: three_.path("f").exists() or pool.staged(three_) > 0)
        pool.wait_settled()
        pool.wait_equal()
    assert digest_of(three_.path("f")) == wrote[-1]
    assert seen <= {*wrote, ""}


def test_a_large_file_is_written_to_where_another_version_arrives(pool: Pool) -> None:
    """While 40 MiB come for a path, somebody appends to the old file there: both versions are kept, everywhere."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("log").write_bytes(b"old\n")
    pool.wait_equal()
    pool.freeze(two)
    beside = pool.private / "large"
    beside.write_bytes(random.Random(5).randbytes(40 * MIB))
    large = digest_of(beside)
    beside.rename(one.path("log"))
    with two.path("log").open("ab") as file:
        file.write(b"appended just then\n")
    pool.thaw(two)
    pool.wait_linked()
    pool.wait_settled()
    tree = pool.wait_equal()
    contents = {digest_of(one.path(name)) for name in tree}
    assert contents == {large, hashlib.sha256(b"old\nappended just then\n").hexdigest()}


def test_kills_at_any_moment(pool: Pool, three: tuple[Node, Node, Node]) -> None:
    """`kill -9` of any node, again and again, while small and large files come, change, move and go: no file is ever
    seen in parts, and in the end all trees are equal and the stages empty. (KILLS and KILLS_SEED: how many, which.)"""
    dice = random.Random(KILLS_SEED)
    torn: list[str] = []
    for number in range(KILLS):
        work(dice, dice.choice([node for node in three if node.running]), number)
        victim = dice.choice(three)
        with looking(lambda victim=victim: torn.extend(torn_files(victim))):  # type: ignore[misc]
            threading.Event().wait(dice.choice((0.0, 0.01, 0.05, 0.2, 0.6)) * dice.random())
            pool.kill9(victim)
            torn.extend(torn_files(victim))
            pool.restart(victim)
        assert torn == []
    pool.wait_linked()
    pool.wait_settled()
    tree = pool.wait_equal()
    assert tree
    assert torn_files(three[0]) == []
    for node in three:
        pool.until(
            f"the stage of {node.name} is empty",
            lambda node=node: not list((node.folder / ".meerkat" / "stage").iterdir()),  # type: ignore[misc]
        )


def work(dice: random.Random, node: Node, number: int) -> None:
    """A few things that people do, each file with its own digest in its first line."""
    for _ in range(dice.randrange(2, 8)):
        path = node.path(f"{dice.choice('abc')}/{dice.choice('wxyz')}")
        path.parent.mkdir(exist_ok=True)
        match dice.choice(("small", "small", "large", "move", "remove")):
            case "small" | "large" as size:
                body = dice.randbytes(dice.randrange(2000) if size == "small" else dice.randrange(MIB, 6 * MIB))
                beside = path.with_name(f".{path.name}.{number}")
                beside.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                beside.rename(path)
            case "move" if path.exists():
                path.rename(node.path(f"{dice.choice('abc')}-{number}"))
            case "remove":
                path.unlink(missing_ok=True)
            case _:
                pass


def torn_files(node: Node) -> list[str]:
    """Files whose first line is not the digest of the rest."""
    torn = []
    for path in node.folder.rglob("*"):
        if ".meerkat" in path.parts or path.name.startswith("."):
            continue
        try:
            line, _, body = path.read_bytes().partition(b"\n")
        except (IsADirectoryError, FileNotFoundError, NotADirectoryError):
            continue
        if hashlib.sha256(body).hexdigest().encode() != line:
            torn.append(f"{path}: {len(body)} bytes")
    return torn


def digest_of(path: Path) -> str:
    """Of the whole file; empty when there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


@contextmanager
def looking(look: Callable[[], object]) -> Iterator[None]:
    """Look again and again, from a thread."""
    done = threading.Event()

    def again() -> None:
        while not done.is_set():
            look()
            done.wait(0.005)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
