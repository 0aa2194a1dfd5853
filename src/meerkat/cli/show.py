"""How numbers, times, names and tables look to a person.

Invariant: no text that came from a peer or a disk reaches the terminal with a character that the terminal obeys:
everything of that kind goes through `neutral`.
"""

import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def neutral(text: str) -> str:
    """`text` with control, direction and surrogate characters spelt out, so that it can only be read."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelt(char) if _obeyed(char) else char for char in text)


def _obeyed(char: str) -> bool:
    return char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _spelt(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def size(count: int) -> str:
    """Bytes in powers of 1000, two digits: `999 B`, `4.1 kB`, `48 GB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1000
        if value < 9.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            return f"{value:.0f} {unit}"
    return f"{value:.0f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit: `0.8 s`, `12 min`, `3 days`."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 129_600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"


def now() -> datetime:
    """The wall clock, for showing and nothing else."""
    return datetime.now(UTC)


def moment(text: object) -> datetime | None:
    """The instant that an RFC 3339 text names, or None when it names none."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def ago(text: object, at: datetime) -> str:
    """How long before `at` the RFC 3339 instant was; a dash when there is none."""
    then = moment(text) if text else None
    if then is None:
        return "–"
    seconds = (at - then).total_seconds()
    return "now" if seconds < 10 else f"{span(seconds)} ago"


def ahead(text: object, at: datetime) -> str:
    """How long after `at` the RFC 3339 instant comes."""
    then = moment(text) if text else None
    if then is None:
        return "an unknown time"
    return span((then - at).total_seconds())


def count(number: int, noun: str) -> str:
    """`1 file`, `1,204 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def typed(path: str) -> str:
    """A path as it can be pasted into a shell: `~/Shared`, `~/'My files'`."""
    short = homely(path)
    return "~/" + shlex.quote(short[2:]) if short.startswith("~/") else shlex.quote(short)


def homely(path: str) -> str:
    """A path as a person reads it, with `~` for the home folder."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return neutral(path)
    if home != "/" and (path == home or path.startswith(home + "/")):
        path = "~" + path[len(home) :]
    return neutral(path)


def print_json(value: Any) -> None:
    """One JSON value on one line, pure ASCII: it survives any terminal and names that are not UTF-8."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def coloured(stream: IO[str]) -> bool:
    """Whether to colour: `NO_COLOR` beats `FORCE_COLOR` and `CLICOLOR_FORCE`, which beat "is it a terminal"."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: IO[str]) -> str:
    """`text` in that colour where colour is wanted. The text must say everything without it."""
    return click.style(text, fg=colour) if colour and coloured(stream) else text


def say(text: str = "") -> None:
    """A line for a person on stdout; the caller has neutralised names and chosen colours."""
    click.echo(text, color=coloured(sys.stdout))


class Cell(NamedTuple):
    """One field of a table: its text (already neutral) and a colour."""

    text: str
    colour: str = ""


def width(text: str) -> int:
    """Columns that the text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def table(rows: Sequence[Sequence[Cell | str]], indent: str = "  ") -> list[str]:
    """Rows as aligned lines, coloured for stdout."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max((width(row[i].text) for row in cells if i < len(row)), default=0) for i in range(columns)]
    lines = []
    for row in cells:
        padded = [cell.text + " " * (widths[i] - width(cell.text)) for i, cell in enumerate(row)]
        padded[-1] = padded[-1].rstrip()
        shown = [paint(text, cell.colour, sys.stdout) for text, cell in zip(padded, row, strict=True)]
        lines.append((indent + "  ".join(shown)).rstrip())
    return lines
