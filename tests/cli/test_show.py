"""What a person sees: numbers, times, and names that cannot command the terminal."""

import io
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.cli.show import (
    Cell,
    ago,
    ahead,
    coloured,
    count,
    homely,
    moment,
    neutral,
    paint,
    size,
    span,
    table,
    typed,
    width,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plan.md", "plan.md"),
        ("über 日本 🦦", "über 日本 🦦"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
        ("a\x9bb", "a\\x9bb"),
        ("exe\u202etxt.", "exe\\u202etxt."),
        ("a\u2028b", "a\\u2028b"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    ],
)
def test_names_are_shown_without_what_a_terminal_obeys(text: str, shown: str) -> None:
    """Control, direction and undecodable characters are spelt out; ordinary writing stays as it is."""
    assert neutral(text) == shown


@given(st.text())
def test_a_neutral_text_is_printable_on_any_utf8_terminal(text: str) -> None:
    """Whatever the text, its neutral form encodes as UTF-8 and holds no control character."""
    shown = neutral(text)
    shown.encode()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (48_100_000_000, "48 GB"),
        (1 << 60, "1.2 EB"),
    ],
)
def test_sizes_are_powers_of_a_thousand(number: int, shown: str) -> None:
    """Sizes are given in SI units with at most three digits, and never as 1000 of the smaller unit."""
    assert size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.84, "0.8 s"), (42, "42 s"), (3600, "60 min"), (7200, "2 h"), (86_400 * 3, "3 days"), (-5, "0.0 s")],
)
def test_spans_use_the_largest_fitting_unit(seconds: float, shown: str) -> None:
    """A length of time is shown in one unit; a negative one (clocks differ) as nothing."""
    assert span(seconds) == shown


def test_times_are_shown_relative_to_now() -> None:
    """Instants are told as a distance from now, in both directions, and what is no instant as a dash."""
    assert ago((NOON - timedelta(minutes=5)).isoformat(), NOON) == "5 min ago"
    assert ago("2026-01-02T11:59:58Z", NOON) == "now"
    assert ago(None, NOON) == "–"
    assert ago("yesterday", NOON) == "–"
    assert ahead("2026-01-02T13:00:00Z", NOON) == "60 min"
    assert moment("2026-01-02T13:00:00") == datetime(2026, 1, 2, 13, tzinfo=UTC)


def test_counts_have_the_right_noun() -> None:
    """One thing is singular, everything else plural, thousands are separated."""
    assert [count(number, "file") for number in (0, 1, 1204)] == ["0 files", "1 file", "1,204 files"]


def test_no_color_beats_force_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour is off off a terminal, on when forced, and off when NO_COLOR says so, whatever else is set."""
    stream = io.StringIO()
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    assert not coloured(stream)
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert paint("x", "red", stream) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", stream) == "x"


def test_tables_align_wide_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns start in the same place though a name is written in characters of double width."""
    monkeypatch.setenv("NO_COLOR", "1")
    lines = table([["日本", Cell("a", "red")], ["x", "b"], ["long name", ""]], indent="")
    assert lines == ["日本       a", "x          b", "long name"]
    assert width("日本") == 4
    assert width("e\u0301") == 1


def test_paths_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a command is quoted where a shell needs it, and the home folder stays a tilde that expands."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert typed("/home/ada/Shared") == "~/Shared"
    assert typed("/home/ada/My files") == "~/'My files'"
    assert typed("/srv/a b") == "'/srv/a b'"
    assert homely("/home/adam") == "/home/adam"
