"""Every way a command can end: an exit code, a few words, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from meerkat.cli.edge import guard, wants_json
from meerkat.model.fault import Exit, Fault


def raising(error: BaseException) -> "Command":
    return Command(error)


class Command:
    """A command that ends with an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, args: list[str]) -> object:
        raise self.error


def test_a_fault_is_told_in_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What, why and the next step, each on its own line, and the fault's own exit code."""
    fault = Fault("used", "this invite was used", cause="by nas", hint="meerkat invite", exit_code=Exit.NOT_ALLOWED)
    assert guard(raising(fault), []) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["error: this invite was used", "cause: by nas", "hint: meerkat invite"]


def test_a_fault_is_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the error is one object on stderr, without empty fields."""
    assert guard(raising(Fault("gone", "it is gone", exit_code=Exit.NOT_FOUND)), ["--json"]) == 4
    assert json.loads(capsys.readouterr().err) == {"error": {"code": "gone", "message": "it is gone"}}


def test_a_peers_words_cannot_draw_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters inside a message are spelt out."""
    guard(raising(Fault("x", "bad \x1b[2J name")), [])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130_and_silent(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C needs no explanation."""
    assert guard(raising(error), []) == 130
    assert capsys.readouterr().err == ""


def test_a_bug_is_one_line_and_the_traceback_goes_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person is told where the details are; the log holds them and is private."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert guard(raising(KeyError("x")), []) == 1
    shown = capsys.readouterr().err
    log = tmp_path / "meerkat" / "crash.log"
    assert "Traceback" not in shown
    assert str(log) in shown
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_crash_log_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full log is put aside once; older ones are forgotten."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("meerkat.cli.edge.LOG_BYTES_MAX", 10)
    for _ in range(3):
        guard(raising(KeyError("x")), [])
    assert {path.name for path in (tmp_path / "meerkat").iterdir()} == {"crash.log", "crash.log.1"}


def test_a_bug_is_told_though_no_log_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state folder that cannot be made does not hide the error."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert guard(raising(KeyError("x")), []) == 1
    assert "KeyError('x')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "variable", "wanted"),
    [
        (["status", "--json"], "", True),
        (["status"], "1", True),
        (["status"], "", False),
        (["wait", "--", "--json"], "", False),
    ],
)
def test_json_is_wanted_before_anything_is_parsed(args: list[str], variable: str, wanted: bool) -> None:
    """The flag or its variable decide the form of errors; a path called --json does not."""
    assert wants_json(args, {"MEERKAT_JSON": variable}) is wanted


def test_a_closed_pipe_is_no_noise() -> None:
    """`meerkat --help | true` ends without a word: whoever reads has seen enough."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "meerkat", "--help"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
