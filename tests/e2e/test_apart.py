"""What happens when nodes were apart: both sides edited, one was away, an index was lost (G2, G4; MERGE R3-R7, R11)."""

import re
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from blake3 import blake3
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

COPY = re.compile(r"report\.conflict-[0-9a-f]{8}\.txt")


@pytest.fixture
def trio(pool: Pool) -> tuple[Node, Node, Node]:
    """Three nodes that hold the same two files."""
    one = pool.start("one")
    two, three = pool.join("two", one), pool.join("three", one)
    one.path("report.txt").write_text("as agreed\n")
    one.path("other.txt").write_text("untouched\n")
    pool.wait_settled()
    return one, two, three


def test_both_edits_of_a_file_are_kept(pool: Pool, trio: tuple[Node, Node, Node]) -> None:
    """Edits of one file on two nodes that were apart end as the file and one copy, the same everywhere, and listed."""
    one, two, three = trio
    pool.stop(one)
    pool.stop(two)
    one.path("report.txt").write_text("one's edit\n")
    two.path("report.txt").write_text("two's edit, longer\n")
    pool.restart(one)
    pool.restart(two)
    pool.until("the copy is everywhere", lambda: all(copies(node) for node in trio))
    tree = pool.wait_equal()
    (copy,) = copies(three)
    assert set(tree) == {"report.txt", "other.txt", copy}
    kept = {one.path(name).read_text() for name in ("report.txt", copy)}
    assert kept == {"one's edit\n", "two's edit, longer\n"}
    data = one.path(copy).read_bytes()
    author = one if data == b"one's edit\n" else two
    for node in trio:
        (listed,) = pool.until(f"{node.name} lists it", lambda node=node: pool.ask("conflicts", node))  # type: ignore[misc]
        assert listed["path"] == "report.txt"
        (row,) = listed["copies"]
        assert row["path"] == copy
        assert row["node"] == author.id
        assert row["size"] == len(data)
        assert row["digest"] == blake3(data).hexdigest()
        assert datetime.fromisoformat(row["at"]).timestamp() == pytest.approx(one.path(copy).stat().st_mtime, abs=1)
        assert pool.status(node)["conflicts"] == 1
    assert pool.cli("conflicts", one, "--check").exit == 7
    two.path(copy).unlink()
    pool.wait_equal()
    pool.until("settled by deleting the copy", lambda: all(pool.ask("conflicts", node) == [] for node in trio))


def test_three_edits_apart_leave_two_copies(pool: Pool, trio: tuple[Node, Node, Node]) -> None:
    """Three nodes that edited the same file apart end with all three versions under three names."""
    texts = {node.name: f"the edit of {node.name}\n" for node in trio}
    for node in trio:
        pool.stop(node)
    for node in trio:
        node.path("report.txt").write_text(texts[node.name])
    for node in trio:
        pool.restart(node)
    pool.until("both copies are everywhere", lambda: all(len(copies(node)) == 2 for node in trio))
    pool.wait_equal()
    found = {trio[0].path(name).read_text() for name in ["report.txt", *copies(trio[0])]}
    assert found == set(texts.values())


def test_an_edit_beats_a_deletion(pool: Pool, trio: tuple[Node, Node, Node]) -> None:
    """A file deleted on one node and edited on another while apart lives on with the edit, without a conflict."""
    one, two, _ = trio
    pool.stop(one)
    pool.stop(two)
    one.path("report.txt").unlink()
    two.path("report.txt").write_text("still needed\n")
    pool.restart(one)
    pool.restart(two)
    pool.until("it is back", lambda: all(reads(node.path("report.txt")) == b"still needed\n" for node in trio))
    assert set(pool.wait_equal()) == {"report.txt", "other.txt"}
    assert pool.ask("conflicts", one) == []


def test_equal_edits_are_no_conflict(pool: Pool, trio: tuple[Node, Node, Node]) -> None:
    """Two people who write the same bytes apart agree; also when they create the same new file."""
    one, two, _ = trio
    pool.stop(one)
    pool.stop(two)
    for node in (one, two):
        node.path("report.txt").write_text("the same\n")
        node.path("new").mkdir()
        node.path("new/same.txt").write_text("same\n")
    pool.restart(one)
    pool.restart(two)
    tree = pool.wait_equal()
    assert set(tree) == {"report.txt", "other.txt", "new", "new/same.txt"}
    assert pool.ask("conflicts", two) == []
    one.path("new/same.txt").unlink()
    pool.wait_equal()


