"""Table, targets and plots: made from lines alone, so that they are shown here with figures of which nobody measures
one."""

import xml.etree.ElementTree as Xml
from pathlib import Path

from bench.growth import AXIS, FILES_WORK
from bench.ledger import Ledger, Measured
from bench.measure import MEERKAT, RSYNC, SYNCTHING, Line, Options
from bench.plot import comparison, growth
from bench.report import as_markdown, as_text, rows, write_report
from bench.targets import TARGETS
from bench.targets import rows as target_rows
from bench.usage import Cost
from bench.workloads import WORKLOADS


def line(who: str, *seconds: float, work: str = "small", what: str = "ten files", **figures: float) -> Line:
    return Line(work, what, who, [Cost(each, {"one": 0.1}, {"one": 10**6}, 5000) for each in seconds], figures)


def ledger(*lines: Line) -> Ledger:
    made = Ledger()
    for work in dict.fromkeys(each.work for each in lines):
        made.add(Measured.of(work, [each for each in lines if each.work == work], Options()))
    return made


def test_the_ratio_is_of_medians() -> None:
    """Three runs give their middle one, and a rival that takes twice as long has 2."""
    ours, theirs = rows([line(MEERKAT, 1.0, 9.0, 2.0), line(RSYNC, 4.0, 4.0, 1.0)])
    assert ours[2].startswith("2.00 (1.00–9.00)")
    assert ours[3] == ""
    assert theirs[3] == "2.00"


def test_a_target_may_be_a_rival_or_a_number() -> None:
    """Against rsync we must be no slower; against a bound no higher; and without the rival nobody knows."""
    faster = [line(MEERKAT, 1.0), line(RSYNC, 1.5)]
    slower = [line(MEERKAT, 2.0), line(RSYNC, 1.5)]
    assert [row[-1] for row in target_rows(faster, {})] == ["yes"]
    assert [row[-1] for row in target_rows(slower, {})] == ["no"]
    assert [row[-1] for row in target_rows([line(MEERKAT, 2.0)], {})] == ["?"]
    assert [row[-1] for row in target_rows(faster, {"small": 0.1})] == ["yes, at 0.1 of the size"]
    quick = Line("latency", "a new file", MEERKAT, figures={"p50 ms": 9.0, "p95 ms": 51.0})
    assert [row[-1] for row in target_rows([quick], {})] == ["yes", "no"]
    rate = Line("million", "files", MEERKAT, figures={"files looked at again a second": 59_999.0})
    assert [row[-1] for row in target_rows([rate], {})] == ["no"]


def test_content_is_taken_from_the_wire_that_changed_files_cost() -> None:
    """A thousand changed files of 1 KiB are content; what the target bounds is the rest."""
    what = "back with 100,000 files, 1,000 of them changed meanwhile"
    away = Line("restart", what, MEERKAT, [Cost(1.0, wire_bytes=1_024_000 + 150_000)])
    assert [row[2] for row in target_rows([away], {})][1] == "150 kB beyond content"


def test_every_target_is_of_a_workload_that_exists() -> None:
    """A target whose workload was renamed would never be looked at again."""
    assert {target.work for target in TARGETS} <= set(WORKLOADS)


def test_a_later_run_replaces_what_it_measured_and_nothing_else(tmp_path: Path) -> None:
    """The table is made of the newest run of each workload, whenever that was."""
    write_report(tmp_path, ledger(line(MEERKAT, 1.0), line(MEERKAT, 7.0, work="big", what="one file")))
    kept = Ledger.load(tmp_path)
    assert [each.seconds for each in kept.lines] == [1.0, 7.0]
    write_report(tmp_path, kept.joined(ledger(line(MEERKAT, 3.0), line(SYNCTHING, 6.0))))
    assert [each.seconds for each in Ledger.load(tmp_path).lines] == [3.0, 6.0, 7.0]
    shown = (tmp_path / "RESULTS.md").read_text()
    assert "| small: ten files | Syncthing | 6.00 | 2.00 |" in shown
    assert "rivals.svg" in shown
    assert "growth.svg" not in shown
    Xml.parse(tmp_path / "rivals.svg")


def test_the_terminal_shows_the_same() -> None:
    """A reader of the terminal gets figures, ratio and target."""
    shown = as_text(ledger(line(MEERKAT, 1.0), line(RSYNC, 1.5)))
    assert "1.50 × ours" in shown
    assert "faster than rsync's daemon" in shown


def test_the_comparison_has_a_dot_for_each_rival() -> None:
    """One row a piece of work, one dot a rival and one for it in the legend; nothing to compare, nothing drawn."""
    drawn = comparison([line(MEERKAT, 1.0), line(RSYNC, 0.5), line(SYNCTHING, 30.0)])
    assert drawn is not None
    assert drawn.count("<circle") == 4
    assert "Syncthing: 30.00 ×" in drawn
    Xml.fromstring(drawn)
    assert comparison([line(MEERKAT, 1.0)]) is None


def test_the_growth_is_a_line_for_each_who() -> None:
    """Steps of the growth become points of one line."""
    steps = [line(MEERKAT, each / 100, work=FILES_WORK, what=f"{each}", **{AXIS: each}) for each in (10, 100, 1000)]
    drawn = growth(steps)
    assert drawn is not None
    (shape,) = Xml.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline")
    assert len(shape.attrib["points"].split()) == 3
    assert growth([line(MEERKAT, 1.0)]) is None


def test_names_cannot_break_the_table() -> None:
    """A bar within a cell is escaped."""
    assert "a \\| b" in as_markdown(ledger(line(MEERKAT, 1.0, what="a | b")))
