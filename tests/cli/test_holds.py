"""What a person reads of held deletions."""

from datetime import UTC, datetime

from meerkat.cli.holds import hold_lines

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def test_a_hold_is_told_with_both_ways_out() -> None:
    """How many, where, a few by name, and what to type for yes and for no; names cannot steer the terminal."""
    hold = {
        "id": 3,
        "at": "2026-05-04T11:58:00Z",
        "paths": 40,
        "total": 50,
        "folder": "",
        "examples": ["a\x1b[2J", "b", "c", "d"],
    }
    lines = hold_lines([hold], AT)
    text = "\n".join(lines)
    assert "40 paths in the shared folder" in text
    assert "of 50 files" in text
    assert "and 37 more" in text
    assert "meerkat holds allow 3" in text
    assert "meerkat holds reject 3" in text
    assert "\x1b" not in text


def test_nothing_held_is_said_in_a_word() -> None:
    """No hold, one line."""
    assert hold_lines([], AT) == ["Nothing is held"]
