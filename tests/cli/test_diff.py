"""`meerkat diff`."""

from typing import Any

import pytest

from meerkat.cli.main import run


def test_text_is_shown_as_a_diff_and_the_rest_by_size(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of peers are neutralised; what is no text is named with its size."""
    text = {"path": "c1", "name": "pi", "size": 9, "binary": False, "text": "--- a\n+++ c1\n-x\n+\x1by\n"}
    away = {"path": "c3", "name": "ada", "size": 1, "binary": True, "text": None, "why": "its bytes are on no node"}
    node.answers["diff"] = [text, {"path": "c2", "name": "nas", "size": 2000, "binary": True, "text": None}, away]
    assert run(["diff", "a"]) == 0
    out = capsys.readouterr().out
    assert "+++ c1" in out
    assert "\x1b" not in out
    assert "nas's version is c2, 2.0 kB; the two cannot be compared line by line" in out
    assert "ada's version is c3, 1 B; its bytes are on no node" in out


def test_one_path_is_needed(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one there is nothing to compare."""
    assert run(["diff"]) == 2
    assert "meerkat conflicts" in capsys.readouterr().err
