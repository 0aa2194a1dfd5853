"""Awkward names and kinds: names travel byte for byte, kinds are shared or reported, nothing is lost (G2, G7, G11)."""

import os
import shutil
import stat
import subprocess
import unicodedata
from pathlib import Path

import pytest
from e2e.pool import Node, Pool

from meerkat.model.limits import PATH_DEPTH_MAX

pytestmark = pytest.mark.e2e

CAFE = "caf\u00e9.txt"


@pytest.fixture
def pair(pool: Pool) -> tuple[Node, Node]:
    one = pool.start("one")
    return one, pool.join("two", one)


def apart(pool: Pool, *nodes: Node) -> None:
    """Stop nodes, so that what is done next is done without knowing of each other."""
    for node in nodes:
        pool.stop(node)


def together(pool: Pool, *nodes: Node) -> None:
    """Start them again and wait until they agree, and say that they do."""
    for node in nodes:
        pool.restart(node)
    pool.wait_linked()
    pool.wait_settled()


def reported(pool: Pool, node: Node) -> dict[str, str]:
    """Path to reason of what a node says about itself."""
    return {row["path"]: row["reason"] for row in pool.status(node)["problems"] if row["node"] == node.id}


def nothing_waits(pool: Pool) -> None:
    for node in pool.nodes:
        pool.until(f"{node.name} reports nothing", lambda node=node: reported(pool, node) == {})  # type: ignore[misc]


# ---- names


def test_clashing_and_twin_names_are_different_files_here(pool: Pool, pair: tuple[Node, Node]) -> None:
    """On a disk that tells them apart, names that differ in case or in Unicode form alone are files of their own."""
    one, two = pair
    twins = (CAFE, unicodedata.normalize("NFD", CAFE), "stra\u00dfe", "strasse", "\u2126", "\u03a9")
    names = ("foo", "Foo", "FOO", *twins)
    for name in names:
        one.path(name).write_text(f"{name!a}\n")
    one.path("Folder").mkdir()
    one.path("folder").mkdir()
    one.path("Folder/x").write_text("upper\n")
    one.path("folder/x").write_text("lower\n")
    assert set(pool.wait_equal()) == {*names, "Folder", "folder", "Folder/x", "folder/x"}
    for name in names:
        assert two.path(name).read_text() == f"{name!a}\n"
    two.path("FOO").unlink()
    two.path("Foo").rename(two.path("fOo"))
    two.path("Folder").rename(two.path("FOLDER"))
    tree = pool.wait_equal()
    assert {"foo", "fOo", "FOLDER", "FOLDER/x", "folder/x"} <= set(tree)
    assert not {"Foo", "FOO", "Folder"} & set(tree)
    assert one.path("fOo").read_text() == f"{'Foo'!a}\n"


