"""`meerkat conflicts`: every version by its node and its time."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run

CONFLICT = {
    "path": "plan.md",
    "copies": [
        {"path": "plan.md", "node": "ada", "at": "2026-01-02T11:58:00Z", "size": 4100, "digest": "aa"},
        {"path": "plan.conflict-3f9a12c4.md", "node": "nas", "at": None, "size": 3900, "digest": "bb"},
    ],
}


def test_none_is_told_and_is_0(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list is good news, with --check too."""
    node.answers["conflicts"] = []
    assert run(["conflicts", "--check"]) == 0
    assert capsys.readouterr().out == "No conflicts\n"
    assert run(["conflicts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_each_version_is_named(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The file, then its versions with node and size, then what to do."""
    node.answers["conflicts"] = [CONFLICT]
    assert run(["conflicts"]) == 0
    out = capsys.readouterr().out
    assert "1 file with more than one version" in out
    assert "  plan.conflict-3f9a12c4.md  nas  –" in out
    assert "3.9 kB" in out
    assert "meerkat resolve PATH --keep" in out


def test_check_is_7_when_there_are_some(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts ask whether a person is needed; the list itself is no error."""
    node.answers["conflicts"] = [CONFLICT]
    assert run(["conflicts", "--check", "--json"]) == 7
    assert json.loads(capsys.readouterr().out) == [CONFLICT]
    assert run(["conflicts"]) == 0
