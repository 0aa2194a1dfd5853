"""What we want to reach, and how far we are: each target is a figure of ours, a bound, and who stands beside it.

A bound is a number of the figure's unit, or a share of a rival's figure in the same run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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

Figure = Callable[[Line], float | None]
KB = 1000


def seconds(line: Line) -> float | None:
    return line.seconds


def wire_kb(line: Line) -> float | None:
    return None if line.wire_bytes is None else line.wire_bytes / KB


def named(name: str) -> Figure:
    """One of a line's own figures."""
    return lambda line: line.figures.get(name)


def beyond_content_kb(line: Line) -> float | None:
    """What went over the wire beside the content of the changed files, which its description counts."""
    if line.wire_bytes is None:
        return None
    changed = int(line.what.split(", ")[1].split()[0].replace(",", ""))
    return (line.wire_bytes - changed * 1024) / KB


@dataclass(frozen=True, slots=True)
class Target:
    """Attributes:
    work, part: which lines: the workload's name, and words of what was done.
    text: the target in words.
    figure, unit: what is looked at.
    bound: not above it (or, with `at_least`, not below); None where a rival is the bound.
    against, share: not above this share of that rival's figure.
    """

    work: str
    part: str
    text: str
    figure: Figure
    unit: str
    bound: float | None = None
    against: str | None = None
    share: float = 1.0
    at_least: bool = False


TARGETS = (
    Target("big", "", "at most 1/2.5 of Syncthing's time", seconds, "s", against=SYNCTHING, share=1 / 2.5),
    Target("big", "", "at least 75 % of a bare stream's speed", seconds, "s", against=STREAM, share=1 / 0.75),
    Target("small", "", "faster than rsync's daemon", seconds, "s", against=RSYNC),
    Target("latency", "", "p50 ≤ 10 ms", named("p50 ms"), "ms", 10),
    Target("latency", "", "p95 ≤ 50 ms", named("p95 ms"), "ms", 50),
    Target("latency5", "", "p50 ≤ 20 ms", named("p50 ms"), "ms", 20),
    Target("latency5", "", "p95 ≤ 50 ms", named("p95 ms"), "ms", 50),
    Target("busy", "", "p95 ≤ 250 ms", named("p95 ms"), "ms", 250),
    Target("edit", "one byte", "no slower than rsync", seconds, "s", against=RSYNC),
    Target("edit", "one byte", "≤ 100 kB on the wire", wire_kb, "kB", 100),
    Target("edit", "inserted", "no slower than rsync", seconds, "s", against=RSYNC),
    Target("edit", "inserted", "≤ 100 kB on the wire", wire_kb, "kB", 100),
    Target("rename", "renamed", "≤ 0.3 s", seconds, "s", 0.3),
    Target("rename", "renamed", "≤ 5 kB on the wire", wire_kb, "kB", 5),
    Target("rename", "moved", "≤ 0.5 s", seconds, "s", 0.5),
    Target("rename", "moved", "≤ 60 B a file", named("B a file on the wire"), "B", 60),
    Target("move", "", "≤ 10 s", seconds, "s", 10),
    Target("move", "", "≤ 60 B a file", named("B a file on the wire"), "B", 60),
    Target("fanout", "", "at most half of Syncthing's best", seconds, "s", against=SYNCTHING, share=0.5),
    Target("fanout", "", "≤ 1.1 copies by the origin", named("copies sent by the origin"), "copies", 1.1),
    Target("restart", "unchanged", "≤ 1.5 s", seconds, "s", 1.5),
    Target("restart", "changed meanwhile", "≤ 2.5 s", seconds, "s", 2.5),
    Target("restart", "changed meanwhile", "≤ content + 200 kB", beyond_content_kb, "kB beyond content", 200),
    Target("idle", "", "≤ 0.1 s CPU a minute", named("highest CPU s a minute"), "s", 0.1),
    Target("idle", "", "≤ 90 MB a node", named("highest MB resident"), "MB", 90),
    Target("idle", "", "≤ 0.5 kB/s", named("kB/s"), "kB/s", 0.5),
    *(
        Target("million", "", f"{what} ≥ {rate:,}", named(f"{what} a second"), "/s", rate, at_least=True)
        for what, rate in (
            ("files indexed at first", 20_000),
            ("files looked at again", 60_000),
            ("entries to another node", 30_000),
        )
    ),
    *(
        Target("million", "", f"≤ 250 MB, {stage}", named(f"MB at most, {stage}"), "MB", 250)
        for stage in ("first index", "rescan", "another node")
    ),
    Target("huge", "", "≤ 250 MB", named("MB at most"), "MB", 250),
)
ORDER = (SYNCTHING, SYNCTHING_DEFAULT, UNISON, RSYNC, RSYNC_FLUSHED, STREAM, STREAM_KEPT)


SIZELESS = ("latency", "latency5")
"""Workloads in which the scale changes how often something is done, and nothing else."""


def rows(lines: Sequence[Line], scales: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Work, target, ours, the rivals', the ratio of each to ours, and whether it is met: at another size than the
    target speaks of, that is said."""
    return [row for target in TARGETS for row in _rows(target, lines, scales.get(target.work, 1.0))]


def _rows(target: Target, lines: Sequence[Line], scale: float) -> list[tuple[str, ...]]:
    sized = f", at {scale:g} of the size" if scale != 1 and target.work not in SIZELESS else ""
    fitting = [line for line in lines if line.work == target.work and target.part in line.what]
    found: list[tuple[str, ...]] = []
    for what in dict.fromkeys(line.what for line in fitting):
        figures = {line.who: target.figure(line) for line in fitting if line.what == what}
        ours = figures.get(MEERKAT)
        if ours is None:
            continue
        others = {who: value for who in ORDER if (value := figures.get(who)) is not None}
        found.append(
            (
                f"{target.work}: {what}",
                target.text,
                f"{_number(ours)} {target.unit}",
                "; ".join(f"{who} {_number(value)}" for who, value in others.items()),
                "; ".join(f"{who} {value / ours:.2f}" for who, value in others.items() if ours > 0),
                _verdict(target, ours, figures) + sized,
            )
        )
    return found


def _verdict(target: Target, ours: float, figures: dict[str, float | None]) -> str:
    bound = target.bound
    if target.against is not None:
        rival = figures.get(target.against)
        if rival is None:
            return "?"
        bound = rival * target.share
    assert bound is not None
    return "yes" if (ours >= bound if target.at_least else ours <= bound) else "no"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
