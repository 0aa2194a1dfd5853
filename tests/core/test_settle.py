"""Settling, with explicit times: when is a touched path worth a look?"""

import itertools
import random

import pytest

from meerkat.core import settle as settle_module
from meerkat.core.settle import Settle
from meerkat.model.limits import QUIET_CLOSED_S, QUIET_MAX_S, QUIET_OPEN_S, QUIET_SAVED_MAX_S
from meerkat.model.path import RelPath

A = RelPath("a")
B = RelPath("folder/b")


def run(settle: Settle, touches: list[tuple[float, bool]], until: float, path: RelPath = A) -> list[float]:
    """Play the touches of one path at their times, wake when asked to, and tell when the path was taken."""
    taken = []
    for at, closed in [*sorted(touches), (until, None)]:
        while (wake := settle.wake_at()) is not None and wake <= at:
            taken += [wake for taken_path in settle.due(wake) if taken_path == path]
        if closed is not None:
            settle.touched(path, closed, at)
    return taken


@pytest.mark.parametrize(
    ("touches", "taken"),
    [
        ([(10.0, True)], [10.0 + QUIET_CLOSED_S]),
        ([(10.0, False)], [10.0 + QUIET_OPEN_S]),
        ([(10.0, False), (10.1, False), (10.2, True)], [10.2 + QUIET_CLOSED_S]),
        ([(10.0, True), (10.002, True)], [10.002 + QUIET_CLOSED_S]),
        ([(10.0, True), (10.002, False)], [10.002 + QUIET_OPEN_S]),
        ([(10.0, False), (10.4, False), (10.8, False)], [10.8 + QUIET_OPEN_S]),
        ([(10.0, True), (100.0, True)], [10.0 + QUIET_CLOSED_S, 100.0 + QUIET_CLOSED_S]),
    ],
)
def test_a_path_is_taken_when_it_is_quiet(touches: list[tuple[float, bool]], taken: list[float]) -> None:
    """Shortly after the last close, or a little longer after the last event of an open file."""
    assert run(Settle(), touches, until=1000.0) == pytest.approx(taken)


def test_a_copy_without_pause_waits_for_its_close() -> None:
    """A file that is being written without pause is not taken at each tick, but once, when it is closed."""
    touches = [(tick / 10, False) for tick in range(300)] + [(30.0, True)]
    assert run(Settle(), touches, until=100.0) == pytest.approx([30.0 + QUIET_CLOSED_S])


def test_a_writer_that_never_pauses_is_taken_at_the_longest_wait() -> None:
    """A file written without pause for hours is taken once a minute, not never."""
    taken = run(Settle(), [(tick / 10, False) for tick in range(36_000)], until=3600.0)
    assert len(taken) == 60
    assert all(later - earlier == pytest.approx(QUIET_MAX_S, abs=0.2) for earlier, later in itertools.pairwise(taken))


