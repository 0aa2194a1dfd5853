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
