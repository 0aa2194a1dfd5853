"""How the steps of `place` speak of what they do: what is staged for a path, and what became of it."""

from dataclasses import dataclass, field

from meerkat.model.path import RelPath
from meerkat.model.problem import Problem
from meerkat.model.version import Base, Version


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended for one path: done, blocked by a problem, or to be looked at again later."""

    path: RelPath
    problem: Problem | None = None
    later: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """A thing in the stage that is to go to a path, in place of `base`."""

    path: RelPath
    version: Version
    base: Base | None
    name: str
    inode: int


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a group of exchanges.

    Attributes:
        placed: what stands now, and is to be recorded.
        exposed: what stood at its path for a moment. Somebody may have opened that there, and write to it later: it is
            to be discarded, and never used again.
        unsure: paths where the disk refused something on the way; intents and stage will tell what has happened.
    """

    placed: list[tuple[RelPath, Base | None]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    exposed: list[Staged] = field(default_factory=list)
    unsure: set[RelPath] = field(default_factory=set)


def blocked_at(path: RelPath, problem: Problem) -> Outcome:
    """The hands say what is wrong, the engine knows with which path."""
    return Outcome(path, Problem(path, problem.reason, problem.text, problem.hint))
