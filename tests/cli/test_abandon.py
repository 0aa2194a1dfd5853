"""`meerkat abandon`."""

import json
from typing import Any

import pytest

from meerkat.cli.main import run

GIVEN_UP: dict[str, Any] = {
    "path": "a\x1b",
    "version": "3f9a",
    "size": 2000,
    "written_by": {"node": "n" * 32, "name": "pi"},
    "left": None,
    "may_have": [],
    "parts": False,
}


def test_it_says_whose_version_was_given_up(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Names cannot steer the terminal."""
    node.answers["abandon"] = GIVEN_UP
    assert run(["abandon", "a"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Gave up pi's version 3f9a (2.0 kB) of a")
    assert "\x1b" not in line
    assert node.asked == [("abandon", {"path": "a", "yes": False})]


def test_it_says_what_stays_and_who_may_have_it(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands here, parts elsewhere, and where the bytes would go if they came back."""
    away = {"node": "n" * 32, "name": "pi", "state": "offline"}
    node.answers["abandon"] = GIVEN_UP | {"left": "77b0", "may_have": [away], "parts": True}
    assert run(["abandon", "a", "--yes"]) == 0
    out = capsys.readouterr().out
    for said in ("stays as it is here, version 77b0", "Parts of it", "If pi has it after all"):
        assert said in out
    assert node.asked == [("abandon", {"path": "a", "yes": True})]


def test_json_is_the_answer(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, as the node gave it."""
    node.answers["abandon"] = GIVEN_UP
    assert run(["abandon", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == GIVEN_UP


def test_one_path_is_needed(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """None is a usage error with the next step."""
    assert run(["abandon"]) == 2
    assert "meerkat why" in capsys.readouterr().err
    assert node.asked == []
