"""How long what cannot be put down waits, and what makes it try again."""

from itertools import pairwise

from meerkat.core.patience import Delay, Delays, hasten, overcome, put_off
from meerkat.model.limits import RETRY_MAX_S, RETRY_MIN_S
from meerkat.model.path import RelPath

X = RelPath("d/x")
ABOVE = RelPath("d")


def test_waits_double_up_to_a_bound() -> None:
    """From less than a second to minutes."""
    delays: Delays = {}
    waits = []
    for _ in range(14):
        put_off(delays, X, 100.0)
        assert delays[X].until == 100.0 + delays[X].last
        waits.append(delays[X].last)
    assert waits[0] < RETRY_MIN_S
    assert all(later == min(RETRY_MAX_S, 2 * earlier) for earlier, later in pairwise(waits))
    assert waits[-1] == RETRY_MAX_S


def test_looks_that_find_nothing_new_do_not_hasten() -> None:
    """Each try at what cannot be put down brings about a look: that is a reason to try again once, and no more."""
    delays: Delays = {}
    put_off(delays, X, 0.0)
    assert hasten(delays, [X, ABOVE], set(), 0.1)
    assert delays[X].until == 0.1, "what was found out just before may help"
    for number in range(12):
        put_off(delays, X, 1.0)
        before = delays[X].last
        assert not hasten(delays, [X, ABOVE], set(), 1.1)
        assert delays[X] == Delay(1.0 + before, before), number
    assert delays[X].last == RETRY_MAX_S


def test_news_ends_the_wait() -> None:
    """Of the path, or of the folder that it is to stand in; and so does what was dealt with."""
    for changed in (X, ABOVE):
        delays = {X: Delay(900.0, 300.0), RelPath("e"): Delay(900.0, 300.0)}
        assert hasten(delays, [changed], {changed}, 1.0)
        assert delays.keys() == {"e"}
    for done in (X, ABOVE):
        delays = {X: Delay(900.0, 300.0), RelPath("d/x/deeper"): Delay(900.0, 300.0)}
        overcome(delays, [done])
        assert X not in delays
    assert not hasten(delays, [RelPath("other")], {RelPath("other")}, 1.0)
