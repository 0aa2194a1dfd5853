"""`meerkat resolve`."""

from typing import Any

import pytest

from meerkat.cli.main import run


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            {
                "path": "a",
                "kept": "b" * 32,
                "name": "pi",
                "stored": ["trash", "a.c2"],
                "trashed": [{"path": "a c1", "version": "3f9a"}],
                "left": ["a.c2"],
            },
            (
                "a is pi's version now\n"
                "In the trash: a c1; undo: meerkat restore 'a c1' --version 3f9a\n"
                "Edited meanwhile, so it stays: a.c2\n"
            ),
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
