"""What `up` and `join` make of their words."""

from pathlib import Path

import click
import pytest

from meerkat.cli.main import run
from meerkat.cli.start import split_code
from meerkat.model.config import Settings

CODE = "K7MQ4T" * 10


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ((CODE,), "", (CODE, None)),
        ((CODE, "dir"), "", (CODE, "dir")),
        (("-",), "", ("-", None)),
        ((), "ENV", ("ENV", None)),
        (("dir",), "ENV", ("ENV", "dir")),
        (("-",), "ENV", ("-", None)),
        ((CODE,), "ENV", (CODE, None)),
        ((CODE, "dir"), "ENV", (CODE, "dir")),
        (("/some/where/" + CODE,), "ENV", ("ENV", "/some/where/" + CODE)),
    ],
)
def test_code_and_folder_are_told_apart(
    words: tuple[str, ...], environment: str, expected: tuple[str, str | None]
) -> None:
    """A code on the command line beats the variable; beside the variable one word is the folder unless it is a code."""
    assert split_code(words, environment) == expected


def test_a_folder_that_looks_like_a_code_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exists as a folder is not taken for a code while the variable gives one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / CODE).mkdir()
    assert split_code((CODE,), "ENV") == ("ENV", CODE)


def test_no_code_at_all_is_a_usage_error() -> None:
    """Joining without an invite cannot work and says so before anything starts."""
    with pytest.raises(click.UsageError, match="code is missing"):
        split_code((), "")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which a node would be started."""
    seen: list[Settings] = []

    def keep(settings: Settings, flags: dict[str, object]) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr("meerkat.cli.start._start", keep)
    return seen


def test_flags_become_settings(started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything said on the command line reaches the engine; what was not said stays unsaid."""
    monkeypatch.chdir(tmp_path)
    assert run(["up", "x", "--listen", "127.0.0.1:0", "--advertise", "a:1", "--advertise", "b:2", "--web", "off"]) == 0
    assert started == [
        Settings(directory=str(tmp_path / "x"), listen="127.0.0.1:0", advertise=("a:1", "b:2"), web="off")
    ]


def test_variables_become_settings(started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option can come from the environment, and a flag beats it."""
    monkeypatch.setenv("MEERKAT_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("MEERKAT_NAME", "env")
    monkeypatch.setenv("MEERKAT_ADVERTISE", "a:1 b:2")
    monkeypatch.setenv("MEERKAT_DIR", str(tmp_path))
    monkeypatch.setenv("MEERKAT_RESCAN_INTERVAL", "90s")
    assert run(["up", "--name", "flag"]) == 0
    assert started == [
        Settings(
            directory=str(tmp_path),
            listen="127.0.0.1:1",
            name="flag",
            advertise=("a:1", "b:2"),
            rescan_interval_s=90.0,
        )
    ]


def test_join_takes_the_current_folder(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder the pool is joined here, never in a folder further up."""
    (tmp_path / ".meerkat").mkdir()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("MEERKAT_INVITE", "ENV")
    assert run(["join", "--merge"]) == 0
    assert started == [Settings(directory=str(tmp_path / "sub"), invite="ENV", merge=True)]
