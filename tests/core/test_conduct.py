"""Members that break the rules rest, longer each time, and are forgiven."""

from meerkat.core.conduct import Conduct
from meerkat.model.ids import NodeId
from meerkat.model.limits import FAULT_FORGIVEN_S, FAULT_REST_MAX_S, FAULT_REST_MIN_S

ADA, BOB = NodeId("a" * 32), NodeId("b" * 32)


def test_each_further_fault_costs_a_longer_rest() -> None:
    """Twice as long each time, up to a bound; who says nothing wrong does not rest."""
    conduct = Conduct()
    rests = [conduct.blame(ADA, "nonsense", 0.0) for _ in range(40)]
    assert rests[:3] == [FAULT_REST_MIN_S, 2 * FAULT_REST_MIN_S, 4 * FAULT_REST_MIN_S]
    assert rests[-1] == FAULT_REST_MAX_S
    assert conduct.until(ADA) == FAULT_REST_MAX_S
    assert conduct.fault(BOB, 0.0) == ""
    assert conduct.until(BOB) < 0


def test_the_reason_is_told_while_it_rests() -> None:
    """The last fault, until the rest is over."""
    conduct = Conduct()
    conduct.blame(ADA, "nonsense", 10.0)
    assert conduct.fault(ADA, 10.0 + FAULT_REST_MIN_S / 2) == "nonsense"
    assert conduct.fault(ADA, 10.0 + FAULT_REST_MIN_S) == ""
    assert conduct.remembered(ADA, 10.0 + FAULT_REST_MIN_S) == "nonsense"
    assert conduct.remembered(ADA, 10.0 + FAULT_FORGIVEN_S) == ""
    assert conduct.remembered(BOB, 10.0) == ""


def test_an_hour_of_good_conduct_is_a_new_start() -> None:
    """The next fault then counts as the first."""
    conduct = Conduct()
    for _ in range(5):
        conduct.blame(ADA, "nonsense", 0.0)
    assert conduct.blame(ADA, "nonsense", FAULT_FORGIVEN_S) == FAULT_REST_MIN_S


def test_who_is_no_member_is_forgotten() -> None:
    """What is remembered is bounded by the roster."""
    conduct = Conduct()
    conduct.blame(ADA, "nonsense", 0.0)
    conduct.blame(BOB, "nonsense", 0.0)
    conduct.only({BOB})
    assert conduct.fault(ADA, 0.0) == ""
    assert conduct.fault(BOB, 0.0) == "nonsense"
