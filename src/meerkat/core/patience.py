"""When what could not be put down is tried again: soon at first, then more and more seldom, and at once on news.

Pure: times are arguments (monotonic seconds), the delays are the caller's.
"""

from collections.abc import Iterable, Sequence, Set

from msgspec import Struct

from meerkat.model.limits import RETRY_MAX_S, RETRY_MIN_S
from meerkat.model.path import RelPath, parent


class Delay(Struct):
    """A path that could not be dealt with: when to try again, and how long the last wait was (seconds)."""

    until: float
    last: float


Delays = dict[RelPath, Delay]


def put_off(delays: Delays, path: RelPath, now: float) -> None:
    """It failed (again)."""
    before = delays.get(path)
    wait = RETRY_MIN_S / 4 if before is None else min(RETRY_MAX_S, before.last * 2)
    delays[path] = Delay(now + wait, wait)


def hasten(delays: Delays, paths: Iterable[RelPath], changed: Set[RelPath], now: float) -> bool:
    """These were looked at, or heard of. Where something is new, what they, or what is right in them, waited for may be
    over. Where nothing is, one more try is made at once, in case that was found out just before; then the waits go on
    growing, for most looks at what cannot be put down are brought about by trying to.

    Returns:
        whether something is due now.
    """
    due = False
    for path in paths:
        delay = delays.get(path)
        if delay is None:
            continue
        if path in changed:
            del delays[path]
        elif delay.last <= RETRY_MIN_S / 4:
            delay.until = now
        else:
            continue
        due = True
    return _drop_below(delays, changed) or due


def overcome(delays: Delays, paths: Sequence[RelPath]) -> None:
    """These are dealt with; what waited for one of them (a folder, or its name) need not wait longer."""
    for path in paths:
        delays.pop(path, None)
    _drop_below(delays, set(paths))


def _drop_below(delays: Delays, above: Set[RelPath]) -> bool:
    below = [each for each in delays if parent(each) in above] if above else []
    for each in below:
        del delays[each]
    return bool(below)
