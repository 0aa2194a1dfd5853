"""`meerkat resolve`."""

from typing import Any

import pytest

from meerkat.cli.main import run


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            {"path": "a", "kept": "b" * 32, "name": "pi", "stored": ["trash"]},
            "a is pi's version now; undo: meerkat restore a\n",
        ),
        ({"path": "a", "kept": "both", "stored": ["a.pi"]}, "Both stay: a as it is, the other as a.pi\n"),
    ],
)
def test_a_settled_conflict_says_what_stays(
    node: Any, answer: dict[str, Any], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose version it is now, and where the other is."""
    node.answers["resolve"] = answer
    assert run(["resolve", "a", "--keep", "pi"]) == 0
    assert capsys.readouterr().out == shown
    assert node.asked == [("resolve", {"path": "a", "keep": "pi"})]


def test_whose_version_must_be_said(node: Any) -> None:
    """Nothing is guessed: without --keep it is a usage error."""
    assert run(["resolve", "a"]) == 2
    assert node.asked == []
