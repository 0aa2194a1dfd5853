"""`meerkat doctor`."""

import json
from pathlib import Path
from typing import Any

import pytest

from meerkat.cli.main import run

CHECK: dict[str, Any] = {"check": "disk", "state": "ok", "text": "75 GiB free", "fix": ""}
ROW: dict[str, Any] = {
    "node": "b" * 32,
    "name": "pi\x1b",
    "state": "ok",
    "text": "linked (it dialled this node); each can dial the other",
    "fix": "",
    "link": "accepted",
    "address": "192.0.2.7:7447",
    "rtt_ms": 2.0,
    "ways": [{"address": "192.0.2.9:1", "code": "timed_out", "text": "no answer within 4 s", "ms": 4000}],
    "back": [],
    "asked": "pi",
    "through": [],
}
SHOWN: dict[str, Any] = {
    "node": "a" * 32,
    "name": "ada",
    "state": "ok",
    "checks": [CHECK],
    "members": [ROW],
    "others": 0,
}


def test_checks_and_members_are_listed(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with the next step below; addresses that lead nowhere are named; names cannot steer terminals."""
    warned = CHECK | {"check": "watch", "state": "warn", "text": "the limit is reached", "fix": "sudo sysctl x"}
    node.answers["doctor"] = SHOWN | {"checks": [CHECK, warned], "others": 3}
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for said in (
        "disk",
        "75 GiB free",
        "! watch",
        "next: sudo sysctl x",
        "linked (it dialled this node)",
        "192.0.2.9:1 leads nowhere from here: no answer within 4 s",
        "and 3 other members",
    ):
        assert said in out
    assert "\x1b" not in out
    assert node.asked == [("doctor", {"node": None})]


@pytest.mark.parametrize(
    ("named", "row", "code"),
    [
        (False, ROW, 0),
        (False, ROW | {"state": "warn"}, 0),
        (False, ROW | {"state": "off", "link": None}, 0),
        (False, ROW | {"state": "fail", "link": None}, 7),
        (True, ROW, 0),
        (True, ROW | {"state": "off", "link": None}, 6),
        (True, ROW | {"state": "fail", "link": None}, 6),
        (True, ROW | {"state": "warn", "link": None, "through": ["cy"]}, 0),
    ],
)
def test_the_exit_code_tells(node: Any, named: bool, row: dict[str, Any], code: int) -> None:
    """7 where something needs a person; 6 where the node that was named is reached in no way."""
    node.answers["doctor"] = SHOWN | {"members": [row]}
    assert run(["doctor", *(["pi"] if named else [])]) == code
    assert node.asked == [("doctor", {"node": "pi" if named else None})]


def test_a_check_that_fails_needs_a_person(node: Any) -> None:
    """Also where all members are fine."""
    node.answers["doctor"] = SHOWN | {"checks": [CHECK | {"state": "fail"}]}
    assert run(["doctor"]) == 7


def test_who_is_stopped_is_not_told_that_its_addresses_are_silent(
    node: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nobody answers there follows from it."""
    node.answers["doctor"] = SHOWN | {"members": [ROW | {"state": "off", "link": None, "text": "it was stopped there"}]}
    assert run(["doctor"]) == 0
    assert "leads nowhere" not in capsys.readouterr().out


def test_alone_there_is_nobody_to_look_at(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A pool of one says so instead of printing nothing."""
    node.answers["doctor"] = SHOWN | {"members": []}
    assert run(["doctor"]) == 0
    assert "No other member" in capsys.readouterr().out


def test_programs_get_the_object(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As the node gave it, on one line."""
    node.answers["doctor"] = SHOWN
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SHOWN


def test_the_folder_may_come_first(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From anywhere: the node's folder, then a name; more than one name is a mistake."""
    node.answers["doctor"] = SHOWN
    monkeypatch.chdir("/")
    assert run(["doctor", str(tmp_path), "pi"]) == 0
    assert run(["doctor", "pi", "--folder", str(tmp_path)]) == 0
    assert node.asked == [("doctor", {"node": "pi"})] * 2
    assert run(["doctor", str(tmp_path), "pi", "cy"]) == 2
