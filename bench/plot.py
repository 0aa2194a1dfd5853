"""Two pictures, drawn as SVG by a few lines of our own: a library for charts would be the largest thing in the house.

Axes are logarithmic, since what is compared differs by orders of magnitude.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from .growth import AXIS, BYTES_WORK, FILES_WORK, NODES_WORK, P50, WORKS
from .measure import (
    MEERKAT,
    RSYNC,
    RSYNC_FLUSHED,
    STREAM,
    STREAM_KEPT,
    SYNCTHING,
    SYNCTHING_DEFAULT,
    UNISON,
    Line,
)

COLOURS = {
    MEERKAT: "#111111",
    SYNCTHING: "#0072b2",
    SYNCTHING_DEFAULT: "#56b4e9",
    UNISON: "#d55e00",
    RSYNC: "#009e73",
    RSYNC_FLUSHED: "#8fd3bd",
    STREAM: "#cc79a7",
    STREAM_KEPT: "#e6bcd3",
}
WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 1040, 26, 440, 24, 76, 44
RADIUS = 5
PANEL_WIDTH, PANEL_HEIGHT, GAP = 280, 230, 60
INK, FAINT, GRID = "#222222", "#666666", "#dddddd"
FIGURES = ("busy", "latency", "latency5")
"""Workloads whose median is what a reader asks for, not the time of the whole."""


class Scale:
    """A logarithmic axis from `low` to `high`, drawn between two places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> Iterator[float]:
        for power in range(math.floor(self._low), math.ceil(self._high) + 1):
            if self._low - 1e-9 <= power <= self._high + 1e-9:
                yield 10.0**power


def comparison(lines: Sequence[Line]) -> str | None:
    """How many times as long as Meerkat each rival takes; None where nothing can be compared."""
    rows = list(_ratios(lines))
    if not rows:
        return None
    values = [value for _, ratios in rows for value in ratios.values()]
    height = TOP + ROW * len(rows) + BOTTOM
    low = 10 ** math.floor(math.log10(min(0.5, *values)))
    high = 10 ** math.ceil(math.log10(max(2.0, *values)))
    axis = Scale(low, high, LEFT, WIDTH - RIGHT)
    parts = [
        _text(16, 24, "Time of each, as a multiple of Meerkat's (right of the line: slower than Meerkat)", size=15)
    ]
    seen = [who for who in COLOURS if any(who in ratios for _, ratios in rows)]
    parts += _legend(seen, 16, 48)
    for tick in axis.ticks():
        parts.append(_line(axis(tick), TOP, axis(tick), height - BOTTOM, GRID))
        parts.append(_text(axis(tick), height - BOTTOM + 18, f"{tick:g} ×", anchor="middle", colour=FAINT))
    parts.append(_line(axis(1), TOP, axis(1), height - BOTTOM, INK, 2))
    for number, (what, ratios) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        parts.append(_text(LEFT - 12, y + 4, what, anchor="end"))
        for who, ratio in ratios.items():
            parts.append(_dot(axis(ratio), y, COLOURS[who], f"{who}: {ratio:.2f} × Meerkat's time"))
    return _picture(WIDTH, height, parts)


def _ratios(lines: Sequence[Line]) -> Iterator[tuple[str, dict[str, float]]]:
    for work, what in dict.fromkeys((line.work, line.what) for line in lines):
        group = [
            line for line in lines if (line.work, line.what) == (work, what) and not line.work.startswith("growth")
        ]
        times = {line.who: time for line in group if (time := _time(line)) and line.who in COLOURS}
        ours = times.pop(MEERKAT, None)
        if ours and times and work not in ("idle", "million", *WORKS):
            yield what, {who: time / ours for who, time in times.items()}


def _time(line: Line) -> float | None:
    return line.figures.get("p50 ms") if line.work in FIGURES else line.seconds


def growth(lines: Sequence[Line]) -> str | None:
    """Seconds against files, bytes and nodes; None where the growth was not measured."""
    panels = [
        (title, series)
        for title, work, unit in (
            ("4 KiB files, two nodes", FILES_WORK, 1.0),
            ("MiB in one file, two nodes", BYTES_WORK, 1.0 / (1 << 20)),
            ("nodes: a large file to all, and a new small one", NODES_WORK, 1.0),
        )
        if (series := _series(lines, work, unit))
    ]
    if not panels:
        return None
    parts = [_text(16, 24, "Seconds until all nodes have it", size=15)]
    names = list(dict.fromkeys(name for _, series in panels for name in series))
    parts += _legend(names, 16, 48)
    for number, (title, series) in enumerate(panels):
        parts += _panel(title, series, 60 + number * (PANEL_WIDTH + GAP), TOP + 16)
    width = 60 + len(panels) * (PANEL_WIDTH + GAP)
    return _picture(width, TOP + PANEL_HEIGHT + 60, parts)


SMALL_FILE = "Meerkat, a new 1 KiB file"
SERIES_COLOURS = COLOURS | {SMALL_FILE: "#999999"}
Series = dict[str, list[tuple[float, float]]]


def _series(lines: Sequence[Line], work: str, unit: float) -> Series:
    found: Series = {}
    for line in lines:
        if line.work == work and line.seconds:
            at = line.figures[AXIS] * unit
            found.setdefault(line.who, []).append((at, line.seconds))
            if P50 in line.figures:
                found.setdefault(SMALL_FILE, []).append((at, line.figures[P50] / 1000))
    return found


def _panel(title: str, series: Series, left: float, top: float) -> list[str]:
    points = [point for each in series.values() for point in each]
    bottom, right = top + PANEL_HEIGHT, left + PANEL_WIDTH
    across = Scale(min(x for x, _ in points), max(x for x, _ in points), left, right)
    low = 10 ** math.floor(math.log10(min(y for _, y in points)))
    high = 10 ** math.ceil(math.log10(max(y for _, y in points)) + 1e-9)
    up = Scale(low, high, bottom, top)
    parts = [_text(left, top - 8, title)]
    for tick in up.ticks():
        parts.append(_line(left, up(tick), right, up(tick), GRID))
        parts.append(_text(left - 6, up(tick) + 4, f"{tick:g}", anchor="end", colour=FAINT))
    for x in sorted({x for x, _ in points}):
        parts.append(_text(across(x), bottom + 18, _short(x), anchor="middle", colour=FAINT))
    for name, each in series.items():
        colour = SERIES_COLOURS[name]
        placed = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(each))
        parts.append(f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [_dot(across(x), up(y), colour, f"{name}: {y:.3g} s at {_short(x)}") for x, y in each]
    return parts


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _legend(names: Iterable[str], left: float, y: float) -> Iterator[str]:
    for name in names:
        yield _dot(left + RADIUS, y - 4, SERIES_COLOURS[name], name)
        yield _text(left + 16, y, name, size=12)
        left += 32 + 7 * len(name)


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, colour: str = INK) -> str:
    look = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _dot(x: float, y: float, colour: str, title: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{colour}"><title>{escape(title)}</title></circle>'


def _picture(width: float, height: float, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])
