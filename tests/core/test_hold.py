"""Which deletions look like an accident, and how long they wait for each other."""

import pytest

from meerkat.core.hold import Gathering, is_mass
from meerkat.model.limits import (
    HOLD_FEW_QUIET_S,
    HOLD_FEW_S_MAX,
    HOLD_FILES_MIN,
    HOLD_GATHER_PATHS_MAX,
    HOLD_GATHER_S_MAX,
    HOLD_QUIET_S,
    HOLD_RUN_S,
    HOLD_WINDOW_S,
)
from meerkat.model.path import RelPath


def files(first: int, count: int) -> list[tuple[RelPath, bool]]:
    return [(RelPath(f"f{number}"), True) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("lost", "told", "total", "mass"),
    [
        (1, 0, 1, False),  # the only file of a young pool
        (4, 0, 4, False),
        (5, 0, 5, True),  # emptied
        (5, 0, 6, False),
        (20, 0, 30, False),  # never so few, unless nothing is left
        (21, 0, 41, True),
        (21, 0, 42, False),  # half is not most
        (10, 11, 30, True),  # those told a moment ago count
        (3, 2, 3, True),
        (0, 40, 0, False),  # everything moved: nothing is lost
        (1000, 0, 100_000, False),
    ],
)
def test_what_is_held(lost: int, told: int, total: int, mass: bool) -> None:
    """More than twenty and more than half, or all of at least five."""
    assert is_mass(lost, told, total) is mass


def test_a_lone_deletion_waits_a_moment_only() -> None:
    """It is judged soon, and a trickle that does not end is not put off for long."""
    gathering = Gathering()
    assert gathering.due_at() is None
    gathering.add(files(0, 1), 10.0)
    assert gathering.due_at() == 10.0 + HOLD_FEW_QUIET_S
    for number in range(1, 15):
        gathering.add(files(number, 1), 10.0 + number / 20)
    assert gathering.due_at() == 10.0 + HOLD_FEW_S_MAX


def test_many_are_judged_when_no_more_come() -> None:
    """A tree on its way out is judged as a whole, though never later than the bound, in time or in number."""
    gathering = Gathering()
    gathering.add(files(0, HOLD_FILES_MIN + 1), 10.0)
    gathering.add(files(50, 1), 12.0)
    gathering.add(files(50, 1), 12.2)  # seen gone again: nothing new
    assert gathering.due_at() == 12.0 + HOLD_QUIET_S
    gathering.add(files(100, 1), 10.0 + HOLD_GATHER_S_MAX)
    assert gathering.due_at() == 10.0 + HOLD_GATHER_S_MAX
    gathering.add(files(1000, HOLD_GATHER_PATHS_MAX), 11.0)
    assert gathering.due_at() == 10.0


def test_what_is_there_again_is_not_judged() -> None:
    """A file that was only away for a moment leaves what waits; what is taken waits no more."""
    gathering = Gathering()
    gathering.add(files(0, 3), 1.0)
    gathering.forget([RelPath("f1"), RelPath("other")])
    assert list(gathering.take(2.0)) == ["f0", "f2"]
    assert gathering.due_at() is None


def test_what_was_told_counts_for_a_while() -> None:
    """Deletions told within the window belong to what comes after; older ones, and what is there again, do not."""
    gathering = Gathering()
    gathering.tell([path for path, _ in files(0, 7)], 100.0)
    gathering.tell([path for path, _ in files(7, 2)], 101.0)
    assert gathering.told(100.0 + HOLD_WINDOW_S) == 9
    gathering.forget([RelPath("f0"), RelPath("f8")])
    assert gathering.told(100.0 + HOLD_WINDOW_S) == 7
    assert gathering.told(100.5 + HOLD_WINDOW_S) == 1
    assert gathering.told(200.0) == 0


def gone_in_parts(total: int, rate: int) -> int:
    """A tree is removed at so many files a second; how many the pool was told of."""
    gathering, told, held = Gathering(), 0, 0
    for second, first in enumerate(range(0, total, rate)):
        gathering.add(files(first, min(rate, total - first)), float(second))
        for now in (second + 0.1, second + 0.3) if first + rate >= total else (second + 0.1,):
            due_at = gathering.due_at()
            if due_at is not None and due_at <= now:
                lost = gathering.take(now)
                if is_mass(len(lost), gathering.told(now), total - told - held):
                    held += len(lost)
                else:
                    gathering.tell(lost, now)
                    told += len(lost)
    assert told + held == total
    return told


@pytest.mark.parametrize(("total", "rate"), [(1_000_000, 20_000), (1_000_000, 3_000), (60_000, 200), (25_000, 5_000)])
def test_a_tree_that_goes_in_parts_is_held(total: int, rate: int) -> None:
    """However large it is, and wherever the bounds cut: the pool never hears of more than half."""
    assert 2 * gone_in_parts(total, rate) <= total


def test_while_a_deletion_runs_its_end_is_waited_for() -> None:
    """Once a part was put off: quiet is longer, the bounds hold, and the end is judged though nothing more came."""
    gathering = Gathering()
    gathering.add(files(0, 30), 0.0)
    gathering.add(files(30, 30), HOLD_GATHER_S_MAX)
    gathering.take(HOLD_GATHER_S_MAX)
    assert gathering.cut
    gathering.running = True
    assert gathering.due_at() == HOLD_GATHER_S_MAX + HOLD_WINDOW_S
    gathering.add(files(60, 1), 40.0)
    assert gathering.due_at() == 40.0 + HOLD_WINDOW_S
    for second in range(int(HOLD_GATHER_S_MAX)):
        gathering.add(files(61 + second, 1), 41.0 + second)
    assert gathering.due_at() == 40.0 + HOLD_GATHER_S_MAX
    gathering.take(40.0 + HOLD_GATHER_S_MAX)
    assert gathering.cut, "one more came just before"
    assert gathering.due_at() == 40.0 + HOLD_GATHER_S_MAX + HOLD_WINDOW_S
    gathering.take(40.0 + HOLD_GATHER_S_MAX + HOLD_WINDOW_S)
    assert not gathering.cut


def test_what_was_told_before_a_cut_counts_for_longer() -> None:
    """What a bound cut off belongs to what follows; what ended by itself does not, and neither counts for ever."""
    gathering = Gathering()
    gathering.add(files(0, 30), 0.0)
    gathering.add(files(30, 30), HOLD_GATHER_S_MAX)
    gathering.tell(gathering.take(HOLD_GATHER_S_MAX), HOLD_GATHER_S_MAX)
    assert gathering.told(HOLD_GATHER_S_MAX + HOLD_WINDOW_S + 1) == 60
    assert gathering.told(HOLD_GATHER_S_MAX + HOLD_RUN_S + 1) == 0
    gathering.add(files(0, 30), 1000.0)
    gathering.tell(gathering.take(1000.0 + HOLD_QUIET_S), 1000.0 + HOLD_QUIET_S)
    assert gathering.told(1001.0 + HOLD_QUIET_S + HOLD_WINDOW_S) == 0
    gathering.add(files(0, 30), 2000.0)
    gathering.tell(gathering.take(2000.0), 2000.0)  # by a scan, which knows when it has seen everything
    assert gathering.told(2001.0 + HOLD_WINDOW_S) == 0
