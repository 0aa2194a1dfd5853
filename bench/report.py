"""The table: who, how long, at what price, and the ratio to us, with the machine it was measured on."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.content import creations_per_second
from bench.measure import MEERKAT, Line, Options
from bench.network import is_private
from bench.rivals import has_rsync, rsync_version

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = ("work", "who", "s", "to ours", "wire", "CPU s", "peak MB", "runs", "more")


def rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The table's rows; a rival without a run says that it is missing."""
    table: list[tuple[str, ...]] = []
    ours: dict[str, float] = {}
    for line in lines:
        if line.who == MEERKAT and line.seconds:
            ours[line.work + line.what] = line.seconds
    for line in lines:
        mine = ours.get(line.work + line.what)
        seconds = line.seconds
        ratio = f"{seconds / mine:.2f}" if seconds and mine and line.who != MEERKAT else ""
        table.append(
            (
                f"{line.work}: {line.what}",
                line.who,
                _seconds(line),
                ratio,
                _wire(line),
                " ".join(f"{name} {value:.2f}" for name, value in line.cpu_s.items()),
                " ".join(f"{name} {value / 1e6:.0f}" for name, value in line.peak_bytes.items() if value),
                str(len(line.costs)) if line.costs else "",
                _more(line),
            )
        )
    return table


def _seconds(line: Line) -> str:
    if line.seconds is None:
        return "" if line.figures else "not installed"
    each = sorted(cost.seconds for cost in line.costs)
    spread = f" ({each[0]:.2f}–{each[-1]:.2f})" if len(each) > 1 else ""
    return f"{line.seconds:.3f}{spread}" if line.seconds < 1 else f"{line.seconds:.2f}{spread}"


def _wire(line: Line) -> str:
    parts = []
    if line.wire_bytes is not None:
        parts.append(_bytes(line.wire_bytes))
    if line.message_bytes is not None:
        parts.append(f"{_bytes(line.message_bytes)} in messages")
    return ", ".join(parts)


def _bytes(count: float) -> str:
    if count < 10_000:
        return f"{count:.0f} B"
    return f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _more(line: Line) -> str:
    parts = [
        f"{name}: {value:,.1f}" if value < 1000 else f"{name}: {value:,.0f}" for name, value in line.figures.items()
    ]
    return "; ".join([*parts, line.remark] if line.remark else parts)


def machine() -> list[str]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rivals = rsync_version() if has_rsync() else "rsync is not installed"
    wire = "bytes of the interface, headers included" if is_private() else "the interface is shared, so none are told"
    kernel = f"{platform.system()} {platform.release()}"
    packages = ", ".join(f"{package} {version(package)}" for package in ("meerkat-sync", "grpcio", "blake3"))
    return [
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"Machine: {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {kernel}",
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f}",
        f"File system: {creations_per_second():,.0f} empty files made per second by one bare thread, at the end",
        f"Versions: {packages}, Python {platform.python_version()}, {rivals}",
        f"Wire: {wire}",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def as_text(lines: Sequence[Line]) -> str:
    """For a terminal: one block a workload."""
    out = []
    title = ""
    for work, who, seconds, ratio, wire, cpu, peak, runs, more in rows(lines):
        if work != title:
            title = work
            out.append(f"\n{work}")
        facts = [
            f"{seconds} s" if seconds[:1].isdigit() else seconds,
            f"{ratio} × ours" if ratio else "",
            wire,
            f"CPU s {cpu}" if cpu else "",
            f"peak MB {peak}" if peak else "",
            f"{runs} runs" if runs not in ("", "1") else "",
            more,
        ]
        out.append(f"  {who:<29} {'; '.join(fact for fact in facts if fact)}")
    return "\n".join([*out, "", *machine()])


def as_markdown(lines: Sequence[Line], options: Options) -> str:
    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join(
        [
            "# Measured",
            "",
            "Written by `python -m bench --write`. Seconds are medians (with the lowest and highest run), processor",
            "time and peak memory are per process, and all content was read again and compared at the end. The column",
            f"*to ours* says how many times as long a rival took. Scale {options.scale:g}.",
            "",
            *(f"- {fact}" for fact in machine()),
            "",
            row(HEAD),
            row("---" for _ in HEAD),
            *(row(each) for each in rows(lines)),
            "",
        ]
    )


def as_json(lines: Sequence[Line]) -> str:
    return json.dumps([asdict(line) for line in lines])
