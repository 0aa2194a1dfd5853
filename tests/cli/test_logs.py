"""Reading a node's log from its folder."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meerkat.cli.logs import log_line, log_path, read_lines
from meerkat.cli.main import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".meerkat" / "log").mkdir(parents=True)
    return tmp_path


def entry(number: int) -> str:
    return json.dumps({"at": "2026-01-02T03:04:05Z", "level": "INFO", "message": f"line {number}", "peer": "nas"})


def test_the_last_lines_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees time, level, message and what else the line holds."""
    log_path(folder).write_text("".join(entry(number) + "\n" for number in range(5)))
    assert run(["logs", "-n", "2", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("INFO    line 4  peer=nas")


def test_json_prints_the_lines_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get what the node wrote."""
    log_path(folder).write_text(entry(1) + "\n")
    assert run(["logs", "--json", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["message"] == "line 1"


def test_no_log_is_not_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node that never ran has no log, which is told with the path that was looked at."""
    assert run(["logs", str(folder)]) == 4
    assert "meerkat.log" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["", "not json", "[1]", '"text"', "{", "3", "\x1b[2J"])
def test_any_line_can_be_shown(line: str) -> None:
    """A damaged line is shown as it is, without what a terminal obeys."""
    assert "\x1b" not in log_line(line)


def test_following_survives_rotation_and_half_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come once each and whole, also when the log is renamed away and begun anew."""
    path = log_path(folder)
    path.write_text("old\n")

    def append(text: str) -> None:
        with path.open("a") as log:
            log.write(text)

    def rotate() -> None:
        append("last\n")
        path.rename(path.with_suffix(".1"))

    # Each time that the follower has nothing to read, the next thing happens to the log.
    script: Iterator[Callable[[], object]] = iter(
        [
            lambda: append("ha"),
            lambda: append("lf\n"),
            rotate,
            lambda: path.write_text("new\n"),
            lambda: path.write_text(""),
            lambda: append("cut\n"),
        ]
    )
    monkeypatch.setattr("meerkat.cli.logs.time.sleep", lambda seconds: next(script)())
    lines = itertools.islice(read_lines(path, 10, follow=True), 5)
    assert list(lines) == ["old", "half", "last", "new", "cut"]


def test_following_a_log_that_is_not_there_yet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`logs -f` may be started before the node is."""
    path = log_path(folder)
    monkeypatch.setattr("meerkat.cli.logs.time.sleep", lambda seconds: path.write_text("first\n"))
    assert next(read_lines(path, 10, follow=True)) == "first"
