"""`meerkat invite`: the command for the next machine."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meerkat.cli.main import run


@pytest.fixture
def made(node: Any) -> dict[str, Any]:
    made = {
        "code": "K7MQ4T" * 12,
        "command": "meerkat join " + "K7MQ4T" * 12 + " ~/Shared",
        "id": "4f2a",
        "expires_at": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
        "uses_left": 1,
    }
    node.answers |= {"invite": made, "invite_list": [made], "invite_revoke": {}}
    return made


def test_the_command_stands_alone_on_its_line(
    node: Any, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A person can copy the whole line; how long and how often it works stands before it."""
    assert run(["invite", "--uses", "3", "--for", "2h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "good for 2 h, 1 use left" in lines[0]
    assert lines[-1].strip() == f"meerkat join {made['code']} {node.folder}"
    assert node.asked == [("invite", {"uses": 3, "for": 7200.0})]


def test_defaults_are_one_use_and_one_hour(node: Any, made: dict[str, Any]) -> None:
    """An invite that nobody thought about does little harm."""
    run(["invite", str(node.folder)])
    assert node.asked == [("invite", {"uses": 1, "for": 3600.0})]


def test_json_is_the_invite(node: Any, made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts take the code from the object."""
    assert run(["invite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == made


def test_a_qr_code_is_shown_on_request(node: Any, made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """--qr adds a picture of the code below the command."""
    run(["invite"])
    plain = capsys.readouterr().out
    assert run(["invite", "--qr"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(plain)
    assert "▄" in shown


def test_open_invites_are_listed_and_revoked(
    node: Any, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The list names ids, which is what revoke takes; without any it says how to make one."""
    assert run(["invite", "list"]) == 0
    assert capsys.readouterr().out.startswith("4f2a  good for")
    assert run(["invite", "revoke", "4f2a"]) == 0
    assert node.asked[-1] == ("invite_revoke", {"id": "4f2a"})
    node.answers["invite_list"] = []
    capsys.readouterr()
    assert run(["invite", "list"]) == 0
    assert "meerkat invite" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["--uses", "0"], ["--for", "soon"]])
def test_nonsense_is_refused_here(node: Any, made: dict[str, Any], args: list[str]) -> None:
    """A wrong number or time is a usage error, and the node is not bothered."""
    assert run(["invite", *args]) == 2
    assert node.asked == []


def test_an_invite_in_too_many_hands_is_shown(
    node: Any, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is kept out, or how many came in, and what to look at."""
    node.answers["invite_list"] = [
        made | {"uses": 1, "used": 1, "uses_left": 0, "suspended": ["eve\x1b"]},
        made | {"uses": 2, "used": 3, "uses_left": 0, "suspended": []},
    ]
    assert run(["invite", "list"]) == 0
    one, other = capsys.readouterr().out.splitlines()
    assert "used by 2 nodes, was for 1: eve\\x1b is kept out" in one
    assert "used by 3 nodes, was for 2" in other
