"""Ignoring: git's rules, decided for the path itself; git is the judge where it is installed."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.core.ignore import IGNORE_FILE, Ignore
from meerkat.model.limits import IGNORE_LINE_CHARS_MAX, IGNORE_LINES_MAX
from meerkat.model.path import RelPath


def ignored(path: str, *lines: str, local: tuple[str, ...] = ()) -> bool:
    """Ask for a path; a trailing slash makes it a folder."""
    return Ignore(lines, local).ignored(RelPath(path.rstrip("/")), path.endswith("/"))


@pytest.mark.parametrize(
    ("lines", "taken", "left"),
    [
        ([], [], ["a", "a/", "a/b"]),
        (["", "   ", "# note"], [], ["a", "# note"]),
        (["*.log"], ["x.log", "a/x.log", "x.log/", "x.log/inside"], ["x.logs", "log"]),
        (["/a"], ["a", "a/", "a/b"], ["b/a"]),
        (["a/b"], ["a/b", "a/b/c"], ["x/a/b"]),
        (["build/"], ["build/", "build/x", "a/build/", "a/build/x/y"], ["build", "a/build"]),
        (["a/**"], ["a/b", "a/b/c"], ["a", "a/", "b/a/c"]),
        (["**/b"], ["b", "a/b", "a/c/b"], ["a/bb"]),
        (["a/**/b"], ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "b"]),
        (["a?c", "[!0-9]z"], ["abc", "az"], ["ac", "1z", "a/c"]),
        (["\\#x", "\\!y", "z\\ "], ["#x", "!y", "z "], ["x", "y", "z"]),
        (["*", "!*/", "!*.txt"], ["x.jpg", "d/x.jpg"], ["d/", "d/x.txt", "x.txt", "d/e/x.txt"]),
        (["/*", "!/keep"], ["other", "other/x"], ["keep/", "keep/x"]),
        (["a/*", "!a/keep"], ["a/x", "a/x/keep"], ["a/", "a/keep", "a/keep/x"]),
        (["a", "!a/b"], ["a/", "a/b"], []),
        (["*.log", "!keep.log", "keep.log"], ["keep.log"], []),
        (["ÄÖ*", "?é"], ["ÄÖ1", "aé"], ["äö1"]),
    ],
)
def test_rules(lines: list[str], taken: list[str], left: list[str]) -> None:
    """The last rule that matches the path itself decides, and an ignored folder takes all that is in it."""
    assert [path for path in taken + left if ignored(path, *lines)] == taken


def test_own_rules_come_last() -> None:
    """A node may bring back for itself what the shared rules leave out, and leave out more."""
    assert not ignored("x.log", "*.log", local=("!x.log",))
    assert ignored("x.txt", "*.log", local=("*.txt\r\n",))


def test_the_rules_themselves_are_always_shared() -> None:
    """Neither the ignore file nor the root can be ignored; a file of that name elsewhere is as any other."""
    assert not ignored(IGNORE_FILE, "*")
    assert not ignored("", "*")
    assert ignored("a/.meerkatignore", "*")


@pytest.mark.parametrize(
    "line", ["a[b", "[[:nonsense:]]", "a\\", "[a\\", "a//b", "/", "//", "x" * (IGNORE_LINE_CHARS_MAX + 1)]
)
def test_a_bad_rule_is_told_and_skipped(line: str) -> None:
    """The other rules hold all the same."""
    rules = Ignore(["*.log", line], ["*.txt"])
    assert len(rules.problems) == 1
    assert "shared rules, line 2" in rules.problems[0]
    assert rules.ignored(RelPath("x.log"), False)
    assert rules.ignored(RelPath("x.txt"), False)


def test_the_number_of_rules_is_bounded() -> None:
    """Lines beyond the limit are told and left out."""
    rules = Ignore(["# note"] * IGNORE_LINES_MAX + ["late"], [])
    assert not rules.ignored(RelPath("late"), False)
    assert len(rules.problems) == 1


@given(
    st.lists(st.text(alphabet="ab*?[]!^-\\/# .:é\0\n", max_size=12), max_size=4),
    st.text("ab/.é", min_size=1, max_size=8),
)
def test_no_rule_raises(lines: list[str], path: str) -> None:
    """Whatever the lines hold, there is an answer, and each line that is no rule is told once."""
    rules = Ignore(lines, lines)
    rules.ignored(RelPath(path), True)
    assert len(rules.problems) <= 2 * len(lines)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["*a" * 30 + "b", "**/a*/" * 30 + "b", "a/" + "**/*/" * 60 + "c", "*" * 500 + "b"])
def test_a_hostile_rule_takes_no_exponential_time(line: str) -> None:
    """Rules come from other members; the test's time limit fails where matching explodes."""
    rules = Ignore([line], [])
    assert not rules.ignored(RelPath("/".join(["a" * 250] * 16)), False)
    assert not rules.ignored(RelPath("/".join(["a"] * 120)), False)


ATOMS = [
    "a",
    "b",
    "build",
    "keep",
    "*.log",
    "*.txt",
    "*",
    "**",
    "a*",
    "?",
    "[ab]",
    "x.*",
    "\\!b",
    "\\#h",
    "[!a]",
    "s\\ ",
    "[a-k]*",
    "*a*",
    "**b",
    "k[]-]*",
    "[[:alpha:]]",
    "[^[:punct:]]*",
    "a**b",
    "*.*",
]
NAMES = ["a", "b", "build", "x.log", "x.txt", "keep", "s ", "#h", "!b", "k]"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge of this test")
def test_git_says_the_same(tmp_path: Path) -> None:
    """Random rules over random trees: what git leaves out is what we leave out."""
    git = ["git", "-C", str(tmp_path), "-c", "core.excludesFile=/dev/null"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    rng = random.Random(20)
    for _ in range(60):
        lines = []
        for _ in range(rng.randint(1, 5)):
            body = "/".join(rng.choice(ATOMS) for _ in range(rng.randint(1, 3)))
            lines.append(rng.choice(["", "", "!"]) + rng.choice(["", "", "/"]) + body + rng.choice(["", "", "/"]))
        work = tmp_path / "w"
        work.mkdir()
        (tmp_path / "w" / ".gitignore").write_text("\n".join(lines) + "\n")
        asked = {}
        for _ in range(20):
            path = "/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 4)))
            (work / path).mkdir(parents=True, exist_ok=True)
            asked[path] = True
            asked[f"{path}/file.x"] = False
        query = "\0".join(f"w/{path}" for path in asked) + "\0"
        answer = subprocess.run(
            [*git, "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"],
            input=query.encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        fields = answer.stdout.decode().split("\0")
        theirs = {
            path.removeprefix("w/")
            for rule, path in zip(fields[2::4], fields[3::4], strict=False)
            if rule and not rule.startswith("!")
        }
        rules = Ignore(lines, [])
        ours = {path for path, is_folder in asked.items() if rules.ignored(RelPath(path), is_folder)}
        assert ours == theirs, lines
        shutil.rmtree(work)
