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
    assert list(gathering.take()) == ["f0", "f2"]
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
