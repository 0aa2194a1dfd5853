"""Mass deletions wait for a person (DESIGN: hold): nothing is told until somebody says that it was meant."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

FILES = 60


@pytest.fixture
def pair(pool: Pool) -> tuple[Node, Node]:
    """Two nodes with a folder of many files and one file beside it."""
    one = pool.start("one")
    two = pool.join("two", one)
    for number in range(FILES):
        place = one.path(f"photos/{number % 3}/{number}.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"picture %d" % number)
    one.path("notes.txt").write_text("notes\n")
    pool.wait_equal()
    return one, two


def the_hold(pool: Pool, node: Node) -> dict[str, Any]:
    """The one hold of a node, once there is one."""
    (hold,) = pool.until("something is held", lambda: pool.ask("holds", node))
    return dict(hold)


def pictures(node: Node) -> int:
    return sum(path.is_file() for path in node.path("photos").rglob("*"))


def test_most_of_the_tree_removed_is_held_and_allowed(pool: Pool, pair: tuple[Node, Node]) -> None:
    """The others keep everything, both say why, and once a person agrees it goes everywhere."""
    one, two = pair
    shutil.rmtree(one.path("photos"))
    hold = the_hold(pool, one)
    assert (hold["paths"], hold["total"], hold["folder"]) == (FILES + 4, FILES + 1, "photos")
    assert pictures(two) == FILES
    status = pool.ask("status", one)
    assert (status["state"], status["held"]) == ("attention", FILES + 4)
    (problem,) = status["problems"]
    assert (problem["reason"], problem["node"]) == ("held", one.id)
    assert f"holds allow {hold['id']}" in problem["hint"]
    pool.until("two tells it", lambda: any(each["reason"] == "held" for each in pool.ask("status", two)["problems"]))
    assert pool.cli("wait", one, "--timeout", "20").exit == 7
    one.path("later.txt").write_text("others go on\n")
    pool.until("what is not held travels", two.path("later.txt").exists)
    assert pool.ask("holds", "allow", str(hold["id"]), "--folder", one)["allowed"] == FILES + 4
    assert set(pool.wait_equal()) == {"notes.txt", "later.txt"}
    assert pool.ask("holds", one) == []
    pool.until("in sync again", lambda: pool.status(one)["state"] == "in_sync")


def test_an_emptied_folder_is_held_over_a_restart_and_rejected(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A disk that is mounted empty tells nothing; also not after a restart; and a no brings everything back."""
    one, two = pair
    before = pool.reader.read(two.folder)
    pool.stop(one)
    shutil.rmtree(one.path("photos"))
    one.path("notes.txt").unlink()
    pool.restart(one)
    hold = the_hold(pool, one)
    pool.kill9(one)
    pool.restart(one)
    assert the_hold(pool, one)["id"] == hold["id"]
    assert pool.reader.read(two.folder) == before
    pool.ask("holds", "reject", str(hold["id"]), "--folder", one)
    assert pool.wait_equal() == before
    assert pool.cli("holds", "allow", str(hold["id"]), "--folder", one).exit == 4


def test_killed_while_it_gathers_nothing_was_told(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Whether it had judged or not: the next start holds what is gone, and the others have everything."""
    one, two = pair
    before = pool.reader.read(two.folder)
    shutil.rmtree(one.path("photos"))
    pool.kill9(one)
    pool.restart(one)
    hold = the_hold(pool, one)
    assert hold["paths"] == FILES + 4
    assert pool.reader.read(two.folder) == before
    pool.ask("holds", "reject", str(hold["id"]), "--folder", one)
    assert pool.wait_equal() == before


def test_files_that_come_back_end_it(pool: Pool, pair: tuple[Node, Node], tmp_path: Path) -> None:
    """What was only away (an unmounted disk) is taken as it is, edits of others included; nothing is deleted."""
    one, two = pair
    one.path("photos").rename(tmp_path / "away")
    the_hold(pool, one)
    two.path("photos/0/0.jpg").write_bytes(b"edited meanwhile")
    pool.until("an edit beats a deletion that nobody was told of", one.path("photos/0/0.jpg").exists)
    shutil.copytree(tmp_path / "away", one.path("photos"), dirs_exist_ok=True, copy_function=copy_if_new)
    pool.ask("scan", one)
    pool.until("nothing is held", lambda: pool.ask("holds", one) == [])
    tree = pool.wait_equal()
    assert two.path("photos/0/0.jpg").read_bytes() == b"edited meanwhile"
    assert sum(name.endswith(".jpg") for name in tree) == FILES


def copy_if_new(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.copy2(source, target)


def test_a_folder_that_became_a_link_waits_with_what_was_in_it(
    pool: Pool, pair: tuple[Node, Node], tmp_path: Path
) -> None:
    """Moved to a larger disk, with a link left in its place: the others keep the folder until a person has said what is
    meant; rejected, it comes back and the link lies beside it; allowed, the link stands there on all nodes."""
    one, two = pair
    one.path("photos").rename(tmp_path / "larger disk")
    one.path("photos").symlink_to(tmp_path / "larger disk")
    hold = the_hold(pool, one)
    assert hold["paths"] == FILES + 4
    one.path("later.txt").write_text("others go on\n")
    pool.until("what is not held travels", two.path("later.txt").exists)
    assert pictures(two) == FILES
    assert one.path("photos").is_symlink()
    pool.ask("holds", "reject", str(hold["id"]), "--folder", one)
    tree = pool.wait_equal()
    (copy,) = pool.until("the link has a name of its own", lambda: pool.ask("conflicts", two))
    tree = pool.wait_equal()
    assert sum(name.endswith(".jpg") for name in tree) == FILES
    assert two.path(copy["copies"][0]["path"]).is_symlink()

    shutil.rmtree(one.path("photos"))
    one.path(copy["copies"][0]["path"]).rename(one.path("photos"))
    hold = the_hold(pool, one)
    pool.ask("holds", "allow", str(hold["id"]), "--folder", one)
    pool.until("the link is everywhere", lambda: two.path("photos").is_symlink())
    assert set(pool.wait_equal()) == {"notes.txt", "later.txt", "photos"}


def test_what_moved_or_was_little_is_not_held(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A renamed folder is no deletion, and neither are a few files."""
    one, _ = pair
    one.path("photos").rename(one.path("pictures"))
    tree = pool.wait_equal()
    assert sum(name.startswith("pictures/") and name.endswith(".jpg") for name in tree) == FILES
    for number in range(0, FILES, 4):
        one.path(f"pictures/{number % 3}/{number}.jpg").unlink()
    assert sum(name.endswith(".jpg") for name in pool.wait_equal()) == FILES - FILES // 4
    assert pool.ask("holds", one) == []


def test_holding_can_be_switched_off(pool: Pool) -> None:
    """A fleet whose programs tidy up says so, and deletions travel at once."""
    one = pool.start("one", "--hold", "off")
    pool.join("two", one)
    for number in range(30):
        one.path(f"{number}").write_bytes(b"%d" % number)
    pool.wait_equal()
    for path in one.folder.glob("[0-9]*"):
        path.unlink()
    assert pool.wait_equal() == {}
