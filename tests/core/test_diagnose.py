"""What is told of a member, for each way in which a pool can be half connected."""

import pytest

from meerkat.core.diagnose import Facts, Finding, Witness, diagnose, told
from meerkat.model.frame import Way
from meerkat.model.ids import NodeId

OPEN = Way("192.0.2.1:7", "reached", "", 3, NodeId("bob"))
SHUT = Way("192.0.2.1:7", "refused", "nothing listens there (connection refused)")
MUTE = Way("192.0.2.2:7", "timed_out", "no answer within 4 s")
LOST = Way("nas.example:7", "no_such_host", "the host is not known")
OTHER = Way("192.0.2.3:7", "another_node", "another node answers there", 1, NodeId("cy"))
STRANGE = Way("192.0.2.3:7", "not_tls", "another program answers there, not Meerkat")
DENIED = Way("192.0.2.1:7", "not_member", "that node refused our certificate", 2, NodeId("bob"))


def name_of(node: NodeId) -> str:
    return f"the {node}"


def facts(
    linked: str = "",
    forth: tuple[Way, ...] = (),
    back: tuple[Way, ...] | None = None,
    cause: str = "",
    bye: str = "",
    witnesses: tuple[Witness, ...] = (),
    close: bool = True,
) -> Facts:
    return Facts("bob", linked, forth, back, cause, bye, witnesses, close)


@pytest.mark.parametrize(
    ("known", "state", "said"),
    [
        (facts("dialled", (OPEN,), (OPEN,)), "ok", "each can dial the other"),
        (facts("dialled", (SHUT, OPEN), (MUTE,)), "ok", "it cannot dial this node: 192.0.2.2:7: no answer"),
        (facts("dialled", (OPEN,), ()), "ok", "it cannot dial this node"),
        (facts("accepted", (MUTE, SHUT), (OPEN,)), "ok", "this node cannot dial it: 192.0.2.1:7: nothing listens"),
        (facts("accepted", (), (OPEN,)), "ok", "it has told no address"),
        (facts("dialled", (OPEN,), None), "ok", "does not answer whether it can dial"),
        (facts("accepted", (SHUT,), None), "ok", "it dialled this node"),
        (facts("dialled", (SHUT,), None), "warn", "neither could dial the other anew"),
        (facts("accepted", (SHUT,), (MUTE,)), "warn", "neither could dial the other anew"),
    ],
)
def test_a_linked_member_is_fine_while_one_of_the_two_can_dial(known: Facts, state: str, said: str) -> None:
    """Who dialled, and which of the two ways fails and why; a link that nobody could make again is worth a warning."""
    found = diagnose(known, name_of)
    assert found.state == state
    assert said in found.text
    assert bool(found.fix) == (state == "warn")


@pytest.mark.parametrize(
    ("way", "said", "step"),
    [
        (SHUT, "nothing listens there", "meerkat up"),
        (MUTE, "no answer", "firewall"),
        (LOST, "the host is not known", "--advertise"),
        (OTHER, "another node answers there: the cy", "where it listens"),
        (STRANGE, "another program", "where it listens"),
        (DENIED, "refused our certificate", "meerkat nodes"),
    ],
)
def test_a_member_that_is_not_reached_is_told_with_cause_and_step(way: Way, said: str, step: str) -> None:
    """Each address with its cause, and what helps against that."""
    found = diagnose(facts(forth=(way,)), name_of)
    assert found.state is Finding.FAIL
    assert f"{way.address}: " in found.text
    assert said in found.text
    assert step in found.fix


def test_the_most_telling_address_decides_the_step() -> None:
    """All causes are told; the step is for the one that says most."""
    found = diagnose(facts(forth=(LOST, MUTE, SHUT)), name_of)
    assert all(way.text in found.text for way in (LOST, MUTE, SHUT))
    assert "meerkat up" in found.fix


def test_without_an_address_it_has_to_dial() -> None:
    """Nobody can look for who has told no address."""
    found = diagnose(facts(), name_of)
    assert found.state is Finding.FAIL
    assert "no address" in found.text
    assert "--advertise" in found.fix


@pytest.mark.parametrize(("bye", "said"), [("down", "stopped"), ("left", "left the pool")])
def test_who_said_goodbye_is_off_and_not_broken(bye: str, said: str) -> None:
    """A node that was stopped by its owner is no failure."""
    found = diagnose(facts(forth=(SHUT,), bye=bye), name_of)
    assert found.state is Finding.OFF
    assert said in found.text


def test_who_is_in_sync_through_another_is_not_broken() -> None:
    """The way from here is told all the same, and who stands between."""
    found = diagnose(facts(forth=(MUTE,), witnesses=(Witness("cy", "linked"),)), name_of)
    assert found.state is Finding.WARN
    assert "through cy" in found.text
    assert MUTE.text in found.text


def test_whom_another_reaches_is_behind_something() -> None:
    """Another member gets there: what is wrong lies between."""
    found = diagnose(facts(forth=(MUTE,), witnesses=(Witness("cy", "member", (OPEN,)),)), name_of)
    assert found.state is Finding.FAIL
    assert "cy can reach it, this node cannot" in found.text
    assert "firewall" in found.fix


def test_who_was_removed_meanwhile_is_told_as_that() -> None:
    """Another member has heard of a removal of which this node has not."""
    found = diagnose(facts(forth=(SHUT,), witnesses=(Witness("cy", "removed"),)), name_of)
    assert found.state is Finding.OFF
    assert "taken off the roster, says cy" in found.text


def test_whoever_does_not_know_us_yet_will_hear_of_us() -> None:
    """It refuses this node while another member counts both: it has not heard of the newcomer."""
    found = diagnose(facts(forth=(DENIED,), witnesses=(Witness("cy", "member"),)), name_of)
    assert found.state is Finding.FAIL
    assert "linked with cy" in found.fix


@pytest.mark.parametrize(
    ("known", "state", "said"),
    [
        (facts(forth=(OPEN,), cause="it broke the rules: it greeted twice"), "fail", "greeted twice"),
        (facts(forth=(OPEN,)), "warn", "about to be linked"),
        (facts(forth=(OPEN,), cause="x", close=False), "ok", "not everybody is linked"),
    ],
)
def test_reachable_and_yet_not_linked(known: Facts, state: str, said: str) -> None:
    """The door is open: why nobody goes through it is told in the words of the last try."""
    found = diagnose(known, name_of)
    assert (found.state, said in found.text) == (state, True)


def test_a_way_names_who_answers_there_instead() -> None:
    """By name where that is a member, in the look's own words otherwise."""
    assert told(OTHER, name_of) == "another node answers there: the cy"
    assert told(SHUT, name_of) == SHUT.text
