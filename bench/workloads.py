"""All that can be measured, by name. Each workload takes the options and gives lines for the table, ours and the
rivals'. Content is prepared outside the shared folder and moved in, so that nobody's clock holds the making of it, and
every byte is read again at the end."""

from collections.abc import Callable

from . import store_rates
from .growth import growth
from .latency import busy, latency, latency5
from .measure import MEERKAT, Line, Options
from .moves import move, rename
from .scale import huge, million
from .standing import idle, restart
from .transfers import big, edit, fanout, small, written

STORE_FILES = 50_000

Workload = Callable[[Options], list[Line]]


def store(options: Options) -> list[Line]:
    """The index alone, without nodes: rates of what a transfer does to it."""
    count = options.count(STORE_FILES, 2000)
    line = Line("store", f"the index alone, {count:,} files", MEERKAT, figures=store_rates.rates(count))
    line.remark = "figures are per second, but for the last"
    return [line]


WORKLOADS: dict[str, Workload] = {
    each.__name__: each
    for each in (
        *(big, small, written, latency, latency5, busy, edit, rename, move, fanout, restart, idle),
        *(million, huge, growth, store),
    )
}
