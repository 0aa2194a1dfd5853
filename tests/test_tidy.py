"""The rules of the house that a machine can check: each module has its test, nothing grows out of sight, the walls
stand, and what the documents tell people to type exists."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from meerkat.cli.group import DefaultGroup
from meerkat.cli.main import root

HOUSE = Path(__file__).resolve().parent.parent
SOURCE = HOUSE / "src" / "meerkat"
ROOMS = ("model", "core", "disk", "store", "wire", "node", "cli")
MODULE_LINES_MAX = 480
FUNCTION_LINES_MAX = 100

WITHOUT_OWN_TEST: dict[str, str] = {
    "model/config.py": "fields only; tests/cli/test_start.py fills them",
    "model/fault.py": "fields and their JSON; tests/cli/test_edge.py shows them",
    "model/frame.py": "fields only; tests/wire/test_convert*.py send each of them",
    "model/ids.py": "names of types and one form; tests/model/test_version.py and the converters hold it",
    "model/index.py": "fields only; tests/store/test_index.py answers with them",
    "model/limits.py": "numbers",
    "model/member.py": "fields only",
    "model/problem.py": "fields and a closed list of words",
    "core/fetch_words.py": "the words of core/fetch.py, spoken in its test",
    "disk/inotify.py": "one of the two watches that tests/disk/test_watch.py holds to the same promise",
    "disk/notify.py": "the other one",
    "disk/touch.py": "the words of both, spoken in their test",
    "disk/trouble.py": "tests/disk/test_stage.py, test_commit.py and test_scan.py meet the real errors",
    "store/codec.py": "rows to nouns; every test of the index goes through it",
    "store/connection.py": "tests/store/test_migration.py and test_crash.py damage what it opens",
    "store/errors.py": "names of errors",
    "store/snapshot.py": "tests/store/test_index.py and test_transaction.py ask it everything",
    "node/place_words.py": "the words of node/place.py, spoken in its test",
    "node/ports.py": "shapes only; mypy holds the rooms to them",
    "node/recall.py": "verbs of the control socket; tests/e2e/test_recall.py asks them all",
    "node/surroundings.py": "the real network, watch and doors; tests/world/ puts others in their place",
    "cli/demo_steps.py": "tests/cli/test_demo.py takes every step with real nodes",
}
"""Modules without a test file of their name, each with the reason."""

FOREIGN = tuple(
    "".join(parts)
    for parts in (
        ("pypi", ".org"),
        ("python", "hosted"),
        ("npm", "js."),
        ("deb.", "debian"),
        ("file:", "///"),
        ("/wo", "rk/"),
        ("/op", "t/"),
        ("/ro", "ot/"),
        ("/tmp", "/v/"),
    )
)
"""What ties a file to one machine or one registry. Spelt in pieces, so that this file is not its own finding."""
TEXT_ENDINGS = (".py", ".pyi", ".md", ".toml", ".txt", ".proto", ".sql", ".yml", ".yaml", ".sh", ".html", ".js", ".css")


def modules() -> Iterator[Path]:
    """Every module that a person wrote."""
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            if path.name != "__init__.py" and "_pb2" not in path.name:
                yield path


def named(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_each_module_has_its_test() -> None:
    """`room/verb.py` is tested by `tests/room/test_verb.py`; whoever looks for one finds the other."""
    missing = [
        named(path)
        for path in modules()
        if not (HOUSE / "tests" / path.relative_to(SOURCE).parent / f"test_{path.name}").exists()
        and named(path) not in WITHOUT_OWN_TEST
    ]
    assert missing == []


def test_the_list_of_exceptions_is_not_stale() -> None:
    """An exception for a module that is gone, or that has its test by now, is removed."""
    known = {named(path) for path in modules()}
    tested = {
        name for name in WITHOUT_OWN_TEST if (HOUSE / "tests" / Path(name).parent / f"test_{Path(name).name}").exists()
    }
    assert set(WITHOUT_OWN_TEST) - known == set()
    assert tested == set()


def test_no_module_is_too_long() -> None:
    """A long module asks to be divided along its meaning."""
    lengths = {named(path): len(path.read_text().splitlines()) for path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    """A function fits on a screen, or nearly."""
    long = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{named(path)}:{node.name}"] = lines
    assert long == {}


def test_each_module_says_why_it_exists() -> None:
    """A file opens with a docstring."""
    assert [named(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_each_test_says_what_is_expected() -> None:
    """Each test has a sentence that a stranger understands."""
    silent = []
    for path in sorted((HOUSE / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.name}:{node.name}")
    assert silent == []


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the repository that a person wrote, lock files included."""
    tops = [path for path in HOUSE.iterdir() if not path.name.startswith(".") or path.name == ".ci"]
    for top in sorted(tops):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            plain = path.suffix in TEXT_ENDINGS or path.name in ("Makefile", "run", "LICENSE")
            if path.is_file() and plain and not {"__pycache__", "build", "dist"} & set(path.parts):
                yield path, path.read_text("utf-8")


def test_nothing_ties_the_repository_to_one_machine() -> None:
    """No address of a registry and no path of somebody's machine stands in any file."""
    found = [f"{path.relative_to(HOUSE)}: {word}" for path, text in texts() for word in FOREIGN if word in text]
    assert found == []


def test_every_pin_has_its_hashes() -> None:
    """Each requirement is one exact version, followed by at least one hash."""
    lines = [line for line in (HOUSE / "requirements-dev.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [index for index, line in enumerate(lines) if not line.startswith(" ")]
    assert len(pins) > 20
    for index in pins:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", lines[index]), lines[index]
        assert lines[index + 1].startswith("    --hash=sha256:"), lines[index]


def test_the_walls_stand() -> None:
    """No room imports what it must not see."""
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(tool), "--no-cache"], cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def typed_commands(document: str) -> list[str]:
    """The `meerkat …` lines of a document's code blocks, without prompt and comment."""
    blocks = re.findall(r"^```(?:console|sh|bash)\n(.*?)^```", (HOUSE / document).read_text(), re.M | re.S)
    lines = [re.sub(r"^\w*\$ ", "", line).split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("meerkat ")]


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md", "docs/security.md"])
def test_commands_in_the_documents_exist(document: str) -> None:
    """Whatever a document tells people to type, the program knows: command, subcommand and every option."""
    context = click.Context(root, info_name="meerkat")
    for line in typed_commands(document):
        words = shlex.split(re.split(r"\s(?:&&|\||>)\s", line)[0])[1:]
        command = root.get_command(context, words[0]) if not words[0].startswith("-") else root
        assert command is not None, line
        if isinstance(command, DefaultGroup):
            named_sub = len(words) > 1 and words[1] in command.commands
            command = command.commands[words[1]] if named_sub else command.default
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        used = {word.split("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
        assert used <= known, line


def test_the_readme_shows_commands() -> None:
    """The check above looks at something."""
    assert len(typed_commands("README.md")) >= 3


def test_the_tests_that_are_named_exist() -> None:
    """Whoever wants to see how a promise or a defence is held finds the test under the name that the page gives."""
    for page in ("docs/security.md", "ARCHITECTURE.md"):
        text = (HOUSE / page).read_text("utf-8")
        named = set(re.findall(r"`((?:model|core|disk|store|wire|node|cli|fuzz|e2e)/test_\w+)`", text))
        assert len(named) > 10
        assert [name for name in sorted(named) if not (HOUSE / "tests" / f"{name}.py").is_file()] == []