def test_who_was_away_catches_up_and_undoes_nothing(pool: Pool, trio: tuple[Node, Node, Node]) -> None:
    """Much is created, renamed and deleted while a node is away: it catches up, and what it deleted itself counts."""
    one, two, three = trio
    for number in range(60):
        folder = one.path(f"folder {number % 3}")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(f"number {number}\n")
    pool.wait_settled()
    pool.stop(three)
    shutil.rmtree(one.path("folder 0"))
    two.path("folder 1").rename(two.path("folder moved"))
    for number in range(2, 30, 3):
        two.path(f"folder 2/{number}.txt").unlink()
    one.path("other.txt").rename(one.path("renamed.txt"))
    for number in range(100):
        two.path(f"new {number}").write_text(f"new {number}\n")
    gone = {f"folder 2/{number}.txt" for number in range(50, 60, 3)} | {"report.txt"}
    for name in gone:  # the one who is away
        three.path(name).unlink()
    three.path("mine").write_text("written while down\n")
    wanted = set(pool.wait_equal(one, two)) - gone | {"mine"}
    pool.restart(three)
    pool.until("what three wrote is everywhere", lambda: all(node.path("mine").exists() for node in trio))
    pool.until(
        "what three deleted is gone everywhere", lambda: not any(node.path("report.txt").exists() for node in trio)
    )
    tree = pool.wait_equal()
    assert set(tree) == wanted
    assert pool.ask("conflicts", one) == []
    pool.stop(one)
    pool.restart(one)
    pool.wait_settled()
    assert set(pool.wait_equal()) == set(tree)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "deleted"])
def test_a_lost_index_is_learned_from_the_pool(pool: Pool, trio: tuple[Node, Node, Node], damage: str) -> None:
    """A node whose index is damaged or gone deletes nothing, revives nothing, and makes no copies of equal files."""
    one, two, three = trio
    for number in range(40):
        one.path(f"{number}.txt").write_text(f"number {number}\n")
    pool.wait_settled()
    pool.stop(three)
    one.path("0.txt").unlink()
    one.path("1.txt").write_text("a newer text\n")
    one.path("brand new.txt").write_text("x\n")
    three.path("2.txt").write_text("three's own edit while down\n")
    three.path("only three.txt").write_text("three's own file\n")
    expected = set(pool.wait_equal(one, two))
    index = three.folder / ".meerkat" / "index.db"
    if damage == "garbage":
        with index.open("r+b") as file:
            file.write(b"garbage " * (index.stat().st_size // 8))
    elif damage == "truncated":
        with index.open("r+b") as file:
            file.truncate(index.stat().st_size // 2)
    else:
        for each in index.parent.glob("index.db*"):
            each.unlink()
    pool.restart(three)
    pool.until("three's file is everywhere", lambda: all(node.path("only three.txt").exists() for node in trio))
    pool.wait_settled()
    tree = pool.wait_equal()
    extra = set(tree) - expected
    assert expected <= set(tree)
    assert "0.txt" not in tree
    assert one.path("1.txt").read_text() == "a newer text\n"
    texts = [one.path(name).read_text() for name in extra | {"2.txt"}]
    assert "three's own edit while down\n" in texts
    assert extra - {"only three.txt"} == {name for name in extra if name.startswith("2.conflict-")}
    assert len(extra) <= 2


def copies(node: Node) -> list[str]:
    """The names of the conflict copies of the report in a folder."""
    return sorted(path.name for path in node.folder.iterdir() if COPY.fullmatch(path.name))


def reads(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def test_ten_edits_at_once_end_as_one_file_and_nine_copies(pool: Pool) -> None:
    """Each of ten nodes edits the file unseen: nothing is lost, and all show the same one and the same nine."""
    one = pool.start("n0")
    one.path("report.txt").write_text("as agreed\n")
    nodes = [one, *(pool.join(f"n{number}", one) for number in range(1, 10))]
    pool.wait_equal()
    for node in nodes:
        pool.stop(node)
    edits = {f"what {node.name} wrote\n" for node in nodes}
    for node in nodes:
        node.path("report.txt").write_text(f"what {node.name} wrote\n")
    for node in nodes:
        pool.restart(node)
    pool.until("nine copies everywhere", lambda: all(len(copies(node)) == 9 for node in nodes))
    tree = pool.wait_equal()
    assert len(tree) == 10
    assert {one.path(name).read_text() for name in tree} == edits
    for node in (one, nodes[-1]):
        (listed,) = pool.ask("conflicts", node)
        assert len(listed["copies"]) == 9
        assert len({row["node"] for row in listed["copies"]}) == 9
    settled = pool.ask("resolve", nodes[4], "report.txt", "--keep", "n7")
    tree = pool.wait_equal()
    assert [str(path) for path in tree] == ["report.txt"]
    assert one.path("report.txt").read_text() == "what n7 wrote\n"
    for each in settled["trashed"]:
        pool.ask("restore", nodes[4], each["path"], "--version", each["version"])
    tree = pool.wait_equal()
    assert {one.path(name).read_text() for name in tree} == edits
