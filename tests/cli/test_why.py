"""`meerkat why`."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run

ROW: dict[str, Any] = {
    "node": "b" * 32,
    "name": "pi",
    "self": False,
    "state": "blocked",
    "reason": "disk_full",
    "cause": "needs 5 MB\x1b",
    "next": "free some space",
    "since": None,
}
PATH: dict[str, Any] = {
    "path": "a\x1b.txt",
    "everywhere": False,
    "kind": "file",
    "version": "3f9a12c4d5e6",
    "size": 2000,
    "mtime": None,
    "written_by": {"node": "a" * 32, "name": "ada"},
    "heard_at": None,
    "conflict_copies": ["a.conflict-3f9a12c4.txt"],
    "unsettled": 0,
    "ignored": False,
    "held": False,
    "members": [ROW],
}
NOTHING: dict[str, Any] = {"paths": [], "more": 0, "at_least": False, "unknown": []}


def test_a_path_is_told_node_by_node(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Node, reason, cause, next step; who wrote it; its other versions; names cannot steer the terminal."""
    node.answers["why"] = PATH
    assert run(["why", "a"]) == 0
    out = capsys.readouterr().out
    for said in ("written by ada", "pi: blocked (disk_full): needs 5 MB", "next: free some space", "a.conflict-3f9a"):
        assert said in out
    assert "\x1b" not in out
    assert node.asked == [("why", {"paths": ["a"]})]


def test_without_a_path_all_are_listed_and_the_rest_is_counted(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each path once, its nodes below; members that never spoke are named."""
    away = {"node": "c" * 32, "name": "cy", "state": "offline", "last_seen": None, "cause": "refused"}
    rows = [ROW | {"path": "x"}, ROW | {"path": "x", "name": "nas"}]
    node.answers["why"] = {"paths": rows, "more": 1300, "at_least": True, "unknown": [away]}
    assert run(["why"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("x") == 1
    assert "and at least 1,300 more" in lines
    assert "cy has not said how far it is: offline (refused)" in lines
    assert node.asked == [("why", {"paths": []})]


def test_everything_everywhere_is_one_line_or_an_empty_list(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """For people a sentence, for programs the same shape as ever."""
    node.answers["why"] = NOTHING
    assert run(["why"]) == 0
    assert capsys.readouterr().out == "Everything is everywhere\n"
    assert run(["why", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == NOTHING


def test_a_deletion_that_is_everywhere_is_not_said_to_be_had(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Gone, rather than there."""
    row = ROW | {"state": "has_it", "reason": None, "cause": "", "next": ""}
    node.answers["why"] = PATH | {"kind": "deleted", "everywhere": True, "members": [row]}
    assert run(["why", "a"]) == 0
    out = capsys.readouterr().out
    assert "gone on every node" in out
    assert "has it" not in out
