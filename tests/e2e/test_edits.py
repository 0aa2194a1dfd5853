"""What people do to a folder on one node happens to it on the other (G1)."""

import os
import shutil
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e

LONG_PAST_NS = 981_173_106_123_456_789
NAMES = (
    "Grüße.txt",
    "文件.txt",
    "файл",
    "ملف",
    "ไฟล์",
    "e\u0301 decomposed",
    "🦦",
    "two words and 'quotes' and \"more\"",
    "new\nline",
    "tab\there",
    "-rf",
    "--help",
    " leading and trailing ",
    "back\\slash",
    "star*?[x]",
    "$HOME `x` ;&|",
    "CON",
    "a" * 255,
    "é" * 127,
)


@pytest.fixture
def pair(pool: Pool) -> tuple[Node, Node]:
    """Two nodes of one pool, linked."""
    one = pool.start("one")
    return one, pool.join("two", one)


def test_files_come_change_and_go(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A file is created, edited, appended to, truncated, renamed, emptied and deleted, from either side."""
    one, two = pair
    one.path("a.txt").write_text("first\n")
    one.path("empty").touch()
    tree = pool.wait_equal()
    assert set(tree) == {"a.txt", "empty"}
    two.path("a.txt").write_text("second, by the other\n")
    pool.wait_equal()
    with one.path("a.txt").open("a") as file:
        file.write("appended\n")
    pool.wait_equal()
    assert two.path("a.txt").read_text() == "second, by the other\nappended\n"
    os.truncate(two.path("a.txt"), 6)
    pool.wait_equal()
    assert one.path("a.txt").read_text() == "second"
    one.path("a.txt").rename(one.path("b.txt"))
    assert set(pool.wait_equal()) == {"b.txt", "empty"}
    two.path("b.txt").write_text("")
    pool.wait_equal()
    assert one.path("b.txt").read_bytes() == b""
    two.path("b.txt").unlink()
    one.path("empty").unlink()
    assert pool.wait_equal() == {}


def test_folders_come_move_and_go(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Folders, empty and nested ones, are created, filled, renamed with what is in them, and removed."""
    one, two = pair
    one.path("empty").mkdir()
    deep = one.path("a/b/c/d")
    deep.mkdir(parents=True)
    for number in range(20):
        (deep / f"{number}.txt").write_text(f"number {number}\n")
    one.path("stays.txt").write_text("so that not all of it goes, which would be held\n")
    tree = pool.wait_equal()
    assert {"empty", "a/b/c/d", "a/b/c/d/19.txt"} <= set(tree)
    two.path("a/b").rename(two.path("moved"))
    tree = pool.wait_equal()
    assert {"a", "moved/c/d/0.txt"} <= set(tree)
    assert not any(path.startswith("a/") for path in tree)
    shutil.rmtree(one.path("moved"))
    one.path("empty").rmdir()
    assert set(pool.wait_equal()) == {"a", "stays.txt"}
    two.path("a").rmdir()
    two.path("a").write_text("a file where a folder was\n")
    pool.wait_equal()
    assert one.path("a").read_text() == "a file where a folder was\n"


def test_links_stay_links(pool: Pool, pair: tuple[Node, Node], tmp_path: Path) -> None:
    """Relative, dangling and outward links travel as links, are changed as links, and are never followed."""
    one, two = pair
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not shared\n")
    one.path("file").write_text("x")
    one.path("relative").symlink_to("file")
    one.path("dangling").symlink_to("no/such/thing")
    one.path("outward").symlink_to(outside)
    one.path("odd").symlink_to("мир and\nmore")
    tree = pool.wait_equal()
    assert set(tree) == {"file", "relative", "dangling", "outward", "odd"}
    assert os.readlink(two.path("outward")) == str(outside)
    two.path("relative").unlink()
    two.path("relative").symlink_to("dangling")
    two.path("odd").unlink()
    two.path("odd").write_text("a file now")
    pool.wait_equal()
    assert os.readlink(one.path("relative")) == "dangling"
    one.path("outward").unlink()
    pool.wait_equal()
    assert (outside / "secret").read_text() == "not shared\n"


def test_bits_and_times_travel(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Permission bits of files and folders and the files' modification times to the nanosecond are the same."""
    one, two = pair
    one.path("run.sh").write_text("#!/bin/sh\n")
    one.path("run.sh").chmod(0o755)
    one.path("private").write_text("mine\n")
    one.path("private").chmod(0o600)
    one.path("read-only").write_text("look\n")
    one.path("read-only").chmod(0o444)
    one.path("folder").mkdir(mode=0o700)
    one.path("folder/old").write_text("old\n")
    os.utime(one.path("folder/old"), ns=(LONG_PAST_NS, LONG_PAST_NS))
    tree = pool.wait_equal()
    assert tree["folder/old"].mtime_ns == LONG_PAST_NS
    assert {tree[name].mode for name in ("run.sh", "private", "read-only")} == {0o755, 0o600, 0o444}
    two.path("run.sh").chmod(0o644)
    two.path("read-only").chmod(0o640)
    two.path("folder").chmod(0o750)
    os.utime(two.path("folder/old"), ns=(LONG_PAST_NS + 1, LONG_PAST_NS + 1))
    tree = pool.wait_equal()
    assert (tree["run.sh"].mode, tree["read-only"].mode, tree["folder"].mode) == (0o644, 0o640, 0o750)
    assert tree["folder/old"].mtime_ns == LONG_PAST_NS + 1
    assert pool.ask("conflicts", one) == []


def test_any_name_travels(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Names in any script, with spaces, quotes, line ends, leading dashes and of 255 bytes are the same everywhere."""
    one, two = pair
    for number, name in enumerate(NAMES):
        (one if number % 2 else two).path(name).write_text(f"number {number}\n")
    folder = one.path("Ordner ß/папка")
    folder.mkdir(parents=True)
    (folder / "ファイル").write_text("deep\n")
    tree = pool.wait_equal()
    assert set(NAMES) | {"Ordner ß/папка/ファイル"} <= set(tree)
    for name in NAMES:
        two.path(name).unlink()
    assert set(pool.wait_equal()) == {"Ordner ß", "Ordner ß/папка", "Ordner ß/папка/ファイル"}


def test_editors_that_replace_files(pool: Pool, pair: tuple[Node, Node]) -> None:
    """The save dances of editors (a temporary file renamed over, a backup moved aside) end as the saved file."""
    one, two = pair
    one.path("text").write_text("version 0\n")
    pool.wait_equal()
    for number in range(1, 11):
        at = (one if number % 2 else two).folder
        if number % 3:
            (at / ".text.swp").write_text(f"version {number}\n")
            os.replace(at / ".text.swp", at / "text")
        else:
            os.rename(at / "text", at / "text~")
            (at / "text").write_text(f"version {number}\n")
            os.unlink(at / "text~")
        tree = pool.wait_equal()
        assert set(tree) == {"text"}
    assert one.path("text").read_text() == "version 10\n"
    assert pool.ask("conflicts", two) == []