def test_names_with_strange_characters(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Spaces and dots at either end, control characters, line ends and bidirectional marks travel byte for byte."""
    one, two = pair
    names = (
        " lead", "trail ", "dots...", "...", "..two", ". ", " ", ".hidden", "~", "a~", "#a#", "\x01\x7f", "\x1b[31mred",
        "cr\rlf\n", "\n", "\u202egpj.exe", "\ufeffbom", "zero\u200bwidth", "aux", "a:b", "nul.txt", "x" * 251 + ".txt",
        "\u6587" * 85,
    )  # fmt: skip
    for name in names:
        two.path(name).write_text(f"{name!a}\n")
    two.path(" folder ").mkdir()
    two.path(" folder /\t").write_text("tab\n")
    tree = pool.wait_equal()
    assert set(tree) == {*names, " folder ", " folder /\t"}
    assert one.path("\u202egpj.exe").read_text() == f"{chr(0x202E) + 'gpj.exe'!a}\n"


def test_names_like_our_own(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A file that a person calls like a conflict copy or like something of ours is a file like any other; a `.meerkat`
    further down belongs to another node, is reported and stays out."""
    one, two = pair
    names = ("x.conflict-3f9a12c4.txt", "x.txt", "stage", "trash", "index.db", "node.toml", ".meerkat~", ".meerkat2")
    for name in names:
        one.path(name).write_text(f"{name} of one\n")
    one.path("sub/stage").mkdir(parents=True)
    one.path("sub/stage/link.0123456789ab").write_text("not staged\n")
    one.path("sub/.meerkat").mkdir()
    one.path("sub/.meerkat/secret").write_text("another pool's key\n")
    one.path("sub/.MeerKat").write_text("would be ours elsewhere\n")
    pool.until("the last has come", lambda: two.path("sub/stage/link.0123456789ab").exists())
    pool.until("the clash is told", lambda: "sub/.MeerKat" in reported(pool, one))
    assert not two.path("sub/.meerkat").exists()
    assert not two.path("sub/.MeerKat").exists()
    one.path("sub/.MeerKat").unlink()
    shutil.rmtree(one.path("sub/.meerkat"))
    tree = pool.wait_equal()
    assert set(tree) == {*names, "sub", "sub/stage", "sub/stage/link.0123456789ab"}
    two.path("x.conflict-3f9a12c4.txt").write_text("edited by two\n")
    pool.wait_equal()
    assert one.path("x.conflict-3f9a12c4.txt").read_text() == "edited by two\n"
    nothing_waits(pool)


def test_long_names_and_deep_folders(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Paths near the limits travel; what lies beyond is reported by the node that has it and shared once it is moved
    up; a conflict in a name of full length leaves both versions."""
    one, two = pair
    deep = "/".join("d" for _ in range(PATH_DEPTH_MAX - 1))
    one.path(deep).mkdir(parents=True)
    one.path(f"{deep}/f").write_text("as deep as can be\n")
    wide = "/".join("w" * 250 for _ in range(15))  # 3764 bytes
    _make_deep(one.folder, [*("w" * 250 for _ in range(15)), "v" * 250], b"nearly a whole path\n")
    name = "n" * 255
    one.path(name).write_text("as agreed\n")
    tree = pool.wait_equal()
    assert {f"{deep}/f", f"{wide}/{'v' * 250}", name} <= set(tree)
    one.path(f"{deep}/below").mkdir()
    one.path(f"{deep}/below/f").write_text("too deep\n")
    _make_deep(one.folder, [*("w" * 250 for _ in range(15)), "u" * 250, "t" * 250], b"longer than a path can be\n")
    pool.until("both are told", lambda: len(reported(pool, one)) == 2)
    assert set(reported(pool, one).values()) == {"name_not_allowed"}
    one.path(f"{deep}/below/f").rename(one.path("up"))
    pool.until("moved up, it is shared", lambda: two.path("up").exists())
    shutil.rmtree(one.path("w" * 250))
    shutil.rmtree(one.path("d"))
    pool.wait_equal()
    nothing_waits(pool)
    apart(pool, one, two)
    one.path(name).write_text("one's\n")
    two.path(name).write_text("two's, longer\n")
    together(pool, one, two)
    kept = [entry for entry in one.folder.iterdir() if entry.name.startswith("nnn")]
    assert {entry.read_text() for entry in kept} == {"one's\n", "two's, longer\n"}


def _make_deep(top: Path, names: list[str], data: bytes) -> None:
    """A file at a path that may be longer than the kernel takes at once."""
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for name in names[:-1]:
        if name not in os.listdir(handle):
            os.mkdir(name, dir_fd=handle)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = below
    made = os.open(names[-1], os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=handle)
    os.write(made, data)
    os.close(made)
    os.close(handle)


def test_a_name_that_is_not_text_heals_when_renamed(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Names that are not UTF-8 are reported, stay where they are, hold up nothing, and are shared once renamed."""
    one, two = pair
    top = os.fsencode(one.folder)
    os.mkdir(top + b"/f\xfcr")
    with open(top + b"/f\xfcr/inner", "wb") as file:
        file.write(b"inside\n")
    with open(top + b"/na\xefve", "wb") as file:
        file.write(b"naive\n")
    pool.until("both are told", lambda: len(reported(pool, one)) == 2)
    assert set(reported(pool, one).values()) == {"name_not_allowed"}
    one.path("fine").write_text("goes on\n")
    pool.until("the other goes on", lambda: two.path("fine").exists())
    os.rename(top + b"/f\xfcr", top + "/für".encode())
    os.rename(top + b"/na\xefve", top + "/naïve".encode())
    assert set(pool.wait_equal()) == {"fine", "für", "für/inner", "naïve"}
    nothing_waits(pool)


# ---- kinds


def test_hard_links_are_files_of_their_own_and_both_are_seen(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Two names of one file travel as two files; what is written through one name is told of both."""
    one, two = pair
    one.path("a").write_text("first\n")
    os.link(one.path("a"), one.path("b"))
    one.path("below").mkdir()
    os.link(one.path("a"), one.path("below/c"))
    pool.wait_equal()
    with one.path("a").open("r+") as file:
        file.write("FIRST\n")
    tree = pool.wait_equal()
    assert {two.path(name).read_text() for name in ("a", "b", "below/c")} == {"FIRST\n"}
    assert len({tree[name].content for name in ("a", "b", "below/c")}) == 1
    two.path("b").write_text("of its own\n")
    pool.wait_equal()
    assert one.path("a").read_text() == "FIRST\n"
    one.path("a").unlink()
    pool.wait_equal()
    assert one.path("below/c").read_text() == "FIRST\n"


def test_a_sparse_file_stays_sparse(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A large file of almost nothing but holes costs neither the wire nor the other disk what it pretends to hold."""
    one, two = pair
    before = pool.status(two)["traffic"]["received_bytes"]
    made = pool.base / "sparse"
    with made.open("wb") as file:
        file.truncate(256 << 20)
        file.seek(128 << 20)
        file.write(b"in the middle of nothing")
    made.rename(one.path("sparse"))
    pool.wait_equal()
    seen = two.path("sparse").stat()
    assert seen.st_size == 256 << 20
    assert seen.st_blocks * 512 < 16 << 20
    assert pool.status(two)["traffic"]["received_bytes"] - before < 16 << 20


def test_special_files_are_reported_and_never_opened(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A pipe, a socket and, where one may be made, a device stay where they are; a file in their place is shared."""
    one, two = pair
    os.mkfifo(one.path("pipe"))
    os.mknod(one.path("socket"), stat.S_IFSOCK | 0o600)
    expected = {"pipe", "socket"}
    try:
        os.mknod(one.path("device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        expected.add("device")
    except PermissionError:
        pass
    pool.until("all are told", lambda: set(reported(pool, one)) == expected)
    two.path("pipe").write_text("a file where the other has a pipe\n")
    one.path("fine").write_text("fine\n")
    pool.until("the others go on", lambda: two.path("fine").exists())
    assert stat.S_ISFIFO(one.path("pipe").lstat().st_mode)
    for name in expected:
        one.path(name).unlink()
    assert set(pool.wait_equal()) == {"pipe", "fine"}
    nothing_waits(pool)


def test_links_in_circles_and_to_elsewhere(pool: Pool, pair: tuple[Node, Node], tmp_path: Path) -> None:
    """Links to themselves, to each other, to a folder above, to nothing and to outside are kept as links."""
    one, two = pair
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("not shared\n")
    targets = {"self": "self", "ping": "pong", "pong": "ping", "sub/up": "..", "sub/root": "/", "sub/none": "no/thing",
               "sub/out": str(tmp_path / "outside"), "sub/dots": "../../../../etc", "sub/slash": "x/"}  # fmt: skip
    one.path("sub").mkdir()
    for name, target in targets.items():
        one.path(name).symlink_to(target)
    assert set(pool.wait_equal()) == {*targets, "sub"}
    assert {name: os.readlink(two.path(name)) for name in targets} == targets
    two.path("sub/out").unlink()
    two.path("sub/out").mkdir()
    two.path("sub/out/mine").write_text("a folder now\n")
    pool.wait_equal()
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert one.path("sub/out/mine").read_text() == "a folder now\n"


FLIPS = ("file", "folder", "full folder", "link", "link to a folder")


def _become(path: Path, kind: str) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    match kind:
        case "file":
            path.write_text(f"a file: {path.name}\n")
        case "folder":
            path.mkdir()
        case "full folder":
            (path / "deep").mkdir(parents=True)
            (path / "deep/f").write_text(f"below {path.name}\n")
            (path / "g").write_text(f"in {path.name}\n")
        case "link":
            path.symlink_to("nowhere")
        case "link to a folder":
            path.symlink_to("target")


def test_kinds_become_each_other(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Every kind becomes every other kind, on a live pool, from either side."""
    one, two = pair
    one.path("target").mkdir()
    one.path("target/kept").write_text("behind a link\n")
    cases = [(old, new) for old in FLIPS for new in FLIPS if old != new]
    for old, new in cases:
        _become(one.path(f"{old} to {new}"), old)
    pool.wait_equal()
    for number, (old, new) in enumerate(cases):
        _become((one if number % 2 else two).path(f"{old} to {new}"), new)
    pool.wait_settled()
    tree = pool.wait_equal()
    kinds = {"file": "file", "folder": "folder", "full folder": "folder", "link": "link", "link to a folder": "link"}
    for old, new in cases:
        name = f"{old} to {new}"
        assert tree[name].kind == kinds[new], name
        assert (f"{name}/deep/f" in tree) == (new == "full folder"), name
    assert not [name for name in tree if ".conflict-" in name]
    assert two.path("target/kept").read_text() == "behind a link\n"
    assert os.listdir(two.path("target")) == ["kept"]


def test_kinds_become_others_while_the_old_is_edited(pool: Pool, pair: tuple[Node, Node]) -> None:
    """One turns a thing into another kind while the other, apart, edits the old thing: the edit is kept, once."""
    one, two = pair
    one.path("target").mkdir()
    cases = [(old, new) for old in FLIPS for new in FLIPS if old != new]
    for old, new in cases:
        _become(one.path(f"{old} to {new}"), old)
    pool.wait_equal()
    apart(pool, one, two)
    edits = set()
    for old, new in cases:
        name = f"{old} to {new}"
        _become(one.path(name), new)
        edit = f"two's edit of {name}\n"
        edited = two.path(name)
        match old:
            case "file":
                edited.write_text(edit)
            case "folder":
                (edited / "new").write_text(edit)
            case "full folder":
                (edited / "deep/f").write_text(edit)
            case "link" | "link to a folder":
                edited.unlink()
                edited.symlink_to(edit.strip())
        edits.add(edit.strip())
    together(pool, one, two)
    for node in pair:
        kept = []
        for folder, folders, files in os.walk(node.folder):
            if ".meerkat" in folders:
                folders.remove(".meerkat")
            for name in (*folders, *files):
                at = os.path.join(folder, name)
                if os.path.islink(at):
                    kept.append(os.readlink(at))
                elif os.path.isfile(at):
                    kept.append(Path(at).read_text().strip())
        assert edits <= set(kept), sorted(edits - set(kept))
        assert sum(each in edits for each in kept) == len(edits)
    assert os.listdir(two.path("target")) == []


def test_a_mount_hides_what_it_covers_and_deletes_nothing(pool: Pool, pair: tuple[Node, Node], tmp_path: Path) -> None:
    """Something mounted over a folder, from another disk or the same one, is reported and not shared; what it covers is
    not told as deleted, and is there as before once it is unmounted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    one, two = pair
    bound = tmp_path / "bound"
    bound.mkdir()
    (bound / "elsewhere").write_text("not of this folder\n")
    for how in (("-t", "tmpfs", "-o", "size=1m", "meerkat-test"), ("--bind", str(bound))):
        at = one.path("folder/mounted")
        at.mkdir(parents=True, exist_ok=True)
        (at / "covered").write_text("covered\n")
        pool.wait_equal()
        done = subprocess.run(["mount", *how, str(at)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
        try:
            (at / "only here").write_text("on the mount\n")
            assert pool.cli("scan", one).exit == 0
            pool.until("it is told", lambda: reported(pool, one).get("folder/mounted") == "name_not_allowed")
            one.path("folder/beside").write_text(f"{how[0]}\n")
            pool.until("the rest goes on", lambda how=how: _text(two, "folder/beside") == f"{how[0]}\n")  # type: ignore[misc]
            assert set(os.listdir(two.path("folder/mounted"))) == {"covered"}
        finally:
            subprocess.run(["umount", str(at)], check=True)
        assert pool.cli("scan", one).exit == 0
        nothing_waits(pool)
        assert set(pool.wait_equal()) == {"folder", "folder/mounted", "folder/mounted/covered", "folder/beside"}


def _text(node: Node, name: str) -> str:
    try:
        return node.path(name).read_text()
    except FileNotFoundError:
        return ""


# ---- rules of ignoring that change


def test_ignoring_and_sharing_again(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A file that is ignored after it was shared stays on every node; when it is shared again after both have edited
    it, both edits are kept; a folder deleted elsewhere keeps what is ignored in it, and says so."""
    one, two = pair
    one.path("f.log").write_text("as shared\n")
    one.path("folder").mkdir()
    one.path("folder/g.log").write_text("in a folder\n")
    one.path("folder/h").write_text("shared\n")
    pool.wait_equal()
    one.path(".meerkatignore").write_text("*.log\n")
    pool.wait_settled()
    one.path("f.log").write_text("one's\n")
    two.path("f.log").write_text("two's, longer\n")
    one.path("last").write_text("both have looked\n")
    pool.until("the last has come", lambda: _text(two, "last"))
    assert (_text(one, "f.log"), _text(two, "f.log")) == ("one's\n", "two's, longer\n")
    shutil.rmtree(one.path("folder"))
    pool.until("the shared part went", lambda: not two.path("folder/h").exists())
    assert _text(two, "folder/g.log") == "in a folder\n"
    pool.until("it is told why", lambda: reported(pool, two).get("folder") == "ignored_there")
    one.path(".meerkatignore").unlink()
    pool.wait_settled()
    tree = pool.wait_equal()
    kept = {_text(one, name) for name in tree if name.startswith("f.")}
    assert kept == {"one's\n", "two's, longer\n"}


# ---- moves


def test_swaps_chains_and_quick_returns(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Swapped names, chains of renames, renames over something and a file deleted and made again at once end exactly
    as they ended, and what was overwritten lies in the other's trash."""
    one, two = pair
    for name in ("a", "b", "f", "g", "over", "under", "again"):
        one.path(name).write_text(f"{name}\n")
    for name in ("left", "right"):
        one.path(name).mkdir()
        for number in range(5):
            one.path(f"{name}/{number}").write_text(f"{name} {number}\n")
    pool.wait_equal()
    os.rename(one.path("a"), one.path("tmp"))
    os.rename(one.path("b"), one.path("a"))
    os.rename(one.path("tmp"), one.path("b"))
    os.rename(one.path("g"), one.path("h"))
    os.rename(one.path("f"), one.path("g"))
    os.replace(one.path("over"), one.path("under"))
    os.unlink(one.path("again"))
    one.path("again").write_text("again, another\n")
    os.rename(one.path("left"), one.path("swap"))
    os.rename(one.path("right"), one.path("left"))
    os.rename(one.path("swap"), one.path("right"))
    tree = pool.wait_equal()
    assert {name for name in tree if "/" not in name} == {"a", "b", "g", "h", "under", "again", "left", "right"}
    shown = {name: two.path(name).read_text() for name in ("a", "b", "g", "h", "under", "again", "left/3", "right/3")}
    assert shown == {
        "a": "b\n", "b": "a\n", "g": "f\n", "h": "g\n", "under": "over\n", "again": "again, another\n",
        "left/3": "right 3\n", "right/3": "left 3\n",
    }  # fmt: skip
    kept = [path.read_text() for path in (two.folder / ".meerkat/trash").rglob("*") if path.is_file()]
    assert "under\n" in kept
    assert pool.ask("conflicts", one) == []


def test_two_folders_moved_into_each_other(pool: Pool, pair: tuple[Node, Node]) -> None:
    """One moves x into y while the other moves y into x: no circle, no file lost, and both agree."""
    one, two = pair
    for name in ("x", "y"):
        one.path(f"{name}/in").mkdir(parents=True)
        for number in range(5):
            one.path(f"{name}/in/{number}").write_text(f"{name} {number}\n")
    pool.wait_equal()
    apart(pool, one, two)
    os.rename(one.path("x"), one.path("y/x"))
    os.rename(two.path("y"), two.path("x/y"))
    together(pool, one, two)
    for node in pair:
        texts = {path.read_text() for path in node.folder.rglob("*") if path.is_file() and ".meerkat" not in path.parts}
        assert {f"{name} {number}\n" for name in "xy" for number in range(5)} <= texts
    assert pool.ask("conflicts", one) == []


def test_save_dances(pool: Pool, pair: tuple[Node, Node]) -> None:
    """Truncate and write, a nameless file linked into place, a backup by hard link, a rename over: all are one save."""
    one, two = pair
    one.path("text").write_text("version 0\n")
    pool.wait_equal()
    for number, dance in enumerate(("truncate", "nameless", "hard-linked backup", "over", "twice"), 1):
        text = f"version {number}, by {dance}\n"
        at = one.path("text")
        match dance:
            case "truncate":
                with at.open("r+") as file:
                    file.truncate(0)
                    file.flush()
                    file.write(text)
            case "nameless":
                try:
                    handle = os.open(one.folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
                except OSError:
                    at.write_text(text)
                    continue
                os.write(handle, text.encode())
                at.unlink()
                os.link(f"/proc/self/fd/{handle}", at, src_dir_fd=handle, follow_symlinks=True)  # linkat, not link
                os.close(handle)
            case "hard-linked backup":
                os.link(at, one.path("text~"))
                one.path(".text.new").write_text(text)
                os.replace(one.path(".text.new"), at)
                one.path("text~").unlink()
            case "over":
                one.path("#text#").write_text(text)
                os.replace(one.path("#text#"), at)
            case "twice":
                at.write_text("half a save\n")
                at.write_text(text)
        assert set(pool.wait_equal()) == {"text"}
        assert two.path("text").read_text() == text
    assert pool.ask("conflicts", one) == []


def test_a_git_work_tree_stays_sound(pool: Pool, pair: tuple[Node, Node]) -> None:
    """A repository with its objects, locks and packs comes over whole, and is worked on from either side in turn."""
    one, two = pair

    def git(node: Node, *words: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", *words]
        at = node.path("work")
        return subprocess.run(command, cwd=at, check=True, capture_output=True, text=True).stdout

    one.path("work").mkdir()
    git(one, "init", "-q")
    for number in range(20):
        one.path(f"work/f{number}").write_text(f"{number}\n" * 10)
    git(one, "add", ".")
    git(one, "commit", "-qm", "first")
    for number in range(3):
        one.path("work/f0").write_text(f"commit {number}\n")
        git(one, "commit", "-qam", f"commit {number}")
    pool.wait_equal()
    assert git(two, "rev-parse", "HEAD") == git(one, "rev-parse", "HEAD")
    git(two, "fsck", "--strict")
    two.path("work/f1").write_text("by two\n")
    git(two, "commit", "-qam", "by two")
    git(two, "gc", "-q")
    pool.wait_equal()
    git(one, "fsck", "--strict")
    assert git(one, "log", "--format=%s", "-1") == "by two\n"
    assert pool.ask("conflicts", one) == []
