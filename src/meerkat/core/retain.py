"""What may be forgotten: trash that is too old or too much, tombstones that every member knows of.

Forgetting a tombstone is safe at any time (the floor sees to that) and only costs a fuller comparison with whoever
missed it; so the rule here may be wrong about members, and go by a wall clock (G5), without harm. Trash is the last
copy of somebody's bytes: only age and the bound on its size ever take it.
"""

from collections.abc import Mapping, Sequence

from meerkat.model.dot import Author, Vector


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


Mark = tuple[float, Mapping[Author, int]]
"""When (seconds since 1970), and what was known then. Entries hold no time; marks tell how old they are at least."""


def marked(marks: Sequence[Mark], now_s: float, context: Vector, every_s: float, age_s_max: float) -> list[Mark]:
    """The marks with a new one when the last is `every_s` old, without those that nothing will be asked of.

    A clock that went back makes marks of the future; those are dropped, so what they say is learnt again later.
    """
    kept = [mark for mark in marks if mark[0] <= now_s]
    if not kept or now_s - kept[-1][0] >= every_s:
        kept.append((now_s, dict(context)))
    old = [mark for mark in kept if now_s - mark[0] >= age_s_max]
    return old[-1:] + kept[len(old) :]


def known_for(marks: Sequence[Mark], now_s: float, age_s: float) -> Vector:
    """What has been known for at least so long; empty when the marks do not reach back that far."""
    return next((context for at, context in reversed(marks) if now_s - at >= age_s), {})


def forgettable(
    marks: Sequence[Mark], now_s: float, known: Sequence[Vector], age_s_min: float, age_s_max: float
) -> list[dict[Author, int]]:
    """Vectors; a tombstone that one of them covers may go.

    Args:
        known: the context of each member, this node's own among them; of one never heard of, empty.
        age_s_min: what all know goes when it is so old (who lost an index may still need to be told).
        age_s_max: what is so old goes, whoever may have missed it.
    """
    everybody = dict(known_for(marks, now_s, age_s_min)) if known else {}
    for context in known:
        everybody = {author: min(seq, context.get(author, 0)) for author, seq in everybody.items()}
    return [everybody, dict(known_for(marks, now_s, age_s_max))]
