"""Which paths are not shared: gitignore rules, shared ones (`.meerkatignore`) first, this node's own ones after them.

The rules are git's (gitignore(5)): the last rule that matches a path itself decides; what lies in an ignored folder
is ignored and cannot be brought back from within. A node's own rules come last, so they may re-include what the
shared ones leave out. A rule that cannot be understood is reported and skipped, because most of a rule set is better
than a folder that does not sync.

Own code, because the library for it answers for a path and for what lies below it at once, and so ignores the folders
of the common `*`, `!*/`, `!*.txt`. The rules come from other members: matching takes no more than polynomial time of
low degree, since each star commits to its earliest match (atomic groups), which for globs loses no match.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from meerkat.model.limits import IGNORE_FOLDERS_KEPT_MAX, IGNORE_LINE_CHARS_MAX, IGNORE_LINES_MAX
from meerkat.model.path import RelPath, parent

IGNORE_FILE = RelPath(".meerkatignore")
"""The shared rules. Never ignored itself, whatever they say, or a pool could not agree on them."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class _RuleFault(ValueError):
    """A line that is no rule; the message says why."""


class _Rule(NamedTuple):
    matcher: re.Pattern[str]
    folders_only: bool
    includes: bool


class Ignore:
    """Immutable once made; make a new one when the rules change.

    Attributes:
        problems: one line for each rule that was skipped, for people.
    """

    def __init__(self, lines_shared: Iterable[str], lines_local: Iterable[str]) -> None:
        """Take the lines of both files (with or without their line ends)."""
        self.problems: list[str] = []
        rules = [*self._parse("shared", lines_shared), *self._parse("local", lines_local)]
        self._rules = rules[::-1]
        self._folders: dict[RelPath, bool] = {}

    def ignored(self, path: RelPath, is_folder: bool) -> bool:
        """True when `path`, or a folder above it, is left out by the rules. The root never is."""
        if not self._rules or not path or path == IGNORE_FILE:
            return False
        return self._folder(path) if is_folder else self._folder(parent(path)) or self._decide(path, False)

    def _folder(self, path: RelPath) -> bool:
        if not path:
            return False
        known = self._folders.get(path)
        if known is None:
            known = self._folder(parent(path)) or self._decide(path, True)
            if len(self._folders) >= IGNORE_FOLDERS_KEPT_MAX:
                self._folders.clear()
            self._folders[path] = known
        return known

    def _decide(self, path: RelPath, is_folder: bool) -> bool:
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and rule.matcher.fullmatch(path):
                return not rule.includes
        return False

    def _parse(self, source: str, lines: Iterable[str]) -> list[_Rule]:
        rules = []
        for number, line in enumerate(lines, 1):
            if number > IGNORE_LINES_MAX:
                self.problems.append(f"{source} rules: only the first {IGNORE_LINES_MAX} lines are used")
                break
            try:
                rule = _rule(line.rstrip("\r\n"))
            except _RuleFault as fault:
                self.problems.append(f"{source} rules, line {number}: {fault}; the line is skipped")
                continue
            if rule is not None:
                rules.append(rule)
        return rules


def _rule(line: str) -> _Rule | None:
    """The rule in a line, None when it is blank or a comment. Raises `_RuleFault`."""
    if len(line) > IGNORE_LINE_CHARS_MAX:
        raise _RuleFault(f"longer than {IGNORE_LINE_CHARS_MAX} characters")
    text = line
    while text.endswith(" ") and not _escaped(text, len(text) - 1):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    includes = text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/") and not _escaped(text, len(text) - 1)
    text = text.removesuffix("/") if folders_only else text
    anchored = "/" in text
    components = text.removeprefix("/").split("/")
    if not all(components):
        raise _RuleFault(f"{line!r} holds an empty name, which matches nothing")
    if not anchored:
        components = ["**", components[0] if components[0] != "**" else "*"]
    return _Rule(re.compile(_path_pattern(components), re.DOTALL), folders_only, includes)


def _escaped(text: str, at: int) -> bool:
    """True when an odd number of backslashes stands before `text[at]`."""
    return (at - len(text[:at].rstrip("\\"))) % 2 == 1


def _path_pattern(components: list[str]) -> str:
    """A regular expression for whole paths. `**` among the components stands for any number of folders."""
    runs: list[list[str]] = [[]]
    for component in components:
        if component == "**":
            if len(runs) == 1 or runs[-1]:
                runs.append([])
        else:
            runs[-1].append(_name_pattern(component))
    first, *others = ["/".join(run) for run in runs]
    if not others:
        return first
    pattern = first + "/" if first else ""
    for run in others[:-1]:
        pattern += f"(?>(?:[^/]+/)*?{run}/)"
    return pattern + (f"(?:[^/]+/)*{others[-1]}" if others[-1] else ".+")


def _name_pattern(glob: str) -> str:
    """A regular expression for one component. Raises `_RuleFault`."""
    pieces = [""]  # between stars
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[":
            expression, at = _bracket(glob, at)
            pieces[-1] += expression
        elif char == "\\":
            if at == len(glob):
                raise _RuleFault(f"{glob!r} ends in a backslash")
            pieces[-1] += re.escape(glob[at])
            at += 1
        else:
            pieces[-1] += re.escape(char)
    first, *others = pieces
    if not others:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in others[:-1])
    nonempty = "" if first or any(others) else "(?=[^/])"
    return f"{nonempty}{first}{middle}[^/]*{others[-1]}"


def _bracket(glob: str, at: int) -> tuple[str, int]:
    """A bracket expression whose `[` stands before `at`: its regular expression and where it ends."""
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    parts: list[str] = []
    start = at
    while True:
        if at >= len(glob):
            raise _RuleFault(f"{glob!r} has a '[' without its ']'")
        if glob[at] == "]" and at > start:
            break
        if glob.startswith("[:", at) and (end := glob.find(":]", at)) > 0:
            name = glob[at + 2 : end]
            if name not in _CLASSES:
                raise _RuleFault(f"[:{name}:] is not a class of characters")
            parts.append(_CLASSES[name])
            at = end + 2
            continue
        low, at = _member(glob, at)
        if glob.startswith("-", at) and at + 1 < len(glob) and glob[at + 1] != "]":
            high, at = _member(glob, at + 1)
            if low <= high:
                parts.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            parts.append(re.escape(low))
    if not parts:  # only ranges that run backwards: nothing is in it
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]", at + 1


def _member(glob: str, at: int) -> tuple[str, int]:
    """The character at `at`, or the one after its backslash, and where the next begins."""
    at += glob[at] == "\\"
    if at >= len(glob):
        raise _RuleFault(f"{glob!r} ends in a backslash")
    return glob[at], at + 1
