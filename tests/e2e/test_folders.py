"""Folders that are wrong for a node, things in them that cannot be shared, and rules about what is not to be shared."""

import os
import shutil
import socket
import stat

import pytest
from e2e.pool import Node, Pool

pytestmark = pytest.mark.e2e


def test_wrong_folders_are_refused(pool: Pool) -> None:
    """No folder, a file, a folder inside a node's, one with a node on it already, a port in use: each says which."""
    one = pool.start("one")
    (pool.base / "file").write_text("a file\n")
    inside = one.path("below/deep")
    inside.mkdir(parents=True)
    (pool.base / "free").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"127.0.0.1:{taken.getsockname()[1]}"
        cases = (
            ("missing", (), "folder_missing", 1),
            ("file", (), "not_a_folder", 1),
            ("one/below/deep", (), "nested", 8),
            ("one", (), "already_running", 1),
            ("free", ("--listen", port), "port_in_use", 1),
        )
        for name, flags, code, exit_code in cases:
            folder = pool.base / name
            said = pool.cli("up", str(folder), "--listen", "127.0.0.1:0", *flags)
            assert (said.exit, said.error.get("code")) == (exit_code, code), said
            assert (port if flags else str(folder)) in said.error["message"]
            assert said.error["hint"]
            assert "Traceback" not in said.stderr
    assert not (pool.base / "missing").exists()
    assert not (inside / ".meerkat").exists()
    assert (pool.base / "file").read_text() == "a file\n"
    assert pool.status(one)["name"] == "one"
    assert pool.cli("status", str(pool.base / "missing")).exit == 3


def test_a_folder_that_must_not_be_written(pool: Pool) -> None:
    """A folder that this user may not write is refused, and stays as it is."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = pool.base / "sealed"
    folder.mkdir(mode=0o500)
    said = pool.cli("up", str(folder), "--listen", "127.0.0.1:0")
    assert (said.exit, said.error["code"]) == (1, "not_writable")


MOVED_FILES, MOVED_BYTES = 3000, 4096


def test_a_large_folder_moved_while_a_member_is_away(pool: Pool) -> None:
    """Those who were there and who comes back later move what they have: no content is on the wire, and
    what the member edited in the old folder meanwhile is not lost."""
    one = pool.node("one")
    for number in range(MOVED_FILES):
        place = one.path(f"before/{number // 100:02}/{number % 100:02}.bin")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(MOVED_BYTES))
    pool.found(one)
    two, three = pool.join("two", one), pool.join("three", one)
    pool.wait_equal()
    pool.wait_settled()
    pool.down(three)
    received = pool.status(two)["traffic"]["received_bytes"]
    one.path("elsewhere").mkdir()
    one.path("before").rename(one.path("elsewhere/after"))
    pool.wait_equal(one, two)
    assert pool.status(two)["traffic"]["received_bytes"] - received < MOVED_FILES * MOVED_BYTES // 8
    three.path("before/07/07.bin").write_text("edited while it was away\n")
    pool.restart(three)
    tree = pool.wait_equal()
    assert pool.status(three)["traffic"]["received_bytes"] < MOVED_FILES * MOVED_BYTES // 8
    assert "elsewhere/after/29/99.bin" in tree
    assert "elsewhere/after/07/07.bin" in tree
    assert one.path("before/07/07.bin").read_text() == "edited while it was away\n"
    assert sum(name.startswith("before/") and name.endswith(".bin") for name in tree) == 1


def test_what_cannot_be_shared_is_listed_and_skipped(pool: Pool) -> None:
    """Pipes, sockets and names that are not UTF-8 are problems in `status`; everything else is in sync around them."""
    one = pool.node("one")
    (one.folder / "folder").mkdir()
    os.mkfifo(one.path("folder/pipe"))
    pool.found(one)
    two = pool.join("two", one)
    os.mknod(one.path("socket"), stat.S_IFSOCK | 0o600)
    latin = os.fsencode(one.folder) + b"/caf\xe9.txt"
    with open(latin, "wb") as file:
        file.write(b"latin 1\n")
    one.path("folder/fine.txt").write_text("shared\n")
    one.path("also fine.txt").write_text("shared\n")
    pool.until("the others are there", lambda: set(pool.reader.read(two.folder)) == shared())

    def listed() -> bool:
        paths = {problem["path"] for problem in pool.status(one)["problems"]}
        return {"folder/pipe", "socket"} <= paths and any(path.startswith("caf") for path in paths)

    pool.until("all three are listed", listed)
    for problem in pool.status(one)["problems"]:
        assert problem["node"] == one.id
        assert problem["reason"] == "name_not_allowed"
        assert problem["text"]
    said = pool.cli("wait", one)
    assert said.exit == 0, said
    os.unlink(latin)
    os.unlink(one.path("socket"))
    os.unlink(one.path("folder/pipe"))
    pool.wait_equal()
    pool.until("nothing is listed any more", lambda: pool.status(one)["problems"] == [])


def shared() -> set[str]:
    return {"folder", "folder/fine.txt", "also fine.txt"}


def test_shared_rules_of_ignoring(pool: Pool) -> None:
    """`.meerkatignore` is shared and holds for all; what it names stays where it is and is never deleted from afar."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path(".meerkatignore").write_text("*.tmp\nbuild/\n!keep.tmp\n")
    pool.wait_equal()
    for node in (one, two):
        node.path("project").mkdir(exist_ok=True)
        node.path("project/build").mkdir()
        node.path("project/build/out.o").write_text(f"built on {node.name}\n")
        node.path("project/scratch.tmp").write_text(f"scratch of {node.name}\n")
    one.path("project/source.c").write_text("int main;\n")
    one.path("project/keep.tmp").write_text("an exception\n")
    pool.until("the shared files came", lambda: {"source.c", "keep.tmp"} <= names(two, "project"))
    assert two.path("project/build/out.o").read_text() == "built on two\n"
    assert two.path("project/scratch.tmp").read_text() == "scratch of two\n"
    shutil.rmtree(one.path("project"))
    pool.until("the shared files are gone", lambda: names(two, "project") == {"build", "scratch.tmp"})
    assert two.path("project/build/out.o").read_text() == "built on two\n"
    one.path(".meerkatignore").write_text("build/\n")
    pool.until("no longer ignored, it is shared", lambda: one.path("project/scratch.tmp").exists())
    assert one.path("project/scratch.tmp").read_text() == "scratch of two\n"
    assert not one.path("project/build").exists()


def test_local_rules_of_ignoring(pool: Pool) -> None:
    """`.meerkat/ignore` holds on its node alone: nothing it names comes in or goes out there, others share it."""
    one = pool.start("one")
    two = pool.join("two", one)
    three = pool.join("three", one)
    pool.stop(two)
    (two.folder / ".meerkat" / "ignore").write_text("local-*\n")
    pool.restart(two)
    one.path("local-of-one").write_text("not for two\n")
    two.path("local-of-two").write_text("for nobody\n")
    one.path("last").write_text("for all\n")
    pool.wait_equal(one, three)
    pool.until("the last came", lambda: two.path("last").exists())
    assert set(pool.reader.read(two.folder)) == {"local-of-two", "last"}
    assert set(pool.wait_equal(one, three)) == {"local-of-one", "last"}
    three.path("local-of-one").unlink()
    pool.wait_equal(one, three)
    said = pool.cli("wait", one, "--nodes", "all")
    assert said.exit == 0, said


def names(node: Node, folder: str) -> set[str]:
    """What is in a folder of a node; nothing when it is not there."""
    try:
        return {path.name for path in node.path(folder).iterdir()}
    except FileNotFoundError:
        return set()
