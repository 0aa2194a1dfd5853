"""Commands as this program wants them."""

import click
import pytest

from meerkat.cli.group import DefaultGroup, Lazy, LazyGroup, command

seen: list[tuple[str, object]] = []


@command("new")
@click.argument("folder", required=False)
@click.option("--json", "as_json", is_flag=True)
@click.option("--uses", type=int, default=1)
def new(folder: str | None, as_json: bool, uses: int) -> None:
    """Make one."""
    seen.append(("new", (folder, as_json, uses)))


@command("list")
@click.option("--json", "as_json", is_flag=True)
def list_them(as_json: bool) -> None:
    """List them."""
    seen.append(("list", as_json))


def tool() -> DefaultGroup:
    group = DefaultGroup("tool", default=new, help="Make one.")
    group.add_command(list_them)
    return group


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ("new", (None, False, 1))),
        (["dir"], ("new", ("dir", False, 1))),
        (["--uses", "3", "dir"], ("new", ("dir", False, 3))),
        (["--json"], ("new", (None, True, 1))),
        (["list"], ("list", False)),
        (["--json", "list"], ("list", True)),
        (["list", "--json"], ("list", True)),
        (["./list"], ("new", ("./list", False, 1))),
    ],
)
def test_what_names_no_subcommand_goes_to_the_default(args: list[str], expected: tuple[str, object]) -> None:
    """`invite`, `invite DIR` and `invite list` live together, with flags on either side of the word."""
    seen.clear()
    tool().main(args, standalone_mode=False)
    assert seen == [expected]


def test_an_option_comes_from_its_variable_in_any_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named after the option alone, not after the commands above it; a flag beats it."""
    monkeypatch.setenv("MEERKAT_USES", "7")
    seen.clear()
    tool().main([], standalone_mode=False)
    tool().main(["--uses", "2"], standalone_mode=False)
    assert seen == [("new", (None, False, 7)), ("new", (None, False, 2))]


def test_help_shows_the_default_and_its_siblings(capsys: pytest.CaptureFixture[str]) -> None:
    """One page tells the options of the plain form and the names of the others."""
    tool().main(["--help"], prog_name="tool", standalone_mode=False)
    out = capsys.readouterr().out
    assert "--uses" in out
    assert "List them." in out
    assert "Usage: tool [OPTIONS] [FOLDER]" in out


def test_help_of_a_subcommand_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """`tool list --help` speaks of list."""
    tool().main(["list", "--help"], prog_name="tool", standalone_mode=False)
    assert "--uses" not in capsys.readouterr().out


def test_a_lazy_group_imports_only_what_is_asked_for() -> None:
    """A command that cannot be imported harms nobody until it is called."""
    group = LazyGroup(
        "tool",
        lazy={"good": Lazy("Do", "meerkat.cli.about:version", "Good."), "bad": Lazy("Do", "no.such:thing", "Bad.")},
    )
    context = click.Context(group)
    assert group.get_command(context, "good") is not None
    assert group.get_command(context, "other") is None
    assert "Bad." in group.get_help(context)
    with pytest.raises(ModuleNotFoundError):
        group.get_command(context, "bad")