@pytest.mark.parametrize("pause", [1.0, 3.0, 10.0, 30.0])
def test_a_log_held_open_is_taken_at_growing_intervals(pause: float) -> None:
    """Appended now and then and never closed: the intervals grow up to the longest wait."""
    taken = run(Settle(), [(tick * pause, False) for tick in range(int(7200 / pause))], until=7200.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert gaps[0] <= pause + 1
    assert all(later >= earlier - pause for earlier, later in itertools.pairwise(gaps))
    assert QUIET_MAX_S <= gaps[-1] <= QUIET_MAX_S + pause + 1
    assert 7200 / (QUIET_MAX_S + pause) - 1 <= len(taken) < 7200 / QUIET_MAX_S + 20


def test_a_program_that_saves_in_a_loop_is_slowed_down() -> None:
    """Closed each second for an hour: the waits double up to their bound, the file is still taken."""
    taken = run(Settle(), [(float(tick), True) for tick in range(3600)], until=3700.0)
    assert len(taken) < 3600 / QUIET_SAVED_MAX_S + 20
    assert taken[-1] > 3590


@pytest.mark.parametrize("pause", [1.0, 2.0, 4.0])
def test_a_person_who_saves_all_the_time_waits_for_seconds_at_most(pause: float) -> None:
    """A save every few seconds all day long is never older elsewhere than the bound for what its writer closes."""
    saves = [tick * pause for tick in range(5000)]
    taken = run(Settle(), [(at, True) for at in saves], until=saves[-1] + 100)
    for at in saves:
        assert next(when for when in taken if when >= at) <= at + QUIET_SAVED_MAX_S + QUIET_CLOSED_S


def test_a_person_who_saves_often_never_waits() -> None:
    """A save every ten seconds is taken at once each time, all day."""
    saves = [tick * 10.0 for tick in range(1000)]
    touches = [(at, False) for at in saves] + [(at + 0.05, True) for at in saves]
    assert run(Settle(), touches, until=20_000.0) == pytest.approx([at + 0.05 + QUIET_CLOSED_S for at in saves])


def test_a_hot_path_cools_down() -> None:
    """After a rest the first edit is taken at once again."""
    settle = Settle()
    run(settle, [(float(tick), True) for tick in range(600)], until=800.0)
    assert run(settle, [(900.0, True)], until=1000.0) == pytest.approx([900.0 + QUIET_CLOSED_S])


def test_our_own_echo_makes_no_heat() -> None:
    """Looks that found nothing new do not slow the path down."""
    settle = Settle()
    for tick in range(500):
        settle.touched(A, True, float(tick))
        assert settle.due(tick + QUIET_CLOSED_S) == [A]
        settle.calm(A)


def test_a_held_path_waits_for_its_release() -> None:
    """What is heard while the node itself writes is kept, and a look is taken after the release."""
    settle = Settle()
    settle.held(A)
    settle.touched(A, True, 1.0)
    settle.touched(B, True, 1.0)
    assert settle.due(50.0) == [B]
    assert settle.wake_at() is None
    settle.released(A)
    assert settle.due(50.0) == [A]


def test_holding_keeps_what_was_heard_before() -> None:
    """A person's edit that was waiting when the node began to write is looked at afterwards, too."""
    settle = Settle()
    settle.touched(A, True, 1.0)
    settle.held(A)
    assert settle.wake_at() is None
    assert settle.due(2.0) == []
    settle.released(A)
    assert settle.wake_at() == pytest.approx(1.0 + QUIET_CLOSED_S)
    assert settle.due(2.0) == [A]


def test_a_release_without_events_asks_for_no_look() -> None:
    """Holding alone is no reason to look."""
    settle = Settle()
    settle.held(A)
    settle.released(A)
    assert settle.wake_at() is None
    assert settle.due(100.0) == []


def test_too_many_paths_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit everything is forgotten, and the caller is told to scan; then it works as before."""
    monkeypatch.setattr(settle_module, "SETTLE_PATHS_MAX", 10)
    settle = Settle()
    settle.held(A)
    settle.touched(A, True, 0.0)
    for number in range(9):
        settle.touched(RelPath(f"n{number}"), True, 0.0)
    assert not settle.overflowed
    settle.touched(B, True, 0.0)
    assert settle.overflowed
    settle.touched(B, True, 0.5)
    assert settle.due(100.0) == []
    settle.overflowed = False
    settle.touched(B, True, 100.0)
    assert settle.due(101.0) == [B]
    settle.released(A)
    assert settle.due(102.0) == [A], "what was heard about a held path survives, the scan may have passed it"


def test_nothing_is_lost_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of touches, holds and wakes, every touched path is taken within the longest wait."""
    monkeypatch.setattr(settle_module, "SETTLE_PATHS_MAX", 300)
    for seed in range(20):
        rng = random.Random(seed)
        settle = Settle()
        paths = [RelPath(f"p{number}") for number in range(50)]
        oldest: dict[RelPath, float] = {}
        held: set[RelPath] = set()
        now = 0.0
        for _ in range(3000):
            now += rng.expovariate(10)
            path = rng.choice(paths)
            match rng.randrange(10):
                case 0:
                    settle.held(path)
                    held.add(path)
                case 1:
                    settle.released(path)
                    held.discard(path)
                case 2 | 3:
                    for taken in settle.due(now):
                        assert taken not in held
                        del oldest[taken]
                    wake = settle.wake_at()
                    for waiting, since in oldest.items():
                        assert waiting in held or (wake is not None and wake <= since + QUIET_MAX_S)
                case _:
                    settle.touched(path, rng.random() < 0.5, now)
                    oldest.setdefault(path, now)
        for path in held:
            settle.released(path)
        assert set(settle.due(now + QUIET_MAX_S)) == set(oldest)
        assert settle.wake_at() is None
        assert len(settle) == 0
        assert len(settle._heap) == 0


def test_many_touches_of_one_path_leave_one_item() -> None:
    """A burst of events costs no memory."""
    settle = Settle()
    for tick in range(50_000):
        settle.touched(A, bool(tick % 2), tick / 1000)
        if tick % 7 == 0:
            settle.due(tick / 1000)
    assert len(settle) == 1
    assert len(settle._heap) < 2000


def test_a_writer_that_keeps_opening_and_closing_costs_no_memory() -> None:
    """A hot path whose due time moves back and forth leaves few outdated items behind."""
    settle = Settle()
    run(settle, [(float(tick), True) for tick in range(60)], until=70.0)
    now = 92.0
    while now < 110.0:
        settle.touched(A, True, now)
        settle.touched(A, False, now + 0.001)
        assert settle.due(now + 0.0101) == []
        now += 0.011
        assert len(settle._heap) < 1100


def test_rested_paths_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of taken paths is bounded in number and in time."""
    monkeypatch.setattr(settle_module, "SETTLE_PATHS_MAX", 100)
    settle = Settle()
    for number in range(500):
        settle.touched(RelPath(f"n{number}"), True, number / 100)
        settle.due(number / 100 + QUIET_CLOSED_S)
        assert len(settle._taken) <= 100
    settle.touched(A, True, 100.0)
    settle.due(101.0)
    assert list(settle._taken) == [A]
