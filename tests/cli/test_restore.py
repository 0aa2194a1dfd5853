"""`meerkat restore`."""

from pathlib import Path
from typing import Any

import pytest

from meerkat.cli.main import run


def test_a_restore_says_what_it_did_and_how_to_undo_it(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The version, where it is now, and the command that takes it back."""
    node.answers["restore"] = {"path": "a", "version": "3f9a", "size": 2000, "to": None, "replaced": "77b0"}
    assert run(["restore", "a", "--version", "3f9a"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Restored version 3f9a (2.0 kB) to a",
        "What stood there is in the trash; undo: meerkat restore a --version 77b0",
    ]
    assert node.asked == [("restore", {"path": "a", "version": "3f9a", "to": None})]


def test_where_nothing_stood_there_is_nothing_to_undo(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What was deleted is back; to take that back is to delete it."""
    node.answers["restore"] = {"path": "a", "version": "3f9a", "size": 2000, "to": None, "replaced": None}
    assert run(["restore", "a"]) == 0
    assert capsys.readouterr().out.splitlines() == ["Restored version 3f9a (2.0 kB) to a"]


def test_a_folder_says_what_came_back(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """How much of it, and how to take that back; also the file that it replaced."""
    answer = {"path": "d", "version": "77b0", "size": 2000, "to": None, "replaced": "3f9a", "files": 2, "folders": 1}
    node.answers["restore"] = answer | {"missing": 0, "missing_examples": []}
    assert run(["restore", "d"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Restored 2 files in 1 folder (2.0 kB) in d; to take it back, delete what came back",
        "What stood there is in the trash; undo: rm -r d, then meerkat restore d --version 3f9a",
    ]


def test_what_did_not_come_back_is_told(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each path with its cause, what to do, and an exit code that scripts see."""
    lacking = {
        "path": "d/x",
        "code": "unreachable",
        "message": "version 1 of 'd/x\x1b' is not here",
        "cause": "no source",
    }
    answer = {"path": "d", "version": None, "size": 9, "to": None, "replaced": None, "files": 1, "folders": 0}
    node.answers["restore"] = answer | {"missing": 3, "missing_examples": [lacking]}
    assert run(["restore", "d"]) == 6
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines()[1].startswith("Not restored: version 1 of 'd/x")
    assert out.splitlines()[2:] == [
        "… and 2 more",
        "Start the nodes that may have them, then again: meerkat restore d",
    ]


def test_a_target_is_made_absolute(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node does not know the shell's directory."""
    node.answers["restore"] = {"path": "a", "version": "3f9a", "size": 1, "to": "x"}
    monkeypatch.chdir(node.folder)
    assert run(["restore", "a", "--to", "out"]) == 0
    assert node.asked[0][1]["to"] == str(Path.cwd() / "out")


def test_one_path_is_needed(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """None, or several, is a usage error with the next step."""
    assert run(["restore"]) == 2
    assert "meerkat history --deleted" in capsys.readouterr().err
    assert node.asked == []
