"""Trouble that is data: a path that cannot be taken in or put down, and why. Never an exception."""

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """The closed list that every face shares."""

    DISK_FULL = "disk_full"
    PERMISSION = "permission"
    NAME_NOT_ALLOWED = "name_not_allowed"
    CASE_CLASH = "case_clash"
    FILE_BUSY = "file_busy"
    CHANGED_WHILE_READING = "changed_while_reading"
    DIGEST_MISMATCH = "digest_mismatch"
    TOO_LARGE = "too_large"
    IGNORED_THERE = "ignored_there"
    NO_SOURCE_ONLINE = "no_source_online"
    VERSION_TOO_OLD = "version_too_old"
    MARKER_MISSING = "marker_missing"
    HELD = "held"
    PAUSED = "paused"


_NEXT_STEPS = {
    Reason.DISK_FULL: "free some space on that node's disk",
    Reason.PERMISSION: "let the node's user write there, on that node",
    Reason.NAME_NOT_ALLOWED: "rename it to something that every node's disk can hold",
    Reason.CASE_CLASH: "rename one of the two",
    Reason.FILE_BUSY: "close the program that uses it there",
    Reason.CHANGED_WHILE_READING: "it is taken in once it is quiet",
    Reason.DIGEST_MISMATCH: "meerkat scrub on the node that wrote it",
    Reason.TOO_LARGE: "that node cannot hold a file of this size",
    Reason.IGNORED_THERE: "look what the folder still holds there, and delete it there if nothing in it is needed",
    Reason.NO_SOURCE_ONLINE: "start a node that has it, or at the last give it up: meerkat abandon",
    Reason.VERSION_TOO_OLD: "upgrade that node",
    Reason.MARKER_MISSING: "mount the disk of that node's folder again",
    Reason.HELD: "meerkat holds, on that node",
    Reason.PAUSED: "meerkat resume, on that node",
}


def next_step(reason: str) -> str:
    """What a person can do about trouble at another node, of which only the reason has come here; empty for a reason
    that a newer node made up."""
    return _NEXT_STEPS[Reason(reason)] if reason in Reason.__members__.values() else ""


class Problem(Struct, frozen=True):
    """One path that waits. `path` may be a display form where the name is not UTF-8; `hint` is the next step."""

    path: str
    reason: Reason
    text: str
    hint: str = ""


def no_source() -> Problem:
    """No linked member has what is wanted."""
    return Problem(
        "",
        Reason.NO_SOURCE_ONLINE,
        "no member that is online has these bytes",
        "start a node that has it; where none has it any more, as the last resort: meerkat abandon",
    )


def lie(text: str) -> Problem:
    """What was announced of a file contradicts itself."""
    return Problem("", Reason.DIGEST_MISMATCH, text, "scan the folder on the node that wrote it")


class PathBlocked(Exception):
    """Carries a `Problem` from the hands to the engine; the path waits, others go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem
