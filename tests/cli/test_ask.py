"""Talking to the node: every way in which that fails is a fault with its exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from meerkat.cli import ask
from meerkat.cli.main import run
from meerkat.wire.control import ControlFault, socket_path


def test_no_node_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder whose node is down is told with the command that starts it."""
    (tmp_path / ".meerkat").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert run(["status", str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no node is running" in shown.err
    assert f"hint: meerkat up {tmp_path}" in shown.err
    assert run(["status", "--json", str(tmp_path)]) == 3
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_running"


@pytest.mark.parametrize(
    "args",
    [
        ["status"],
        ["nodes"],
        ["invite"],
        ["invite", "list"],
        ["wait"],
        ["scan"],
        ["conflicts"],
        ["events"],
        ["down"],
        ["leave"],
    ],
    ids=" ".join,
)
def test_every_command_that_needs_a_node_is_exit_3_without_one(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No command pretends; all say the same."""
    (tmp_path / ".meerkat").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(args) == 3


def test_the_nodes_refusal_is_told_as_it_is(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Code, words and exit code of a fault travel unchanged from the engine to the person."""
    node.answers["leave"] = ControlFault("only_copy", "2 files are nowhere else", "a.txt, b.txt", "add --yes", 8)
    assert run(["leave"]) == 8
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 files are nowhere else",
        "cause: a.txt, b.txt",
        "hint: add --yes",
    ]
    assert run(["leave", "--json"]) == 8
    error = json.loads(capsys.readouterr().err)["error"]
    assert error == {
        "code": "only_copy",
        "message": "2 files are nowhere else",
        "cause": "a.txt, b.txt",
        "hint": "add --yes",
    }


def test_a_socket_that_others_could_have_made_is_not_trusted(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A socket folder that is open to others is refused for safety."""
    socket_path(node.folder).parent.chmod(0o755)
    assert run(["status"]) == 8
    assert "others could stand in" in capsys.readouterr().err


def test_running_is_answering(node: Any) -> None:
    """A node that answers with a refusal runs; one whose socket is gone does not."""
    node.answers["status"] = ControlFault("busy", "not now")
    assert ask.is_running(node.folder)
    node.stop_serving()
    assert not ask.is_running(node.folder)
