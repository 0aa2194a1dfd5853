"""How the steps of `place` speak of what they do: what is staged for a path, and what became of it."""

from collections.abc import Callable

from msgspec import Struct, field

from meerkat.disk.stage import Stage
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Base, Version
from meerkat.node.stage_names import out_name


class Outcome(Struct, frozen=True):
    """How a step ended for one path: done, blocked by a problem, or to be looked at again later."""

    path: RelPath
    problem: Problem | None = None
    later: bool = False


class Staged(Struct, frozen=True):
    """A thing in the stage that is to go to a path, in place of `base`."""

    path: RelPath
    version: Version
    base: Base | None
    name: str
    inode: int

    @property
    def out(self) -> str:
        """What it is called while it goes there: of what it is exchanged for, nobody may take it for a download."""
        return self.name if self.base is None else out_name(self.name)


class Done(Struct, frozen=True):
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


def let_out(stage: Stage, each: Staged, rescue: Callable[[str, RelPath], None]) -> bool:
    """Give what is to be exchanged the name that no download has; False: it is gone from the stage.

    Args:
        rescue: puts away what lies there from an earlier commit.

    Raises:
        PathBlocked: the system refuses; the exchange has not begun.
    """
    if each.out == each.name:
        return True
    if stage.inode(each.name) != each.inode:
        return False
    there = stage.inode(each.out)
    if there == each.inode:
        stage.drop(each.name)  # an earlier try was cut off between the two
        return True
    if there is not None:
        rescue(each.out, each.path)
    stage.rename(each.name, each.out)
    return True


def take_back(stage: Stage, each: Staged) -> None:
    """What was not put there gets its own name again, under which the next try finds it."""
    if each.out == each.name or stage.inode(each.out) != each.inode:
        return
    if stage.inode(each.name) == each.inode:
        stage.drop(each.out)
    else:
        stage.rename(each.out, each.name)


def is_back(stage: Stage, each: Staged) -> bool:
    """After trouble: whether nothing has moved for sure, and what was staged has its own name again."""
    try:
        if stage.is_untouched(each.out, each.inode):
            take_back(stage, each)
        return stage.is_untouched(each.name, each.inode)
    except PathBlocked:
        return False
