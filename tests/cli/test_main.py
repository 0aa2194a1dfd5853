"""The way into each command: quick, complete, and honest about its words."""

import json
import subprocess
import sys

import click
import pytest

from meerkat.cli.group import Command, DefaultGroup
from meerkat.cli.main import COMMANDS, root, run

HEAVY = ("grpc", "rich", "google", "blake3", "cryptography", "asyncio", "segno", "sqlite3")
ROOMS = ("meerkat.node", "meerkat.wire", "meerkat.store", "meerkat.disk", "meerkat.core")


def loaded_by(*args: str, environment: dict[str, str] | None = None) -> set[str]:
    """The modules that one run of the command loads, in a process of its own."""
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['meerkat', *{list(args)!r}]\n"
        "from meerkat.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "args", [("--help",), ("version",), ("--version",), ("up", "--help"), ("completion", "zsh")], ids=" ".join
)
def test_help_and_version_load_nothing_heavy(args: tuple[str, ...]) -> None:
    """Showing help, versions or a completion script loads neither gRPC nor rich nor any room of the engine."""
    modules = loaded_by(*args)
    assert "click" in modules
    assert not [name for name in modules if name in HEAVY or name.startswith(ROOMS)]


def test_completing_a_word_loads_nothing_heavy() -> None:
    """The shell asks at every Tab, so completing an option must be as quick as the help."""
    environment = {"_MEERKAT_COMPLETE": "zsh_complete", "COMP_WORDS": "meerkat up --li", "COMP_CWORD": "2"}
    modules = loaded_by(environment=environment)
    assert "meerkat.cli.start" in modules
    assert not [name for name in modules if name in HEAVY or name.startswith(ROOMS)]


def test_completion_knows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """The overview's names are what the shell offers."""
    context = click.Context(root, info_name="meerkat")
    assert [item.value for item in root.shell_complete(context, "st")] == ["status"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_says_what_the_overview_says(name: str) -> None:
    """The overview is written apart from the commands; they must agree, and each must be importable."""
    context = click.Context(root, info_name="meerkat")
    command = root.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str(limit=200).rstrip(".") == COMMANDS[name].help.rstrip(".")


def every_command() -> list[click.Command]:
    context = click.Context(root, info_name="meerkat")
    found: list[click.Command] = []
    for name in COMMANDS:
        command = root.get_command(context, name)
        if isinstance(command, DefaultGroup):
            found += [command.default, *command.commands.values()]
        elif command is not None:
            found.append(command)
    return found


def test_every_option_has_its_variable() -> None:
    """Each option of each command can be given as MEERKAT_OPTION, whatever the command is called."""
    for command in every_command():
        assert isinstance(command, Command)
        assert command.context_settings["auto_envvar_prefix"] == "MEERKAT"


def test_every_command_that_prints_data_can_print_json() -> None:
    """Programs can rely on --json everywhere but at the completion script."""
    without = [
        command.name
        for command in every_command()
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert without == ["bench", "completion"], "the bench reads its words, --json among them, itself"


def test_the_overview_has_sections(capsys: pytest.CaptureFixture[str]) -> None:
    """Help groups the commands by what a person wants to do, and shows the two commands of a first run."""
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for section in ("Set up:", "See:", "Act:", "Recover:", "Run:", "Configure:"):
        assert section in out
    assert "meerkat join CODE" in out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["statsu"], "did you mean 'status'?"),
        (["status", "--jsno"], "did you mean"),
        (["up", "--listen", "nas"], "is not HOST:PORT"),
        (["wait", "--timeout", "soon"], "write 90s"),
        (["join"], "code is missing"),
        (["join", "a", "b", "c"], "got 3 arguments"),
    ],
)
def test_usage_errors_are_one_line_and_a_hint(
    args: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong word ends with 2, says what is wrong and where help is."""
    monkeypatch.delenv("MEERKAT_INVITE", raising=False)
    assert run(args) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first.startswith("error: ")
    assert expected.lower() in first.lower()
    assert second.startswith("hint: meerkat")


def test_usage_errors_are_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json even a mistake in the words is one JSON object on stderr."""
    assert run(["status", "--json", "--wrong"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "usage"
    assert "--wrong" in error["message"]


def test_the_bare_command_shows_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command nothing was done, which a script must notice."""
    assert run([]) == 2
    assert "meerkat up ~/Shared" in capsys.readouterr().err
