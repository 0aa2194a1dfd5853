"""The table: who, how long, at what price, and the ratio to us; for a terminal, for a file, for programs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from .ledger import Ledger, Measured
from .measure import MEERKAT, Line
from .plot import comparison, growth
from .targets import rows as target_rows

RESULTS, COMPARISON, GROWTH = "RESULTS.md", "rivals.svg", "growth.svg"
HEAD = ("work", "who", "s", "to ours", "wire", "CPU s", "to ours", "peak MB", "runs", "more")
TARGET_HEAD = ("work", "target", "ours", "rivals", "ratio", "met")


def rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The table's rows, with how many times our time and our processor time another took."""
    table: list[tuple[str, ...]] = []
    ours = {(line.work, line.what): line for line in lines if line.who == MEERKAT}
    for line in lines:
        mine = ours.get((line.work, line.what), line)
        table.append(
            (
                f"{line.work}: {line.what}",
                line.who,
                _seconds(line),
                "" if line is mine else _ratio(line.seconds, mine.seconds),
                _wire(line),
                " ".join(f"{name} {value:.2f}" for name, value in line.cpu_s.items()),
                "" if line is mine else _ratio(sum(line.cpu_s.values()), sum(mine.cpu_s.values())),
                " ".join(f"{name} {value / 1e6:.0f}" for name, value in line.peak_bytes.items() if value),
                str(len(line.costs)) if line.costs else "",
                _more(line),
            )
        )
    return table


def _ratio(theirs: float | None, ours: float | None) -> str:
    return f"{theirs / ours:.2f}" if theirs and ours else ""


def _seconds(line: Line) -> str:
    if line.seconds is None:
        return ""
    each = sorted(cost.seconds for cost in line.costs)
    digits = 3 if line.seconds < 1 else 2
    spread = f" ({each[0]:.{digits}f}–{each[-1]:.{digits}f})" if len(each) > 1 else ""
    return f"{line.seconds:.{digits}f}{spread}"


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
        f"{name}: {value:,.2f}" if value < 100 else f"{name}: {value:,.0f}" for name, value in line.figures.items()
    ]
    return "; ".join([*parts, line.remark] if line.remark else parts)


def as_text(ledger: Ledger) -> str:
    """For a terminal: one block a piece of work."""
    out = []
    title = ""
    for work, who, seconds, ratio, wire, cpu, cpu_ratio, peak, runs, more in rows(ledger.lines):
        if work != title:
            title = work
            out.append(f"\n{work}")
        facts = [
            f"{seconds} s" if seconds else "",
            f"{ratio} × ours" if ratio else "",
            wire,
            f"CPU s {cpu}" if cpu else "",
            f"{cpu_ratio} × our CPU" if cpu_ratio else "",
            f"peak MB {peak}" if peak else "",
            f"{runs} runs" if runs not in ("", "1") else "",
            more,
        ]
        out.append(f"  {who:<29} {'; '.join(fact for fact in facts if fact)}")
    met = [f"  {' · '.join(cell for cell in row if cell)}" for row in target_rows(ledger.lines, ledger.scales)]
    if met:
        out += ["\ntargets", *met]
    for measured in list(ledger.works.values())[-1:]:
        out += ["", *measured.machine, ", ".join(measured.versions), f"load of the machine: {measured.load}"]
    return "\n".join(out)


def as_json(ledger: Ledger) -> str:
    return ledger.as_json()


def write_report(folder: Path, ledger: Ledger) -> None:
    """Table, plots and the figures they are made of."""
    ledger.save(folder)
    drawn = {COMPARISON: comparison(ledger.lines), GROWTH: growth(ledger.lines)}
    for name, picture in drawn.items():
        if picture is not None:
            (folder / name).write_text(picture, "utf-8")
    (folder / RESULTS).write_text(as_markdown(ledger, [name for name, it in drawn.items() if it is not None]), "utf-8")


def as_markdown(ledger: Ledger, pictures: Sequence[str] = ()) -> str:
    works = list(ledger.works.values())
    return "\n".join(
        [
            "# Measured",
            "",
            "Written by `meerkat bench --write`; [docs/performance.md](../docs/performance.md) tells how to read it.",
            "All take turns in one call. Seconds are medians (with the lowest and highest run), a ratio above 1 says",
            "that the rival takes longer or spends more, and all content was read again and compared at the end.",
            "",
            *(f"- {each}" for each in _circumstances(works)),
            "",
            "## Targets",
            "",
            *_table(TARGET_HEAD, target_rows(ledger.lines, ledger.scales)),
            "",
            *(f"![{name.partition('.')[0]}]({name})\n" for name in pictures),
            "## Everything",
            "",
            "Processor time and peak memory are per process.",
            "",
            *_table(HEAD, rows(ledger.lines)),
            "",
            "## When",
            "",
            *_table(
                ("workload", "at", "scale", "load of the machine"),
                ((each.work, each.at, f"{each.scale:g}", f"{each.load}") for each in works),
            ),
            "",
        ]
    )


def _circumstances(works: Sequence[Measured]) -> list[str]:
    """Every machine and every set of versions that the figures come from, once."""
    found = [line for each in works for line in (each.machine[0], each.machine[2], ", ".join(each.versions))]
    rates = [each.machine[1] for each in works]
    return list(dict.fromkeys([*found, rates[-1]] if rates else found))


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [row(head), row("---" for _ in head), *(row(each) for each in body)]
