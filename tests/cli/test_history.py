"""`meerkat history`."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run

ROW: dict[str, Any] = {
    "at": "2026-01-02T11:00:00Z",
    "node": "b" * 32,
    "name": "pi",
    "op": "conflict_copy",
    "path": "a\x1b.txt",
    "kind": "file",
    "version": "3f9a12c4d5e6",
    "size": 2000,
    "restorable_from": ["trash"],
}


def test_history_tells_who_did_what(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a change, names neutralised, with the version by which it can be had back."""
    node.answers["history"] = [ROW]
    assert run(["history", "a"]) == 0
    out = capsys.readouterr().out
    assert "conflict copy" in out
    assert "3f9a12c4d5e6" in out
    assert "\x1b" not in out
    assert node.asked == [("history", {"path": "a", "deleted": False, "limit": 50})]


def test_history_as_json_is_a_line_a_change(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read one object a line."""
    node.answers["history"] = [ROW, ROW]
    assert run(["history", "--deleted", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [ROW, ROW]
    assert node.asked == [("history", {"path": None, "deleted": True, "limit": 50})]


def test_an_empty_history_says_so(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Never a blank answer."""
    node.answers["history"] = []
    assert run(["history"]) == 0
    assert capsys.readouterr().out == "No changes recorded yet\n"


def test_an_empty_history_of_a_path_names_it(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be misspelt."""
    node.answers["history"] = []
    assert run(["history", "nonsense"]) == 0
    assert capsys.readouterr().out == "No changes of nonsense are recorded\n"
