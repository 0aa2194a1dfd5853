"""`meerkat nodes`: the roster, and its two verbs."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run


def test_the_roster_is_listed(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """This node comes first and is marked; --json is the bare list."""
    listed = node.answers["status"]["nodes"]
    node.answers["nodes"] = [listed[1], listed[0]]
    assert run(["nodes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "BEHIND", "LAST", "SEEN", "ADDRESS", "RTT"]
    assert lines[1].startswith("ada *")
    assert run(["nodes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == node.answers["nodes"]


def test_a_name_cannot_draw(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A node's name comes from a peer and is shown spelt out."""
    node.answers["nodes"] = [node.answers["status"]["nodes"][1] | {"name": "pi\x1b[2J"}]
    run(["nodes"])
    assert "\x1b" not in capsys.readouterr().out


def test_rename_and_remove_reach_the_node(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Both take one word and say what is now true."""
    node.answers |= {"nodes_rename": {}, "nodes_remove": {}}
    assert run(["nodes", "rename", "ada2"]) == 0
    assert run(["nodes", "remove", "pi", "--folder", str(node.folder)]) == 0
    assert node.asked == [("nodes_rename", {"name": "ada2"}), ("nodes_remove", {"node": "pi"})]
    assert "ada2" in capsys.readouterr().out
