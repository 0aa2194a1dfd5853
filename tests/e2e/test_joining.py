"""Joining with files in the folder, and invites that do not work: clear answers, and nothing is changed or left."""

from typing import Any

import pytest
from e2e.pool import Node, NotUp, Pool, Said

pytestmark = pytest.mark.e2e

SAME_BYTES = 8 << 20


@pytest.fixture
def filled(pool: Pool) -> tuple[Node, Node]:
    """A pool of one node, and a folder that holds some of the same, some other and some own files."""
    one, two = pool.node("one"), pool.node("two")
    pool.put_big(one, "same", SAME_BYTES)
    two.path("same").write_bytes(one.path("same").read_bytes())
    for node in (one, two):
        node.path("also same").write_text("equal\n")
        node.path("differs.txt").write_text(f"as on {node.name}\n")
    one.path("folder").mkdir()
    one.path("folder/there").write_text("from the pool\n")
    two.path("here").write_text("only here\n")
    pool.found(one)
    return one, two


def test_a_filled_folder_is_not_mixed_without_a_yes(pool: Pool, filled: tuple[Node, Node]) -> None:
    """Without `--merge` the join is refused, with `--dry-run` the plan is printed; the folder stays as it was."""
    one, two = filled
    before = pool.reader.read(two.folder)
    code = pool.invite(one)
    with pytest.raises(NotUp) as refused:
        pool.join_with(two, code)
    assert refused.value.said.exit == 8
    assert_error(refused.value.said, "needs_merge")
    said = pool.cli("join", "-", two, "--dry-run", stdin=code + "\n")
    assert said.exit == 0, said
    plan: dict[str, Any] = said.out
    assert {key: plan[key] for key in ("identical", "download", "only_here", "differ", "delete")} == {
        "identical": 2,
        "download": 1,
        "only_here": 1,
        "differ": 1,
        "delete": 0,
    }
    assert pool.reader.read(two.folder) == before
    assert not (two.folder / ".meerkat").exists()
    assert set(pool.roster(one)) == {"one"}
    pool.join_with(two, code, "--merge")  # neither of the two has used the invite up
    pool.until("both know the newcomer", lambda: set(pool.roster(one)) == {"one", "two"})


def test_a_merge_copies_only_what_differs(pool: Pool, filled: tuple[Node, Node]) -> None:
    """With `--merge` equal files are not sent or touched, and of differing ones both versions are kept."""
    one, two = filled
    inode = two.path("same").stat().st_ino
    pool.admit(two, one, "--merge")
    pool.until("both versions are everywhere", lambda: all(len(versions(node)) == 2 for node in (one, two)))
    tree = pool.wait_equal()
    assert {"same", "also same", "differs.txt", "folder", "folder/there", "here"} <= set(tree)
    assert len(tree) == 7
    assert versions(one) == {"as on one\n", "as on two\n"}
    assert two.path("same").stat().st_ino == inode
    traffic = pool.status(two)["traffic"]
    assert traffic["received_bytes"] + traffic["sent_bytes"] < SAME_BYTES // 4


def versions(node: Node) -> set[str]:
    """The texts of the file that differs and of its copies."""
    return {path.read_text() for path in node.folder.glob("differs*")}


# ---- invites


def test_bad_invites_are_refused(pool: Pool) -> None:
    """Garbage, and invites that were used, revoked or have expired: exit code 5, an error object, nothing left."""
    one = pool.start("one")
    used, revoked, expired = pool.invite(one), pool.ask("invite", one), pool.invite(one, "--for", "1s")
    pool.join_with(pool.node("two"), used)
    pool.ask("invite", "revoke", revoked["id"], "--folder", one)
    pool.until("the short one has expired", lambda: pool.ask("invite", "list", one) == [])
    cases = {
        "invite_garbage": (
            "not an invite at all, though long enough to look like one",
            used[:-4],
            used[:20] + used[24:],
        ),
        "invite_used": (used,),
        "invite_revoked": (str(revoked["code"]),),
        "invite_expired": (expired,),
    }
    for error, codes in cases.items():
        for code in codes:
            refuse(pool, code, error, 5)
    assert set(pool.roster(one)) == {"one", "two"}


def test_an_invite_that_nobody_answers(pool: Pool) -> None:
    """When no address of the invite answers, the exit code is 6, and `--via` another member helps."""
    one = pool.start("one")
    two = pool.join("two", one)
    code = pool.invite(one)
    pool.until("two knows the invite", lambda: len(pool.ask("invite", "list", two)) == 1)
    pool.stop(one)
    refuse(pool, code, "unreachable", 6)
    three = pool.node("three")
    pool.join_with(three, code, "--via", two.ready["listen"])
    pool.until("two knows the newcomer", lambda: "three" in pool.roster(two))
    pool.restart(one)
    pool.until("one knows the newcomer", lambda: "three" in pool.roster(one))
    three.path("hello").write_text("from the newcomer\n")
    pool.wait_equal()


def test_a_node_does_not_join_another_pool(pool: Pool) -> None:
    """An invite of another pool does not turn a node's folder over to that pool."""
    one = pool.start("one")
    other = pool.start("other")
    other.path("file").write_text("mine\n")
    code = pool.invite(one)
    pool.stop(other)
    with pytest.raises(NotUp) as refused:
        pool.join_with(other, code)
    assert refused.value.said.exit == 8
    assert_error(refused.value.said, "other_pool")
    pool.restart(other)
    assert set(pool.roster(other)) == {"other"}
    assert other.path("file").read_text() == "mine\n"


def refuse(pool: Pool, code: str, error: str, exit_code: int) -> None:
    """Joining with the code, into an empty folder and into one that is not there, fails and leaves nothing."""
    there, missing = pool.base / "there", pool.base / "missing"
    there.mkdir(exist_ok=True)
    for folder in (there, missing):
        said = pool.cli("join", "-", str(folder), "--listen", "127.0.0.1:0", stdin=code + "\n")
        assert said.exit == exit_code, (error, said)
        assert_error(said, error)
    assert list(there.iterdir()) == []
    assert not missing.exists()


def assert_error(said: Said, code: str) -> None:
    """An error object for programs: what, why or what next; never a traceback."""
    assert said.error["code"] == code, said
    assert said.error["message"]
    assert said.error["hint"]
    assert "Traceback" not in said.stderr
