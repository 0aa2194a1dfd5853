"""What went wrong, in the shape in which every face tells it.

A fault is expected trouble (a folder that is missing, an invite that was used), never a bug: it says what happened to
which thing, the cause if that is known, and one next step. Command line, control socket and dashboard show the same
words, because they all show this object.
"""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that scripts rely on."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    UNREACHABLE = 6
    NEEDS_PERSON = 7
    REFUSED = 8
    INTERRUPTED = 130


class Fault(Exception):
    """Expected trouble.

    Attributes:
        code: a stable word for programs, such as `folder_missing`.
        message: what happened to which thing; one line, sentence case without a capital or a full stop.
        cause: why, where that is known.
        hint: one command or fact that helps.
        exit_code: one of `Exit`.
    """

    def __init__(
        self, code: str, message: str, *, cause: str = "", hint: str = "", exit_code: int = Exit.ERROR
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.cause = cause
        self.hint = hint
        self.exit_code = int(exit_code)

    def as_json(self) -> dict[str, str]:
        """The object that stands under "error"; cause and hint only where there are any."""
        shown = {"code": self.code, "message": self.message}
        if self.cause:
            shown["cause"] = self.cause
        if self.hint:
            shown["hint"] = self.hint
        return shown
