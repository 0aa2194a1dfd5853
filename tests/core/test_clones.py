"""Two nodes with one key: noticed when a superseded run comes back, and one of the two is chosen to yield."""

import pytest

from meerkat.core.clones import Clones, Met
from meerkat.model.ids import NodeId
from meerkat.model.limits import RUNS_REMEMBERED_MAX

NODE = NodeId("a" * 32)
LOW, HIGH, LATER = b"a" * 16, b"b" * 16, b"c" * 16


def both(first: bytes, second: bytes, *, moved: tuple[bytes, ...] = ()) -> tuple[Clones, bytes]:
    """Two runs greet, the first comes back and is alive; who has to yield."""
    clones = Clones()
    for run in (first, second):
        assert clones.greeted(NODE, run, moved=run in moved) is Met.ORDINARY
    assert clones.greeted(NODE, first, moved=first in moved) is Met.RETURNED
    return clones, clones.confirm(NODE, first)


@pytest.mark.parametrize(("first", "second"), [(LOW, HIGH), (HIGH, LOW)])
@pytest.mark.parametrize(("moved", "yields"), [((), HIGH), ((LOW,), LOW), ((HIGH,), HIGH), ((LOW, HIGH), HIGH)])
def test_the_one_that_moved_yields(first: bytes, second: bytes, moved: tuple[bytes, ...], yields: bytes) -> None:
    """Exactly one moved: that one; else the greater run; whichever was met first."""
    clones, condemned = both(first, second, moved=moved)
    assert condemned == yields
    stays = LOW if yields == HIGH else HIGH
    assert clones.greeted(NODE, condemned, moved=False) is Met.CONDEMNED
    assert clones.greeted(NODE, stays, moved=False) is Met.ORDINARY
    assert clones.greeted(NODE, condemned, moved=False) is Met.CONDEMNED


def test_restarts_are_ordinary() -> None:
    """New runs, one after the other, and the same one again and again, prove nothing."""
    clones = Clones()
    for run in (LOW, LOW, HIGH, HIGH, LATER, LATER):
        assert clones.greeted(NODE, run, moved=False) is Met.ORDINARY


def test_a_run_that_did_not_answer_changes_nothing() -> None:
    """What a dead run said before may arrive late: until it is confirmed, the newer one is the node."""
    clones = Clones()
    clones.greeted(NODE, LOW, moved=False)
    clones.greeted(NODE, HIGH, moved=False)
    assert clones.greeted(NODE, LOW, moved=False) is Met.RETURNED
    assert clones.greeted(NODE, HIGH, moved=False) is Met.ORDINARY


def test_two_connections_of_one_run_are_judged_once() -> None:
    """Both were asked whether they live; the second answer finds the matter settled the same way."""
    clones, condemned = both(HIGH, LOW)
    assert clones.confirm(NODE, HIGH) == condemned
    clones, _ = both(LOW, HIGH)
    assert clones.confirm(NODE, LOW) == b""


def test_other_nodes_and_removed_ones_do_not_count() -> None:
    """Runs are remembered for each member apart, for members only, and not without end."""
    clones, condemned = both(LOW, HIGH)
    other = NodeId("b" * 32)
    assert clones.greeted(other, condemned, moved=False) is Met.ORDINARY
    clones.only({other})
    assert clones.greeted(NODE, condemned, moved=False) is Met.ORDINARY
    for number in range(RUNS_REMEMBERED_MAX + 1):
        clones.greeted(other, number.to_bytes(16, "big"), moved=False)
    assert clones.greeted(other, condemned, moved=False) is Met.ORDINARY
