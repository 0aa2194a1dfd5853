"""`meerkat wait`: the barrier's exit codes are what scripts build on."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run
from meerkat.cli.wait import verdict


def test_done_is_0(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """All nodes have it: 0, and the object for programs."""
    node.answers["wait"] = {"done": True, "seconds": 3.1, "waiting_for": []}
    assert run(["wait"]) == 0
    assert capsys.readouterr().out == "Everything is there (3.1 s)\n"
    assert run(["wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == node.answers["wait"]
    assert node.asked[0] == ("wait", {"nodes": "reachable", "timeout": 60.0, "paths": []})


def test_words_reach_the_node(node: Any) -> None:
    """Nodes, time and paths are passed on; paths as the pool spells them."""
    node.answers["wait"] = {"done": True, "seconds": 0, "waiting_for": []}
    assert run(["wait", "--nodes", "nas", "--timeout", "5m", "a.txt", "docs/b.txt"]) == 0
    assert run(["wait", str(node.folder), "--nodes", "all"]) == 0
    assert node.asked == [
        ("wait", {"nodes": "nas", "timeout": 300.0, "paths": ["a.txt", "docs/b.txt"]}),
        ("wait", {"nodes": "all", "timeout": 60.0, "paths": []}),
    ]


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        (["syncing"], 6),
        (["offline"], 6),
        (["no_source_online"], 6),
        ([None], 6),
        (["disk_full"], 7),
        (["syncing", "held"], 7),
        (["paused"], 7),
    ],
)
def test_time_out_is_6_and_blocked_is_7(
    node: Any, reasons: list[str | None], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What time may cure is a time-out; what needs a person is 7, as soon as one node has it."""
    result = {"done": False, "seconds": 60, "waiting_for": [{"node": "pi", "reason": reason} for reason in reasons]}
    node.answers["wait"] = result
    assert verdict(result) == code
    assert run(["wait"]) == code
    assert "pi" in capsys.readouterr().out


def test_progress_is_told_on_request_and_only_when_it_changes(
    node: Any, last: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --progress plain each change of whom the wait is for is a line on stderr; off a terminal there is none."""
    step = {"waiting_for": [{"node": "pi\x1b", "reason": "syncing"}]}
    node.answers["wait"] = [step, step, last({"done": True, "seconds": 1.0, "waiting_for": []})]
    assert run(["wait", "--progress", "plain"]) == 0
    assert capsys.readouterr().err == "waiting for pi\\x1b (syncing)\n"
    assert run(["wait"]) == 0
    assert capsys.readouterr().err == ""
