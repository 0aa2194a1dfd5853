"""What may be forgotten: trash that is too old or too much, tombstones that every member knows of.

Forgetting a tombstone is safe at any time (the floor sees to that) and only costs a fuller comparison with whoever
missed it; so the rule here may be wrong about members without harm. Trash is the last copy of somebody's bytes: only
age and the bound on its size ever take it.
"""

from collections.abc import Iterable, Sequence

from meerkat.model.dot import Dot, Vector, knows
from meerkat.model.path import RelPath


def trash_to_drop(items: Sequence[tuple[str, float, int]], now_s: float, age_s_max: float, bytes_max: int) -> list[str]:
    """The names of what to remove from the trash.

    What is larger than the whole bound cannot be kept within it, so it goes first rather than pushing out the rest;
    then the oldest.

    Args:
        items: `(name, when it was trashed in seconds since 1970, bytes)`, in any order.
        now_s: seconds since 1970. What claims to come from the future is kept as if it were new.
        age_s_max: what is older goes.
        bytes_max: what is oldest goes until the rest fits.
    """
    by_age = sorted(items, key=lambda item: (item[1], item[0]))
    dropped = [name for name, _, size in by_age if size > bytes_max]
    fitting = [item for item in by_age if item[2] <= bytes_max]
    left = sum(size for _, _, size in fitting)
    for name, trashed_at, size in fitting:
        if now_s - trashed_at <= age_s_max and left <= bytes_max:
            break
        dropped.append(name)
        left -= size
    return dropped


def trash_clock(wall_s: float, before_s: float, step_s_max: float) -> float:
    """The time by which the age of trash is measured: the wall clock, but at most `step_s_max` after `before_s`.

    A clock that was set wrong by years must not empty the trash at once (G5): this one follows in steps, one each time
    that the trash is tended, and is back at once when the clock is put right. After a long time switched off it takes
    as many steps as there were days, which only keeps things for longer.

    Args:
        before_s: what this answered the last time.
    """
    return min(wall_s, before_s + step_s_max)


def tombstones_to_forget(
    tombstones: Iterable[tuple[RelPath, Dot]], known: Iterable[Vector]
) -> list[tuple[RelPath, Dot]]:
    """The tombstones that every member's context covers.

    Args:
        known: the context of each member, this node's own among them; a member never heard of is an empty vector,
            and keeps everything. Without any vector nothing is forgotten.
    """
    contexts = list(known)
    if not contexts:
        return []
    return [(path, dot) for path, dot in tombstones if all(knows(context, dot) for context in contexts)]
