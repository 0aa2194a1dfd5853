"""What is wrong between this node and a member, told from what was tried: one state, one sentence, one next step.

The facts come from looks at addresses (here, and asked of other members); this only weighs them.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from meerkat.model.frame import Way
from meerkat.model.ids import NodeId

_TELLING = ("not_member", "another_node", "not_tls", "silent", "refused", "unreachable", "timed_out", "no_such_host")
"""Codes of ways that lead nowhere, the one that says most first."""


class Finding(StrEnum):
    """How something stands. `off`: not there, and that is no fault; `warn`: it works, though not as it could."""

    OK = "ok"
    OFF = "off"
    WARN = "warn"
    FAIL = "fail"


class Diagnosis(Struct, frozen=True):
    """`fix`: one next step, or empty."""

    state: Finding
    text: str
    fix: str = ""


class Witness(Struct, frozen=True):
    """What another member says of one that is not linked: what it is to it, and its ways there."""

    name: str
    standing: str
    ways: tuple[Way, ...] = ()


class Facts(Struct, frozen=True):
    """What was found out about one member.

    Attributes:
        linked: dialled, accepted, or empty.
        forth: ways from here to it.
        back: its ways to this node; None where nobody could ask it.
        cause: why the last link or dial came to nothing, in the words of then.
        bye: the word with which it ended the last link itself (see `Bye`); empty.
        close: this node wants a link with it (in a large pool not everybody is linked with everybody).
    """

    name: str
    linked: str
    forth: tuple[Way, ...]
    back: tuple[Way, ...] | None
    cause: str = ""
    bye: str = ""
    witnesses: tuple[Witness, ...] = ()
    close: bool = True


def reached(ways: tuple[Way, ...] | None) -> bool:
    return any(way.code == "reached" for way in ways or ())


def diagnose(facts: Facts, name_of: Callable[[NodeId], str]) -> Diagnosis:
    """What is to be told of the member."""
    return _linked(facts) if facts.linked else _unlinked(facts, name_of)


def told(way: Way, name_of: Callable[[NodeId], str]) -> str:
    """Why a way leads nowhere, with the node named that answers there instead."""
    if way.code == "another_node" and way.shown:
        return f"another node answers there: {name_of(way.shown)}"
    return way.text


def _linked(facts: Facts) -> Diagnosis:
    who = "this node dialled it" if facts.linked == "dialled" else "it dialled this node"
    forth, back = reached(facts.forth), reached(facts.back)
    if forth and back:
        return Diagnosis(Finding.OK, f"linked ({who}); each can dial the other")
    if facts.back is None and (forth or facts.linked == "accepted"):
        return Diagnosis(Finding.OK, f"linked ({who}); it does not answer whether it can dial this node")
    if forth:
        why = f": {_first(facts.back)}" if facts.back else ""
        return Diagnosis(Finding.OK, f"linked ({who}); it cannot dial this node{why}")
    if back:
        why = f": {_first(facts.forth)}" if facts.forth else ", it has told no address"
        return Diagnosis(Finding.OK, f"linked ({who}); this node cannot dial it{why}")
    return Diagnosis(
        Finding.WARN,
        f"linked ({who}), but neither could dial the other anew: {_first(facts.forth) or 'no address is known'}",
        f"on {facts.name}, name an address that others can dial: meerkat up --advertise HOST:PORT",
    )


def _unlinked(facts: Facts, name_of: Callable[[NodeId], str]) -> Diagnosis:
    by_way = [each.name for each in facts.witnesses if each.standing == "linked"]
    if reached(facts.forth):
        return _open_but_unlinked(facts)
    if facts.bye == "down":
        return Diagnosis(Finding.OFF, "it was stopped there", f"to start it, on {facts.name}: meerkat up")
    if facts.bye == "left":
        return Diagnosis(Finding.OFF, "it has left the pool")
    text = _all_ways(facts.forth, name_of) or "it has told no address, so it has to dial itself, and it has not"
    code = min((way.code for way in facts.forth), key=_rank, default="")
    if any(each.standing == "removed" for each in facts.witnesses):
        names = ", ".join(each.name for each in facts.witnesses if each.standing == "removed")
        return Diagnosis(Finding.OFF, f"it was taken off the roster, says {names}; this node hears of it in a moment")
    if by_way:
        through = ", ".join(by_way)
        return Diagnosis(
            Finding.WARN,
            f"no link, but in sync through {through}, which is linked with it; from here: {text}",
            _fix(code, facts) if code not in ("", "not_member") else "",
        )
    elsewhere = [each.name for each in facts.witnesses if reached(each.ways)]
    if elsewhere:
        return Diagnosis(
            Finding.FAIL,
            f"{', '.join(elsewhere)} can reach it, this node cannot: {text}",
            "something between the two is in the way: a firewall, another network, a VPN that is off",
        )
    return Diagnosis(Finding.FAIL, f"not reachable: {text}", _fix(code, facts))


def _open_but_unlinked(facts: Facts) -> Diagnosis:
    if not facts.close:
        return Diagnosis(Finding.OK, "reachable; in a pool of this size not everybody is linked with everybody")
    if facts.cause:
        return Diagnosis(
            Finding.FAIL, f"reachable, but there is no link: {facts.cause}", "meerkat logs shows more, here and there"
        )
    return Diagnosis(Finding.WARN, "reachable, and about to be linked", "ask again in a moment")


def _fix(code: str, facts: Facts) -> str:
    name = facts.name
    match code:
        case "not_member":
            members = [each.name for each in facts.witnesses if each.standing in ("linked", "member")]
            if members:
                return f"it learns of this node when it is linked with {' or '.join(members)}; wait a moment"
            return "look at the roster on another node: meerkat nodes; if this one is not on it, join anew"
        case "refused":
            return f"is it running? On {name}: meerkat status, else meerkat up"
        case "another_node" | "not_tls" | "silent":
            return (
                f"on {name}, look where it listens (meerkat status) and tell others: meerkat up --advertise HOST:PORT"
            )
        case "no_such_host":
            return f"on {name}, name an address that others can resolve: meerkat up --advertise HOST:PORT"
        case "":
            return f"on {name}, name an address that others can dial: meerkat up --advertise HOST:PORT"
        case _:
            return f"is {name} on, and in a network that this one reaches? A firewall may be closed to its port"


def _rank(code: str) -> int:
    return _TELLING.index(code) if code in _TELLING else len(_TELLING)


def _first(ways: tuple[Way, ...] | None) -> str:
    """The way that says most, in words."""
    if not ways:
        return ""
    way = min(ways, key=lambda way: _rank(way.code))
    return f"{way.address}: {way.text}"


def _all_ways(ways: tuple[Way, ...], name_of: Callable[[NodeId], str]) -> str:
    return "; ".join(f"{way.address}: {told(way, name_of)}" for way in ways)
