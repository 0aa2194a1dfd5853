"""Trouble that is data: a path that cannot be taken in or put down, and why. Never an exception."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Problem:
    """One path that waits. `path` may be a display form where the name is not UTF-8; `hint` is the next step."""

    path: str
    reason: Reason
    text: str
    hint: str = ""


class PathBlocked(Exception):
    """Carries a `Problem` from the hands to the engine; the path waits, others go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem
