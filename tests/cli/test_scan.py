"""`meerkat scan`."""

from typing import Any

import pytest

from meerkat.cli.main import run


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"scanned": 12_408, "changes": 3, "seconds": 1.2}, "Looked at 12,408 paths in 1.2 s: 3 changes\n"),
        ({"scanned": 1, "changes": 0}, "Looked at 1 path: nothing changed\n"),
    ],
)
def test_a_scan_says_what_it_found(
    node: Any, answer: dict[str, Any], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much was looked at and what had changed."""
    node.answers["scan"] = answer
    assert run(["scan", "docs"]) == 0
    assert capsys.readouterr().out == shown
    assert node.asked == [("scan", {"paths": ["docs"]})]
