"""`meerkat events`: one line for each."""

import json
from typing import Any

import pytest

from meerkat.cli.events import clock, describe
from meerkat.cli.main import run

EVENT = {
    "epoch": "9f3c",
    "seq": 7,
    "at": "2026-01-02T03:04:05Z",
    "type": "file.failed",
    "node": "a" * 32,
    "data": {"path": "a\x1b.txt", "reason": "disk_full", "size": 210_000_000},
}


def test_events_are_json_lines(node: Any, last: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get each event whole; --since reaches the node."""
    node.answers["events"] = [EVENT, EVENT | {"seq": 8}, last({})]
    assert run(["events", "--json", "--since", "6"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [7, 8]
    assert node.asked == [("events", {"since": 6})]


def test_a_person_reads_time_type_and_facts(node: Any, last: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, ids shortened, sizes readable, nothing that draws."""
    node.answers["events"] = [EVENT, last({})]
    assert run(["events"]) == 0
    line = capsys.readouterr().out.strip()
    assert line == f"{clock(EVENT['at'])}  file.failed  a\\x1b.txt  aaaaaaaa  reason=disk_full  size=210 MB"


@pytest.mark.parametrize("event", [{}, {"type": "x", "data": None}, {"type": "x", "data": {"list": [1], "n": None}}])
def test_any_event_can_be_shown(event: dict[str, Any]) -> None:
    """An event of a later version is shown as far as it is understood."""
    assert isinstance(describe(event), str)


def test_an_event_about_another_node_names_that_one() -> None:
    """Who came online matters, not who noticed."""
    event = {"type": "node.online", "node": "a" * 32, "data": {"node": "b" * 32, "name": "pi"}}
    assert describe(event) == "node.online  pi"
    assert describe(event | {"data": {"node": "b" * 32}}) == "node.online  bbbbbbbb"
