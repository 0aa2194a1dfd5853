"""Programs that hold files open while others replace them: every line that the system took from them is in a tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

ROUNDS = 10

APPENDER = """
import os, random, sys, time
dice = random.Random(7)
path, how, acknowledged = sys.argv[1:]
said = open(acknowledged, "a", buffering=1)
handle = os.open(path, os.O_WRONLY | os.O_APPEND)
number = 0
while not os.path.exists(acknowledged + ".stop"):
    if how == "reopens":
        os.close(handle)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    line = f"{how}-{number:08}"
    os.write(handle, (line + "\\n").encode())
    said.write(line + "\\n")
    number += 1
    if number % 50 == 0:
        time.sleep(dice.uniform(0.0, 1.5))
"""


def lines_in(folder: Path, *, trash: bool = False) -> set[str]:
    found: set[str] = set()
    for place in folder.rglob("*"):
        inside = place.relative_to(folder).parts
        if place.is_file() and (inside[0] != ".meerkat" or (trash and inside[1:2] == ("trash",))):
            found.update(place.read_text(errors="replace").split("\n"))
    return found


@pytest.mark.parametrize("how", ["holds", "reopens"])
def test_an_appender_loses_nothing(pool: Pool, tmp_path: Path, how: str) -> None:
    """While the file is replaced again and again by another member, every line that write() has taken is in the tree
    of every node afterwards; a program that holds its handle makes few copies, however much it writes."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("log").write_text("begun\n")
    pool.wait_equal()
    acknowledged = tmp_path / "acknowledged"
    appender = subprocess.Popen([sys.executable, "-c", APPENDER, str(two.path("log")), how, str(acknowledged)])
    try:
        pool.until("it writes", lambda: acknowledged.exists() and acknowledged.stat().st_size)
        for number in range(ROUNDS):
            replace(one, "log", f"round {number}\n")
            pool.until("it was replaced", lambda: settled_on(two, number))  # noqa: B023  # awaited in this round
    finally:
        Path(f"{acknowledged}.stop").touch()
        assert appender.wait(30) == 0
    tree = pool.wait_equal()
    said = set(acknowledged.read_text().split())
    assert len(said) > ROUNDS
    there = pool.until("every line is there", lambda: said <= lines_in(two.folder) and lines_in(two.folder))
    assert lines_in(one.folder) == there
    if how == "holds":
        assert len(tree) <= 4, sorted(map(str, tree))


def settled_on(node: Node, number: int) -> bool:
    """The round's bytes have come, in the file or, where the appender's won, beside it."""
    return any(f"round {number}\n" in each.read_text() for each in node.folder.glob("log*"))


def replace(node: Node, name: str, text: str) -> None:
    beside = node.path(f".{name}~")
    beside.write_text(text)
    os.replace(beside, node.path(name))


def test_a_late_write_to_what_was_deleted(pool: Pool) -> None:
    """A file deleted elsewhere, with its folder, while a program here has it open: what the program writes then comes
    back for all, and what it writes while its node is down comes back at the next start."""
    one = pool.start("one")
    two = pool.join("two", one)
    place = one.path("d/e/log")
    place.parent.mkdir(parents=True)
    place.write_text("begun\n")
    one.path("other").write_text("begun\n")
    pool.wait_equal()
    with two.path("d/e/log").open("a") as log, two.path("other").open("a") as other:
        place.unlink()
        place.parent.rmdir()
        place.parent.parent.rmdir()
        one.path("other").unlink()
        pool.until("both are gone", lambda: not two.path("d").exists() and not two.path("other").exists())
        log.write("late\n")
        log.flush()
        (copy,) = pool.until("it is back", lambda: list(one.folder.glob("d/e/log.conflict-*")))
        assert copy.read_text() == "begun\nlate\n"
        log.write("later\n")
        log.flush()
        pool.until("the rest follows", lambda: copy.read_text() == "begun\nlate\nlater\n")
        pool.kill9(two)
        other.write("while it was down\n")
    pool.restart(two)
    (back,) = pool.until("it is back as well", lambda: list(one.folder.glob("other.conflict-*")))
    assert back.read_text() == "begun\nwhile it was down\n"
    assert sorted(map(str, pool.wait_equal())) == sorted(["d", "d/e", f"d/e/{copy.name}", back.name])
